# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lowering the highest use without one more move: only what is newly on its host goes elsewhere, or changes places."""

from bisect import bisect_left, insort
from heapq import heapify, heappop, heappush

from .grid import PPM
from .state import State

BUDGET = 2_500_000  # pairs that are looked at in all
_NEAR = 60  # hosts that are looked at first


class Balance:
    """Local search on the fullest host."""

    def __init__(self, state: State, goal: int) -> None:
        self.state, self.goal, self.left = state, goal, BUDGET
        grid = state.grid
        self.home = [set(hosts) for hosts in grid.allowed]
        self.use = [[self._uses(host)[r] for host in range(len(grid.avail))] for r in range(len(grid.resources))]
        self.order = [sorted((use, host) for host, use in enumerate(uses) if grid.active[host]) for uses in self.use]

    def _uses(self, host: int) -> list[int]:
        pairs = zip(self.state.used[host], self.state.grid.avail[host], strict=True)
        return [-(-used * PPM // avail) if avail else 0 for used, avail in pairs]

    def _update(self, host: int) -> None:
        for resource, use in enumerate(self._uses(host)):
            old, order = self.use[resource][host], self.order[resource]
            if old != use:
                del order[bisect_left(order, (old, host))]
                insort(order, (use, host))
                self.use[resource][host] = use

    def run(self) -> None:
        """Until the goal (a level) is reached, nothing helps the fullest host, or enough was tried."""
        state = self.state
        heap = [(-state.level(host), host) for host in range(len(state.used)) if state.grid.active[host]]
        heapify(heap)
        while heap and self.left > 0:
            level, host = heappop(heap)
            if -level != state.level(host):
                continue
            if -level <= self.goal:
                return
            other = self._improve(host, -level)
            if other is None:
                return
            for changed in (host, other):
                self._update(changed)
                heappush(heap, (-state.level(changed), changed))

    def _improve(self, host: int, level: int) -> int | None:
        """Make the host's level smaller and no other's as large; returns the other host."""
        state = self.state
        uses = self._uses(host)
        resource = uses.index(max(uses))
        free = [a for a in sorted(state.on[host]) if state.spare(a, host) > 0 and state.grid.need[a][resource]]
        if not free:
            return None
        best: tuple[int, int, int, int] | None = None
        for seen, (use, other) in enumerate(self.order[resource]):
            if use >= level or self.left < 0 or (best is not None and seen >= _NEAR):
                break
            if other != host:
                for agent in free:
                    found = self._exchange(agent, host, other, level)
                    if found is not None and (best is None or found[0] < best[0]):
                        best = (found[0], agent, found[1], other)
                if best is not None and (best[0] <= self.goal or seen >= _NEAR // 4):
                    break
        if best is None:
            return None
        _level, agent, back, other = best
        self._do(agent, host, other)
        if back >= 0:
            self._do(back, other, host)
        return other

    def _do(self, agent: int, source: int, target: int) -> None:
        self.state.remove(agent, source)
        self.state.add(agent, target)

    def _exchange(self, agent: int, host: int, other: int, level: int) -> tuple[int, int] | None:
        """The best (level of both then, agent that comes back or -1) for sending one to the other host."""
        state = self.state
        if other not in self.home[agent]:
            return None
        self.left -= 1
        best: tuple[int, int] | None = None
        if state.may_shift(agent, host, other) and state.fits(agent, other):
            after = max(self._with(other, agent, -1), self._with(host, -1, agent))
            if after < level:
                best = (after, -1)
        if best is not None and best[0] <= self.goal:
            return best
        for back in list(state.on[other]):
            self.left -= 1
            if back == agent or host not in self.home[back] or state.spare(back, other) <= 0:
                continue
            after = max(self._with(other, agent, back), self._with(host, back, agent))
            if after < level and (best is None or (after, back) < best) and self._allowed(agent, host, back, other):
                best = (after, back)
        return best

    def _with(self, host: int, comes: int, goes: int) -> int:
        """The host's level then; more than PPM where it has no room."""
        grid, best = self.state.grid, 0
        for resource, used in enumerate(self.state.used[host]):
            if comes >= 0:
                used += grid.need[comes][resource]
            if goes >= 0:
                used -= grid.need[goes][resource]
            if used > grid.room[host][resource]:
                return 2 * PPM
            if used:
                best = max(best, -(-used * PPM // grid.avail[host][resource]))
        return best

    def _allowed(self, agent: int, host: int, back: int, other: int) -> bool:
        """Whether the two may change places by every rule: tried, and taken back."""
        state = self.state
        mark = len(state.trail)
        state.remove(agent, host)
        state.remove(back, other)
        done = state.fits(agent, other) and state.fits(back, host)
        if done:
            state.add(agent, other)
            state.add(back, host)
            done = _within(state, agent) and _within(state, back)
        state.back(mark)
        return done


def _within(state: State, agent: int) -> bool:
    quota = state.grid.quota[agent]
    zones = state.zones[agent]
    return quota is None or all(quota.low[z] <= zones.get(z, 0) <= quota.high[z] for z in quota.low)
