# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A placement in the making: counts, what is used, and every step on a trail, so that any of it can be taken back."""

from collections.abc import Sequence

from .grid import PPM, Counts, Grid


class State:
    """How many of each agent are on each host. Adding and removing is only done here."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        width = len(grid.resources)
        self.used = [[0] * width for _host in grid.avail]
        self.on: list[dict[int, int]] = [{} for _host in grid.avail]
        self.hold: list[Sequence[int]] = [(0,) * width for _host in grid.avail]
        self.zones: list[dict[int, int]] = [{} for _agent in grid.need]
        self.missing = list(grid.count)
        """agent -> how many are not placed yet"""
        self.trail: list[tuple[int, int, int]] = []
        self._surging = any(grid.surge)
        for agent, there in enumerate(grid.stuck):
            for host, count in there.items():
                for resource, amount in enumerate(grid.need[agent]):
                    self.used[host][resource] += amount * count

    def add(self, agent: int, host: int, sign: int = 1) -> None:
        """One more of the agent on the host, or with sign -1 one less."""
        used = self.used[host]
        for resource, amount in enumerate(self.grid.need[agent]):
            used[resource] += sign * amount
        there = self.on[host]
        count = there.get(agent, 0) + sign
        if count:
            there[agent] = count
        else:
            del there[agent]
        zones = self.zones[agent]
        zone = self.grid.zone[host]
        zones[zone] = zones.get(zone, 0) + sign
        self.missing[agent] -= sign
        self.trail.append((agent, host, sign))
        if self._surging and self.grid.surge[agent]:
            self._hold(host)

    def remove(self, agent: int, host: int) -> None:
        self.add(agent, host, -1)

    def back(self, mark: int) -> None:
        """Take back everything since the trail was that long."""
        while len(self.trail) > mark:
            agent, host, sign = self.trail.pop()
            self.add(agent, host, -sign)
            self.trail.pop()

    def _hold(self, host: int) -> None:
        needs = [self.grid.need[agent] for agent in self.on[host] if self.grid.surge[agent]]
        width = range(len(self.grid.resources))
        self.hold[host] = [max((need[resource] for need in needs), default=0) for resource in width]

    def short(self, host: int) -> bool:
        """Whether more is used or held back than there is room."""
        return any(u + h > r for u, h, r in zip(self.used[host], self.hold[host], self.grid.room[host], strict=True))

    def fits(self, agent: int, host: int) -> bool:
        """Whether one more of the agent fits by room and by `limit`; of hosts that are allowed."""
        grid = self.grid
        if self.on[host].get(agent, 0) >= grid.limit[agent]:
            return False
        used, room, need = self.used[host], grid.room[host], grid.need[agent]
        if not self._surging:
            for resource, amount in enumerate(need):  # noqa: SIM110 (the hottest loop: a generator takes twice as long)
                if used[resource] + amount > room[resource]:
                    return False
            return True
        hold = self.hold[host]
        if grid.surge[agent]:
            hold = [max(pair) for pair in zip(hold, need, strict=True)]
        return all(u + n + h <= r for u, n, h, r in zip(used, need, hold, room, strict=True))

    def open_zones(self, agent: int) -> set[int] | None:
        """The zones that may take one more, by the spread's rule; None: all."""
        quota = self.grid.quota[agent]
        if quota is None:
            return None
        zones, free = self.zones[agent], self.missing[agent]
        lacking = {zone for zone, low in quota.low.items() if zones.get(zone, 0) < low}
        if sum(quota.low[zone] - zones.get(zone, 0) for zone in lacking) >= free:
            return lacking
        return {zone for zone, high in quota.high.items() if zones.get(zone, 0) < high}

    def may_shift(self, agent: int, source: int, target: int) -> bool:
        """Whether the spread's rule lets one go from one host to another."""
        quota = self.grid.quota[agent]
        leaves, enters = self.grid.zone[source], self.grid.zone[target]
        if quota is None or leaves == enters:
            return True
        zones = self.zones[agent]
        return zones.get(leaves, 0) > quota.low[leaves] and zones.get(enters, 0) < quota.high[enters]

    def spare(self, agent: int, host: int) -> int:
        """How many of the agent did not run on this host before: to place them elsewhere costs no move more."""
        return self.on[host].get(agent, 0) - self.grid.kept[agent].get(host, 0)

    def level(self, host: int) -> int:
        """The highest use of any of the host's resources, in millionths, rounded up."""
        return max(
            (-(-u * PPM // a) for u, a in zip(self.used[host], self.grid.avail[host], strict=True) if a), default=0
        )

    def level_with(self, agent: int, host: int) -> int:
        """The level with one more of the agent."""
        best = 0
        for used, need, avail in zip(self.used[host], self.grid.need[agent], self.grid.avail[host], strict=True):
            if avail:
                found = -(-(used + need) * PPM // avail)
                best = max(best, found)
        return best

    @property
    def moves(self) -> int:
        """How many that run have to leave their host."""
        stay = 0
        for agent, there in enumerate(self.grid.kept):
            for host, count in there.items():
                stay += min(count, self.on[host].get(agent, 0))
        return sum(self.grid.away) + sum(sum(there.values()) for there in self.grid.kept) - stay

    def counts(self) -> Counts:
        found: Counts = [{} for _agent in self.grid.need]
        for host, there in enumerate(self.on):
            for agent, count in there.items():
                found[agent][host] = count
        return found

    def load(self, counts: Counts) -> "State":
        """Add what the counts say."""
        for agent, there in enumerate(counts):
            for host, count in sorted(there.items()):
                for _one in range(count):
                    self.add(agent, host)
        return self
