# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet's configuration of an agent against the manifest's schema, as far as it can be judged before templating.

The schema library takes 80 ms to import, which a deploy that changes nothing would pay each time; so a verdict of
"valid" is remembered in the user's cache directory under the digest of what was judged. Errors are never remembered.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import _checks as c
from .config import check, merge
from .fleet_fields import plain

_KEEP_DAYS = 30
_GENERATION = 2  # raise it when what counts as valid changes


def config_problems(manifest: Mapping[str, Any], config: dict[str, Any]) -> list[tuple[str, str]]:
    """(dotted key below config, reason) for each violation; [] where it is valid or cannot be judged yet."""
    if not plain(config):  # a host's values are not known yet: they are judged when its release is staged
        return _top_level(config, manifest["config"])
    return violations(manifest["config"], config)


def violations(judged: Mapping[str, Any], config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same of values that are final: the agent's defaults with `config` laid over them, against its schema."""
    if judged["schema"] is None:
        return []
    values = merge(judged["defaults"], config)
    mark = _cache() / _digest(judged["schema"], values)
    if _is_known(mark):
        return []
    problems = c.Problems("")
    check(judged["schema"], values, "", problems)
    if not problems.lines:
        _remember(mark)
    return [_split(line) for line in problems.lines]


def _split(line: str) -> tuple[str, str]:
    """`: key: reason` -> (key, reason)."""
    parts = line.removeprefix(": ").split(": ", 1)
    return (parts[0], parts[1]) if len(parts) == 2 and " " not in parts[0] else ("", line.removeprefix(": "))


def _top_level(config: Mapping[str, Any], judged: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What no template can mend: keys that a closed schema does not know, and required ones that nobody gives."""
    schema, defaults = judged["schema"], judged["defaults"]
    if not isinstance(schema, dict):
        return []
    known = schema.get("properties") or {}
    closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
    unknown = [key for key in config if closed and key not in known]
    missing = [key for key in schema.get("required") or [] if key not in config and key not in defaults]
    return [(str(key), f"is not in the schema{c.near(str(key), known)}") for key in unknown] + [
        (str(key), "is missing: the schema requires it") for key in missing
    ]


def _digest(schema: object, values: Mapping[str, Any]) -> str:
    text = json.dumps([_GENERATION, schema, values], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "agentfactory" / "valid-config"


def _is_known(mark: Path) -> bool:
    try:
        return time.time() - mark.stat().st_mtime < _KEEP_DAYS * 86400
    except OSError:
        return False


def _remember(mark: Path) -> None:
    """A cache that cannot be written only costs time."""
    try:
        mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        old = time.time() - _KEEP_DAYS * 86400
        for other in mark.parent.iterdir():
            if other.stat().st_mtime < old:
                other.unlink(missing_ok=True)
        mark.touch(mode=0o600)
    except OSError:
        return
