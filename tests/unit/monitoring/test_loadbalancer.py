# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load balancer's dashboard and alerts say of a real HAProxy, while its servers come and go."""

import json
from collections.abc import Iterator

import pytest

from . import grafana_variables
from .balanced import ROOT, Balanced

DASHBOARD = json.loads((ROOT / "roles/monitoring/files/dashboards/loadbalancer.json").read_text(encoding="utf-8"))
UP, DOWN = 1.0, 2.0  # as the state of a server is drawn


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    with Balanced(tmp_path_factory.mktemp("balanced")).running() as made:
        yield made


def shown(balanced: Balanced, title: str, label: str = "") -> dict[str, float]:
    """The values in a panel, by a label, with its first query."""
    (panel,) = (panel for panel in DASHBOARD["panels"] if panel["title"] == title)
    query = grafana_variables.filled(panel["targets"][0]["expr"], grafana_variables.everything(DASHBOARD))
    return balanced.values(query, label)


def firing(balanced: Balanced, alert: str, label: str) -> set[str]:
    """Of whom an alert tells in the load balancer's environment, by a label."""
    return set(balanced.values(f'ALERTS{{alertname="{alert}", alertstate="firing", environment="production"}}', label))


def test_every_panel_says_something_of_it(balanced: Balanced) -> None:
    balanced.be(servers=["host-1", "host-2"])
    balanced.until(lambda: not grafana_variables.silent(balanced.client, DASHBOARD), "every query has an answer")
    states = {"host-1": UP, "host-2": UP, "host-3": DOWN}
    balanced.until(lambda: shown(balanced, "State of servers", "server") == states, "one server is away")
    balanced.until(lambda: shown(balanced, "Servers down") == {"": 1}, "one is counted")
    balanced.until(lambda: shown(balanced, "Backends without a server") == {"": 0}, "and the backend has others")
    balanced.until(lambda: shown(balanced, "Requests", "proxy").get("thermostat", 0) > 0, "requests are counted")
    balanced.until(
        lambda: min(shown(balanced, "Sessions by server", "server").get(name, 0) for name in ("host-1", "host-2")) > 0,
        "both get their part",
    )


def test_nobody_is_served(balanced: Balanced) -> None:
    """A page without servers, which HAProxy has too, is nothing to tell of."""
    balanced.be(servers=[])
    balanced.until(lambda: firing(balanced, "BalancerNoServer", "proxy") == {"thermostat"}, "it is told")
    balanced.until(lambda: firing(balanced, "BalancerNoServer", "host") == {"balancer-1"}, "with the host")
    assert balanced.request() == 503
    balanced.until(lambda: shown(balanced, "Backends without a server") == {"": 1}, "it is shown")
    balanced.until(lambda: shown(balanced, "Answers 5xx").get("", 0) > 0, "clients see it")
    balanced.be(servers=["host-2"])
    balanced.until(lambda: balanced.request() == 200, "one is enough")
    balanced.until(lambda: not firing(balanced, "BalancerNoServer", "proxy"), "it is over")


def test_it_is_away_itself(balanced: Balanced) -> None:
    balanced.be()
    balanced.until(lambda: balanced.values('up{job="haproxy"}', "host") == {"balancer-1": 1}, "it is scraped")
    balanced.be(haproxy=False)
    balanced.until(lambda: firing(balanced, "BalancerDown", "host") == {"balancer-1"}, "it is told")
    assert not firing(balanced, "BalancerNoServer", "proxy"), "of what is not seen nothing is said"
    balanced.be()
    balanced.until(lambda: not firing(balanced, "BalancerDown", "host"), "it is back")
