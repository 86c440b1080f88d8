# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From counts to instances, and an order of moves on whose way no host is ever overfilled.

An instance that moves is started at its new place before the old one stops, so for a while it is in both; one with portable state
stops first. Either way the new place must have room while the old one is not free yet. What a rollout's surge and the loss of a
host keep free may be used on the way.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from .grid import PPM, Counts, Grid


@dataclass(frozen=True)
class Step:
    """One instance: "remove" (stop for good), "restart" (its host failed), "move", "hop" (a move to a place in between), "new"."""

    kind: Literal["remove", "restart", "move", "hop", "new"]
    agent: str
    index: int
    source: str | None = None
    target: str | None = None

    @property
    def instance(self) -> str:
        return f"{self.agent}@{self.index}"


@dataclass
class Order:
    """The steps in order; `hops` of them are beyond the moves that are needed; `deadlocked` cannot be done in any order found."""

    steps: list[Step] = field(default_factory=list)
    deadlocked: list[Step] = field(default_factory=list)

    @property
    def hops(self) -> int:
        return sum(step.kind == "hop" for step in self.steps)


def instances(grid: Grid, counts: Counts) -> tuple[dict[str, dict[int, str]], dict[str, list[int]]]:
    """The placement with its indexes, and the indexes without a place.

    Who stays keeps its index; of those of one host the low ones stay. Who runs gets a place before who is new.
    """
    problem, placement, without = grid.problem, {}, {}
    for position, agent in enumerate(problem.agents):
        rest = {problem.hosts[host].name: count for host, count in sorted(counts[position].items())}
        for host, count in grid.stuck[position].items():
            rest[problem.hosts[host].name] = rest.get(problem.hosts[host].name, 0) + count
        runs = problem.current.get(agent.name, {})
        found: dict[int, str] = {}
        for index in sorted(index for index in runs if index < agent.count):
            if rest.get(runs[index]):
                found[index] = runs[index]
                rest[runs[index]] -= 1
        free = [host for host, count in rest.items() for _one in range(count)]
        waiting = [index for index in range(agent.count) if index not in found]
        waiting.sort(key=lambda index: (index not in runs, index))
        found.update(zip(waiting, free, strict=False))
        placement[agent.name] = dict(sorted(found.items()))
        if len(free) < len(waiting):
            without[agent.name] = sorted(waiting[len(free) :])
    return placement, without


def changes(grid: Grid, placement: dict[str, dict[int, str]]) -> list[Step]:
    """What differs from what runs, unordered: removals, restarts, moves, new ones."""
    problem = grid.problem
    dead = {host.name for host in problem.hosts if host.state == "failed"}
    known = {host.name for host in problem.hosts}
    found: list[Step] = []
    for agent in problem.agents:
        there = problem.current.get(agent.name, {})
        found += [Step("remove", agent.name, i, host, None) for i, host in sorted(there.items()) if i >= agent.count]
        for index, target in placement.get(agent.name, {}).items():
            source = there.get(index)
            if source is None:
                found.append(Step("new", agent.name, index, None, target))
            elif source != target:
                lost = source in dead or source not in known
                found.append(Step("restart" if lost else "move", agent.name, index, source, target))
    return found


def order(grid: Grid, steps: Iterable[Step]) -> Order:
    """The order with the fewest left undone, then the fewest hops, of those tried: first the lost, or first the moves."""
    steps = list(steps)
    first = _Sequence(grid, steps, ("restart", "move", "new")).run()
    if not first.deadlocked and not first.hops:
        return first
    second = _Sequence(grid, steps, ("move", "restart", "new")).run()
    return min(first, second, key=lambda found: (len(found.deadlocked), found.hops))


class _Sequence:
    """One attempt at an order."""

    def __init__(self, grid: Grid, steps: list[Step], kinds: tuple[str, ...]) -> None:
        self.grid, self.steps, self.kinds = grid, steps, kinds
        self.hosts = {host.name: position for position, host in enumerate(grid.problem.hosts)}
        self.agents = {agent.name: position for position, agent in enumerate(grid.problem.agents)}
        self.used = [[0] * len(grid.resources) for _host in grid.avail]
        self.on: list[dict[int, int]] = [{} for _host in grid.avail]
        for agent, there in grid.problem.current.items():
            for name in there.values():
                if name in self.hosts and grid.problem.hosts[self.hosts[name]].state != "failed":
                    self._shift(self.agents[agent], self.hosts[name], 1)
        self.found = Order()

    def _shift(self, agent: int, host: int, sign: int) -> None:
        for resource, amount in enumerate(self.grid.need[agent]):
            self.used[host][resource] += sign * amount
        self.on[host][agent] = self.on[host].get(agent, 0) + sign

    def _fits(self, agent: int, host: int) -> bool:
        if self.on[host].get(agent, 0) >= self.grid.limit[agent]:
            return False
        rows = zip(self.used[host], self.grid.need[agent], self.grid.avail[host], strict=True)
        return all(used + need <= avail for used, need, avail in rows)

    def _do(self, step: Step) -> None:
        agent = self.agents[step.agent]
        if step.target is not None:
            self._shift(agent, self.hosts[step.target], 1)
        if step.kind in ("move", "hop", "remove") and step.source in self.hosts:
            self._shift(agent, self.hosts[step.source], -1)
        self.found.steps.append(step)

    def _ready(self, step: Step) -> bool:
        return step.target is None or self._fits(self.agents[step.agent], self.hosts[step.target])

    def run(self) -> Order:
        for step in self.steps:
            if step.kind == "remove":
                self._do(step)
        todo: list[Step] = []
        for kind in self.kinds:
            todo = self._progress(todo + [step for step in self.steps if step.kind == kind])
            while kind != "new" and any(step.kind == "move" for step in todo):
                hop = self._hop(todo)
                if hop is None:
                    break
                todo = self._progress(hop)
        self.found.deadlocked = todo
        return self.found

    def _progress(self, todo: list[Step]) -> list[Step]:
        """Do what can be done until nothing more can; returns the rest."""
        while True:
            rest = []
            for step in todo:
                if self._ready(step):
                    self._do(step)
                else:
                    rest.append(step)
            if len(rest) == len(todo):
                return rest
            todo = rest

    def _hop(self, todo: list[Step]) -> list[Step] | None:
        """Send one that is in another's way to a place in between; returns what then is to do, or None."""
        hopped = {(step.agent, step.index) for step in self.found.steps if step.kind == "hop"}
        wanted = {step.target for step in todo}
        blocking = [s for s in todo if s.kind == "move" and s.source in wanted and (s.agent, s.index) not in hopped]
        for step in blocking:
            between = self._between(step, wanted)
            if between is not None:
                self._do(Step("hop", step.agent, step.index, step.source, between))
                onward = Step("move", step.agent, step.index, between, step.target)
                return [onward if one is step else one for one in todo]
        return None

    def _between(self, step: Step, wanted: set[str | None]) -> str | None:
        """Where an instance can wait: on a host that nobody waits for, if there is one, and the least used of them."""
        agent, grid = self.agents[step.agent], self.grid
        name = [host.name for host in grid.problem.hosts]
        fitting = [h for h in grid.allowed[agent] if name[h] not in (step.source, step.target) and self._fits(agent, h)]
        best = min(fitting, key=lambda h: (name[h] in wanted, self._level(h), h), default=None)
        return None if best is None else name[best]

    def _level(self, host: int) -> int:
        rows = zip(self.used[host], self.grid.avail[host], strict=True)
        return max((used * PPM // avail for used, avail in rows if avail), default=0)
