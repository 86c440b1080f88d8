# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of fleet.yml that only a plan reads: an agent's `load` and `slo`, and how reliable hosts and zones are.

They say nothing about how an instance is run, so a change of them changes no release.
"""

from typing import Any

from . import _checks as c

AUTO = "auto"
"""`count: auto`: as many as the last plan said"""
MEASURES = ("mean", "p50", "p95", "p99")
LAWS = ("auto", "deterministic", "exponential", "gamma", "hyperexponential", "lognormal", "pareto")

_positive = c.number(1e-9, 1e12)
_scv = c.number(0, 1e6)
_duration = c.text(r"[0-9.]+([eE][+-]?[0-9]+)?[smhdw]?", "is no duration such as 90s, 15m, 4h or 30d")


def _chance(value: Any, key: str, problems: c.Problems) -> dict[str, Any]:
    found: dict[str, Any] = _CHANCE(value, key, problems)
    given = {name for name, item in found.items() if item is not None}
    if given not in ({"availability"}, {"unavailability"}, {"mtbf", "mttr"}) and isinstance(value, dict):
        problems.add(key, "give one of availability, unavailability, or mtbf with mttr")
    return found


def _load(value: Any, key: str, problems: c.Problems) -> dict[str, Any]:
    found: dict[str, Any] = _LOAD(value, key, problems)
    by_hand = found["rate"] is not None and found["service_time"] is not None
    if isinstance(value, dict) and not by_hand and found["metrics"] is None:
        problems.add(key, "give rate and service_time, or metrics")
    return found


def _slo(value: Any, key: str, problems: c.Problems) -> dict[str, Any]:
    found: dict[str, Any] = _SLO(value, key, problems)
    if found["availability"] == 1:
        problems.add(f"{key}.availability", "1 is reached by no finite number of instances")
    return found


_CHANCE = c.mapping(
    {
        "availability": c.Field(c.number(0, 1), None),
        "unavailability": c.Field(c.number(0, 1), None),
        "mtbf": c.Field(_duration, None),
        "mttr": c.Field(_duration, None),
    }
)
_LOAD = c.mapping(
    {
        "rate": c.Field(_positive, None),
        "service_time": c.Field(_positive, None),
        "metrics": c.Field(
            c.mapping(
                {"requests": c.Field(c.text())}
                | {name: c.Field(c.text(), None) for name in ("busy", "busy_seconds", "duration")}
            ),
            None,
        ),
        "concurrency": c.Field(c.number(1, 1_000_000, whole=True), 1),
        "dispatch": c.Field(c.choice(("shared", "random")), "shared"),
        "batch": c.Field(c.number(1, 1e6), 1.0),
        "arrival_scv": c.Field(_scv, None),
        "service_scv": c.Field(_scv, None),
        "queue_limit": c.Field(c.number(0, 1_000_000, whole=True), None),
        "service_law": c.Field(c.choice(LAWS), "auto"),
        "burst": c.Field(
            c.mapping(
                {
                    "factor": c.Field(c.number(1, 1e6)),
                    "share": c.Field(c.number(1e-9, 1)),
                    "length": c.Field(_positive),
                }
            ),
            None,
        ),
        "calls": c.Field(c.table(c.text(), _positive), {}),
    }
)
_SLO = c.mapping(
    {
        "below": c.Field(_positive, None),
        "measure": c.Field(c.choice(MEASURES), "p95"),
        "of": c.Field(c.choice(("response", "wait")), "response"),
        "needed": c.Field(c.number(1, 100_000, whole=True), None),
        "availability": c.Field(c.number(0, 1), None),
    }
)
LOAD, SLO = _load, _slo
RELIABILITY = c.mapping({name: c.Field(_chance, None) for name in ("zone", "host", "instance")})


def check(name: str, agent: dict[str, Any], problems: c.Problems) -> None:
    """What only makes sense together."""
    slo, load = agent["slo"] or {}, agent["load"]
    if slo.get("below") is not None and load is None:
        problems.add(f"agents.{name}.slo.below", "needs the agent's load")
    counted_by = slo.get("below") is not None or slo.get("needed") is not None
    if agent["count"] == AUTO and not counted_by:
        problems.add(f"agents.{name}.count", "auto needs slo.below with a load, or slo.needed, to count by")
