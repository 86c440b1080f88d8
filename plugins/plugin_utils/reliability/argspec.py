# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of agent_reliability, as data."""

from typing import Any

CHANCE: dict[str, Any] = {
    "availability": {"type": "float"},
    "unavailability": {"type": "float"},
    "mtbf": {"type": "str"},
    "mttr": {"type": "str"},
}
NAMED_CHANCE: dict[str, Any] = {"name": {"type": "str", "required": True}, **CHANCE}
SERIES: dict[str, Any] = {"type": "list", "elements": "dict"}
AGENT_RELIABILITY: dict[str, Any] = {
    "needed": {"type": "int"},
    "zones": {
        "type": "list",
        "elements": "dict",
        "options": {
            **NAMED_CHANCE,
            "hosts": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    **NAMED_CHANCE,
                    "instances": {"type": "int"},
                    "room": {"type": "int"},
                    "members": {"type": "list", "elements": "dict", "options": NAMED_CHANCE},
                },
            },
        },
    },
    "zone": {"type": "dict", "options": CHANCE},
    "host": {"type": "dict", "options": CHANCE},
    "instance": {"type": "dict", "options": CHANCE},
    "crews": {
        "type": "dict",
        "options": {
            "level": {"type": "str", "choices": ["zone", "host", "instance"], "default": "host"},
            "number": {"type": "int", "required": True},
        },
    },
    "lost": {"type": "list", "elements": "str"},
    "target": {"type": "float"},
    "size": {"type": "bool", "default": False},
    "observed": {
        "type": "dict",
        "options": {
            "up": {**SERIES, "required": True},
            "wanted": SERIES,
            "restarts": SERIES,
            "history": {"type": "dict"},
            "maintenance": {
                "type": "list",
                "elements": "dict",
                "options": {"start": {"type": "str", "required": True}, "end": {"type": "str", "required": True}},
            },
            "step": {"type": "str"},
        },
    },
    "horizon": {"type": "str", "default": "7d"},
    "age": {"type": "str"},
    "confidence": {"type": "float", "default": 0.9},
}
AGENT_RELIABILITY_RULES: dict[str, Any] = {
    "required_one_of": [["zones", "observed"]],
    "required_by": {"zones": ["needed"], "needed": ["zones"]},
}
