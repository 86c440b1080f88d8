# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why something has no place: a rule, a resource that is short, or room in pieces that are too small."""

from dataclasses import dataclass, field
from typing import Literal

from .state import State


@dataclass(frozen=True)
class Shortage:
    """`count` instances of an agent have no place. `certain`: no placement has room for all; else none was found.

    `rule`: "hosts" (none of those allowed is in service), "max_per_host", "spread". `resource` is short by `missing`, in its unit.
    `biggest` is the biggest free piece of each resource on hosts of theirs, to compare with `needed`.
    """

    agent: str
    indexes: tuple[int, ...]
    reason: Literal["rule", "resource", "fragmentation"]
    text: str
    rule: str = ""
    resource: str = ""
    missing: int = 0
    needed: dict[str, int] = field(default_factory=dict)
    biggest: dict[str, int] = field(default_factory=dict)
    certain: bool = False


def shortages(state: State, without: dict[str, list[int]], *, proven: bool) -> list[Shortage]:
    """One for each agent that lacks a place; `proven`: the exact search says that no placement has room for more."""
    names = [agent.name for agent in state.grid.problem.agents]
    return [_of(state, names.index(name), tuple(indexes), proven=proven) for name, indexes in without.items()]


def _of(state: State, agent: int, indexes: tuple[int, ...], *, proven: bool) -> Shortage:
    grid = state.grid
    name = grid.problem.agents[agent].name
    home, missing, limit = grid.allowed[agent], len(indexes), grid.limit[agent]
    if not home:
        text = f"none of the hosts that {name} may run on is in service"
        return Shortage(name, indexes, "rule", text, rule="hosts", certain=True)
    if limit * len(home) < grid.count[agent]:
        text = f"{grid.count[agent]} instances, at most {limit} on each of {len(home)} hosts: {missing} too many"
        return Shortage(name, indexes, "rule", text, rule="max_per_host", missing=missing, certain=True)
    free = {host: _free(state, host) for host in home}
    needed = dict(zip(grid.resources, grid.need[agent], strict=True))
    biggest = {resource: max(piece[r] for piece in free.values()) for r, resource in enumerate(grid.resources)}
    total = _total(state, agent, needed, biggest, indexes)
    if total is not None:
        return total
    fits = [host for host in home if all(n <= f for n, f in zip(grid.need[agent], free[host], strict=True))]
    if fits:
        full = all(state.on[host].get(agent, 0) >= limit for host in fits)
        rule = "max_per_host" if full else "spread"
        at = ", ".join(sorted({grid.problem.hosts[host].zone or "(no zone)" for host in fits}))
        why = "has as many as it may" if full else "spread allows no more there before other zones have as many"
        text = f"there is room in {at} only, but {'each host there ' if full else ''}{why}"
        return Shortage(name, indexes, "rule", text, rule, "", missing, needed, biggest, proven)
    return _fragmented(name, indexes, needed, biggest, proven=proven)


def _free(state: State, host: int) -> list[int]:
    rows = zip(state.used[host], state.hold[host], state.grid.room[host], strict=True)
    return [max(0, room - used - hold) for used, hold, room in rows]


def _total(
    state: State, agent: int, needed: dict[str, int], biggest: dict[str, int], indexes: tuple[int, ...]
) -> Shortage | None:
    """Where all that may run on these hosts only needs more than they have in all."""
    grid = state.grid
    name, home = grid.problem.agents[agent].name, set(grid.allowed[agent])
    confined = [a for a, hosts in enumerate(grid.allowed) if home.issuperset(hosts)]
    for r, resource in enumerate(grid.resources):
        wanted = sum(grid.need[a][r] * grid.count[a] for a in confined)
        there = sum(grid.room[host][r] for host in home)
        if needed[resource] and wanted > there:
            text = f"{resource}: {wanted} are needed on the {len(home)} hosts of {name}, which have {there}: {wanted - there} too few"
            return Shortage(
                name, indexes, "resource", text, "", resource, wanted - there, needed, biggest, certain=True
            )
    return None


def _fragmented(
    name: str, indexes: tuple[int, ...], needed: dict[str, int], biggest: dict[str, int], *, proven: bool
) -> Shortage:
    small = [resource for resource, amount in needed.items() if amount > biggest[resource]]
    if small:
        pieces = ", ".join(f"{r}: the biggest free piece is {biggest[r]}, and {needed[r]} are needed" for r in small)
        missing = needed[small[0]] - biggest[small[0]]
        return Shortage(name, indexes, "fragmentation", pieces, "", small[0], missing, needed, biggest, proven)
    text = "each resource is free somewhere in a piece that is big enough, but no host has all of them"
    return Shortage(name, indexes, "fragmentation", text, "", "", 0, needed, biggest, proven)
