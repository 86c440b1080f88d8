# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules whose work is done on the controller, once, as data; a test keeps the documentation equal."""

from typing import Any

from . import healing_journal

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
    "state": {"type": "str", "choices": ["started", "stopped", "restarted", "undone", "retired"], "default": "started"},
    "leaving": {"type": "str", "choices": ["first", "last"], "default": "last"},
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
AGENT_DIAGNOSIS: dict[str, Any] = {
    "only": ONLY,
    "lines": {"type": "int", "default": 20},
}
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
AGENT_HEALING: dict[str, Any] = {
    "window": {"type": "int", "default": 60},
    "hosts_per_hour": {"type": "int", "default": 3},
    "newer_hours": {"type": "int", "default": 24},
    "directory": {"type": "path", "default": healing_journal.DEFAULT},
    "dry_run": {"type": "bool", "default": False},
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
AGENT_CAPACITY: dict[str, Any] = {
    "agents": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "rate": {"type": "float"},
            "service_time": {"type": "float"},
            "metrics": {
                "type": "dict",
                "options": {
                    "requests": {"type": "str", "required": True},
                    "busy": {"type": "str"},
                    "busy_seconds": {"type": "str"},
                    "duration": {"type": "str"},
                },
            },
            "instances": {"type": "int"},
            "concurrency": {"type": "int", "default": 1},
            "dispatch": {"type": "str", "choices": ["shared", "random"], "default": "shared"},
            "queue_limit": {"type": "int"},
            "arrival_scv": {"type": "float"},
            "service_scv": {"type": "float"},
            "service_law": {
                "type": "str",
                "choices": [
                    "auto", "deterministic", "exponential", "gamma", "hyperexponential", "lognormal", "pareto",
                ],
                "default": "auto",
            },
            "burst": {
                "type": "dict",
                "options": {name: {"type": "float", "required": True} for name in ("factor", "share", "length")},
            },
            "calls": {"type": "dict"},
            "zones": {"type": "dict"},
            "history": {"type": "list", "elements": "list"},
            "slo": {
                "type": "dict",
                "options": {
                    "below": {"type": "float", "required": True},
                    "measure": {"type": "str", "choices": ["mean", "p50", "p95", "p99"], "default": "p95"},
                    "of": {"type": "str", "choices": ["response", "wait"], "default": "response"},
                    "loss": {"type": "float", "default": 0.001},
                },
            },
        },
    },
    "load_factor": {"type": "float", "default": 1.0},
    "lose": {"type": "dict"},
    "lose_zone": {"type": "str"},
    "closed": {
        "type": "dict",
        "options": {
            "population": {"type": "int", "required": True},
            "think_time": {"type": "float", "required": True},
            "stations": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "service_time": {"type": "float", "required": True},
                    "servers": {"type": "int", "default": 1},
                    "visits": {"type": "float", "default": 1.0},
                },
            },
        },
    },
    "sensitivity": {"type": "bool", "default": False},
    "seed": {"type": "int", "default": 1},
    "replications": {"type": "int", "default": 10},
    "window": {"type": "str", "default": "7d"},
    "history": {"type": "str"},
    "time": {"type": "str"},
    **PROMETHEUS,
}  # fmt: skip
AGENT_PLAN: dict[str, Any] = {
    "fleet": {"type": "path"},
    "output": {"type": "path"},
    "format": {"type": "str", "choices": ["table", "json", "html"], "default": "table"},
    "load_factor": {"type": "float", "default": 1.0},
    "drain": ONLY,
    "lose_zone": {"type": "str"},
    "window": {"type": "str", "default": "7d"},
    "proof": {"type": "bool"},
    "prometheus": {
        "type": "dict",
        "options": {**PROMETHEUS, "timeout": {"type": "float", "default": 10.0}},
        **PROMETHEUS_RULES,
    },
}
