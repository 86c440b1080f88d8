# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of agent_plan, as data."""

from typing import Any

from ..argspec import ONLY
from ..prometheus_argspec import PROMETHEUS, PROMETHEUS_RULES

AGENT_PLAN: dict[str, Any] = {
    "fleet": {"type": "path"},
    "output": {"type": "path", "default": "plan.json"},
    "format": {"type": "str", "choices": ["table", "json", "html"], "default": "table"},
    "load_factor": {"type": "float", "default": 1.0},
    "drain": ONLY,
    "failed": ONLY,
    "lose_zone": {"type": "str"},
    "host_loss": {"type": "bool", "default": False},
    "one_more": {"type": "str"},
    "window": {"type": "str", "default": "7d"},
    "proof": {"type": "bool"},
    "prometheus": {
        "type": "dict",
        "options": {**PROMETHEUS, "timeout": {"type": "float", "default": 10.0}},
        **PROMETHEUS_RULES,
    },
}
