# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a real Prometheus to a plan and back: three hours of an agent whose every request is simulated one by one.

A fake agent, since only of such a one the law of its arrivals and of its work is known; what its metrics make of it, and what is planned
from them, is the real thing. The simulation (a queue before c workers, by the clock) has nothing in common with the models' formulas.
"""

import heapq
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import prometheus
from ansible_collections.agentfactory.core.plugins.plugin_utils.fleet_problem import Given
from ansible_collections.agentfactory.core.plugins.plugin_utils.planning.decide import Asked, Inputs, decide

from ... import prometheus_server
from .conftest import HOSTS, Read

START, HOURS, STEP = 1790000000, 3, 15
RATE, WORK, PROMISE = 40.0, 0.06, 0.19
BOUNDS = [0.02, 0.05, 0.1, 0.15, 0.175, 0.2, 0.225, 0.25, 0.3, 0.5, 1.0]
WATCHED = [
    ("gateway", "h1", [(5400, 240), (8100, 480)]), ("gateway", "h2", []), ("calm", "h1", []),
]  # fmt: skip
"""agent, host, and when it was down for how many seconds"""
METRICS = {"requests": "requests_total", "busy_seconds": "busy_seconds_total", "duration": "response_seconds"}


def requests(workers: int) -> Iterator[tuple[float, float, float]]:
    """When each request is answered, its response time, and the work in it."""
    source, free, now = random.Random(7), [0.0] * workers, 0.0
    while now < HOURS * 3600:
        now += source.expovariate(RATE)
        work = source.expovariate(1 / WORK)
        done = max(now, heapq.heappop(free)) + work
        heapq.heappush(free, done)
        yield done, done - now, work


@cache
def p95(workers: int) -> float:
    found = sorted(response for _done, response, _work in requests(workers))
    return found[int(0.95 * len(found))]


def samples(workers: int) -> str:
    """What an exporter of that agent would have been scraped for, in OpenMetrics."""
    answered = sorted(requests(workers))
    lines: dict[str, list[str]] = {name: [] for name in ("requests", "busy", "response")}
    buckets, at, busy, total = dict.fromkeys(BOUNDS, 0), 0, 0.0, 0.0
    for moment in range(0, HOURS * 3600 + 1, STEP):
        while at < len(answered) and answered[at][0] <= moment:
            _done, response, work = answered[at]
            at, busy, total = at + 1, busy + work, total + response
            for bound in BOUNDS:
                buckets[bound] += response <= bound
        when = START + moment
        lines["requests"].append(f"requests_total {at} {when}")
        lines["busy"].append(f"busy_seconds_total {busy} {when}")
        lines["response"] += [f'response_seconds_bucket{{le="{bound}"}} {buckets[bound]} {when}' for bound in BOUNDS]
        lines["response"] += [f'response_seconds_bucket{{le="+Inf"}} {at} {when}']
        lines["response"] += [f"response_seconds_sum {total} {when}", f"response_seconds_count {at} {when}"]
    for agent, host, down in WATCHED:
        for moment in range(0, HOURS * 3600 + 1, STEP):
            labels = f'{{environment="lab",agent="{agent}",agent_id="{agent}@0",host="{host}"}}'
            up = not any(start <= moment < start + seconds for start, seconds in down)
            for name, value in (("up", int(up)), ("wanted", 1), ("restarts", len([s for s, _n in down if s < moment]))):
                total = "_total" if name == "restarts" else ""
                lines.setdefault(name, []).append(f"agentfactory_agent_{name}{total}{labels} {value} {START + moment}")
    kinds = (
        ("requests", "requests counter"),
        ("busy", "busy_seconds counter"),
        ("response", "response_seconds histogram"),
        ("up", "agentfactory_agent_up gauge"),
        ("wanted", "agentfactory_agent_wanted gauge"),
        ("restarts", "agentfactory_agent_restarts counter"),
    )
    return "".join(f"# TYPE {kind}\n" + "\n".join(lines[name]) + "\n" for name, kind in kinds) + "# EOF\n"


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """A Prometheus that has seen the agent with four instances, asked at the end of that time."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "prometheus.yml").write_text("global: {}\n")
    prometheus_server.backfill(folder, samples(4))
    with prometheus_server.running(folder) as address:
        client = prometheus.Client(prometheus.Connection(url=f"http://{address}"))
        yield lambda query: client.ask(prometheus.Question(query=query, time=str(START + HOURS * 3600)))


def test_what_is_planned_from_metrics_is_what_then_happens(ask: Any, read: Read) -> None:
    """Measured as it is, predicted as it is, the advice taken, and measured again."""
    agent = {
        "version": "1.0", "hosts": "all", "count": "auto", "load": {"metrics": METRICS}, "slo": {"below": PROMISE},
    }  # fmt: skip
    given = {host: Given({"cpu": 4, "memory": "8G"}, zone=zone) for host, zone in HOSTS.items()}
    placed = {"gateway": {"h1": [0, 3], "h2": [1], "h3": [2]}}
    inputs = Inputs(read({"gateway": agent}), given, HOSTS, placed, lambda _name: {}, ask)
    plan = decide(inputs, Asked(window="2h", proof=False))
    row = plan["agents"][0]
    at_the_mean = decide(inputs, Asked(window="2h", proof=False, load_factor=RATE / row["rate"]))["agents"][0]
    for workers in (4, row["count"]):
        measured = p95(workers)
        peak, mean = (
            next(p["seconds"] for p in one["curve"] if p["instances"] == workers) for one in (row, at_the_mean)
        )
        print(
            f"{workers} instances: p95 measured {measured:.4f} s, predicted {mean:.4f} s, and {peak:.4f} s at the peak"
        )
        assert mean == pytest.approx(measured, rel=0.03)
        assert peak >= measured
    assert p95(4) > PROMISE >= p95(row["count"]), "four break the promise, and the advice keeps it"
    assert (row["count"], [step["kind"] for step in plan["steps"]]) == (5, ["new"])
    assert row["service_time"] == pytest.approx(WORK, rel=0.01)
    said = re.findall(r"measured over 2h in (\d+) requests, confidence: high", "\n".join(plan["assumptions"]))
    assert [float(number) for number in said] == [pytest.approx(RATE * 7200, rel=0.02)], plan["warnings"]


def test_how_often_instances_fail_is_seen_where_the_fleet_does_not_say(ask: Any, read: Read) -> None:
    """Two failures, of four and eight minutes in two times two hours. What nobody has seen fail is as available as its hosts are, and
    not known where nothing is said of those either."""
    agent = {"version": "1.0", "hosts": "all", "count": 3, "slo": {"needed": 2, "availability": 0.99}, "ports": {}}
    agents = {
        name: {**agent, "ports": {"http": port}} for name, port in (("gateway", 8080), ("calm", 9080), ("new", 7080))
    }
    given = {host: Given({"cpu": 8, "memory": "8G"}, zone=zone) for host, zone in HOSTS.items()}
    fleet = read(agents, reliability={"host": {"unavailability": 0.001}})
    plan = decide(Inputs(fleet, given, HOSTS, {}, lambda _name: {}, ask), Asked(window="2h", proof=False))
    rows = {row["name"]: row for row in plan["agents"]}
    assert {name: row.get("observed_failures") for name, row in rows.items()} == {"gateway": 2, "calm": 0, "new": None}
    down = {name: row["availability"]["unavailability"] for name, row in rows.items()}
    share = 720 / (2 * 7200)  # of the time, an instance of gateway
    assert down["gateway"] == pytest.approx(3 * (share + 0.001) ** 2, rel=0.25)
    assert down["calm"] == down["new"] == pytest.approx(3 * 0.001**2, rel=0.01)
    said = "\n".join(plan["assumptions"])
    told_so = next(
        line for line in plan["assumptions"] if line.startswith("gateway: how often an instance is down is as observed")
    )
    print(told_so)
    assert "over 2h: 2 failures in" in told_so
    calm = next(line for line in plan["warnings"] if line.startswith("calm: no failure was seen over 2h, in 119 min"))
    guide = (Path(__file__).parents[4] / "docs/plan.md").read_text()
    assert all(f"    {line}\n" in guide for line in (told_so, calm))
    assert (
        "calm: an instance is taken not to fail by itself: no failure was seen over 2h, in 119 min of operation" in said
    )
    assert "new: an instance is taken not to fail by itself: nobody says how often it is down, or saw it" in said
    assert "reliability.zone is not given: a zone is taken never to be down by itself" in said
    alone = decide(
        Inputs(read(agents, reliability={}), given, HOSTS, {}, lambda _name: {}, ask), Asked(window="2h", proof=False)
    )
    assert [row["name"] for row in alone["agents"] if "availability" in row] == ["gateway"]
    told = decide(
        Inputs(
            read(agents, reliability={"instance": {"unavailability": 0.1}}), given, HOSTS, {}, lambda _name: {}, ask
        ),
        Asked(window="2h", proof=False),
    )
    assert all("observed_failures" not in row for row in told["agents"]), "what the fleet says holds"
