# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of what runs cannot stay: as few as possible, the rest is kept."""

from itertools import combinations_with_replacement
from math import comb

from .state import State

_EXACT = 3  # so many to evict from one host are found by trying; more by the largest first
_TRIED = 20_000


def keep(state: State) -> int:
    """Fill an empty state with what may stay. Returns how many at least had to leave, beyond those of `away`.

    The bound: what is too many on a host by `limit`; then the larger of what the hosts must lose for lack of room and of what
    the zones must lose by their quotas.
    """
    grid = state.grid
    state.load(grid.kept)
    too_many = by_room = 0
    for agent, there in enumerate(grid.kept):
        for host, count in there.items():
            for _one in range(0 if grid.fixed[agent] else count - grid.limit[agent]):
                state.remove(agent, host)
                too_many += 1
    for host in range(len(grid.avail)):
        if state.short(host):
            mark = len(state.trail)
            by_room += _relieve(state, host)
            state.back(mark)
    by_zone = sum(quota.moves for agent, quota in enumerate(grid.quota) if quota and not grid.fixed[agent])
    for agent in range(len(grid.need)):
        _level_zones(state, agent)
    for host in range(len(grid.avail)):
        if state.short(host):
            _relieve(state, host)
    return too_many + max(by_room, by_zone)


def _relieve(state: State, host: int) -> int:
    """Remove the fewest that make the host fit. Returns a number that no way can do with less than."""
    mark = len(state.trail)
    sets, complete = _choices(state, host)
    for chosen in sets:
        if all(state.on[host].get(agent, 0) >= chosen.count(agent) for agent in set(chosen)):
            for agent in chosen:
                state.remove(agent, host)
            if not state.short(host):
                return len(chosen)
            state.back(mark)
    removed = 0
    while state.short(host):
        movable = [agent for agent in state.on[host] if not state.grid.fixed[agent]]
        if not movable:
            break
        state.remove(max(movable, key=lambda agent: (_relief(state, agent, host), -agent)), host)
        removed += 1
    return min(removed, complete + 1)


def _choices(state: State, host: int) -> tuple[list[tuple[int, ...]], int]:
    """Few before many, and of as many those that need least room elsewhere; and up to which number it is all of them."""
    movable = sorted(agent for agent in state.on[host] if not state.grid.fixed[agent])
    found: list[tuple[int, ...]] = []
    for size in range(1, _EXACT + 1):
        if comb(len(movable) + size - 1, size) > _TRIED:
            return found, size - 1
        sets = combinations_with_replacement(movable, size)
        found += sorted(sets, key=lambda chosen: (sum(_share(state, agent, host) for agent in chosen), chosen))
    return found, _EXACT


def _share(state: State, agent: int, host: int) -> int:
    """An instance's largest share of a host, in millionths."""
    amounts = zip(state.grid.need[agent], state.grid.avail[host], strict=True)
    return max((need * 1_000_000 // avail for need, avail in amounts if avail), default=0)


def _relief(state: State, agent: int, host: int) -> int:
    """How much of what is too much an instance takes with it, in millionths of each."""
    total = 0
    for used, hold, room, need in zip(
        state.used[host], state.hold[host], state.grid.room[host], state.grid.need[agent], strict=True
    ):
        excess = used + hold - room
        if excess > 0:
            total += min(need, excess) * 1_000_000 // excess
    return total


def _level_zones(state: State, agent: int) -> None:
    """Take an agent's instances out of zones that have too many, and as many more as other zones lack."""
    quota = state.grid.quota[agent]
    if quota is None or state.grid.fixed[agent]:
        return
    zones = state.zones[agent]
    for zone, high in quota.high.items():
        while zones.get(zone, 0) > high:
            state.remove(agent, _fullest(state, agent, {zone}))
    while sum(max(0, low - zones.get(zone, 0)) for zone, low in quota.low.items()) > state.missing[agent]:
        rich = {zone for zone, low in quota.low.items() if zones.get(zone, 0) > low}
        state.remove(agent, _fullest(state, agent, rich))


def even(state: State) -> None:
    """What was placed of an agent of which not all can be placed must be within its spread's rule too."""
    for agent, quota in enumerate(state.grid.quota):
        while quota is not None and state.missing[agent] and not state.grid.fixed[agent]:
            if difference(state, agent) <= quota.skew:
                break
            most = max(state.zones[agent].values())
            state.remove(agent, _fullest(state, agent, {zone for zone, n in state.zones[agent].items() if n == most}))


def difference(state: State, agent: int) -> int:
    """How many more of an agent are in its fullest zone than in the emptiest that is not full by `limit`."""
    quota = state.grid.quota[agent]
    if quota is None:
        return 0
    seen = {zone: state.zones[agent].get(zone, 0) for zone in quota.most}
    most = max(seen.values(), default=0)
    return most - min((count for zone, count in seen.items() if count < quota.most[zone]), default=most)


def _fullest(state: State, agent: int, zones: set[int]) -> int:
    there = [host for host in state.grid.allowed[agent] if state.grid.zone[host] in zones and state.on[host].get(agent)]
    return max(there, key=lambda host: (state.short(host), state.level(host), -host))
