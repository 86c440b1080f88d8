# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `agent_info` answers: the platform, the instances with their releases and resources, and drift. Read-only."""

import time
from typing import Any, Optional

from . import cgroup, history, lease, release, removal, staging, target, tree, truth
from .files import read_known
from .layout import Instance, Layout, instances, meant
from .plan import Now
from .systemd import Systemd, number, version


def platform() -> "dict[str, Any]":
    """``{"target", "machine", "libc", "python", "systemd"}`` of this host."""
    here = target.here()
    return {
        "target": str(here),
        "machine": here.machine,
        "libc": here.libc,
        "python": here.python,
        "systemd": version(),
    }


def gather(layout: Layout, request: "dict[str, Any]") -> "dict[str, Any]":
    """The asked subsets (``platform``, ``instances``, ``history``) for the agents in ``only`` (all: None)."""
    wanted = request["gather"]
    result: dict[str, Any] = {}
    if "platform" in wanted:
        result["platform"] = platform()
    if "history" in wanted:
        result["history"] = history.read(layout, last=100, only=request.get("only"))
    if "instances" in wanted:
        here = [i for i in instances(layout) if meant(i.id, request.get("only"))]
        states = truth.states(here, Systemd())
        once = truth.Once()
        found = [describe(i, states[i.id], request, once) for i in here]
        result["instances"] = found + absent(request, {i.id for i in here})
        result["kept"] = [
            {"agent": i.agent, "instance": i.name, "agent_id": i.id, "environment": environment}
            for i, environment in removal.kept(layout) if meant(i.id, request.get("only"))
        ]  # fmt: skip
        result["lease"] = lease.current(layout)
    return result


def describe(
    instance: Instance, state: "dict[str, str]", request: "dict[str, Any]", once: truth.Once
) -> "dict[str, Any]":
    """One instance as it is."""
    now = truth.look(instance, state, once=once)
    name = now.running or now.booted
    facts = release.read(instance, name) if name else {}
    pid = int(state.get("MainPID") or 0) if now.running else 0
    known = release.everything(instance)
    found = {
        "agent": instance.agent, "instance": instance.name, "agent_id": instance.id, "unit": instance.unit, "user": instance.user,
        "release": name, "version": facts.get("version"), "content": facts.get("content"), "environment": staging.owner(instance),
        "staged": now.staged, "state": state_of(now.running, now.under_proof, now.booted, state), "enabled": now.enabled,
        "healthy": now.healthy if pid else False,
        "health": now.detail, "ports": facts.get("ports", {}), "restarts": number(state.get("NRestarts")),
        "uptime_seconds": _uptime(state) if pid else None, "cpu_seconds": cgroup.cpu_seconds(pid) if pid else None,
        "memory_bytes": cgroup.memory_bytes(pid) if pid else None,
        "credentials": facts.get("delivery"),
        "releases": [
            {"release": r.name, "version": r.version, "status": r.status, "content": r.content, "evidence": r.evidence}
            for r in known.values()
        ],
    }  # fmt: skip
    found["drift"] = _drift(instance, now, found, request.get("declared"))
    if request.get("verify") and facts:
        damage = tree.verify(instance.layout, facts["tree"])
        found["drift"] += [damage] if damage else []
    return found


def state_of(running: Optional[str], under_proof: bool, booted: Optional[str], state: "dict[str, str]") -> str:
    """An instance's state in a word; `state` is systemd's."""
    if running:
        return "proving" if under_proof else "running"
    if state.get("SubState", "").startswith("auto-restart") or state.get("SubState") == "start-pre":
        return "crash-looping"
    if state.get("ActiveState") == "failed":
        return "failed"
    return "stopped" if booted else "not activated"


def _uptime(state: "dict[str, str]") -> Optional[float]:
    entered = number(state.get("ActiveEnterTimestampMonotonic"))
    return round(time.clock_gettime(time.CLOCK_MONOTONIC) - entered / 1e6, 1) if entered else None


def own_drift(instance: Instance, now: Now, *, known: bool) -> "list[str]":
    """How the host differs from its own record. `known`: a release runs or boots."""
    booted = bool(now.booted)
    to_start = read_known(instance.staged).get("state") == "started"
    stopped = not now.running and history.stopped(instance.layout, instance.id)
    checks = [
        (now.unit_intact, "the unit was changed"),
        (not known or now.tree_intact, "the code was changed"),
        (now.confined, "its firewall rules are gone: it may reach everything"),
        (not booted or now.has_user, "its user is gone"),
        (not booted or now.release_complete, "the configuration or the secrets were changed"),
        (
            not (now.running and booted) or now.running == now.booted,
            "%s runs, %s would boot" % (now.running, now.booted),
        ),
        (not (booted and to_start) or now.enabled or stopped, "would not start at boot"),
    ]
    return [told for holds, told in checks if not holds]


def _drift(instance: Instance, now: Now, found: "dict[str, Any]", declared: "Optional[dict[str, Any]]") -> "list[str]":
    """How the host differs from its own record and, if `declared` is given, from the declaration.

    `declared` is ``{agent id: {"version", "state", "contents": [content digests it may have here]}}``.
    """
    drift = own_drift(instance, now, known=bool(found["release"]))
    if declared is None:
        return drift
    want = declared.get(instance.id)
    if want is None:
        return drift + ["is not declared"]
    if found["version"] != want["version"]:
        drift.append("version %s is declared" % want["version"])
    elif want["contents"] and found["content"] not in want["contents"]:
        drift.append("other content than declared")
    if (want["state"] == "started") != bool(now.running):
        drift.append("is declared %s" % want["state"])
    return drift


def absent(request: "dict[str, Any]", present: "set[str]") -> "list[dict[str, Any]]":
    """Declared instances that this host does not have at all."""
    only, rows = request.get("only"), []
    for agent_id, want in sorted((request.get("declared") or {}).items()):
        agent, _at, name = agent_id.partition("@")
        if agent_id not in present and meant(agent_id, only) and want["state"] != "absent":
            rows.append(
                {"agent": agent, "instance": name, "agent_id": agent_id, "release": None, "version": None, "content": None,
                 "state": "missing", "healthy": False, "health": "is not on this host", "restarts": None, "releases": [],
                 "uptime_seconds": None, "cpu_seconds": None, "memory_bytes": None, "ports": {}, "staged": None,
                 "drift": ["version %s is declared" % want["version"]]}
            )  # fmt: skip
    return rows
