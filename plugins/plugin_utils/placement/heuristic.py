# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placing what is missing: greedy, then ejection chains, then whoever may go home goes home."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import combinations_with_replacement

from .grid import PPM
from .state import State

_CANDIDATES = 24
_WIDTH = 40  # hosts that a chain looks at
BUDGET = 1_000_000  # hosts that one chain's search looks at; to send somebody away counts as _SENT of them
TOTAL = 5_000_000  # and all of them together
_SENT = 5


class Levels:
    """The hosts by their level, kept sorted while the state changes."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.of = [state.level(host) for host in range(len(state.used))]
        self.sorted = sorted((level, host) for host, level in enumerate(self.of) if state.grid.active[host])

    def update(self, host: int) -> None:
        del self.sorted[bisect_left(self.sorted, (self.of[host], host))]
        self.of[host] = self.state.level(host)
        insort(self.sorted, (self.of[host], host))


def sizes(state: State) -> list[int]:
    """Each agent's largest share of what its hosts have in all, in parts of 10^12: who needs most of what is scarce comes first."""
    grid = state.grid
    totals: dict[tuple[int, ...], list[int]] = {}
    found = []
    for agent, need in enumerate(grid.need):
        hosts = tuple(grid.allowed[agent])
        if hosts not in totals:
            totals[hosts] = [sum(grid.avail[host][r] for host in hosts) for r in range(len(need))]
        found.append(max((n * PPM * PPM // t for n, t in zip(need, totals[hosts], strict=True) if t), default=0))
    return found


def place(state: State, *, tight: bool) -> list[int]:
    """Place what is missing, the largest first. Returns the agents of those for which there was no room, one for each.

    `tight` fills the fullest host that has room, which keeps large pieces free; else the host that is then used least.
    """
    size = sizes(state)
    levels = Levels(state)
    left = []
    for agent in sorted(range(len(size)), key=lambda agent: (-size[agent], agent)):
        home = set(state.grid.allowed[agent])
        for _one in range(state.missing[agent]):
            host = _best(state, levels, agent, home, tight=tight)
            if host is None:
                left += [agent] * state.missing[agent]
                break
            state.add(agent, host)
            levels.update(host)
    return left


def _best(state: State, levels: Levels, agent: int, home: set[int], *, tight: bool) -> int | None:
    zones, zone = state.open_zones(agent), state.grid.zone
    best: tuple[int, int] | None = None
    seen = 0
    for level, host in reversed(levels.sorted) if tight else levels.sorted:
        if best is not None and not tight and level >= best[0]:
            break
        if host not in home or (zones is not None and zone[host] not in zones) or not state.fits(agent, host):
            continue
        after = state.level_with(agent, host)
        found = (-after if tight else after, host)
        if best is None or found < best:
            best = found
        seen += 1
        if seen == _CANDIDATES:
            break
    return None if best is None else best[1]


class Chains:
    """Ejection chains: make room for one by sending one or two others elsewhere, and so on."""

    def __init__(self, state: State, total: int = TOTAL) -> None:
        self.state, self.left, self.total = state, 0, total
        self.size = sizes(state)

    def insert(self, agent: int) -> bool:
        """Place one more of the agent, with as short a chain as is found; else nothing is changed."""
        for depth, width in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1)):
            given = self.left = min(BUDGET, self.total)
            mark = len(self.state.trail)
            done = self._insert(agent, depth, width, frozenset())
            self.total -= given - self.left
            if done:
                return True
            self.state.back(mark)
        return False

    def _insert(self, agent: int, depth: int, width: int, closed: frozenset[int]) -> bool:
        state, zones = self.state, self.state.open_zones(agent)
        hosts = [
            host
            for host in state.grid.allowed[agent]
            if host not in closed and (zones is None or state.grid.zone[host] in zones)
        ]
        self.left -= len(hosts)
        if self.left < 0:
            return False
        fitting = [host for host in hosts if state.fits(agent, host)]
        if fitting:
            state.add(agent, max(fitting, key=lambda host: (state.level_with(agent, host), -host)))
            return True
        if not depth:
            return False
        hosts.sort(key=lambda host: (self._lacks(agent, host), host))
        for host in hosts[:_WIDTH]:
            for chosen in self._choices(agent, host, width):
                self.left -= _SENT
                if self.left < 0:
                    return False
                if self._swap(agent, host, chosen, depth, width, closed | {host}):
                    return True
        return False

    def _swap(
        self, agent: int, host: int, chosen: tuple[int, ...], depth: int, width: int, closed: frozenset[int]
    ) -> bool:
        state = self.state
        mark = len(state.trail)
        for other in chosen:
            state.remove(other, host)
        if state.fits(agent, host) and not state.short(host):
            state.add(agent, host)
            if all(self._insert(other, depth - 1, width, closed) for other in chosen):
                return True
        state.back(mark)
        return False

    def _lacks(self, agent: int, host: int) -> int:
        """What the host lacks for one more, in millionths."""
        grid, used, hold = self.state.grid, self.state.used[host], self.state.hold[host]
        worst = 0
        for u, h, n, r in zip(used, hold, grid.need[agent], grid.room[host], strict=True):
            if u + h + n > r:
                worst = max(worst, (u + h + n - r) * PPM // r if r else PPM)
        return worst

    def _choices(self, agent: int, host: int, width: int) -> Iterator[tuple[int, ...]]:
        """Whom to send away: who is no move first, then the small; never one that is larger, or this would not end well."""
        state = self.state
        there = sorted(
            (other for other in state.on[host] if other != agent and not state.grid.fixed[other]),
            key=lambda other: (state.spare(other, host) <= 0, self.size[other], other),
        )
        for size in range(1, width + 1):
            for chosen in combinations_with_replacement(there, size):
                if size == 2 and chosen[0] == chosen[1] and state.on[host][chosen[0]] < 2:
                    continue
                yield chosen


def go_home(state: State) -> None:
    """Whoever left a host that has room again returns to it, while that saves a move."""
    grid = state.grid
    changed = True
    while changed:
        changed = False
        for agent, kept in enumerate(grid.kept):
            for host, count in kept.items():
                while state.on[host].get(agent, 0) < count and state.fits(agent, host):
                    source = _away(state, agent, host)
                    if source is None:
                        break
                    state.remove(agent, source)
                    state.add(agent, host)
                    changed = True


def _away(state: State, agent: int, target: int) -> int | None:
    for host in state.grid.allowed[agent]:
        if state.spare(agent, host) > 0 and host != target and state.may_shift(agent, host, target):
            return host
    return None
