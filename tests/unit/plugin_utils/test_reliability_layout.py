# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The smallest layout for a target: against all assignments of instances to hosts."""

import itertools
import random

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability import layout
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.answer import ReliabilityError
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.layout import (
    Host,
    Zone,
    best,
    one_more_host,
    smallest,
    tree,
)
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.repair import Crews
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.structure import Chance, k_of_n

INSTANCE = Chance.of_unavailability(1e-3)


def random_zones(seed: int) -> list[Zone]:
    """Two or three zones of one to three hosts with room for one to three; some of them alike."""
    rng = random.Random(seed)
    chances = [Chance.of_unavailability(10 ** rng.uniform(-4, -1)) for _kind in range(2)]
    return [
        Zone(f"z{z}", rng.choice(chances), tuple(
            Host(f"z{z}h{h}", rng.choice(chances), rng.randint(1, 3)) for h in range(rng.randint(1, 3))
        ))
        for z in range(rng.randint(2, 3))
    ]  # fmt: skip


def lowest(zones: list[Zone], needed: int, instances: int, crews: Crews | None = None) -> float:
    """Of all ways to fill the hosts, none left out."""
    hosts = [host for zone in zones for host in zone.hosts]
    every = itertools.product(*(range(host.room + 1) for host in hosts))
    return min(
        k_of_n(
            tree(zones, dict(zip((host.name for host in hosts), counts, strict=True)), INSTANCE), needed, crews
        ).unavailability
        for counts in every
        if sum(counts) == instances
    )


@pytest.mark.parametrize("seed", range(6))
def test_no_layout_is_better(seed: int) -> None:
    zones = random_zones(seed)
    needed = 1 + seed % 3
    for instances in range(needed, min(6, sum(host.room for zone in zones for host in zone.hosts)) + 1):
        found = best(zones, INSTANCE, needed, instances)
        assert found.proven
        assert sum(found.counts.values()) == instances
        assert found.unavailability == pytest.approx(lowest(zones, needed, instances), rel=1e-12)


def test_no_layout_is_better_with_one_crew() -> None:
    chance = Chance.of_times(30, 1)
    zones = [
        Zone(name, Chance.of_unavailability(1e-3), tuple(Host(f"{name}{i}", chance, 2) for i in range(2)))
        for name in "ab"
    ]
    found = best(zones, INSTANCE, 2, 4, Crews("host", 1))
    assert found.unavailability == pytest.approx(lowest(zones, 2, 4, Crews("host", 1)), rel=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_moves_come_near_what_all_layouts_give(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many to try: never better than the best, at most a tenth worse in these, never called proven."""
    zones = random_zones(seed)
    exact = best(zones, INSTANCE, 2, 4) if sum(host.room for zone in zones for host in zone.hosts) >= 4 else None
    monkeypatch.setattr(layout, "MOST_LAYOUTS", 0)
    if exact:
        found = best(zones, INSTANCE, 2, 4)
        assert not found.proven
        assert exact.unavailability * (1 - 1e-12) <= found.unavailability <= exact.unavailability * 1.1


def alike(zones: int, hosts: int, room: int) -> list[Zone]:
    zone, host = Chance.of_unavailability(1e-4), Chance.of_unavailability(1e-3)
    return [Zone(f"z{z}", zone, tuple(Host(f"z{z}h{h}", host, room) for h in range(hosts))) for z in range(zones)]


@pytest.mark.parametrize(("needed", "target"), [(1, 1e-3), (1, 1e-6), (2, 1e-6), (3, 1e-7)])
def test_the_smallest_number_reaches_it_and_one_less_does_not(needed: int, target: float) -> None:
    zones = alike(3, 3, 2)
    found = smallest(zones, INSTANCE, needed, target)
    assert found.reached
    assert found.proven
    assert found.unavailability <= target
    if found.instances > needed:
        assert lowest(zones, needed, found.instances - 1) > target


def test_a_large_fleet_is_sized_but_not_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MOST_LAYOUTS", 50)  # seconds less
    found = smallest(alike(3, 9, 3), INSTANCE, 9, 1e-6)
    assert (found.reached, found.proven) == (True, False)
    assert best(alike(3, 9, 3), INSTANCE, 9, found.instances - 1).unavailability > 1e-6


def test_names_are_nothing_to_the_number() -> None:
    zones = random_zones(3)
    renamed = [
        Zone(
            f"x{i}",
            zone.chance,
            tuple(Host(f"y{i}{j}", host.chance, host.room) for j, host in enumerate(reversed(zone.hosts))),
        )
        for i, zone in enumerate(reversed(zones))
    ]
    first, second = (smallest(each, INSTANCE, 2, 1e-5) for each in (zones, renamed))
    assert (first.instances, first.reached) == (second.instances, second.reached)
    assert first.unavailability == pytest.approx(second.unavailability, rel=1e-12)


def test_what_cannot_be_reached_is_said() -> None:
    """All in one zone: no number makes it better than the zone."""
    found = smallest(alike(1, 3, 2), INSTANCE, 1, 1e-6)
    assert (found.reached, found.instances) == (False, 6)
    assert found.unavailability > 1e-4


def test_one_more_host_never_harms() -> None:
    zones = alike(2, 2, 1)
    now = best(zones, INSTANCE, 2, 3).unavailability
    gains = one_more_host(zones, INSTANCE, 2, 3)
    assert [gain.zone for gain in gains] == ["z0", "z1"]
    for gain in gains:
        assert gain.same.unavailability <= now * (1 + 1e-12)
        assert gain.one_more.unavailability <= gain.same.unavailability


@pytest.mark.parametrize(("needed", "instances"), [(7, 7), (1, 0), (1, 7)])
def test_no_room_is_an_error(needed: int, instances: int) -> None:
    with pytest.raises(ReliabilityError, match="room for 6"):
        best(alike(1, 3, 2), INSTANCE, needed, instances)
    with pytest.raises(ReliabilityError, match="needed: 7 instances, and the hosts have room for 6"):
        smallest(alike(1, 3, 2), INSTANCE, 7, 1e-3)
