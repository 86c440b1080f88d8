# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last hours of agents, asked of a real Prometheus; and that without one there is a note and no failure."""

import math
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import trends
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus import Client, Connection
from ansible_collections.agentfactory.core.plugins.plugin_utils.trends import POINTS, Trends

NOW = 1790000100.0


def find(url: str, environments: tuple[str, ...] = ("home",), now: float = NOW, **options: Any) -> Trends:
    return trends.find({"url": url, "timeout": 20.0, "validate_certs": True, **options}, environments, now, str)


def test_three_questions_are_enough(prometheus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    ask = Client.ask
    monkeypatch.setattr(Client, "ask", lambda self, question: asked.append(question) or ask(self, question))
    found = find(prometheus)
    assert len(asked) == 3
    assert found.note == ""
    assert set(found.found) == {("h1", "arm@0")}
    arm = found.of("h1", "arm@0")
    assert {kind: len(values) for kind, values in arm.items()} == dict.fromkeys(("cpu", "memory", "restarts"), POINTS)
    assert arm["memory"][-5:] == [0.0, 3e6, 6e6, 9e6, 12e6]
    assert arm["memory"][:-5] == [None] * (POINTS - 5)
    assert arm["cpu"][-4:] == pytest.approx([0.25] * 4)
    assert [round(value or 0) for value in arm["restarts"][-4:]] == [0, 0, 1, 0]
    assert found.of("h2", "arm@0") == {}


@pytest.mark.parametrize("name", ["office", "ho.e", 'home"} or {x="', "home|lab\\", "ä"])
def test_of_other_environments_nothing_is_taken(prometheus: str, name: str) -> None:
    found = find(prometheus, (name,))
    assert found.found == {}
    assert found.note.startswith("Prometheus has nothing of these agents")


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"url": ""}, "agentfactory_prometheus_url is not set."),
        ({"url": "http://127.0.0.1:9"}, "http://127.0.0.1:9: Connection refused."),
        ({"url": "nonsense"}, "url: must be as"),
        ({"url": "http://127.0.0.1:9", "password_file": "/no/such", "username": "u"}, "password_file: /no/such"),
    ],
)
def test_why_there_are_none_is_said(options: dict[str, str], note: str) -> None:
    found = find(**options)
    assert found.found == {}
    assert found.note.startswith(note)


def test_over_tls_as_a_user(secured: Any) -> None:
    options = {name: value for name, value in secured.options.items() if name != "url"}
    assert find(secured.url, **options).of("h1", "arm@0")["memory"][-1] == 12e6
    refused = find(secured.url, **{**options, "password": "wrong-password"})
    assert "status 401" in refused.note
    assert "wrong-password" not in refused.note


def test_a_sample_that_is_no_number_is_one(prometheus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the API writes it: NaN is a string there. The line has a gap for it."""
    monkeypatch.setattr(trends, "QUERIES", {"cpu": 'label_replace(vector(0/0), "host", "h1%.0s", "", "")'})
    (values,) = (kinds["cpu"] for kinds in trends.ask(Client(Connection(prometheus)), ["home"], NOW).found.values())
    assert len(values) == POINTS
    assert all(value is not None and math.isnan(value) for value in values)
