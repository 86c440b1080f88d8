# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small checks that are put together to describe a YAML document, and the strict YAML loader before them.

A check takes a value, its dotted key and a `Problems`; it returns the normalised value, or records problems and
returns something harmless, so that one reading reports everything that is wrong.
"""

import difflib
import math
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

Check = Callable[[Any, str, "Problems"], Any]
_MAX_DEPTH = 40
_MAX_VALUES = 100_000
_MISSING = object()
_KINDS = (
    (bool, "a boolean"),
    (int, "a number"),
    (float, "a number"),
    (str, "a string"),
    (list, "a list"),
    (dict, "a mapping"),
)


@dataclass
class Problems:
    """What is wrong with one document: lines of `<file>: <dotted.key>: <reason>`."""

    file: str
    lines: list[str] = field(default_factory=list)

    def add(self, key: str, reason: str) -> None:
        self.lines.append(f"{self.file}: {key}: {reason}" if key else f"{self.file}: {reason}")


@dataclass(frozen=True)
class Field:
    """A key of a mapping: its check, and its default where it may be left out (a default is already normalised)."""

    check: Check
    default: Any = _MISSING


def kind(value: object) -> str:
    """Say in the reader's words what a YAML value is."""
    if value is None:
        return "nothing"
    return next((name for cls, name in _KINDS if isinstance(value, cls)), f"a {type(value).__name__}")


def near(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing."""
    lowered = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), sorted(lowered), n=1, cutoff=0.6)
    return f" (did you mean {lowered[found[0]]!r}?)" if found else ""


def join(key: str, part: object) -> str:
    return f"{key}.{part}" if key else str(part)


def _plain(value: str) -> bool:
    """No control characters and nothing that UTF-8 cannot carry."""
    return not any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in value)


def text(pattern: str = "", reason: str = "", *, maximum: int = 4096) -> Check:
    """A non-empty string without control characters, matching all of `pattern`."""
    compiled = re.compile(pattern) if pattern else None

    def check(value: Any, key: str, problems: Problems) -> str:
        if not isinstance(value, str):
            hint = ": quote it" if isinstance(value, (int, float)) else ""
            problems.add(key, f"must be a string, not {kind(value)}{hint}")
        elif not value:
            problems.add(key, "must not be empty")
        elif not _plain(value) or len(value) > maximum:
            problems.add(key, f"must be at most {maximum} characters, none of them control characters")
        elif compiled and not compiled.fullmatch(value):
            problems.add(key, f"{value!r} {reason}")
        else:
            return str(value)
        return ""

    return check


def number(low: float, high: float, *, whole: bool = False, unit: str = "") -> Check:
    """A number from `low` to `high`, both included."""

    def check(value: Any, key: str, problems: Problems) -> float:
        wanted = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted):
            hint = " (without quotes)" if isinstance(value, str) and value.strip().isdigit() else ""
            problems.add(key, f"must be a {'whole ' if whole else ''}number{hint}, not {kind(value)}")
        elif not low <= value <= high:  # also refuses NaN
            problems.add(key, f"must be from {low} to {high}{' ' + unit if unit else ''}")
        else:
            return value
        return low

    return check


def flag(value: Any, key: str, problems: Problems) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        problems.add(key, f"must be true or false, not {kind(value)}")
        return False
    return value


def choice(known: Collection[str]) -> Check:
    """One of a few words."""

    def check(value: Any, key: str, problems: Problems) -> str:
        if isinstance(value, str) and value in known:
            return str(value)
        shown = repr(value) if isinstance(value, str) else kind(value)
        few = f"must be one of {', '.join(known)}, not {shown}" if len(known) < 8 else f"{shown} is not known"
        problems.add(key, few + (near(value, known) if isinstance(value, str) else ""))
        return next(iter(known))

    return check


def optional(inner: Check) -> Check:
    """The same, or null."""
    return lambda value, key, problems: None if value is None else inner(value, key, problems)


def sequence(inner: Check, *, least: int = 0, unique: bool = False) -> Check:
    """A list of what `inner` accepts."""

    def check(value: Any, key: str, problems: Problems) -> list[Any]:
        if not isinstance(value, list):
            problems.add(key, f"must be a list, not {kind(value)}")
            return []
        if len(value) < least:
            problems.add(key, "must not be empty")
        found = []
        for index, item in enumerate(value):
            before = len(problems.lines)
            result = inner(item, f"{key}[{index}]", problems)
            if unique and result in found and len(problems.lines) == before:
                problems.add(f"{key}[{index}]", f"{result!r} is listed twice")
            found.append(result)
        return found

    return check


def mapping(fields: Mapping[str, Field]) -> Check:
    """A mapping with these keys and no others."""

    def check(value: Any, key: str, problems: Problems) -> dict[str, Any]:
        if not isinstance(value, dict):
            problems.add(key, f"must be a mapping, not {kind(value)}")
            return {name: item.default for name, item in fields.items() if item.default is not _MISSING}
        for name in value:
            if not isinstance(name, str) or name not in fields:
                shown = name if isinstance(name, str) else repr(name)
                hint = near(name, fields) if isinstance(name, str) else ""
                problems.add(join(key, shown), f"unknown key{hint or '; known are ' + ', '.join(fields)}")
        result = {}
        for name, item in fields.items():
            if name in value:
                result[name] = item.check(value[name], join(key, name), problems)
            elif item.default is _MISSING:
                problems.add(join(key, name), "is missing")
            else:
                result[name] = item.default
        return result

    return check


def table(names: Check, values: Check) -> Check:
    """A mapping with free names."""

    def check(value: Any, key: str, problems: Problems) -> dict[str, Any]:
        if not isinstance(value, dict):
            problems.add(key, f"must be a mapping, not {kind(value)}")
            return {}
        result = {}
        for name, item in value.items():
            checked = names(name, join(key, name), problems)
            result[checked] = values(item, join(key, name), problems)
        return result

    return check


def json_value(value: Any, key: str, problems: Problems) -> Any:
    """Anything that JSON can say, of a sane size; returns a copy."""
    budget = [_MAX_VALUES]

    def walk(item: Any, at: str, depth: int) -> Any:
        budget[0] -= 1
        if budget[0] < 0 or depth > _MAX_DEPTH:
            raise OverflowError
        if isinstance(item, dict):
            for name in item:
                if not isinstance(name, str):
                    problems.add(at, f"the key {name!r} must be a string: quote it")
            return {name: walk(part, join(at, name), depth + 1) for name, part in item.items() if isinstance(name, str)}
        if isinstance(item, list):
            return [walk(part, f"{at}[{index}]", depth + 1) for index, part in enumerate(item)]
        if isinstance(item, float) and not math.isfinite(item):
            problems.add(at, "must be a finite number")
        elif isinstance(item, str) and any(0xD800 <= ord(char) < 0xE000 for char in item):
            problems.add(at, "holds half a surrogate pair")
        elif item is not None and not isinstance(item, (str, int, float)):
            problems.add(at, f"is {kind(item)}, which JSON cannot say: quote it")
        else:
            return item
        return None

    try:
        return walk(value, key, 0)
    except OverflowError:
        problems.add(key, f"is nested deeper than {_MAX_DEPTH} levels or holds more than {_MAX_VALUES} values")
        return None


class _Loader(yaml.SafeLoader):
    """YAML without duplicate keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for name, _value in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(name, yaml.ScalarNode) or name.tag == "tag:yaml.org,2002:merge":
                continue
            if (name.tag, name.value) in seen:
                reason = f"the key {name.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, reason, name.start_mark)
            seen.add((name.tag, name.value))
        return super().construct_mapping(node, deep)


def read_yaml(data: bytes, problems: Problems) -> Any:
    """Parse one YAML document; records a problem, with its line, and returns None where that fails."""
    try:
        return yaml.load(data, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problems.add("", f"{where}{error.problem or 'is not YAML'}")
    except RecursionError:
        problems.add("", "is nested too deeply")
    # PyYAML's constructors raise all of these for odd scalars: `!!bool x`, `!!timestamp x`, `2024-99-99`
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        problems.add("", f"is not YAML that can be read: {' '.join(str(error).split())}")
    return None
