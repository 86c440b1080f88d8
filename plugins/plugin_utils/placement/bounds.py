# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no placement can do better, whatever the search found."""

from collections.abc import Iterable
from dataclasses import dataclass

from .grid import PPM, Counts, Grid

_GROUPS = 40  # sets of hosts that are looked at


@dataclass(frozen=True)
class Bounds:
    """`moves`; `max_utilisation` in millionths, of all placements with so few moves as this one; `hosts` that hold an instance."""

    moves: int
    max_utilisation: int
    hosts: int


def utilisation(grid: Grid, kept: Counts) -> int:
    """The lowest possible highest use, where `kept` stays in any case: water is filled into what is free.

    Once over all hosts, and once over each set of hosts that some agents are confined to.
    """
    base = [[0] * len(grid.resources) for _host in grid.avail]
    rest = list(grid.count)
    for agent, there in enumerate(kept):
        for host, count in there.items():
            rest[agent] -= count
            _fill(base[host], grid.need[agent], count)
    for agent, there in enumerate(grid.stuck):
        for host, count in there.items():
            _fill(base[host], grid.need[agent], count)
    floor = [_level(base[host], grid.avail[host]) for host in range(len(base))]
    active = [host for host in range(len(base)) if grid.active[host]]
    best = max((floor[host] for host in active), default=0)
    homes = {tuple(grid.allowed[agent]) for agent, count in enumerate(rest) if count > 0}
    for home in [tuple(active), *sorted(homes, key=lambda home: (len(home), home))[:_GROUPS]]:
        inside = set(home)
        waiting = [agent for agent, count in enumerate(rest) if count > 0 and inside.issuperset(grid.allowed[agent])]
        for resource in range(len(grid.resources)):
            total = sum(grid.need[agent][resource] * rest[agent] for agent in waiting)
            best = max(best, _water(total, [(base[h][resource], grid.avail[h][resource]) for h in home]))
        for agent in waiting:
            if tuple(grid.allowed[agent]) == home:
                best = max(best, min((_level(_sum(base[h], grid.need[agent]), grid.avail[h]) for h in home), default=0))
    return best


def hopeless(grid: Grid) -> bool:
    """Whether everything together needs more of some resource than all hosts have."""
    for resource in range(len(grid.resources)):
        room = sum(grid.room[host][resource] for host, usable in enumerate(grid.active) if usable)
        if sum(need[resource] * count for need, count in zip(grid.need, grid.count, strict=True)) > room:
            return True
    return False


def _fill(row: list[int], need: Iterable[int], count: int) -> None:
    for resource, amount in enumerate(need):
        row[resource] += amount * count


def _sum(row: list[int], need: Iterable[int]) -> list[int]:
    return [used + amount for used, amount in zip(row, need, strict=True)]


def _level(used: Iterable[int], avail: Iterable[int]) -> int:
    return max((-(-u * PPM // a) if a else 2 * PPM for u, a in zip(used, avail, strict=True) if u), default=0)


def _water(total: int, hosts: list[tuple[int, int]]) -> int:
    """The level (millionths, rounded up) at which hosts, each (used, available), have taken `total` more; at most PPM."""
    low, high = 0, PPM
    while low < high and total > 0:
        middle = (low + high) // 2
        if sum(max(0, middle * avail // PPM - used) for used, avail in hosts) >= total:
            high = middle
        else:
            low = middle + 1
    return low


def hosts(grid: Grid) -> int:
    """The fewest hosts that can hold everything: by each resource's sum, by halves, and by `limit`."""
    active = [host for host in range(len(grid.avail)) if grid.active[host]]
    best = 0
    for resource in range(len(grid.resources)):
        total = sum(need[resource] * count for need, count in zip(grid.need, grid.count, strict=True))
        found = 0
        sizes = sorted((grid.room[host][resource] for host in active), reverse=True)
        for size in sizes:
            if total <= 0:
                break
            total -= size
            found += 1
        half = sizes[0] // 2 if sizes else 0
        alone = sum(count for need, count in zip(grid.need, grid.count, strict=True) if need[resource] > half)
        best = max(best, found, min(alone, len(active)))
    for agent, count in enumerate(grid.count):
        if grid.limit[agent]:
            best = max(best, -(-count // grid.limit[agent]))
    return best
