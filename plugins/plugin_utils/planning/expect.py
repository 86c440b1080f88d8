# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be expected of a plan: each agent's figures and curves, what hosts hold before, after and on the way, how long it takes."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .. import rollout as _rollout
from ..fleet import Fleet
from ..placement import Answer, Host, Problem
from .demand import Demand
from .domains import Domains, Where
from .onepass import Pass

BEYOND = 3  # how far the curves go beyond what is planned
POINTS = 12


def agent_row(
    name: str, demand: Demand | None, where: Where, domains: Domains, hosts: Iterable[str], *, auto: bool
) -> dict[str, Any]:
    """One agent so placed. Times are seconds. Where it is refused to say how many it needs, nothing is expected that follows from that."""
    count = sum(where.values())
    row: dict[str, Any] = {"name": name, "count": count, "auto": auto, "needed": None, "hosts": len(where)}
    if demand is None or not count:
        return row
    row["needed"] = None if demand.refused else demand.needed
    figures = demand.figures(count)
    if demand.workload:
        row |= {"rate": demand.workload.rate, "service_time": demand.workload.service}
    if figures:
        row |= {
            "utilisation": figures.utilisation, "response": _times(figures.response), "wait": _times(figures.wait),
            "method": figures.method, "confidence": figures.confidence,
        }  # fmt: skip
    if figures and demand.workload and demand.workload.room is not None:
        row["loss"] = figures.loss
    if demand.slo and not demand.unknown:
        row["slo"] = {"measure": demand.slo.name, "below": demand.slo.below, "kept": not demand.why_not(count)}
    if demand.refused:
        return row
    if domains.knows(name):
        found = domains.available(where, demand, demand.budget)
        row["availability"] = {
            "unavailability": found.unavailability, "minutes_per_month": found.minutes_per_month,
            "budget_share": found.budget_share, "contributors": [c.name for c in found.contributors[:3]],
        }  # fmt: skip
    row["curve"] = curve(demand, where, domains, list(hosts))
    return row


def _times(times: Any) -> dict[str, float]:
    return {measure: getattr(times, measure) for measure in ("mean", "p50", "p95", "p99")}


def curve(demand: Demand, where: Where, domains: Domains, hosts: list[str]) -> list[dict[str, Any]]:
    """The promise's measure and the unavailability, with a few instances less to a few more."""
    count = sum(where.values())
    first = max(1, min(demand.needed, count) - BEYOND)
    last = max(demand.needed, count) + BEYOND
    numbers = {first + (last - first) * step // (POINTS - 1) for step in range(POINTS)} | {count}
    if (now := demand.figures(count)) and now.method.startswith("simulation"):
        numbers = {max(1, count - 1), count, count + 1}  # each point takes seconds
    found = []
    for number in sorted(numbers):
        figures = demand.figures(number)
        point: dict[str, Any] = {"instances": number, "seconds": None, "unavailability": None}
        if figures:
            seconds = demand.slo.value(figures) if demand.slo else figures.response.p95
            point["seconds"] = seconds if math.isfinite(seconds) else None
        if domains.knows(demand.name) and hosts:
            spread = domains.grown(where, hosts, number)
            point["unavailability"] = domains.available(spread, demand).unavailability
        found.append(point)
    return found


def host_rows(answer: Answer, made: Pass) -> list[dict[str, Any]]:
    """Each host's share of its room that is used, of the resource that is used most: now, after, and at most on the way."""
    problem = answer.problem
    before, after = _used(problem, problem.current), _used(problem, made.placement)
    numbers = [Counter(h for there in p.values() for h in there.values()) for p in (problem.current, made.placement)]
    return [
        {
            "name": host.name, "zone": host.zone, "state": host.state,
            "instances": {"before": numbers[0][host.name], "after": numbers[1][host.name]},
            "before": _share(host, before), "after": _share(host, after), "peak": _share(host, made.peak),
        }
        for host in problem.hosts
    ]  # fmt: skip


def _used(problem: Problem, placement: Mapping[str, Mapping[int, str]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {host.name: {} for host in problem.hosts}
    for agent in problem.agents:
        for host in placement.get(agent.name, {}).values():
            for resource, amount in agent.needs.items() if host in found else ():
                found[host][resource] = found[host].get(resource, 0) + amount
    return found


def _share(host: Host, used: Mapping[str, Mapping[str, int]]) -> float | None:
    """None where there is something and no room at all."""
    shares = [(amount, host.room(resource)) for resource, amount in used[host.name].items() if amount]
    if any(not room for _amount, room in shares):
        return None
    return max((amount / room for amount, room in shares), default=0.0)


def rollout(
    fleet: Fleet, steps: Iterable[Mapping[str, Any]], health: Callable[[str], Mapping[str, Any]]
) -> dict[str, Any]:
    """The waves of the hosts that change, and between how many seconds they take: hosts of a wave go together, as do a host's
    agents; an agent's instances go one after the other."""
    starts: dict[str, dict[str, int]] = {}
    for step in steps:
        source = None if step["kind"] == "restart" else step["from"]  # its host is lost
        for host, more in ((source, 0), (step["to"], 1)):
            if host is not None:
                there = starts.setdefault(host, {})
                there[step["agent"]] = there.get(step["agent"], 0) + more
    hosts = [host for host in fleet.declared if host in starts]
    agents = {agent for there in starts.values() for agent in there}
    waves = _rollout.most_cautious((fleet.agents[agent]["rollout"] for agent in sorted(agents)), len(hosts))["waves"]
    sizes = _rollout.batches(waves, len(hosts))
    asked = {agent: health(agent) for agent in agents}
    least = most = 0.0
    left = iter(hosts)
    for size in sizes:
        wave = [starts[next(left)] for _host in range(size)]
        least += max(_seconds(there, asked, ("bake",)) for there in wave)
        most += max(_seconds(there, asked, ("bake", "start_timeout")) for there in wave)
    return {"hosts": hosts, "waves": sizes, "seconds": {"least": least, "most": most}}


def _seconds(there: Mapping[str, int], asked: Mapping[str, Mapping[str, Any]], keys: Iterable[str]) -> float:
    return max(count * sum(float(asked[agent].get(key) or 0) for key in keys) for agent, count in there.items())
