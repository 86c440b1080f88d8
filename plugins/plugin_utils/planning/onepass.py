# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As many of the moves as one deploy can make without overfilling a host.

A deploy starts everything at its new place, proves it, and only then removes what moved: so for a while a host holds what it had and
what it gets. Moves that need room which only other moves free are left for the next plan.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ..placement import Agent, Problem, Step


@dataclass
class Pass:
    """`steps` in order, `left` those that must wait, the `placement` that it ends in (agent -> index -> host), and the `peak`: what
    each host holds while all of the steps are under way, by resource."""

    steps: list[Step] = field(default_factory=list)
    left: list[Step] = field(default_factory=list)
    placement: dict[str, dict[int, str]] = field(default_factory=dict)
    peak: dict[str, dict[str, int]] = field(default_factory=dict)


def one_pass(problem: Problem, steps: Iterable[Step]) -> Pass:
    """The first step of an order always fits, and none is taken to where one that is left needs room: so what is left can still go in
    the same order, and plan after plan comes to the end."""
    found = Pass(placement={agent.name: dict(problem.current.get(agent.name, {})) for agent in problem.agents})
    agents = {agent.name: agent for agent in problem.agents}
    room = _Room(problem)
    touched: set[str] = set()
    awaited: set[str | None] = set()
    for step in steps:
        waits = step.instance in touched or (step.target is not None and step.target in awaited)
        if waits or not room.take(agents[step.agent], step):
            found.left.append(step)
            awaited.add(step.target)
        else:
            found.steps.append(step)
            found.placement[step.agent].pop(step.index, None)
            if step.target is not None:
                found.placement[step.agent][step.index] = step.target
        touched.add(step.instance)
    found.peak = room.used
    _lowest_first(found)
    return found


def _lowest_first(found: Pass) -> None:
    """New instances are alike: those that are made now get the lowest of their indexes, and a higher one waits."""
    waiting = [step for step in found.left if step.kind == "new"]
    for agent in dict.fromkeys(step.agent for step in waiting):
        made = [step for step in found.steps if step.kind == "new" and step.agent == agent]
        later = [step for step in waiting if step.agent == agent]
        indexes = iter(sorted(step.index for step in made + later))
        for step in made:
            found.placement[agent].pop(step.index)
        renamed = {step: replace(step, index=next(indexes)) for step in made + later}
        for step in made:
            found.placement[agent][renamed[step].index] = str(step.target)
        found.steps = [renamed.get(step, step) for step in found.steps]
        found.left = [renamed.get(step, step) for step in found.left]


class _Room:
    """What hosts hold, with nothing given back."""

    def __init__(self, problem: Problem) -> None:
        self.hosts = {host.name: host for host in problem.hosts}
        self.used: dict[str, dict[str, int]] = {name: {} for name in self.hosts}
        self.on: dict[tuple[str, str], int] = {}
        agents = {agent.name: agent for agent in problem.agents}
        for name, there in problem.current.items():
            for host in there.values():
                if host in self.hosts and self.hosts[host].state != "failed":
                    self._add(agents[name], host)

    def _add(self, agent: Agent, host: str) -> None:
        used = self.used[host]
        used.update({r: used.get(r, 0) + amount for r, amount in agent.needs.items()})
        self.on[agent.name, host] = self.on.get((agent.name, host), 0) + 1

    def take(self, agent: Agent, step: Step) -> bool:
        if step.target is None:
            return True
        host, used = self.hosts[step.target], self.used[step.target]
        most = agent.max_per_host
        if most is not None and self.on.get((agent.name, host.name), 0) >= most:
            return False
        if any(amount and used.get(r, 0) + amount > host.room(r) for r, amount in agent.needs.items()):
            return False
        self._add(agent, host.name)
        return True
