# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An agent's configuration: its JSON Schema, its defaults, and what a fleet lays over them.

jsonschema is imported only where a schema is there to be checked: it takes 80 ms.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from . import _checks as c

# what a configuration may still fulfil once the fleet has added to the defaults
_OPEN = {
    "required",
    "minProperties",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "not",
    "unevaluatedProperties",
    "unevaluatedItems",
}
_OPEN_PATHS = {"if", "then", "else"}
_MAX_SHOWN = 20


def load_schema(config: dict[str, Any], file: str, problems: c.Problems) -> None:
    """Replace a schema's file name by its content, and check schema and defaults; `config` is changed in place."""
    schema = config["schema"]
    if isinstance(schema, str):
        schema = config["schema"] = _read(os.path.join(os.path.dirname(file), schema), schema, problems)
    if not isinstance(config["defaults"], dict):
        problems.add("config.defaults", f"must be a mapping, not {c.kind(config['defaults'])}")
    elif schema is not None and not isinstance(schema, dict):
        problems.add("config.schema", f"must be a file's name or a JSON Schema, not {c.kind(schema)}")
    elif schema is not None and _check_schema(schema, problems):
        check(schema, config["defaults"], "config.defaults", problems, partial=True)


def merge(defaults: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `defaults`: mappings merge, everything else replaces."""
    merged = dict(defaults)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def check(schema: Any, value: Any, key: str, problems: c.Problems, *, partial: bool = False) -> None:
    """Record where `value` breaks the schema; `partial`: only what no further key can mend."""
    validator = _validator(schema, problems)
    if validator is None:
        return
    try:
        found = [error for error in validator.iter_errors(value) if not partial or _definite(error)]
    except Exception as error:  # references and regular expressions raise several private types
        problems.add(key or "schema", f"the schema cannot be applied: {_short(error)}")
        return
    for broken in sorted(found, key=lambda one: [str(part) for part in one.absolute_path])[:_MAX_SHOWN]:
        problems.add(_dotted(key, broken.absolute_path), _short(broken.message))


def _read(path: str, name: str, problems: c.Problems) -> Any:
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read(1 << 20)
        return c.json_value(json.loads(text, object_pairs_hook=_no_duplicates), "config.schema", problems)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else _short(error)
        problems.add("config.schema", f"{name!r} cannot be read: {reason}")
        return None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a key is given twice among {', '.join(name for name, _value in pairs)}")
    return found


def _check_schema(schema: Any, problems: c.Problems) -> bool:
    validator = _validator(schema, problems)
    if validator is None:
        return False
    from jsonschema.exceptions import SchemaError

    try:
        validator.check_schema(schema)
    except SchemaError as error:
        at = _dotted("config.schema", error.absolute_path)
        problems.add(at, f"is not a valid JSON Schema: {_short(error.message)}")
        return False
    except Exception as error:  # references and regular expressions raise several private types
        problems.add("config.schema", f"is not a valid JSON Schema: {_short(error)}")
        return False
    return True


def _validator(schema: Any, problems: c.Problems) -> Any:
    try:
        from jsonschema import validators
        from referencing import Registry
    except ImportError:
        problems.add("config.schema", "needs the Python package jsonschema (4.18 or later) on the controller")
        return None
    dialect = schema.get("$schema") if isinstance(schema, dict) else None
    if dialect is not None and not isinstance(dialect, str):
        problems.add("config.schema", "$schema must be a string")
        return None
    # an empty registry: a schema never makes the controller fetch a URL
    return validators.validator_for(schema, default=validators.Draft202012Validator)(schema, registry=Registry())


def _definite(error: Any) -> bool:
    """Whether a value that breaks the schema here stays broken, whatever keys are added to it."""
    if error.validator in _OPEN or _OPEN_PATHS & {part for part in error.absolute_schema_path if isinstance(part, str)}:
        return False
    if error.validator not in ("anyOf", "oneOf"):
        return True
    broken: dict[Any, bool] = {}
    for inner in error.context:
        branch = inner.relative_schema_path[0]
        broken[branch] = broken.get(branch, False) or _definite(inner)
    return bool(broken) and all(broken.values())


def _dotted(key: str, path: Iterable[object]) -> str:
    for part in path:
        key = f"{key}[{part}]" if isinstance(part, int) else c.join(key, part)
    return key


def _short(error: object) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else re.sub(r"\s\S*$", "", text[:300]) + " ..."
