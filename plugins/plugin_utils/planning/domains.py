# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How available a placement is, and which single loss breaks a promise: the reliability's models over hosts and zones."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..reliability.ask import chance
from ..reliability.availability import Availability, availability
from ..reliability.structure import INSTANCE, UP, Chance, Node, fleet
from .demand import Demand

Where = Mapping[str, int]
"""host -> how many instances of an agent"""


class Domains:
    """The zone of each host (empty: one of its own), and how reliable things are, as the fleet's key `reliability` says."""

    def __init__(
        self, zones: Mapping[str, str], reliability: Mapping[str, Any], observed: Mapping[str, Chance] | None = None
    ) -> None:
        """`observed`: of an agent's instances, where the fleet does not say and failures of them were seen."""
        self.zones, self._observed = zones, observed or {}
        self.unsaid = [kind for kind in ("zone", "host", INSTANCE) if not reliability.get(kind)]
        self._chance = {
            kind: chance(f"reliability.{kind}", reliability.get(kind)) for kind in ("zone", "host", INSTANCE)
        }

    def knows(self, agent: str) -> bool:
        """Whether there is anything to work its availability out from."""
        return agent in self._observed or len(self.unsaid) < len(self._chance)

    def available(self, where: Where, demand: Demand, budget: float | None = None) -> Availability:
        """Of one agent, so placed. ReliabilityError where it is too large."""
        chance = self._observed.get(demand.name, self._chance[INSTANCE])
        by_zone: dict[str, list[Node]] = {}
        for host, count in where.items():
            members = tuple(Node(INSTANCE, f"{host}/{index}", chance) for index in range(count))
            by_zone.setdefault(self.zones.get(host, ""), []).append(Node("host", host, self._chance["host"], members))
        zones = [
            Node("zone", name, self._chance["zone"] if name else UP, tuple(hosts)) for name, hosts in by_zone.items()
        ]
        return availability(fleet(zones), demand.needed, budget=budget)

    def grown(self, where: Where, hosts: Iterable[str], count: int) -> dict[str, int]:
        """The placement with other than its own number: each more to the zone, and there the host, with the fewest."""
        found = dict.fromkeys(hosts, 0) | dict(where)
        while sum(found.values()) != count:
            grows = sum(found.values()) < count
            filled: dict[str, int] = {}
            for host, number in found.items():
                filled[self.zones.get(host, host)] = filled.get(self.zones.get(host, host), 0) + number
            order = sorted(
                (host for host in found if grows or found[host]),
                key=lambda host: (filled[self.zones.get(host, host)], found[host], host),
            )
            found[order[0] if grows else order[-1]] += 1 if grows else -1
        return {host: number for host, number in found.items() if number}

    def losses(self, places: Mapping[str, Where], demands: Mapping[str, Demand]) -> list[dict[str, Any]]:
        """Each single host or zone whose loss breaks somebody's promise, until what it ran is placed anew. Of one whose data are
        refused only the loss of all is known to."""
        found = []
        hosts = list(dict.fromkeys(host for where in places.values() for host in where))
        zones = list(dict.fromkeys(self.zones[host] for host in hosts if self.zones.get(host)))
        lost = [("zone", zone, {host for host in hosts if self.zones.get(host) == zone}) for zone in zones]
        lost += [("host", host, {host}) for host in hosts]
        for kind, name, gone in lost:
            breaks = []
            for agent, demand in demands.items():
                where = places.get(agent, {})
                there = sum(count for host, count in where.items() if host in gone)
                left = sum(where.values()) - there
                if there and not (demand.unknown and left) and (why := demand.why_not(left)):
                    breaks.append({"agent": agent, "left": left, "why": why})
            if breaks:
                found.append({"kind": kind, "name": name, "breaks": breaks})
        return found
