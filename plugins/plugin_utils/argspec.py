# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules that a deploy uses, as data; a test keeps the documentation equal. Others are beside what does their work."""

from collections.abc import Iterable
from typing import Any

ONLY: dict[str, Any] = {"type": "list", "elements": "str"}


def names(given: Iterable[Any] | None) -> list[str]:
    """What a list option says whose elements may themselves be names with commas between them."""
    return [name.strip() for item in given or () for name in str(item).split(",") if name.strip()]


AGENT_PACKAGE: dict[str, Any] = {
    "source": {"type": "path", "required": True},
    "artifacts": {"type": "path", "required": True},
    "platforms": {"type": "list", "elements": "str"},
    "default_platforms": {"type": "list", "elements": "str"},
    "overwrite": {"type": "bool", "default": False},
    "upgrade_lock": {"type": "bool", "default": False},
}
AGENT_RELEASE: dict[str, Any] = {
    "state": {"type": "str", "choices": ["distributed", "installed", "configured", "absent"], "default": "configured"},
    "release": {"type": "str"},
    "only": ONLY,
    "purge": {"type": "bool", "default": False},
}
AGENT_SERVICE: dict[str, Any] = {
    "state": {"type": "str", "choices": ["started", "stopped", "restarted", "undone", "retired"], "default": "started"},
    "leaving": {"type": "str", "choices": ["first", "back", "last"], "default": "last"},
    "as_declared": {"type": "bool", "default": False},
    "only": ONLY,
}
AGENT_INFO: dict[str, Any] = {
    "gather": {
        "type": "list",
        "elements": "str",
        "choices": ["platform", "instances", "history"],
        "default": ["platform", "instances"],
    },
    "only": ONLY,
    "verify": {"type": "bool", "default": False},
}
