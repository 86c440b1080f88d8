# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of agent_capacity, as data."""

from typing import Any

from ..prometheus_argspec import PROMETHEUS

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
            "batch": {"type": "float", "default": 1.0},
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
