# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instance listens where on a host, and where two would want one port."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple


class Claim(NamedTuple):
    """An instance's named port."""

    agent: str
    instance: str
    port: str


def ports_of(bases: Mapping[str, int], instances: list[str]) -> dict[str, dict[str, int]]:
    """{instance: {name: number}}: the instance at position i listens on base + i."""
    return {instance: {name: base + index for name, base in bases.items()} for index, instance in enumerate(instances)}


def clashes(declared: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, Claim, Claim]]:
    """(number, who has it, who wants it too) for each second claim on one port of a host."""
    taken: dict[int, Claim] = {}
    for agent in declared:
        for instance, ports in agent["ports"].items():
            for name, number in ports.items():
                claim = Claim(agent["name"], instance, name)
                first = taken.setdefault(int(number), claim)
                if first != claim:
                    yield int(number), first, claim


def clash_lines(declared: Mapping[str, list[Any]]) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) for each pair of equal ports once, with one of its hosts. `declared`: by host; those with equal ones
    may share the very same list."""
    alike: dict[int, list[str]] = {}
    for host, agents in declared.items():
        alike.setdefault(id(agents), []).append(host)
    reported: set[tuple[Claim, Claim]] = set()
    for hosts in alike.values():
        for number, first, second in clashes(declared[hosts[0]]):
            if (first, second) in reported:
                continue
            reported.add((first, second))
            more = f" and {len(hosts) - 1} more" if len(hosts) > 1 else ""
            mine, other = f"instance {second.instance}", f"agents.{first.agent}.ports.{first.port}"
            reason = f"{number} ({mine}) is also {other} (instance {first.instance}) on {hosts[0]}{more}"
            yield f"agents.{second.agent}.ports.{second.port}", reason
