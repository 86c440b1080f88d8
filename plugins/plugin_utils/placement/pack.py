# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On how few hosts everything fits, placed anew: how much of a fleet is slack, and what its agents cost at least."""

from dataclasses import dataclass, replace

from . import bounds, heuristic, order
from .grid import PPM, Grid, build
from .problem import Problem
from .state import State


@dataclass(frozen=True)
class Packing:
    """`placement` on `hosts` hosts, of which `bound` are needed in any case; `without` have no place even on all of them."""

    placement: dict[str, dict[int, str]]
    hosts: int
    bound: int
    without: dict[str, list[int]]


def fewest_hosts(problem: Problem) -> Packing:
    """As few hosts as were found. Fixed instances are counted as free to go anywhere."""
    agents = tuple(replace(agent, state="none") for agent in problem.agents)
    grid = build(replace(problem, agents=agents, current={}))
    ranked = _ranked(grid)
    best = _on(grid, ranked)
    low, high = bounds.hosts(grid), len(ranked)
    while not any(best.missing) and low < high:
        middle = (low + high) // 2
        found = _on(grid, ranked[:middle])
        if any(found.missing):
            low = middle + 1
        else:
            best, high = found, middle
    if not any(best.missing):
        _empty(best)
    placement, without = order.instances(grid, best.counts())
    return Packing(placement, sum(bool(there) for there in best.on), bounds.hosts(grid), without)


def _ranked(grid: Grid) -> list[int]:
    """The active hosts, those first that hold most of what everybody needs."""
    width = range(len(grid.resources))
    wanted = [sum(need[r] * count for need, count in zip(grid.need, grid.count, strict=True)) for r in width]
    total = [max(1, sum(grid.room[host][r] for host, use in enumerate(grid.active) if use)) for r in width]
    weight = [sum(room[r] * wanted[r] * PPM // total[r] // total[r] for r in width) for room in grid.room]
    return sorted((host for host, use in enumerate(grid.active) if use), key=lambda host: (-weight[host], host))


def _on(grid: Grid, hosts: list[int]) -> State:
    """Everything on these hosts, as far as it fits."""
    inside = set(hosts)
    some = Grid(**{**grid.__dict__, "allowed": [[h for h in home if h in inside] for home in grid.allowed]})
    state = State(some)
    chains = heuristic.Chains(state)
    for agent in heuristic.place(state, tight=True):
        if not chains.insert(agent):
            break
    state.grid = grid
    return state


def _empty(state: State) -> None:
    """Empty one host after the other into those in use, the least used first, until none can be."""
    while True:
        used = sorted(
            (host for host, there in enumerate(state.on) if there), key=lambda host: (state.level(host), host)
        )
        if not any(_into(state, host, set(used) - {host}) for host in used[: max(8, len(used) // 4)]):
            return


def _into(state: State, host: int, others: set[int]) -> bool:
    mark = len(state.trail)
    grid, size = state.grid, heuristic.sizes(state)
    for agent in sorted(state.on[host], key=lambda agent: (-size[agent], agent)):
        home = sorted(others.intersection(grid.allowed[agent]))
        for _one in range(state.on[host][agent]):
            state.remove(agent, host)
            zones = state.open_zones(agent)
            fitting = [h for h in home if state.fits(agent, h) and (zones is None or grid.zone[h] in zones)]
            if not fitting:
                state.back(mark)
                return False
            state.add(agent, max(fitting, key=lambda h: (state.level_with(agent, h), -h)))
    return True
