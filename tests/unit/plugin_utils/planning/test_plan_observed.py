# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of what was seen of instances, down to nothing at all.

The answers are made up here, in the form that a Prometheus gives to a subquery: one that is away, slow, or has seen just this cannot be
had at will. In test_plan_measured a real one answers.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils.fleet_problem import Given
from ansible_collections.agentfactory.core.plugins.plugin_utils.planning.decide import Asked, Inputs, decide
from ansible_collections.agentfactory.core.plugins.plugin_utils.planning.observed import Seen, watched
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_answer import (
    Answer,
    PrometheusError,
    Series,
    TimedOut,
    Unavailable,
)

from .conftest import HOSTS, Read

STEP, HALF_AN_HOUR = 60, 30
DOWN_FOR_EVER = [1] * HALF_AN_HOUR + [0] * 10
UNEVEN = [1] * HALF_AN_HOUR + [0] * 10 + [1] * HALF_AN_HOUR
Restarts = tuple[int, ...]
Instance = tuple[list[int], Restarts]
Prometheus = dict[str, list[Instance] | PrometheusError]
"""agent -> its instances: up or not at each step, and at which steps it was restarted; or why there is no answer"""


def asked(prometheus: Prometheus, queries: list[str] | None = None) -> Callable[[str], Answer]:
    def ask(query: str) -> Answer:
        agent = re.findall(r'agent="(\w+)"', query)[0]
        if queries is not None:
            queries.append(agent)
        known = prometheus.get(agent, [])
        if isinstance(known, PrometheusError):
            raise known
        series = []
        for number, (up, restarts) in enumerate(known):
            kinds = {"up": up, "restarts_total": [sum(r < step for r in restarts) for step in range(len(up))]}
            for kind, values in kinds.items():
                labels = {
                    "__name__": f"agentfactory_agent_{kind}",
                    "agent": agent,
                    "agent_id": f"{agent}@{number}",
                    "host": "h1",
                }
                samples: Any = [[float(STEP * step), value] for step, value in enumerate(values)]
                series.append(Series(labels=labels, samples=samples))
        return Answer("matrix", series)

    return ask


def of(*instances: Instance) -> Seen:
    return watched("lab", ["gateway"], "2h", asked({"gateway": list(instances)}))["gateway"]


@pytest.mark.parametrize(
    ("instances", "failures", "down", "operation", "doubt"),
    [
        ([(DOWN_FOR_EVER, ())], 1, 570, 1770, "no outage was seen to its end: each is taken to last 9.5 min"),
        ([([1] * 100, (50, 80))], 2, 2 * 30, 5940, "no outage was seen to its end: each is taken to last 30 s"),
        ([(DOWN_FOR_EVER, ()), ([1] * 40, ())], 1, 570, 1770 + 2340, "no outage was seen to its end"),
        ([(UNEVEN, ())], 1, 600, 3540, "it rests on 1 failures"),
    ],
    ids=["never repaired", "quicker than a sample", "one of two never repaired", "repaired"],
)  # fmt: skip
def test_what_failed_is_down_at_times(
    instances: list[Instance], failures: int, down: float, operation: float, doubt: str
) -> None:
    """Also where no repair was seen: as long as the outages that go on, and half a step at least; seconds."""
    seen = of(*instances)
    assert seen.chance is not None
    assert seen.failures == failures
    assert seen.chance.down == pytest.approx(down / (operation + down))
    assert any(line.startswith(doubt) for line in seen.doubts), seen.doubts
    assert sum(line.startswith("updates may count as failures") for line in seen.doubts) == 1
    assert not any("history" in line for line in seen.doubts)


@pytest.mark.parametrize(
    ("instances", "failures", "doubt"),
    [
        ([([1] * 100, ())], 0, "no failure was seen over 2h, in 99 min of operation: nothing is known of how often"),
        ([([0] * 100, ())], None, "how often an instance is down was not seen: in all of the samples nothing was up"),
        ([([1], ())], None, "how often an instance is down was not seen: observed.up: left out: gateway@0 on h1: 1 samples"),
        ([], None, "how often an instance is down was not seen: Prometheus has no agentfactory_agent_up of it over 2h"),
    ],
    ids=["no failure", "never up", "one sample", "nothing"],
)  # fmt: skip
def test_what_was_not_seen_to_fail_is_not_known(instances: list[Instance], failures: int | None, doubt: str) -> None:
    """And by no means as good as infinity."""
    seen = of(*instances)
    assert (seen.chance, seen.failures) == (None, failures)
    assert seen.doubts[0].startswith(doubt)


@pytest.mark.parametrize(
    ("why", "queries"),
    [
        (PrometheusError("execution: query processing would load too many samples", "execution"), ["gateway", "calm"]),
        (Unavailable("connection refused"), ["gateway"]),
        (TimedOut("no answer within 10 s"), ["gateway"]),
    ],
)
def test_a_prometheus_that_does_not_answer_is_a_doubt(why: PrometheusError, queries: list[str]) -> None:
    """Of one agent, where it is one's; of all those that are left, unasked, where nobody is there."""
    made: list[str] = []
    found = watched("lab", ["gateway", "calm"], "2h", asked({"gateway": why, "calm": [(UNEVEN, ())]}, made))
    assert made == queries
    lost = {
        name for name, one in found.items() if one.doubts == (f"how often an instance is down was not seen: {why}",)
    }
    assert lost == ({"gateway"} if len(queries) == 2 else {"gateway", "calm"})


AGENT = {"version": "1.0", "hosts": "all", "count": "auto", "slo": {"needed": 2, "availability": 0.99}}


def planned(read: Read, prometheus: Prometheus, **reliability: Any) -> dict[str, Any]:
    agents = {name: {**AGENT, "ports": {"http": 8000 + number}} for number, name in enumerate(prometheus)}
    given = {host: Given({"cpu": 8, "memory": "8G"}, zone=zone) for host, zone in HOSTS.items()}
    inputs = Inputs(read(agents, reliability=reliability), given, HOSTS, {}, lambda _name: {}, asked(prometheus))
    return decide(inputs, Asked(window="2h", proof=False))


def test_each_agent_is_known_by_what_was_seen_of_it(read: Read) -> None:
    """One that failed makes nothing known of the others, which an availability of 1 would be."""
    others: Prometheus = {
        "calm": [([1] * 100, ())],
        "stopped": [([0] * 9, ())],
        "away": Unavailable("connection refused"),
    }
    made = planned(read, {"gateway": [(UNEVEN, ())], **others})
    rows = {row["name"]: row for row in made["agents"]}
    assert {name: "availability" in row for name, row in rows.items()} == {
        "gateway": True,
        **dict.fromkeys(others, False),
    }
    assert made["counts"] == {"gateway": 5, **dict.fromkeys(others, 2)}
    for name in others:
        assert all(point["unavailability"] is None for point in rows[name]["curve"])
        assert (
            f"{name}: slo.availability needs the fleet's key reliability, or a Prometheus that has seen it fail"
            in made["warnings"]
        )
    assert "away: how often an instance is down was not seen: connection refused" in made["warnings"]
    assert not any(line.startswith("calm: an instance is taken") for line in made["assumptions"])


def test_what_the_fleet_says_of_hosts_holds_where_no_failure_was_seen(read: Read) -> None:
    made = planned(read, {"calm": [([1] * 100, ())]}, host={"unavailability": 0.001})
    assert made["agents"][0]["availability"]["unavailability"] == pytest.approx(0.002, rel=0.01)
    assert (
        "calm: an instance is taken not to fail by itself: no failure was seen over 2h, in 99 min of operation"
        in made["assumptions"]
    )
    assert any(line.startswith("calm: no failure was seen over 2h, in 99 min") for line in made["warnings"])


def test_of_refused_data_nothing_is_expected(read: Read) -> None:
    """And not what would be if one instance were enough."""
    agent = {**AGENT, "load": {"metrics": {"requests": "r", "busy": "b"}}, "slo": {"below": 0.2, "availability": 0.99}}
    given = {host: Given({"cpu": 8, "memory": "8G"}, zone=zone) for host, zone in HOSTS.items()}
    placed = {"gateway": {"h1": [0], "h2": [1]}}
    inputs = Inputs(
        read({"gateway": agent}), given, HOSTS, placed, lambda _name: {}, lambda _query: Answer("vector", [])
    )
    made = decide(inputs, Asked(proof=False))
    assert made["agents"] == [{"name": "gateway", "count": 2, "auto": True, "needed": None, "hosts": 2}]
    assert made["losses"] == []
    (said,) = (line for line in made["warnings"] if line.startswith("gateway: refused: "))
    assert said.endswith("; so nothing is said of its promise, nor of losses that break it")
