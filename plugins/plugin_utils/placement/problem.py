# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be placed, and where it may be: plain data, checked.

All amounts are whole numbers in units of the caller's choice, the same everywhere: cpu in millicores, memory in bytes, gpu in pieces.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Placement = Mapping[str, Mapping[int, str]]
"""agent -> index -> host"""
Spread = Literal["none", "even"] | int
EVEN_SKEW = 1


class PlacementError(ValueError):
    """The question makes no sense: one reason a line, each `<what>.<name>.<key>: <reason>`."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Host:
    """A host. `reserved` is what the system itself needs of `capacity`; a drained host runs on until it is empty."""

    name: str
    capacity: Mapping[str, int]
    reserved: Mapping[str, int] = field(default_factory=dict)
    zone: str = ""
    state: Literal["active", "drained", "failed"] = "active"

    def room(self, resource: str) -> int:
        """What instances may have in all."""
        return max(0, self.capacity.get(resource, 0) - self.reserved.get(resource, 0))


@dataclass(frozen=True)
class Agent:
    """`count` alike instances with the indexes 0 to count - 1.

    `hosts`: the names of those allowed, None for all. `spread` over zones: "none"; N, at most N more in one zone than in any other
    that still has a host to take one; "even", the same with 1, but rather less even than not placed. `surge`: each of its hosts
    keeps room for one more of it, for a rollout that starts the new one beside the old. `state`: "none"; "portable", stopped before it
    starts elsewhere; "fixed", never moved.
    """

    name: str
    count: int
    needs: Mapping[str, int]
    hosts: tuple[str, ...] | None = None
    max_per_host: int | None = None
    spread: Spread = "none"
    surge: bool = False
    state: Literal["none", "portable", "fixed"] = "none"


@dataclass(frozen=True)
class Problem:
    """Hosts, agents, and what runs now. `host_loss`: whoever of the hosts is lost, the others must have room for its instances."""

    hosts: tuple[Host, ...]
    agents: tuple[Agent, ...]
    current: Placement = field(default_factory=dict)
    host_loss: bool = False

    def __post_init__(self) -> None:
        problems = [
            *_twice("hosts", (host.name for host in self.hosts)),
            *_twice("agents", (a.name for a in self.agents)),
        ]
        known = {host.name for host in self.hosts}
        for host in self.hosts:
            for key, amounts in (("capacity", host.capacity), ("reserved", host.reserved)):
                problems += _amounts(f"hosts.{host.name}.{key}", amounts)
        for agent in self.agents:
            problems += _agent_problems(agent, known)
        problems += _current_problems(self.current, {agent.name for agent in self.agents})
        if problems:
            raise PlacementError(problems)

    @property
    def resources(self) -> tuple[str, ...]:
        """Every resource that anybody needs, in order of appearance."""
        return tuple(dict.fromkeys(name for agent in self.agents for name in agent.needs))


def _twice(what: str, names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    found = []
    for name in names:
        if name in seen:
            found.append(f"{what}.{name}: is given twice")
        seen.add(name)
    return found


def _amounts(key: str, amounts: Mapping[str, int]) -> list[str]:
    return [
        f"{key}.{name}: must be a whole number, 0 or more, not {amount!r}"
        for name, amount in amounts.items()
        if isinstance(amount, bool) or not isinstance(amount, int) or amount < 0
    ]


def _agent_problems(agent: Agent, known: set[str]) -> list[str]:
    key = f"agents.{agent.name}"
    problems = _amounts(f"{key}.needs", agent.needs) + _amounts(key, {"count": agent.count})
    if agent.max_per_host is not None and agent.max_per_host < 1:
        problems.append(f"{key}.max_per_host: must be at least 1")
    if not isinstance(agent.spread, str) and agent.spread < 1:
        problems.append(f"{key}.spread: must be 'none', 'even' or at least 1")
    for name in agent.hosts or ():
        if name not in known:
            problems.append(f"{key}.hosts: there is no host {name}")
    return problems


def _current_problems(current: Placement, agents: set[str]) -> list[str]:
    problems = [f"current.{name}: there is no such agent" for name in current if name not in agents]
    return problems + [
        f"current.{name}.{index}: an index is a whole number, 0 or more"
        for name, there in current.items()
        for index in there
        if index < 0
    ]
