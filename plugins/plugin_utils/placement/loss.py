# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can the others take what a lost host leaves, without moving anything else?

By room, by allowed hosts and by `max_per_host`; the spread over zones may wait until the host is back.
"""

from dataclasses import dataclass

from .heuristic import Levels, sizes
from .state import State


@dataclass(frozen=True)
class Loss:
    """A host, and how many instances of each agent would find no room if it were lost."""

    host: str
    homeless: dict[str, int]


def losses(state: State) -> list[Loss]:
    """The hosts whose loss the others cannot take; [] is well."""
    grid, size = state.grid, sizes(state)
    levels = Levels(state)
    home = [set(hosts) for hosts in grid.allowed]
    found = []
    for host, there in enumerate(state.on):
        if not there or not grid.active[host]:
            continue
        homeless: dict[str, int] = {}
        mark = len(state.trail)
        taken: set[int] = set()
        waiting = sorted(((-size[a], a) for a, n in there.items() for _one in range(n)))
        for _size, agent in waiting:
            target = _take(state, levels, agent, host, home[agent])
            if target is None:
                name = grid.problem.agents[agent].name
                homeless[name] = homeless.get(name, 0) + 1
            else:
                state.add(agent, target)
                taken.add(target)
                levels.update(target)
        state.back(mark)
        for target in taken:
            levels.update(target)
        if homeless:
            found.append(Loss(grid.problem.hosts[host].name, homeless))
    return found


def _take(state: State, levels: Levels, agent: int, lost: int, home: set[int]) -> int | None:
    """The fullest host that has room."""
    for _level, host in reversed(levels.sorted):
        if host != lost and host in home and state.fits(agent, host):
            return host
    return None
