# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How others choose a host, as their documentation says: one instance after the other, the best score of those that the rules leave.

First-fit decreasing: the first host that has room, the largest instance first. Kubernetes (NodeResourcesFit, its default resources
cpu and memory, weight 1 each): LeastAllocated scores (allocatable - requested) * 100 / allocatable, MostAllocated requested * 100 /
allocatable, with the instance on it, and takes the mean. Nomad (ScoreFitBinPack, "BestFit v3"): 20 - 10^(free part of cpu)
- 10^(free part of memory), between 0 and 18. Ties go to the first host. Nobody moves what runs.
"""

from collections.abc import Callable

from ansible_collections.agentfactory.core.plugins.plugin_utils.placement import Problem
from ansible_collections.agentfactory.core.plugins.plugin_utils.placement.grid import Grid, build
from ansible_collections.agentfactory.core.plugins.plugin_utils.placement.heuristic import sizes
from ansible_collections.agentfactory.core.plugins.plugin_utils.placement.state import State

Score = Callable[[State, int, int], float]
"""(state, agent, host) -> higher is better"""


def _parts(state: State, agent: int, host: int) -> list[tuple[int, int]]:
    """(used with the instance, available) of cpu and memory: nothing else is scored."""
    rows = zip(state.used[host][:2], state.grid.need[agent], state.grid.avail[host], strict=False)
    return [(used + need, avail) for used, need, avail in rows]


def least_allocated(state: State, agent: int, host: int) -> float:
    parts = _parts(state, agent, host)
    return sum((avail - used) * 100 // avail for used, avail in parts) / len(parts)


def most_allocated(state: State, agent: int, host: int) -> float:
    parts = _parts(state, agent, host)
    return sum(used * 100 // avail for used, avail in parts) / len(parts)


def nomad(state: State, agent: int, host: int) -> float:
    free = [1 - used / avail for used, avail in _parts(state, agent, host)]
    return min(18.0, max(0.0, 20.0 - sum(10.0**part for part in free)))


SCORES: dict[str, Score | None] = {
    "first-fit decreasing": None,
    "LeastAllocated": least_allocated,
    "MostAllocated": most_allocated,
    "Nomad BestFit v3": nomad,
}


def schedule(problem: Problem, score: Score | None) -> tuple[State, int]:
    """The state after everything that lacks a place was scheduled in turn, and how many have none."""
    grid = build(problem)
    state = State(grid).load(grid.kept)
    size = sizes(state)
    agents = list(range(len(size)))
    if score is None:
        agents.sort(key=lambda agent: (-size[agent], agent))
    for agent in agents:
        for _one in range(state.missing[agent]):
            host = _choose(grid, state, agent, score)
            if host is None:
                break
            state.add(agent, host)
    return state, sum(state.missing)


def _choose(grid: Grid, state: State, agent: int, score: Score | None) -> int | None:
    zones = state.open_zones(agent)
    fitting = (h for h in grid.allowed[agent] if (zones is None or grid.zone[h] in zones) and state.fits(agent, h))
    if score is None:
        return next(fitting, None)
    return max(fitting, key=lambda host: (score(state, agent, host), -host), default=None)
