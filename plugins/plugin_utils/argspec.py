# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules whose work is done on the controller, once, as data; a test keeps the documentation equal."""

from typing import Any

ONLY: dict[str, Any] = {"type": "list", "elements": "str"}

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
    "state": {"type": "str", "choices": ["started", "stopped", "restarted", "undone"], "default": "started"},
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
AGENT_DIAGNOSIS: dict[str, Any] = {
    "only": ONLY,
    "lines": {"type": "int", "default": 20},
}
DIAGNOSIS_REPORT: dict[str, Any] = {
    "results": {"type": "dict", "required": True},
    "format": {"type": "str", "choices": ["text", "json"], "default": "text"},
    "bundle": {"type": "path"},
}
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
FLEET_REPORT: dict[str, Any] = {
    "results": {"type": "dict", "required": True},
    "format": {"type": "str", "choices": ["table", "json", "html"], "default": "table"},
    "output": {"type": "path", "default": "fleet-status.html"},
    "prometheus": {
        "type": "dict",
        "options": {**PROMETHEUS, "timeout": {"type": "float", "default": 10.0}},
        **PROMETHEUS_RULES,
    },
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
