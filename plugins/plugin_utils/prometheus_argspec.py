# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a Prometheus is reached, for every module that asks one, and the options of prometheus_query; as data."""

from typing import Any

PROMETHEUS: dict[str, Any] = {
    "url": {"type": "str"},
    "timeout": {"type": "float", "default": 30.0},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "str"},
    "client_cert": {"type": "str"},
    "client_key": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "password_file": {"type": "str", "no_log": False},
    "token": {"type": "str", "no_log": True},
    "token_file": {"type": "str", "no_log": False},
}
PROMETHEUS_RULES: dict[str, Any] = {
    "mutually_exclusive": [["password", "password_file"], ["token", "token_file", "username"]],
    "required_by": {"client_key": ["client_cert"], "password": ["username"], "password_file": ["username"]},
}
PROMETHEUS_QUERY: dict[str, Any] = {
    "query": {"type": "str", "required": True},
    "time": {"type": "str"},
    "start": {"type": "str"},
    "end": {"type": "str"},
    "step": {"type": "str"},
    **PROMETHEUS,
    "until": {
        "type": "dict",
        "options": {
            "operator": {"type": "str", "choices": ["eq", "ne", "gt", "ge", "lt", "le"], "required": True},
            "value": {"type": "float", "required": True},
            "of": {"type": "str", "choices": ["all", "any", "count"], "default": "all"},
        },
    },
    "retries": {"type": "int", "default": 12},
    "delay": {"type": "float", "default": 5.0},
}
PROMETHEUS_QUERY_RULES: dict[str, Any] = {
    "mutually_exclusive": [["time", "start"], *PROMETHEUS_RULES["mutually_exclusive"]],
    "required_by": {"start": ["step"], "step": ["start"], "end": ["start"], **PROMETHEUS_RULES["required_by"]},
}
