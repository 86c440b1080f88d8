# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""placement.yml beside fleet.yml: on which host each instance of an agent with `count` runs.

plugin: agentfactory.core.fleet
agents:
  thermostat:
    home-1: [0, 2]
    home-2: [1]
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import _checks as c
from ._manifest_values import NAME

FILE = "placement.yml"
PLUGIN = "agentfactory.core.fleet"
AGAIN = "run the plan again"
Placed = dict[str, dict[str, list[int]]]
"""agent -> host -> indexes, in order"""


@dataclass(frozen=True)
class Counted:
    """An agent with `count`: the hosts of its pattern, and its rules (see `fleet_fields`). `auto`: `count` is what is placed."""

    count: int
    hosts: list[str]
    rules: Mapping[str, Any]
    state_portable: bool | None
    auto: bool = False


_HEAD = f"""\
# Which instance runs where. agentfactory.core.agent_placement writes this file, and the fleet beside it reads it.
plugin: {PLUGIN}
"""
_FIELDS = c.mapping(
    {
        "plugin": c.Field(c.choice((PLUGIN,))),
        "agents": c.Field(
            c.table(
                c.text(NAME, "must match ^" + NAME + "$"),
                c.table(c.text(), c.sequence(c.number(0, 1_000_000, whole=True))),
            ),
            {},
        ),
    }
)


def beside(fleet: str) -> str:
    """The path of a fleet's placement."""
    return os.path.join(os.path.dirname(os.path.abspath(fleet)), FILE)


def read(path: str, label: str) -> tuple[Placed, list[str]]:
    """What a placement.yml says, and what is wrong with it by itself. Empty where there is none."""
    problems = c.Problems(label)
    try:
        with open(path, "rb") as stream:
            data = c.read_yaml(stream.read(), problems)
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [f"{label}: {error.strerror}"]
    given = {"agents": {}} if problems.lines else _FIELDS(data, "", problems)
    return given.get("agents", {}), problems.lines


def load(
    fleet: str,
    counted: Mapping[str, Counted],
    known: Collection[str],
    agents: Collection[str],
    skipped: Collection[str],
    problems: c.Problems,
    behind: list[str],
    given: "Source | None" = None,
) -> Placed:
    """The placement beside a fleet.yml, or the one `given`, compared with the fleet: all hosts `known` to it, all its `agents`,
    those not to be looked at.

    Where placement.yml has not come as far as the fleet, that is no problem but told in `behind`: the fleet is to be read, and what is
    placed runs on, until a plan is carried out. One that is `given` has to fit.
    """
    label, path = os.path.join(os.path.dirname(problems.file), FILE), beside(fleet)
    if given is not None:
        found = c.Problems(given.label)
        _check(given.placed, counted, known, agents, skipped, found, found, given)
        problems.lines += found.lines
        return given.placed
    if not os.path.exists(path):
        for name in counted:
            problems.add(f"agents.{name}.count", f"there is no {label} that says where: run the plan first")
        return {}
    found = c.Problems(label)
    placed, found.lines = read(path, label)
    if not found.lines:
        late = c.Problems(label)
        _check(placed, counted, known, agents, skipped, found, late)
        behind += late.lines
    problems.lines += found.lines
    return placed


@dataclass(frozen=True)
class Source:
    """A placement that comes from elsewhere than placement.yml, and what that is called in messages. `waiting`: agent -> indexes
    that have no place yet, and get one by another plan."""

    placed: Placed
    label: str
    waiting: Mapping[str, Collection[int]] = field(default_factory=dict)

    def span(self, agent: str) -> int:
        """How many instances there are with the highest index that is placed or waits."""
        there = [index for indexes in self.placed.get(agent, {}).values() for index in indexes]
        return max((index + 1 for index in (*there, *self.waiting.get(agent, ()))), default=0)


def _check(
    placed: Placed,
    counted: Mapping[str, Counted],
    known: Collection[str],
    agents: Collection[str],
    skipped: Collection[str],
    problems: c.Problems,
    late: c.Problems,
    source: "Source | None" = None,
) -> None:
    """`problems`: what can never be; `late`: what another plan sets right."""
    waiting = source.waiting if source else {}
    for name, there in placed.items():
        key = f"agents.{name}"
        if name in counted:
            # with its state it stays where it is, whatever its pattern says by now; and a plan knows what has to wait for room
            stays = source is not None or counted[name].state_portable is False
            _check_hosts(key, there, known, known if stays else set(counted[name].hosts), problems, late)
            _check_indexes(key, there, counted[name].count, problems, late, waiting.get(name, ()))
        elif name not in agents:
            late.add(key, f"the fleet has no such agent{c.near(name, counted)}; {AGAIN}")
        elif name not in skipped:
            late.add(key, f"the agent has no count in the fleet; {AGAIN}")
    for name in counted:
        if name not in placed:
            late.add(f"agents.{name}", f"is not placed yet; {AGAIN}")


def _check_hosts(
    key: str,
    there: Mapping[str, list[int]],
    known: Collection[str],
    home: Collection[str],
    problems: c.Problems,
    late: c.Problems,
) -> None:
    for host in there:
        if host not in known:
            problems.add(f"{key}.{host}", f"there is no such host in the fleet{c.near(host, known)}; {AGAIN}")
        elif host not in home:
            late.add(f"{key}.{host}", f"is not in the agent's hosts; {AGAIN}")


def _check_indexes(
    key: str,
    there: Mapping[str, list[int]],
    count: int,
    problems: c.Problems,
    late: c.Problems,
    waiting: Collection[int] = (),
) -> None:
    first: dict[int, str] = {}
    for host, indexes in there.items():
        for index in indexes:
            if index >= count:
                late.add(f"{key}.{host}", f"index {index}: there are {count}, 0 to {count - 1}; {AGAIN}")
            if index in first:
                problems.add(f"{key}.{host}", f"index {index} is on {first[index]} already; {AGAIN}")
            first.setdefault(index, host)
    lacking = [str(index) for index in range(count) if index not in first and index not in waiting]
    if lacking:
        shown = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
        late.add(key, f"{'index' if len(lacking) == 1 else 'indexes'} {shown} of {count} missing; {AGAIN}")


def current(placed: Placed, agents: Collection[str]) -> dict[str, dict[int, str]]:
    """The same by index, of those agents that are still in the fleet: agent -> index -> host."""
    return {
        name: {index: host for host, indexes in there.items() for index in indexes}
        for name, there in placed.items()
        if name in agents
    }


def render(placement: Mapping[str, Mapping[int, str]], hosts: Sequence[str]) -> str:
    """The file's text: agents and hosts in the fleet's order, so that a diff shows what moves."""
    lines = []
    for name, there in placement.items():
        by_host: dict[str, list[int]] = {host: [] for host in hosts}
        for index, host in sorted(there.items()):
            by_host.setdefault(host, []).append(index)
        lines.append(f"  {_quoted(name)}:" if there else f"  {_quoted(name)}: {{}}")
        lines += [f"    {_quoted(host)}: {indexes}" for host, indexes in by_host.items() if indexes]
    return _HEAD + ("agents:\n" + "\n".join(lines) + "\n" if lines else "agents: {}\n")


def settle(path: str, placed: Placed, hosts: Sequence[str]) -> bool:
    """Make a placement that of the fleet, whole or not at all; whether that changed anything."""
    file, text = Path(path), render(current(placed, placed), hosts)
    changed = not file.exists() or file.read_text(encoding="utf-8") != text
    if changed:
        from ..module_utils.files import write_atomic

        write_atomic(file, text.encode(), 0o644)
    return changed


def _quoted(name: str) -> str:
    """A name as a YAML key that is read as a string again: a name may look like a number or a truth value."""
    plain = name.replace("-", "").replace(".", "").replace("_", "").isalnum() and name.isascii()
    tricky = name.lower() in ("yes", "no", "on", "off", "true", "false", "null", "y", "n") or not name[:1].isalpha()
    return "'" + name.replace("'", "''") + "'" if tricky or not plain else name
