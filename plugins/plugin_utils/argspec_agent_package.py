# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of agent_package."""

from typing import Any

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "source": {"type": "path", "required": True},
    "artifacts": {"type": "path", "required": True},
    "platforms": {"type": "list", "elements": "str"},
    "default_platforms": {"type": "list", "elements": "str"},
    "overwrite": {"type": "bool", "default": False},
    "upgrade_lock": {"type": "bool", "default": False},
}
