# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each key of fleet.yml may hold.

Values are read, never rebuilt where templates are allowed (``config``, ``secrets``): a copied string would lose the
tags by which Ansible knows that it may template it.
"""

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

import yaml

from . import _checks as c
from . import fleet_goals
from ._manifest_values import NAME, VERSION, parse_size

INSTANCE = r"[a-z0-9][a-z0-9-]{0,31}"
MAX_INSTANCES = 1000
MAX_COUNT = 100_000
SPREADS = ("even", "none")
DEFAULT_PLACEMENT: dict[str, Any] = {"max_per_host": None, "spread": "even", "surge": False, "resources": {}}
STATES = ("started", "stopped", "absent")
ROLLBACKS = ("fleet", "wave", "none")
_INHERIT = "manifest"  # where a limit is not given here, the manifest's holds
_PERCENT = re.compile(r"(\d{1,3})%")


class Rollout(TypedDict):
    """How a change travels: cumulative waves (hosts, or "N%"), bearable failed hosts, what is undone beyond that."""

    waves: list[int | str]
    max_failures: int
    rollback: str


DEFAULT_ROLLOUT: Rollout = {"waves": [1, "25%", "100%"], "max_failures": 0, "rollback": "fleet"}


class FleetError(ValueError):
    """Everything that is wrong with a fleet: `problems` are lines of `<file>: <dotted.key>: <reason>`."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(dict.fromkeys(problems))
        super().__init__("\n".join(self.problems))


@dataclass
class Problems(c.Problems):
    """Also knows how scalars were written: 1.10 without quotes is read as 1.1, and the advice must say "1.10"."""

    written: Mapping[str, str] = field(default_factory=dict)


def scan(text: str, problems: Problems) -> None:
    """Note how each scalar of a YAML document is written, and report keys that are given twice."""
    written: dict[str, str] = {}

    def walk(node: Any, key: str) -> None:
        if isinstance(node, yaml.ScalarNode):
            written[key] = node.value
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                walk(item, f"{key}[{index}]")
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for name, item in node.value:
                where = c.join(key, name.value if isinstance(name, yaml.ScalarNode) else "?")
                if where in seen and name.value != "<<":
                    problems.add(where, f"is given twice (again in line {name.start_mark.line + 1})")
                seen.add(where)
                walk(item, where)

    walk(yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), "")
    problems.written = written


def is_template(value: str) -> bool:
    return "{{" in value or "{%" in value or "{#" in value


def plain(value: object) -> bool:
    """Whether a value holds no template and nothing opaque (a vaulted string): what is there is what will be."""
    if isinstance(value, str):
        return not is_template(value)
    if isinstance(value, dict):
        return all(plain(item) for item in value.values())
    if isinstance(value, list):
        return all(plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float))


def _text(pattern: str = "", reason: str = "") -> c.Check:
    """A string that is needed before any host is known: no templates."""
    inner = c.text(pattern, reason)

    def check(value: Any, key: str, problems: c.Problems) -> str:
        if isinstance(value, str) and is_template(value):
            problems.add(key, "is needed before any host is known: templates work in config and secrets only")
            return ""
        return str(inner(value, key, problems))

    return check


def _version(value: Any, key: str, problems: c.Problems) -> str:
    if isinstance(value, (int, float, datetime.date)) and not isinstance(value, bool):
        written = problems.written.get(key, value) if isinstance(problems, Problems) else value
        problems.add(key, f'is not a string: quote it: "{written}"')
        return ""
    return str(_text(VERSION, "must be of letters, digits, '.', '_' and '-', at most 64")(value, key, problems))


def _pattern(value: Any, key: str, problems: c.Problems) -> str | list[str]:
    """An Ansible host pattern, or a list of them."""
    if isinstance(value, list):
        return [str(item) for item in c.sequence(_text(), least=1)(value, key, problems)]
    return str(_text()(value, key, problems))


def _instances(value: Any, key: str, problems: c.Problems) -> list[str]:
    """Names on each host: a number n gives "0" to "n-1", a list gives its names; positions are stable."""
    if isinstance(value, int) and not isinstance(value, bool):
        count = c.number(1, MAX_INSTANCES, whole=True)(value, key, problems)
        return [str(index) for index in range(count)]
    if not isinstance(value, list):
        problems.add(key, f"must be a number or a list of names, not {c.kind(value)}")
        return []
    if not value:
        problems.add(key, "must not be empty; for no instance at all say state: absent")
    name = _text(INSTANCE, "must be of a-z, 0-9 and '-', at most 32, and not begin with '-'")
    names: list[str] = c.sequence(name, unique=True)(value, key, problems)
    return names


def _waves(value: Any, key: str, problems: c.Problems) -> list[int | str]:
    """Cumulative: hosts (1 or more) or percent ("1%" to "100%"); those of one kind must not shrink."""
    if not isinstance(value, list) or not value:
        what = "an empty list" if value == [] else c.kind(value)
        problems.add(key, f"must be a list such as [1, 25%, 100%], not {what}")
        return list(DEFAULT_ROLLOUT["waves"])
    largest = {"hosts": 0, "percent": 0}
    found: list[int | str] = []
    for index, wave in enumerate(value):
        where = f"{key}[{index}]"
        match = _PERCENT.fullmatch(wave) if isinstance(wave, str) else None
        if not match and (isinstance(wave, bool) or not isinstance(wave, int)):
            shown = repr(wave) if isinstance(wave, (str, float)) else c.kind(wave)
            problems.add(where, f"must be a number of hosts or a percentage such as 25%, not {shown}")
            continue
        unit, size = ("percent", int(match[1])) if match else ("hosts", int(wave))
        if size < 1 or (match and size > 100):
            problems.add(where, f"must be {'from 1% to 100%' if match else 'at least 1'}, not {wave}")
        elif size < largest[unit]:
            problems.add(where, f"waves are cumulative: {wave} must not come after a larger one")
        largest[unit] = max(largest[unit], size)
        found.append(f"{size}%" if match else size)
    return found


def _size(value: Any, key: str, problems: c.Problems) -> int | None:
    try:
        return parse_size(value)
    except ValueError as error:
        problems.add(key, str(error))
        return None


def _config(value: Any, key: str, problems: c.Problems) -> Any:
    """The very object that was read; only what JSON cannot say is refused."""
    if not isinstance(value, dict):
        problems.add(key, f"must be a mapping, not {c.kind(value)}")
        return {}

    def walk(item: Any, at: str) -> None:
        if isinstance(item, dict):
            for name, part in item.items():
                if not isinstance(name, str):
                    problems.add(c.join(at, name), "a key must be a string: quote it")
                walk(part, c.join(at, name))
        elif isinstance(item, list):
            for index, part in enumerate(item):
                walk(part, f"{at}[{index}]")
        elif isinstance(item, (datetime.date, bytes, set)):
            problems.add(at, f"is a {type(item).__name__.removeprefix('_AnsibleTagged').lower()}: quote it")

    walk(value, key)
    return value


def _secrets(value: Any, key: str, problems: c.Problems) -> Any:
    """The very mapping that was read: names to strings, templates or vaulted strings."""
    if not isinstance(value, dict):
        problems.add(key, f"must be a mapping of names to values, not {c.kind(value)}")
        return {}
    for name, item in value.items():
        if item is None or (isinstance(item, str) and not item):
            problems.add(c.join(key, name), "is empty")
        elif isinstance(item, (bool, int, float, list, dict, datetime.date)):
            hint = "" if isinstance(item, (list, dict)) else ": quote it"
            problems.add(c.join(key, name), f"must be a string, not {c.kind(item)}{hint}")
    return value


def _spread(value: Any, key: str, problems: c.Problems) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(c.number(1, MAX_COUNT, whole=True)(value, key, problems))
    return str(c.choice(SPREADS)(value, key, problems))


def _count(value: Any, key: str, problems: c.Problems) -> str | int:
    if value == fleet_goals.AUTO:
        return fleet_goals.AUTO
    return int(c.number(1, MAX_COUNT, whole=True)(value, key, problems))


_PLACEMENT = c.mapping(
    {
        "max_per_host": c.Field(c.optional(c.number(1, MAX_COUNT, whole=True)), None),
        "spread": c.Field(_spread, "even"),
        "surge": c.Field(c.flag, False),
        "resources": c.Field(
            c.table(
                _text(
                    r"(?!cpu$|memory$)[a-z][a-z0-9_-]{0,38}", "must be of a-z, 0-9, '_' and '-', and not cpu or memory"
                ),
                c.number(0, 1_000_000_000, whole=True),
            ),
            {},
        ),
    }
)
_ROLLOUT = c.mapping(
    {
        "waves": c.Field(_waves, DEFAULT_ROLLOUT["waves"]),
        "max_failures": c.Field(c.number(0, 1_000_000, whole=True), DEFAULT_ROLLOUT["max_failures"]),
        "rollback": c.Field(c.choice(ROLLBACKS), DEFAULT_ROLLOUT["rollback"]),
    }
)
_AGENT = c.mapping(
    {
        "version": c.Field(_version, ""),
        "hosts": c.Field(_pattern, ""),
        "instances": c.Field(_instances, None),
        "config": c.Field(_config, {}),
        "secrets": c.Field(_secrets, {}),
        "ports": c.Field(c.table(_text(), c.number(1, 65535, whole=True)), {}),
        "resources": c.Field(
            c.mapping(
                {
                    "cpu": c.Field(c.optional(c.number(0.01, 4096, unit="cores")), _INHERIT),
                    "memory": c.Field(c.optional(_size), _INHERIT),
                    "tasks": c.Field(c.number(1, 1_000_000, whole=True), _INHERIT),
                }
            ),
            {},
        ),
        "state": c.Field(c.choice(STATES), "started"),
        "rollout": c.Field(_ROLLOUT, DEFAULT_ROLLOUT),
        "source": c.Field(_text(), ""),
        "count": c.Field(_count, None),
        "placement": c.Field(_PLACEMENT, None),
        "state_portable": c.Field(c.flag, None),
        "token_budget": c.Field(c.optional(c.number(1, 10**15, whole=True)), None),
        "load": c.Field(fleet_goals.LOAD, None),
        "slo": c.Field(fleet_goals.SLO, None),
    }
)


def settle_instances(name: str, agent: dict[str, Any], placed: int, problems: c.Problems) -> None:
    """Either `instances`, on each host, or `count`, over all of them; then `instances` are the indexes, also of those that are
    `placed` (the highest of their indexes, and one) and are more than that.

    With `count: auto` there are as many as are placed, and the count becomes that.
    """
    key = f"agents.{name}"
    if agent["count"] is None:
        for only in ("placement", "state_portable"):
            if agent[only] is not None:
                problems.add(f"{key}.{only}", "is for agents with count, which are placed")
        agent["instances"] = ["0"] if agent["instances"] is None else agent["instances"]
        fleet_goals.check(name, agent, problems)
        return
    if agent["instances"] is not None:
        problems.add(f"{key}.count", "and instances exclude each other: count is over all hosts, instances is on each")
    fleet_goals.check(name, agent, problems)
    if agent["count"] == fleet_goals.AUTO:
        agent["count"] = placed
    agent["instances"] = [str(index) for index in range(max(agent["count"], placed))]
    agent["placement"] = agent["placement"] or DEFAULT_PLACEMENT


FLEET = c.mapping(
    {
        "plugin": c.Field(_text()),
        "inventory": c.Field(_pattern, []),
        "environment": c.Field(
            _text(r"[a-z][a-z0-9_-]{0,38}", "must be a-z, 0-9, '_' and '-', beginning with a letter")
        ),
        "managed": c.Field(_pattern, "all"),
        "artifacts": c.Field(_text()),
        "max_removals": c.Field(c.number(0, 1_000_000, whole=True), 1),
        "reliability": c.Field(fleet_goals.RELIABILITY, {}),
        "agents": c.Field(c.table(_text(NAME, "must match ^" + NAME + "$"), _AGENT), {}),
    }
)
