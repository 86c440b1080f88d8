# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many instances a target takes, and where: the smallest number over hosts with room, in zones.

With few hosts every layout is tried, but for those that differ only in the names of equal hosts and zones; so the answer is
the best. With many, an even spread is improved by moving one instance at a time, and the answer says that it is not proven.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .answer import ReliabilityError
from .repair import Crews
from .structure import INSTANCE, Chance, Node, fleet, k_of_n

MOST_LAYOUTS = 1000  # tried one by one for a number of instances
Counts = Mapping[str, int]  # instances by the host's name


@dataclass(frozen=True)
class Host:
    name: str
    chance: Chance
    room: int


@dataclass(frozen=True)
class Zone:
    name: str
    chance: Chance
    hosts: tuple[Host, ...]


@dataclass(frozen=True)
class Sizing:
    """The best layout of `instances` (by host, all hosts named). `proven`: no other layout of as many is better; `reached` where a
    target was given: whether it is met, and then no smaller number does (if `proven`)."""

    instances: int
    counts: dict[str, int]
    unavailability: float
    proven: bool
    reached: bool


@dataclass(frozen=True)
class Gain:
    """What one more host in `zone` brings, at best, with as many instances or with one more."""

    zone: str
    same: Sizing
    one_more: Sizing


def tree(zones: Sequence[Zone], counts: Counts, instance: Chance) -> Node:
    """The failure domains of a layout; instances are named ``host/0``, ``host/1``, ..."""

    def one(host: Host) -> Node:
        members = tuple(Node(INSTANCE, f"{host.name}/{i}", instance) for i in range(counts.get(host.name, 0)))
        return Node("host", host.name, host.chance, members)

    return fleet([Node("zone", zone.name, zone.chance, tuple(one(host) for host in zone.hosts)) for zone in zones])


def smallest(zones: Sequence[Zone], instance: Chance, needed: int, target: float, crews: Crews | None = None) -> Sizing:
    """The fewest instances with an unavailability of at most `target`. Where there is no room for so many: the best with all the room."""
    room = sum(host.room for zone in zones for host in zone.hosts)
    if room < needed:
        raise ReliabilityError(f"needed: {needed} instances, and the hosts have room for {room}")
    few = True  # layouts: once they are too many to try, they are for any larger number
    for instances in range(needed, room + 1):
        found = _sized(zones, instance, needed, instances, crews, every=few, improve=False)
        few = found.proven
        if found.unavailability <= target:
            break
    while not found.proven and found.instances > needed and found.unavailability <= target:
        fewer = best(zones, instance, needed, found.instances - 1, crews)
        if fewer.unavailability > target:
            break
        found = fewer
    return replace(found, reached=found.unavailability <= target)


def best(zones: Sequence[Zone], instance: Chance, needed: int, instances: int, crews: Crews | None = None) -> Sizing:
    """The layout of so many instances with the lowest unavailability. ReliabilityError where there is no room for them."""
    room = sum(host.room for zone in zones for host in zone.hosts)
    if not 0 < instances <= room:
        raise ReliabilityError(f"{instances} instances: the hosts have room for {room}")
    return _sized(zones, instance, needed, instances, crews, every=True, improve=True)


def _sized(
    zones: Sequence[Zone],
    instance: Chance,
    needed: int,
    instances: int,
    crews: Crews | None,
    *,
    every: bool,
    improve: bool,
) -> Sizing:
    """`every`: try all layouts if they are not too many; `improve`: else do better than an even spread."""

    def cost(counts: Counts) -> float:
        return k_of_n(tree(zones, counts, instance), needed, crews).unavailability

    layouts = _layouts(zones, instances, MOST_LAYOUTS) if every else []
    if layouts:
        down, counts = min(((cost(counts), counts) for counts in layouts), key=lambda one: one[0])
    else:
        counts = _even(zones, instances)
        counts = _improved(zones, counts, cost) if improve else counts
        down = cost(counts)
    return Sizing(instances, counts, down, proven=bool(layouts), reached=True)


def one_more_host(zones: Sequence[Zone], instance: Chance, needed: int, instances: int) -> list[Gain]:
    """For each zone: what a host more, like the zone's first one, brings. Zones that are alike are worked out once."""
    known: dict[object, list[Sizing]] = {}
    found = []
    for index, zone in enumerate(zones):
        if zone.hosts:
            kind = (zone.chance, tuple((host.chance, host.room) for host in zone.hosts))
            if kind not in known:
                first = zone.hosts[0]
                grown = list(zones)
                grown[index] = replace(
                    zone, hosts=(*zone.hosts, Host(f"{zone.name}+1", first.chance, max(1, first.room)))
                )
                known[kind] = [best(grown, instance, needed, number) for number in (instances, instances + 1)]
            found.append(Gain(zone.name, *known[kind]))
    return found


# -- every layout, once ---------------------------------------------------------------------------------------------


def _layouts(zones: Sequence[Zone], instances: int, most: int) -> list[dict[str, int]]:
    """All that differ in more than names, or none where there are more than `most`, or they are too hard to find."""
    names = {host.name: 0 for zone in zones for host in zone.hosts}
    tries = iter(range(10 * most))
    found: list[dict[str, int]] = []
    for filled in _zones(list(zones), instances, {}, tries):
        found.append(names | filled)
        if len(found) > most:
            return []
    return found if next(tries, None) is not None else []


def _zones(
    zones: list[Zone], left: int, before: dict[object, tuple[int, ...]], tries: Iterator[int]
) -> Iterator[dict[str, int]]:
    """Of zones that are alike, a later one is not filled more than one before it. Ends early where `tries` do."""
    if not zones:
        if not left:
            yield {}
        return
    zone, others = zones[0], zones[1:]
    if left > sum(host.room for other in zones for host in other.hosts):
        return
    kind = (zone.chance, tuple((host.chance, host.room) for host in zone.hosts))
    for filled in _hosts(zone.hosts, left, {}):
        if next(tries, None) is None:
            return
        numbers = tuple(filled.get(host.name, 0) for host in zone.hosts)
        if kind not in before or numbers <= before[kind]:
            for rest in _zones(others, left - sum(numbers), before | {kind: numbers}, tries):
                yield filled | rest


def _hosts(hosts: Sequence[Host], left: int, before: dict[object, int]) -> Iterator[dict[str, int]]:
    """Of hosts that are alike, a later one gets no more than one before it."""
    if not hosts or not left:
        yield {}
        return
    host = hosts[0]
    kind = (host.chance, host.room)
    for number in range(min(host.room, left, before.get(kind, left)), -1, -1):
        for rest in _hosts(hosts[1:], left - number, before | {kind: number}):
            yield {host.name: number, **rest} if number else rest


# -- one good layout ------------------------------------------------------------------------------------------------


def _even(zones: Sequence[Zone], instances: int) -> dict[str, int]:
    """Each instance to the zone with the fewest, and there to the host with the fewest."""
    counts = {host.name: 0 for zone in zones for host in zone.hosts}
    for _instance in range(instances):
        filled = {zone.name: sum(counts[host.name] for host in zone.hosts) for zone in zones}
        free = [
            (filled[zone.name], zone.chance.down, counts[host.name], host.chance.down, host.name)
            for zone in zones
            for host in zone.hosts
            if counts[host.name] < host.room
        ]
        counts[min(free)[-1]] += 1
    return counts


def _improved(zones: Sequence[Zone], counts: dict[str, int], cost: Callable[[Counts], float]) -> dict[str, int]:
    """By single moves, the best one each time, until none helps. Moves between hosts that are alike are tried once."""
    now = cost(counts)
    while True:
        tried = {}
        for source, target in _moves(zones, counts):
            moved = counts | {source: counts[source] - 1, target: counts[target] + 1}
            tried[source, target] = (cost(moved), moved)
        better = min(tried.values(), key=lambda one: one[0], default=(now, counts))
        if not better[0] < now * (1 - 1e-12):
            return counts
        now, counts = better


def _moves(zones: Sequence[Zone], counts: Counts) -> Iterator[tuple[str, str]]:
    seen = set()
    places = [(zone, host) for zone in zones for host in zone.hosts]
    alike = {
        host.name: (
            zone.chance,
            sum(counts[other.name] for other in zone.hosts),
            host.chance,
            host.room,
            counts[host.name],
        )
        for zone, host in places
    }
    for source_zone, source in places:
        for target_zone, target in places:
            kind = (alike[source.name], alike[target.name], source_zone.name == target_zone.name)
            if counts[source.name] and counts[target.name] < target.room and source != target and kind not in seen:
                seen.add(kind)
                yield source.name, target.name
