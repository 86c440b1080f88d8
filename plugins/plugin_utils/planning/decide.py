# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: counts by promise and availability, a placement for them, the moves of one deploy, and what is then to be expected."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import placement
from ..capacity.study import Ask
from ..fleet import Fleet
from ..fleet_placement import Placed, current
from ..fleet_ports import clash_lines
from ..fleet_problem import Given, concerned, problem
from ..placement import Answer, PlacementError
from ..placement import text as placement_text
from ..placement.grid import PPM
from ..reliability.structure import INSTANCE
from . import doubts
from .counts import settle
from .demand import Demand, demands
from .document import FORMAT
from .domains import Domains, Where
from .expect import agent_row, host_rows, rollout
from .more import bought
from .observed import Seen, watched
from .onepass import Pass, one_pass


@dataclass(frozen=True)
class Asked:
    """What is planned for. `drain`: hosts to be emptied. `failed`: hosts that are lost, where nothing runs any more. `lose_zone`: a
    zone that is taken as lost, which is a mere what-if. `host_loss`: whatever host is lost, the others must have room for what it ran.
    `one_more`: a host, to ask what another one like it would buy."""

    load_factor: float = 1.0
    drain: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    lose_zone: str = ""
    host_loss: bool = False
    one_more: str = ""
    window: str = "7d"
    proof: bool | None = None

    @property
    def what_if(self) -> list[str]:
        return [f"lose_zone={self.lose_zone}"] if self.lose_zone else []


@dataclass
class Inputs:
    """The fleet read for planning, its hosts (`given` those with a capacity, `zones` of all), where instances are now, the health
    that an agent's manifest asks for, and who is asked for metrics."""

    fleet: Fleet
    given: Mapping[str, Given]
    zones: Mapping[str, str]
    placed: Placed
    health: Callable[[str], Mapping[str, Any]]
    ask: Ask | None = None


@dataclass
class Deciding:
    """What is known on the way to a plan."""

    inputs: Inputs
    asked: Asked
    demands: dict[str, Demand]
    domains: Domains
    failed: list[str]
    watched: Mapping[str, Seen]
    counts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def solve(self, counts: Mapping[str, int]) -> Answer:
        fleet, runs = self.inputs.fleet, current(self.inputs.placed, self.inputs.fleet.counted)
        matters = concerned(fleet, runs)
        question = problem(
            fleet, self.inputs.given, runs, drain=[host for host in self.asked.drain if host in matters],
            failed=[host for host in self.failed if host in matters], host_loss=self.asked.host_loss, counts=counts,
        )  # fmt: skip
        return placement.solve(question, proof=self.asked.proof)

    def places(self, answer: Answer | None) -> dict[str, dict[str, int]]:
        """agent -> host -> how many, of all agents, with those that are not counted."""
        fleet, found = self.inputs.fleet, {}
        for name, declared in fleet.agents.items():
            if name not in fleet.counted:
                found[name] = {
                    host: len(declared["instances"]) for host in fleet.hosts[name] if host not in self.failed
                }
        for name, there in (answer.placement if answer else {}).items():
            found[name] = self.up(there)
        return found

    def up(self, there: Mapping[int, str]) -> dict[str, int]:
        """index -> host, as host -> how many; what is fixed on a lost host is placed there and does not run."""
        return in_numbers({index: host for index, host in there.items() if host not in self.failed})


def in_numbers(there: Mapping[int, str]) -> dict[str, int]:
    """index -> host, as host -> how many."""
    found: dict[str, int] = {}
    for host in there.values():
        found[host] = found.get(host, 0) + 1
    return found


def decide(inputs: Inputs, asked: Asked) -> dict[str, Any]:
    """The plan without its `identity`. PlacementError, CapacityError or ReliabilityError where the question makes no sense."""
    fleet = inputs.fleet
    named = [("drain", host) for host in asked.drain] + [("failed", host) for host in asked.failed]
    if unknown := [f"{key}: {host} is no host of the fleet" for key, host in named if host not in fleet.declared]:
        raise PlacementError(unknown)
    if asked.one_more and not fleet.counted:
        raise PlacementError(["one_more: no agent of the fleet has a count, so no host would buy anything"])
    running = {name: sum(map(len, inputs.placed.get(name, {}).values())) for name in fleet.counted}
    running |= {
        name: len(a["instances"]) * len(fleet.hosts[name]) for name, a in fleet.agents.items() if name not in running
    }
    goals = {name: goal for name, goal in fleet.goals.items() if goal and fleet.agents[name]["state"] != "absent"}
    wanted = demands(goals, running, load_factor=asked.load_factor, window=asked.window, ask=inputs.ask)
    seen = _watched(inputs, asked, wanted)
    domains = Domains(inputs.zones, fleet.reliability, {name: one.chance for name, one in seen.items() if one.chance})
    deciding = Deciding(inputs, asked, wanted, domains, _failed(inputs, asked), seen)
    deciding.warnings += [f"{name}: {doubt}" for name, one in seen.items() for doubt in one.doubts]
    deciding.warnings += [f"{name}: {note}" for name, demand in wanted.items() for note in demand.notes]
    deciding.warnings += [
        f"{name}: refused: {demand.refused}"
        + ("; so nothing is said of its promise, nor of losses that break it" if demand.unknown else "")
        for name, demand in wanted.items() if demand.refused
    ]  # fmt: skip
    answer = settle(deciding, running) if fleet.counted else None
    made = one_pass(answer.problem, answer.order.steps) if answer else Pass()
    # what is stopped is as many as if it ran, and promises nothing
    deciding.demands = {name: one for name, one in wanted.items() if fleet.agents[name]["state"] == "started"}
    return _told(deciding, answer, made)


def _watched(inputs: Inputs, asked: Asked, wanted: Mapping[str, Demand]) -> dict[str, Seen]:
    """What was seen of instances that are to be available, where the fleet does not say how often they are down."""
    names = [name for name, demand in wanted.items() if demand.budget is not None]
    if not names or inputs.ask is None or inputs.fleet.reliability.get(INSTANCE):
        return {}
    return watched(inputs.fleet.environment, names, asked.window, inputs.ask)


def _failed(inputs: Inputs, asked: Asked) -> list[str]:
    found = [host for host, zone in inputs.zones.items() if asked.lose_zone and zone == asked.lose_zone]
    if asked.lose_zone and not found:
        known = ", ".join(sorted(set(filter(None, inputs.zones.values())))) or "none"
        raise PlacementError([f"lose_zone: no host is in zone {asked.lose_zone}; zones are {known}"])
    return list(dict.fromkeys([*found, *asked.failed]))


def _told(deciding: Deciding, answer: Answer | None, made: Pass) -> dict[str, Any]:
    """The plan as plain data."""
    inputs, asked, places = deciding.inputs, deciding.asked, deciding.places(answer)
    stuck = list(answer.stuck) if answer else []
    wave = {host: number for number, host in enumerate(inputs.fleet.declared)}  # in this order the rollout goes
    steps = [_step(step) for step in sorted(made.steps, key=lambda step: wave.get(str(step.target or step.source), -1))]
    hosts = [host for host in inputs.fleet.declared if host not in {*deciding.failed, *asked.drain}]
    return {
        "format": FORMAT,
        "environment": inputs.fleet.environment,
        "what_if": asked.what_if,
        "asked": {
            "load_factor": asked.load_factor, "drain": list(asked.drain), "failed": list(asked.failed), "lose_zone": asked.lose_zone,
            "host_loss": asked.host_loss,
        },
        "counts": dict(deciding.counts),
        "placement": {name: _by_host(_still(there, inputs.fleet)) for name, there in made.placement.items()},
        "portable": [name for name, counted in inputs.fleet.counted.items() if counted.state_portable],
        "host_order": list(inputs.fleet.declared),
        "lost": list(asked.failed),
        "steps": steps,
        "waiting": [_step(step) for step in made.left],
        "fixed": stuck,
        "problems": [*_problems(answer), *_clashes(inputs.fleet, made)] if answer else [],
        "agents": [_agent(deciding, name, places.get(name, {}), hosts) for name in inputs.fleet.agents],
        "hosts": host_rows(answer, made) if answer else [],
        "losses": deciding.domains.losses(places, deciding.demands),
        **_quality(answer),
        "one_more": bought(answer, asked.one_more) if answer and asked.one_more else None,
        "rollout": rollout(inputs.fleet, steps, inputs.health),
        "warnings": [*deciding.warnings, *doubts.doubts(deciding, answer, made, places)],
        "assumptions": _assumptions(deciding, answer),
    }  # fmt: skip


def _still(there: Mapping[int, str], fleet: Fleet) -> dict[int, str]:
    """Without what waits for room and was on a host that the fleet does not manage any more: it has no place until then."""
    return {index: host for index, host in there.items() if host in fleet.declared}


def _quality(answer: Answer | None) -> dict[str, Any]:
    """How far from the best that can be."""
    if answer is None:
        return {"moves": None, "use": None}
    bounds, gaps = answer.bounds, answer.gaps
    use = {"found": answer.max_utilisation, "bound": bounds.max_utilisation, "gap": gaps["max_utilisation"]}
    return {
        "moves": {"found": answer.moves, "bound": bounds.moves, "gap": gaps["moves"], "method": answer.method},
        "use": {key: value / PPM for key, value in use.items()},
    }


def _problems(answer: Answer) -> Iterator[str]:
    return (line for line in placement_text.problems(answer) if not line.startswith("stuck:"))


def _clashes(fleet: Fleet, made: Pass) -> Iterator[str]:
    """Two that would want one port of a host: where instances go is decided by their needs, and their ports follow."""
    there: dict[str, list[Mapping[str, Any]]] = {
        host: [agent for agent in declared if agent["name"] not in fleet.counted]
        for host, declared in fleet.declared.items()
    }
    for name, placed in made.placement.items():
        for host, indexes in _by_host(placed).items():
            ports = {str(index): {port: base + index for port, base in fleet.ports[name].items()} for index in indexes}
            there.setdefault(host, []).append({"name": name, "ports": ports})
    for key, reason in clash_lines(there):
        yield f"{key}: {reason}: give one of them another base port, or other hosts"


def _step(step: placement.Step) -> dict[str, Any]:
    return {
        "kind": step.kind, "agent": step.agent, "index": step.index, "from": step.source, "to": step.target,
        "text": placement_text.step(step),
    }  # fmt: skip


def _by_host(there: Mapping[int, str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, host in sorted(there.items()):
        found.setdefault(host, []).append(index)
    return found


def _agent(deciding: Deciding, name: str, where: Where, hosts: Iterable[str]) -> dict[str, Any]:
    counted = deciding.inputs.fleet.counted.get(name)
    allowed = [host for host in (counted.hosts if counted else where) if host in hosts]
    row = agent_row(
        name, deciding.demands.get(name), where, deciding.domains, allowed, auto=bool(counted and counted.auto)
    )
    if name in deciding.watched and deciding.watched[name].failures is not None:
        row["observed_failures"] = deciding.watched[name].failures
    return row


def _assumptions(deciding: Deciding, answer: Answer | None) -> list[str]:
    return [
        *(f"{name}: {line}" for name, demand in deciding.demands.items() for line in demand.basis),
        *(answer.assumptions if answer else []),
        *_of_availability(deciding),
        "a rollout takes its agents' bake time at best, and their start_timeout with it at worst; staging comes on top",
    ]


def _of_availability(deciding: Deciding) -> Iterator[str]:
    domains = deciding.domains
    known = [name for name in deciding.demands if domains.knows(name)]
    for name in known if INSTANCE in domains.unsaid else []:
        seen = deciding.watched.get(name, Seen())
        why = seen.told or "nobody says how often it is down, or saw it"
        yield f"{name}: {seen.told if seen.chance else f'an instance is taken not to fail by itself: {why}'}"
    if known:
        yield from (
            f"reliability.{kind} is not given: a {kind} is taken never to be down by itself"
            for kind in domains.unsaid
            if kind != INSTANCE
        )
        yield "a host or zone that is down takes down all in it; beyond that, things fail independently; a month has 30 days"
