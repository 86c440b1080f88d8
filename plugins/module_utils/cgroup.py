# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU and memory of a unit from its control group, under cgroup v1, hybrid and v2 (systemd leaves CPU unset in some modes)."""

from pathlib import Path
from typing import Optional

ROOT = Path("/sys/fs/cgroup")


def paths(pid: int) -> "dict[str, str]":
    """The control group of a process by controller; the unified hierarchy is ``""``. See cgroups(7)."""
    found: dict[str, str] = {}
    try:
        lines = Path("/proc/%d/cgroup" % pid).read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _own(groups: "dict[str, str]", controller: str) -> Optional[str]:
    """The unit's own group of a controller; None where the process is only in a group of others (a container's, say)."""
    path = groups.get(controller, "")
    return path.lstrip("/") if path.endswith(".service") else None


def _read(candidates: "list[Path]") -> Optional[str]:
    for path in candidates:
        try:
            return path.read_text()
        except OSError:
            continue
    return None


def cpu_seconds(pid: int) -> Optional[float]:
    """CPU time that the unit of `pid` has used since it started, in seconds; None where the kernel does not say."""
    groups = paths(pid)
    unified, v1 = _own(groups, ""), _own(groups, "cpuacct")
    if unified:
        text = _read([ROOT / unified / "cpu.stat", ROOT / "unified" / unified / "cpu.stat"])
        fields = dict(line.split() for line in (text or "").splitlines())
        if "usage_usec" in fields:
            return int(fields["usage_usec"]) / 1e6
    if v1:
        text = _read([ROOT / "cpuacct" / v1 / "cpuacct.usage", ROOT / "cpu,cpuacct" / v1 / "cpuacct.usage"])
        return int(text) / 1e9 if text else None
    return None


def memory_bytes(pid: int) -> Optional[int]:
    """Memory that the unit of `pid` is charged for, in bytes; None where the kernel does not say."""
    groups = paths(pid)
    unified, v1 = _own(groups, ""), _own(groups, "memory")
    text = _read([ROOT / unified / "memory.current"]) if unified else None
    if text is None and v1:
        text = _read([ROOT / "memory" / v1 / "memory.usage_in_bytes"])
    return int(text) if text else None
