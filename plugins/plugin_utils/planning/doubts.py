# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan warns of, each in a line: what it cannot see to, what is left behind, promises that it does not keep."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ..fleet_placement import current
from ..fleet_problem import gone, overfull
from ..placement import Answer
from .domains import Where
from .onepass import Pass

if TYPE_CHECKING:
    from .decide import Deciding


def doubts(deciding: "Deciding", answer: Answer | None, made: Pass, places: Mapping[str, Where]) -> Iterator[str]:
    """All of them, of a plan that is decided."""
    yield from overfull(deciding.inputs.fleet, deciding.inputs.given)
    yield from _gone(deciding)
    yield from _staying(deciding)
    yield from _lost(deciding, answer.stuck if answer else [])
    yield from _left_behind(deciding, made)
    yield from _short(deciding, places, answer)


def _gone(deciding: "Deciding") -> Iterable[str]:
    """What a plan cannot see to: what runs on hosts that are not the fleet's any more."""
    fleet = deciding.inputs.fleet
    for host, instances in gone(fleet, current(deciding.inputs.placed, fleet.counted)).items():
        names = ", ".join(f"{name}@{index}" for name, index in instances)
        yield f"{host}: is not managed any more: {names} there is taken as lost, and nothing removes it where it still runs"


def _staying(deciding: "Deciding") -> Iterable[str]:
    """What a drain does not reach: agents with `instances` are on all hosts of their pattern."""
    fleet = deciding.inputs.fleet
    for host in deciding.asked.drain:
        for declared in fleet.declared[host]:
            if declared["name"] not in fleet.counted and declared["instances"]:
                yield f"{host}: {declared['name']} stays, for it is declared for each of its hosts and not counted"


def _lost(deciding: "Deciding", stuck: Collection[str]) -> Iterable[str]:
    """What is down with a lost host, and what must not come back with it."""
    fleet, runs = deciding.inputs.fleet, current(deciding.inputs.placed, deciding.inputs.fleet.counted)
    for host in deciding.asked.failed:
        there = [(name, f"{name}@{index}") for name, on in runs.items() for index, home in on.items() if home == host]
        fixed = [instance for _name, instance in there if instance in stuck]
        once = [instance for name, instance in there if fleet.counted[name].state_portable and instance not in stuck]
        each = [d["name"] for d in fleet.declared[host] if d["name"] not in fleet.counted and d["instances"]]
        if fixed:
            yield f"{host}: down until it is back, for its state is there: {', '.join(fixed)}"
        if each:
            yield f"{host}: down until it is back, for it is declared for each of its hosts: {', '.join(each)}"
        if once:
            yield (
                f"{host}: must not run twice, and the host starts it when it comes back, so see to it that it stays off until a deploy "
                f"reaches it: {', '.join(once)}"
            )


def _left_behind(deciding: "Deciding", made: Pass) -> Iterable[str]:
    """What a move does to state, and what is down meanwhile."""
    moved: dict[str, list[str]] = {}
    for step in made.steps:
        if step.source is not None and step.target is not None:
            moved.setdefault(step.agent, []).append(step.instance)
    lost = {step.instance for step in made.steps if step.kind == "restart"}
    for name, instances in moved.items():
        portable = deciding.inputs.fleet.counted[name].state_portable
        if portable is None:
            yield (
                f"{name}: moves without what is in its state directory, since the fleet does not say state_portable: "
                + ", ".join(instances)
            )
        elif once := [instance for instance in instances if instance not in lost]:
            yield (
                f"{name}: must not run twice, so each is stopped before the wave of its new host, and down until it is healthy there: "
                + ", ".join(once)
            )


def _short(deciding: "Deciding", places: Mapping[str, Where], answer: Answer | None) -> Iterable[str]:
    """Promises that the plan does not keep."""
    for name, demand in deciding.demands.items():
        count = sum(places.get(name, {}).values())
        if not demand.refused and not (answer and answer.without) and (why := demand.why_not(count)):
            yield f"{name}: {why}: {demand.needed} are needed"
        if demand.budget is not None and not deciding.domains.knows(name):
            yield f"{name}: slo.availability needs the fleet's key reliability, or a Prometheus that has seen it fail"
        elif demand.budget is not None and count and not demand.refused:
            found = deciding.domains.available(places[name], demand, demand.budget)
            if found.unavailability > demand.budget:
                yield f"{name}: {found.budget_share:.3g} times the unavailability that is allowed, with {count}"
