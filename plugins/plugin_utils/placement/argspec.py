# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of agent_placement, as data."""

from typing import Any

from ..argspec import ONLY

AGENT_PLACEMENT: dict[str, Any] = {
    "fleet": {"type": "path"},
    "hosts": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "capacity": {"type": "dict", "required": True},
            "reserved": {"type": "dict", "default": {}},
            "zone": {"type": "str", "default": ""},
        },
    },
    "drain": ONLY,
    "failed": ONLY,
    "host_loss": {"type": "bool", "default": False},
    "proof": {"type": "bool"},
}
