# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus is to expect of a fleet, as recording rules: agents, objectives, budgets, maintenance.

Without them, an agent that is gone is missed by nobody. The alerts are the role's own files; they read what is recorded here.
"""

import contextlib
import datetime
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from .declare import DeclarationError, packaged
from .monitoring import Member

Rule = dict[str, Any]
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "": False}


def expected(members: Iterable[Member], artifacts: str) -> dict[str, Any]:
    """A file of rules. DeclarationError where a host's maintenance is neither a boolean nor a time."""
    everyone = list(members)
    agents: list[Rule] = []
    places: dict[tuple[str, str], list[str]] = {}
    declared: dict[tuple[str, str], Mapping[str, Any]] = {}
    for member in everyone:
        for agent, instance in member.instances():
            name, version = str(agent["name"]), str(agent["version"])
            labels = {**member.labels, "agent": name, "agent_id": f"{name}@{instance}", "version": version}
            agents.append(_rule("agentfactory_fleet_agent", "vector(1)", labels))
            key = name, member.environment
            places.setdefault(key, []).append(member.name)
            declared[key] = agent
    for (name, environment), hosts in sorted(places.items()):
        # Of an agent on one host only, the alerts of the host and of its instances tell everything.
        if len(set(hosts)) > 1:
            labels = {"agent": name, "environment": environment}
            agents.append(_rule("agentfactory_fleet_replicas_needed", f"vector({math.ceil(len(hosts) / 2)})", labels))
    indicators: list[Rule] = []
    for (name, environment), agent in sorted(declared.items()):
        labels = {"agent": name, "environment": environment}
        slo = packaged(artifacts, name, str(agent["version"])).manifest.get("slo")
        indicators += _objective(slo, labels) if slo else []
        if agent.get("token_budget"):
            indicators.append(_rule("agentfactory_genai_token_budget", f"vector({int(agent['token_budget'])})", labels))
    return {
        "groups": [
            {"name": "agentfactory_fleet", "rules": [*agents, *_maintenance(everyone)]},
            {"name": "agentfactory_fleet_objectives", "interval": "1m", "rules": indicators},
        ]
    }


def _rule(record: str, expr: str, labels: Mapping[str, str]) -> Rule:
    return {"record": record, "expr": expr, "labels": dict(labels)}


def _objective(slo: Mapping[str, Any], labels: Mapping[str, str]) -> list[Rule]:
    """The objective, and its indicator where that is the agent's own: how many a second each instance has, of all events and
    of the good ones."""
    own = bool(slo["total"])
    objective = f"vector({slo['objective']})"
    rules = [_rule("agentfactory_slo_objective_ratio", objective, {**labels, "indicator": "own" if own else "http"})]
    for name in ("total", "good") if own else ():
        metric, _brace, matchers = slo[name].partition("{")
        ours = ", ".join(f"{key}={json.dumps(value)}" for key, value in {"job": "agents", **labels}.items())
        selector = f"{metric}{{{ours}, {matchers or '}'}"
        rules.append(
            _rule(f"agentfactory:slo_{name}:rate5m", f"sum by (host, agent_id) (rate({selector}[5m]))", labels)
        )
    return rules


def _maintenance(members: Iterable[Member]) -> list[Rule]:
    """1 while a host is in maintenance; where it ends at a time, 0 from then on, whether anybody runs the playbook or not."""
    rules = []
    for member in members:
        ends = _ends(member)
        if ends:
            expr = "vector(1)" if ends == math.inf else f"vector(time()) < bool {ends:.0f}"
            rules.append(_rule("agentfactory_maintenance", expr, member.labels))
    return rules


def _ends(member: Member) -> float:
    """When a host's maintenance ends: Unix time, infinity, or 0 where there is none."""
    value = member.maintenance
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), value)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = datetime.datetime.fromisoformat(value.strip())
    if isinstance(value, bool) or value is None:
        return math.inf if value else 0
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.timestamp()
    raise DeclarationError(
        f"{member.name}: agentfactory_maintenance: must be true, false or a time with its zone, "
        f"such as 2030-01-31T18:00:00+01:00, not {str(value)!r}"
    )
