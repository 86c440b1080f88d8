# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A problem as numbers: hosts, agents, resources and zones are positions, and no name is looked at any more.

Instances of one agent are alike, so the solver counts them: how many of agent a are on host h.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .problem import EVEN_SKEW, Agent, Problem

PPM = 1_000_000
Counts = list[dict[int, int]]
"""agent -> {host: how many}"""


@dataclass
class Quota:
    """How many of an agent a zone must and may have, and has room for by `limit`; `moves` is what that costs at least of those
    that run."""

    low: dict[int, int]
    high: dict[int, int]
    most: dict[int, int]
    skew: int
    moves: int = 0


@dataclass
class Grid:
    """The numbers. Lists over hosts, agents and resources; `room` is what may be used, `avail` what use is measured by."""

    problem: Problem
    resources: tuple[str, ...]
    avail: list[tuple[int, ...]]
    room: list[tuple[int, ...]]
    active: list[bool]
    zone: list[int]
    need: list[tuple[int, ...]]
    allowed: list[list[int]]
    limit: list[int]
    surge: list[bool]
    fixed: list[bool]
    count: list[int]
    """agent -> how many the solver has to place: all but those that are stuck"""
    kept: Counts
    """what runs and may stay, by the hosts' state and the agents' hosts alone"""
    stuck: Counts
    """what has state of its own and may neither stay nor move: it stays"""
    away: list[int]
    """agent -> how many run where they may not stay"""
    quota: list[Quota | None] = field(default_factory=list)

    def with_ceiling(self, ppm: int) -> "Grid":
        """The same with that share of each host only."""
        room = [tuple(amount * ppm // PPM for amount in amounts) for amounts in self.avail]
        return Grid(**{**self.__dict__, "room": room})


def skew_of(agent: Agent, relaxed: Mapping[str, int]) -> int | None:
    """The largest difference between zones that an agent's rule allows."""
    if agent.spread == "none":
        return None
    return relaxed.get(agent.name, EVEN_SKEW) if agent.spread == "even" else int(agent.spread)


def build(problem: Problem, relaxed: Mapping[str, int] | None = None) -> Grid:
    """The grid of a problem; `relaxed` gives agents whose spread is "even" a larger skew."""
    names = {host.name: position for position, host in enumerate(problem.hosts)}
    zones = {zone: position for position, zone in enumerate(dict.fromkeys(host.zone for host in problem.hosts))}
    resources = problem.resources
    avail = [tuple(host.room(name) for name in resources) for host in problem.hosts]
    active = [host.state == "active" for host in problem.hosts]
    everywhere = [position for position, usable in enumerate(active) if usable]
    usable = [
        everywhere if agent.hosts is None else sorted({names[name] for name in agent.hosts if active[names[name]]})
        for agent in problem.agents
    ]
    grid = Grid(
        problem=problem,
        resources=resources,
        avail=avail,
        room=avail,
        active=active,
        zone=[zones[host.zone] for host in problem.hosts],
        need=[tuple(agent.needs.get(name, 0) for name in resources) for agent in problem.agents],
        allowed=usable,
        limit=[agent.max_per_host if agent.max_per_host is not None else agent.count for agent in problem.agents],
        surge=[agent.surge for agent in problem.agents],
        fixed=[agent.state == "fixed" for agent in problem.agents],
        count=[agent.count for agent in problem.agents],
        kept=[{} for _agent in problem.agents],
        stuck=[{} for _agent in problem.agents],
        away=[0 for _agent in problem.agents],
    )
    _sort_current(grid, names)
    for position, agent in enumerate(problem.agents):
        skew = skew_of(agent, relaxed or {})
        grid.quota.append(None if skew is None else _quota(grid, position, skew))
    return grid


def _sort_current(grid: Grid, names: Mapping[str, int]) -> None:
    """What runs: it may stay, must leave, or is stuck. A host that is not known any more is as one that failed."""
    for position, agent in enumerate(grid.problem.agents):
        home = set(grid.allowed[position])
        for index, name in grid.problem.current.get(agent.name, {}).items():
            host = names.get(name)
            if index >= agent.count:
                continue
            if host is None:
                grid.away[position] += 1
            elif host in home:
                grid.kept[position][host] = grid.kept[position].get(host, 0) + 1
            elif grid.fixed[position]:
                grid.stuck[position][host] = grid.stuck[position].get(host, 0) + 1
                grid.count[position] -= 1
            else:
                grid.away[position] += 1


def _quota(grid: Grid, agent: int, skew: int) -> Quota:
    """The level between whose floor and floor + skew the zones are filled with the fewest moves.

    A zone whose hosts are full of this agent (by `limit`) holds the others back no longer.
    """
    most: dict[int, int] = {}
    there: dict[int, int] = {}
    count = grid.count[agent]
    for host in grid.allowed[agent]:
        zone = grid.zone[host]
        most[zone] = min(count, most.get(zone, 0) + grid.limit[agent])
        there[zone] = there.get(zone, 0) + min(grid.kept[agent].get(host, 0), grid.limit[agent])
    free = count - sum(there.values())
    best = Quota(dict.fromkeys(most, 0), dict(most), most, skew)
    cost: tuple[int, int] | None = None
    for level in range(count + 1):
        low = {zone: min(top, level) for zone, top in most.items()}
        high = {zone: min(top, level + skew) for zone, top in most.items()}
        if sum(high.values()) < count or sum(low.values()) > count:
            continue
        over = sum(max(0, there[zone] - high[zone]) for zone in most)
        under = sum(max(0, low[zone] - there[zone]) for zone in most)
        found = (max(over, under - free), abs(2 * count - sum(low.values()) - sum(high.values())))
        if cost is None or found < cost:
            best, cost = Quota(low, high, most, skew, max(0, found[0])), found
    return best
