# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module agent_reliability, read into the models and answered in plain data.

Every error names the option. What is asked follows from what is given: `zones` for an availability, with `size` for a layout too,
`observed` for a forecast.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from .answer import MINUTES_PER_MONTH, ReliabilityError, complement, seconds, share
from .availability import availability
from .layout import Host, Sizing, Zone, best, one_more_host, smallest
from .repair import Crews
from .structure import DOWN, INSTANCE, UP, Chance, Node, fleet

Options = Mapping[str, Any]
TIMES = ("mtbf", "mttr")
MOST_SHOWN = 20  # contributors


def chance(where: str, given: Options | None, default: Chance | None = None) -> Chance:
    """Of ``availability``, ``unavailability``, or ``mtbf`` and ``mttr``; `default` where none is given."""
    given = given or {}
    there = {name for name in ("availability", "unavailability", *TIMES) if given.get(name) is not None}
    if not there:
        return default or UP
    if there == set(TIMES):
        return Chance.of_times(*(seconds(f"{where}.{name}", given[name]) for name in TIMES))
    if there == {"availability"}:
        down = complement(f"{where}.availability", given["availability"])
        return Chance(down, share(f"{where}.availability", given["availability"]))
    if there == {"unavailability"}:
        return Chance.of_unavailability(share(f"{where}.unavailability", given["unavailability"]))
    raise ReliabilityError(
        f"{where}: give one of availability, unavailability, or mtbf with mttr; not {', '.join(sorted(there))}"
    )


def answer(options: Options) -> dict[str, Any]:
    """``{"availability": ..., "sizing": ...}`` of `zones`, each as far as it was asked for."""
    needed = options.get("needed")
    if needed is None or needed < 0:
        raise ReliabilityError("needed: how many instances must be up at a time? A number, 0 or more")
    crews = _crews(options.get("crews"))
    target = options.get("target")
    budget = complement("target", target) if target is not None else None
    if budget == 0:
        raise ReliabilityError("target: 1 is reached by no finite number of instances")
    found: dict[str, Any] = {}
    root = structure(options)
    if root.size:
        found["availability"] = _plain_availability(root, needed, crews, budget)
    elif not options.get("size"):
        raise ReliabilityError("zones: no host has instances")
    if options.get("size"):
        if budget is None:
            raise ReliabilityError("size: needs a target")
        found["sizing"] = _sizing(options, needed, budget, crews)
    return found


def _crews(given: Options | None) -> Crews | None:
    if not given:
        return None
    if given["number"] < 1:
        raise ReliabilityError("crews.number: must be at least 1")
    return Crews(given["level"], given["number"])


def _plain_availability(root: Node, needed: int, crews: Crews | None, budget: float | None) -> dict[str, Any]:
    found = asdict(availability(root, needed, crews=crews, budget=budget))
    found["contributors"] = list(found["contributors"][:MOST_SHOWN])
    found["outage_minutes"] = None if found["outage"] is None else found["outage"] / 60
    del found["outage"]
    return found | {"basis": plain_basis(found["basis"])}


def plain_basis(basis: dict[str, Any]) -> dict[str, Any]:
    """As the module returns it: lists, and the window with its unit."""
    window = basis.pop("window")
    return basis | {
        "window_seconds": window,
        "assumptions": list(basis["assumptions"]),
        "warnings": list(basis["warnings"]),
    }


# -- zones, hosts and instances ---------------------------------------------------------------------------------------


def structure(options: Options) -> Node:
    """The tree of what is there. `lost` names are taken as down."""
    zones = [_zone(f"zones[{i}]", zone, options) for i, zone in enumerate(options["zones"])]
    names = Counter(unit.name for zone in zones for kind in ("zone", "host", INSTANCE) for unit in zone.units(kind))
    twice = sorted(name for name, count in names.items() if count > 1)
    if twice:
        raise ReliabilityError(f"zones: {twice[0]} is there twice, of zones, hosts and instances together")
    lost = set(options.get("lost") or ())
    unknown = sorted(lost - set(names))
    if unknown:
        raise ReliabilityError(
            f"lost: there is no {unknown[0]}; names are those of zones, hosts, and instances as host/0"
        )
    return fleet([_lose(zone, lost) for zone in zones])


def _lose(node: Node, lost: set[str]) -> Node:
    members = tuple(_lose(member, lost) for member in node.members)
    return replace(node, members=members, chance=DOWN if node.name in lost else node.chance)


def _zone(where: str, given: Options, options: Options) -> Node:
    hosts = tuple(_host(f"{where}.hosts[{i}]", host, options) for i, host in enumerate(given["hosts"]))
    return Node("zone", given["name"], chance(where, given, chance("zone", options.get("zone"))), hosts)


def _host(where: str, given: Options, options: Options) -> Node:
    own, room = given.get("instances") or 0, given.get("room")
    named = given.get("members") or []
    if own < 0 or (own and named):
        raise ReliabilityError(f"{where}.instances: a number of 0 or more, and not together with members")
    if room is not None and room < own + len(named):
        raise ReliabilityError(f"{where}.room: {room} is less than the {own + len(named)} instances that are there")
    usual = chance("instance", options.get("instance"))
    members = [Node(INSTANCE, f"{given['name']}/{i}", usual) for i in range(own)]
    members += [Node(INSTANCE, one["name"], chance(f"{where}.members[{i}]", one, usual)) for i, one in enumerate(named)]
    return Node("host", given["name"], chance(where, given, chance("host", options.get("host"))), tuple(members))


# -- how many, and where ----------------------------------------------------------------------------------------------


def _sizing(options: Options, needed: int, budget: float, crews: Crews | None) -> dict[str, Any]:
    zones, instance = _rooms(options), chance("instance", options.get("instance"))
    if needed < 1:
        raise ReliabilityError("needed: with 0 needed there is nothing to size")
    found = smallest(zones, instance, needed, budget, crews)
    kept = {host.name for zone in zones for host in zone.hosts}
    present = sum(
        host.get("instances") or 0 for zone in options["zones"] for host in zone["hosts"] if host["name"] in kept
    )
    more = [] if crews else one_more_host(zones, instance, needed, present or found.instances)
    doubts = [] if found.reached else [f"target: not reached with all the room; the best is {found.unavailability:.6g}"]
    doubts += [] if found.proven else ["there are too many layouts to try all: a smaller number may do"]
    how = "all layouts" if found.proven else "even spreads, improved one move at a time"
    return _plain_sizing(zones, found) | {
        "reached": found.reached,
        "budget_share": found.unavailability / budget,
        "best_of_present": _plain_sizing(zones, best(zones, instance, needed, present, crews)) if present else None,
        "one_more_host": [
            {"zone": gain.zone, "same": _in_numbers(gain.same), "one_more": _in_numbers(gain.one_more)} for gain in more
        ],
        "basis": {
            "method": f"the smallest number whose best layout reaches the target, of {how}; each exact",
            "assumptions": ["all instances are alike", "a host more is like the first one of its zone", "a month has 30 days"],
            "warnings": doubts, "window_seconds": None, "samples": 0, "confidence": None,
        },
    }  # fmt: skip


def _rooms(options: Options) -> list[Zone]:
    zones = []
    for i, zone in enumerate(options["zones"]):
        where = f"zones[{i}]"
        hosts = []
        for j, host in enumerate(zone["hosts"]):
            place = f"{where}.hosts[{j}]"
            if host.get("room") is None or host["room"] < 0:
                raise ReliabilityError(f"{place}.room: how many instances has {host['name']} room for?")
            if host.get("members"):
                raise ReliabilityError(f"{place}.members: a layout is of instances that are alike; give instances")
            if host["name"] not in (options.get("lost") or ()) and zone["name"] not in (options.get("lost") or ()):
                hosts.append(Host(host["name"], chance(place, host, chance("host", options.get("host"))), host["room"]))
        zones.append(Zone(zone["name"], chance(where, zone, chance("zone", options.get("zone"))), tuple(hosts)))
    return zones


def _in_numbers(size: Sizing) -> dict[str, Any]:
    return {
        "instances": size.instances,
        "unavailability": size.unavailability,
        "nines": -math.log10(size.unavailability) if size.unavailability else None,
        "minutes_per_month": size.unavailability * MINUTES_PER_MONTH,
    }


def _plain_sizing(zones: Sequence[Zone], size: Sizing) -> dict[str, Any]:
    layout = [
        {"zone": zone.name, "host": host.name, "instances": size.counts[host.name]}
        for zone in zones for host in zone.hosts if size.counts[host.name]
    ]  # fmt: skip
    return _in_numbers(size) | {"layout": layout, "proven": size.proven}


# -- in words ---------------------------------------------------------------------------------------------------------


def sentences(found: Options) -> list[str]:
    """What was found, a sentence an answer."""
    told = []
    if there := found.get("availability"):
        told.append(
            f"{there['needed']} of {there['instances']} up: unavailable {there['unavailability']:.3g} of the time, "
            f"{there['minutes_per_month']:.3g} minutes a month"
        )
    if size := found.get("sizing"):
        reach = "reach the target" if size["reached"] else "are all there is room for, and miss the target"
        told.append(f"{size['instances']} instances {reach}: {size['minutes_per_month']:.3g} minutes a month")
    return told + [f"{one['agent'] or 'up'}: {one['summary']}" for one in found.get("forecasts", ())]


def doubts(found: Options) -> list[str]:
    """The warnings of all answers, each with the answer that it is about."""
    answers = [(name, found[name]) for name in ("availability", "sizing") if name in found]
    answers += [(one["agent"] or "up", one) for one in found.get("forecasts", ())]
    return [f"{name}: {doubt}" for name, one in answers for doubt in one["basis"]["warnings"]]
