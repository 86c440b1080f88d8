# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet's agents with `count`, and its hosts' room, as a question to the placement's library."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ._manifest_values import parse_size
from .fleet import Declaration, Fleet
from .fleet_placement import Counted
from .placement import Agent, Host, PlacementError, Problem

_NAME_OF_CPU = "cpu"


@dataclass(frozen=True)
class Given:
    """A host as somebody describes it: `capacity` and `reserved` such as {cpu: 4, memory: 8G, gpu: 1}, cpu in cores; its zone."""

    capacity: Mapping[str, Any]
    reserved: Mapping[str, Any] = field(default_factory=dict)
    zone: str = ""


def amounts(given: object, key: str) -> dict[str, int]:
    """Whole numbers: cpu in millicores, memory in bytes, everything else in pieces. PlacementError names the key."""
    if not isinstance(given, Mapping):
        raise PlacementError([f"{key}: must be a mapping such as {{cpu: 4, memory: 8G}}"])
    found, problems = {}, []
    for name, value in given.items():
        try:
            found[str(name)] = _amount(str(name), value)
        except ValueError as error:
            problems.append(f"{key}.{name}: {error}")
    if problems:
        raise PlacementError(problems)
    return found


def _amount(name: str, value: Any) -> int:
    if name == "memory":
        return 0 if value in (0, "0") else parse_size(int(value) if str(value).isdigit() else str(value))
    number = float(value) if not isinstance(value, bool) else math.nan
    if name == _NAME_OF_CPU:
        number = round(number * 1000, 6)
    if not math.isfinite(number) or number < 0 or number != int(number):
        raise ValueError(f"must be {'cores' if name == _NAME_OF_CPU else 'a whole number'}, not {value!r}")
    return int(number)


def concerned(fleet: Fleet, current: Mapping[str, Mapping[int, str]]) -> list[str]:
    """The fleet's hosts that a placement is about: those that agents with `count` may run on, and those that they run on now."""
    homes = {host for counted in fleet.counted.values() for host in counted.hosts}
    homes.update(host for there in current.values() for host in there.values())
    return [host for host in fleet.declared if host in homes]


def gone(fleet: Fleet, current: Mapping[str, Mapping[int, str]]) -> dict[str, list[tuple[str, int]]]:
    """host -> (agent, index) of what is placed on it, of hosts that the fleet does not manage any more."""
    found: dict[str, list[tuple[str, int]]] = {}
    for name, there in current.items():
        for index, host in sorted(there.items()):
            if host not in fleet.declared:
                found.setdefault(host, []).append((name, index))
    return found


def problem(
    fleet: Fleet,
    hosts: Mapping[str, Given],
    current: Mapping[str, Mapping[int, str]],
    *,
    drain: Iterable[str] = (),
    failed: Iterable[str] = (),
    host_loss: bool = False,
    counts: Mapping[str, int] | None = None,
) -> Problem:
    """The question. `hosts` describes all hosts that agents with `count` may run on; one that they only leave has no room else. What
    else the fleet declares on a host is taken from its room. `current`: agent -> index -> host. `counts`: how many of those with
    `count: auto`. Raises PlacementError with everything that is wrong."""
    counts = counts or {}
    names, homes = concerned(fleet, current), set(concerned(fleet, {}))
    states: dict[str, Literal["active", "drained", "failed"]] = dict.fromkeys(names, "active")
    problems = [f"{host}: no capacity is given" for host in names if host in homes and host not in hosts]
    problems += [
        f"{name}@{index}: has state of its own on {host}, which the fleet does not manage any more: bring the host back, or, where the "
        "state is lost, take the instance out of placement.yml"
        for host, instances in gone(fleet, current).items()
        for name, index in instances
        if fleet.counted[name].state_portable is False and index < counts.get(name, fleet.counted[name].count)
    ]
    problems += [
        f"agents.{name}.count: auto: a plan says how many, and this is none"
        for name, counted in fleet.counted.items()
        if counted.auto and name not in counts
    ]
    for key, chosen, state in (("drain", drain, "drained"), ("failed", failed, "failed")):
        for host in chosen:
            if host not in states:
                problems.append(f"{key}: {host} is no host of an agent with count")
            states[host] = "failed" if state == "failed" else "drained"
    if problems:
        raise PlacementError(problems)
    return Problem(
        tuple(_host(fleet, host, hosts.get(host, Given({})), states[host]) for host in names),
        tuple(
            _agent(name, counted, fleet.agents[name], counts.get(name, counted.count))
            for name, counted in fleet.counted.items()
        ),
        current,
        host_loss,
    )


def described(fleet: Fleet, hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Given]:
    """The fleet's hosts, as far as their variables say what they have."""
    found = {}
    for host in fleet.declared:
        variables = hostvars.get(host) or {}
        if "agentfactory_capacity" in variables:
            reserved = variables.get("agentfactory_reserved", {})
            found[host] = Given(
                variables["agentfactory_capacity"], reserved, str(variables.get("agentfactory_zone", ""))
            )
    return found


def overfull(fleet: Fleet, given: Mapping[str, Given]) -> Iterator[str]:
    """Hosts that are given less than what is reserved and the agents that are not placed need there, each resource in a line."""
    for name in fleet.declared:
        host = _host(fleet, name, given[name], "active") if name in given else Host(name, {})
        for resource, capacity in host.capacity.items():
            needed, unit = host.reserved.get(resource, 0), 1000 if resource == _NAME_OF_CPU else 1
            if needed > capacity:
                more = f"{needed / unit:g}, and it has {capacity / unit:g}"
                yield f"{name}: what is reserved and its agents with `instances` need more {resource} than there is: {more}"


def _host(fleet: Fleet, name: str, given: Given, state: Literal["active", "drained", "failed"]) -> Host:
    reserved = amounts(given.reserved, f"{name}.reserved")
    for declared in fleet.declared[name]:
        if declared["name"] not in fleet.counted:
            for resource, amount in _needs(declared).items():
                reserved[resource] = reserved.get(resource, 0) + amount * len(declared["instances"])
    return Host(name, amounts(given.capacity, f"{name}.capacity"), reserved, given.zone, state)


def _needs(declared: Declaration) -> dict[str, int]:
    given = declared["resources"]
    found = {}
    if given.get("cpu") is not None:
        found["cpu"] = math.ceil(round(given["cpu"] * 1000, 6))
    if given.get("memory") is not None:
        found["memory"] = int(given["memory"])
    return found


def _agent(name: str, counted: Counted, declared: Declaration, count: int) -> Agent:
    rules = counted.rules
    return Agent(
        name=name,
        count=count,
        needs=_needs(declared) | rules["resources"],
        hosts=tuple(counted.hosts),
        max_per_host=rules["max_per_host"],
        spread=rules["spread"],
        surge=rules["surge"],
        state="none" if counted.state_portable is None else "portable" if counted.state_portable else "fixed",
    )
