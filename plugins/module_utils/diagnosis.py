# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one must know of a host to say why an agent is not well. Read-only; secrets are struck out before anything leaves.

What it means is concluded on the controller (`plugin_utils.findings`).
"""

import contextlib
import os
import pwd
import time
from pathlib import Path
from typing import Any, Callable, Optional

from . import activator, cgroup, credentials, egress, health, history, info, journal, lease, release, truth
from .errors import HostError
from .files import read_text
from .layout import Instance, Layout, instances, meant
from .systemd import Systemd, number, run

LINE = 500
PROC = Path("/proc")


def gather(layout: Layout, request: "dict[str, Any]") -> "dict[str, Any]":
    """The host, and each instance of the agents in ``only``: `info`'s answer with what explains it. ``lines`` of each journal."""
    here = [i for i in instances(layout) if meant(i.id, request.get("only"))]
    with contextlib.suppress(HostError):
        run(["journalctl", "--sync"], check=False, timeout=20)  # else the last words may still be on their way
    changes, kills, once = history.read(layout, last=100), journal.kernel_kills() if here else [], truth.Once()
    rows = []
    for instance in here:
        state, row, listening = _settled(instance, request, once)
        row.update(explain(instance, state, row, listening, request["lines"]))
        if row["withheld"] and row["uptime_seconds"] is not None and not row["healthy"]:
            # what a probe was answered is the agent's words too
            row["health"] = "%s: what it was answered is withheld" % row["health"].partition(": ")[0]
        row["kernel_kills"] = [k for k in kills if k["unit"] == instance.unit]
        row["history"] = [c for c in changes if c["agent_id"] == instance.id][-10:]
        rows.append(row)
    return {
        "host": dict(host(layout), platform=info.platform(), used=layout.opt.exists(), kernel_kills=kills),
        "lease": lease.current(layout), "activation": _activation(layout),
        "instances": rows + info.absent(request, {i.id for i in here}),
    }  # fmt: skip


# -- an instance ------------------------------------------------------------------------------------------------------


def _settled(
    instance: Instance, request: "dict[str, Any]", once: truth.Once
) -> "tuple[dict[str, str], dict[str, Any], list[health.Listener]]":
    """systemd's view of an instance, ours, and the host's listeners, at one moment: its process did not end in between."""
    systemd = Systemd()
    for _attempt in range(3):
        state = truth.states([instance], systemd)[instance.id]
        pid = int(state.get("MainPID") or 0)
        born = truth.start_time(pid) if pid else None
        row, listening = info.describe(instance, state, request, once), list(health.listeners())
        if not pid or (born is not None and truth.start_time(pid) == born):
            break
    return state, row, listening


def explain(
    instance: Instance, state: "dict[str, str]", row: "dict[str, Any]", listening: "list[health.Listener]", lines: int
) -> "dict[str, Any]":
    """What `info.describe` does not say of an instance. `listening` are the host's listeners."""
    name = row["release"] or row["staged"] or ""
    facts = release.read(instance, name)
    runs = journal.of_unit(instance.unit)
    pid = int(state.get("MainPID") or 0)
    newest, before = journal.last(runs, state.get("InvocationID") if pid else None)
    tell, withheld = _teller(instance)
    confined = bool(name) and (instance.releases / name / "egress.nft").exists()
    return {
        "subject": name, "limits": facts.get("resources", {}), "health_checks": facts.get("manifest", {}).get("health", {}),
        "systemd": {key: state.get(key) for key in ("LoadState", "ActiveState", "SubState", "Result", "ExecMainStatus")},
        "unit_says": truth.describe(state), "invocations": runs[-20:], "invocation": newest, "invocation_before": before,
        "journal": [] if withheld or not newest else [tell(line) for line in journal.said(newest, lines)],
        "journal_before": [] if withheld or not before else [tell(line) for line in journal.said(before, lines)],
        "withheld": withheld,
        "usage": vars(cgroup.usage(pid)) if pid else {},
        "network_namespace": "own" if facts and not (facts["ports"] or facts["manifest"]["permissions"]["outbound"]) else "host",
        "wanted_ports": facts.get("ports", {}), "listeners": _listeners(row["user"], facts.get("ports", {}), listening),
        "secrets": _secrets(instance, name, facts),
        "refused_packets": egress.refused(instance) if confined and pid else 0,
    }  # fmt: skip


def _teller(instance: Instance) -> "tuple[Callable[[str], str], str]":
    """Strikes the secrets of all its releases out of a line; or why lines must not leave this host."""
    values: list[str] = []
    for name in release.everything(instance):
        for secret, value in release.secrets(instance, name).items():
            if value is None:
                return str, "secret %s of %s cannot be read here, so it could not be struck out" % (secret, name)
            values.append(value)
    return lambda line: credentials.head(credentials.redact(line, values), LINE), ""


def _secrets(instance: Instance, name: str, facts: "dict[str, Any]") -> "dict[str, str]":
    """name -> ``here``, ``missing``, ``empty`` or ``damaged``. Never what is in it."""
    found = {}
    for secret, value in release.secrets(instance, name).items() if facts else []:
        there = (instance.releases / name / "credentials" / secret).exists()
        found[secret] = ("damaged" if there else "missing") if value is None else "here" if value else "empty"
    return found


def _listeners(user: str, ports: "dict[str, int]", listening: "list[health.Listener]") -> "list[dict[str, Any]]":
    """Who listens on the instance's ports, and where else the instance does."""
    try:
        uid: Optional[int] = pwd.getpwnam(user).pw_uid
    except KeyError:
        uid = None
    found = []
    for item in listening:
        if item.uid == uid or item.port in ports.values():
            one = {"port": item.port, "address": item.address, "uid": item.uid, "own": item.uid == uid}
            found.append(one if one["own"] else {**one, "user": _user(item.uid), **_holder(item.inode)})
    return found


def _user(uid: int) -> Optional[str]:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _holder(inode: int) -> "dict[str, Any]":
    """The process that has a socket open: its pid and its program's name. (Its arguments could hold a secret.)"""
    wanted = "socket:[%d]" % inode
    for entry in sorted((e for e in os.scandir(PROC) if e.name.isdigit()), key=lambda e: int(e.name)):
        with contextlib.suppress(OSError):
            for descriptor in os.scandir(entry.path + "/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor.path) == wanted:
                        return {"pid": int(entry.name), "program": (read_text(Path(entry.path) / "comm") or "").strip()}
    return {"pid": None, "program": None}


# -- the host ---------------------------------------------------------------------------------------------------------


def _activation(layout: Layout) -> "Optional[dict[str, Any]]":
    """The activation that is under way, or was cut off."""
    intent = activator.read_intent(layout)
    if not intent or intent["done"]:
        return None
    return {
        "run": intent["run"], "user": intent["who"].get("user"), "at": intent.get("at"), "this_boot": intent["boot"] == activator.boot(),
        "steps": [{k: s.get(k) for k in ("agent", "instance", "action", "to", "phase")} for s in intent["steps"]],
    }  # fmt: skip


def host(layout: Layout) -> "dict[str, Any]":
    """The basics: clock, load, memory, pressure, file systems. Sizes in bytes; what the kernel does not say is None."""
    memory = {}
    for line in (read_text(PROC / "meminfo") or "").splitlines():
        key, _colon, value = line.partition(":")
        memory[key] = number(value.split()[0])
    places = [layout.opt, layout.opt.parent, layout.state, layout.state.parent, layout.units, layout.run.parent]
    return {
        "time": time.time(), "uptime_seconds": round(time.clock_gettime(time.CLOCK_BOOTTIME)), "cpus": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "memory": {name: (memory.get(key) or 0) * 1024 for name, key in (("total", "MemTotal"), ("available", "MemAvailable"))},
        "pressure": {name: _pressure(name) for name in ("cpu", "memory", "io")},
        "file_systems": file_systems([str(place) for place in places]),
    }  # fmt: skip


def _pressure(name: str) -> Optional[float]:
    """In percent, how much of the last minute something waited for it (proc_pressure(5))."""
    text = read_text(PROC / "pressure" / name) if (PROC / "pressure").is_dir() else None
    fields = dict(pair.split("=") for pair in (text or "").splitlines()[0].split()[1:]) if text else {}
    return float(fields["avg60"]) if "avg60" in fields else None


def file_systems(places: "list[str]") -> "list[dict[str, Any]]":
    """Those that hold the places, each once."""
    found: dict[int, dict[str, Any]] = {}
    for place in places:
        with contextlib.suppress(OSError):
            device, status = os.stat(place).st_dev, os.statvfs(place)
            found.setdefault(device, {
                "path": place, "size": status.f_blocks * status.f_frsize, "free": status.f_bavail * status.f_frsize,
                "files": status.f_files, "free_files": status.f_favail, "read_only": bool(status.f_flag & os.ST_RDONLY),
            })  # fmt: skip
    return list(found.values())
