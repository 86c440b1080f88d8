# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU and memory of a unit from its control group, under cgroup v1, hybrid and v2 (systemd leaves CPU unset in some modes)."""

from pathlib import Path
from typing import Optional

ROOT = Path("/sys/fs/cgroup")


def paths(pid: int) -> "dict[str, str]":
    """The control group of a process by controller; the unified hierarchy is ``""``. See cgroups(7)."""
    found = {}
    try:
        lines = Path("/proc/%d/cgroup" % pid).read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _first_number(candidates: "list[Path]") -> Optional[int]:
    for path in candidates:
        try:
            return int(path.read_text())
        except (OSError, ValueError):
            continue
    return None


def cpu_seconds(pid: int) -> Optional[float]:
    """CPU time that the unit of `pid` has used, in seconds; None where the kernel does not say."""
    groups = paths(pid)
    nanoseconds = None
    if "cpuacct" in groups:
        usage = groups["cpuacct"].lstrip("/") + "/cpuacct.usage"
        nanoseconds = _first_number([ROOT / "cpuacct" / usage, ROOT / "cpu,cpuacct" / usage])
    if nanoseconds is not None:
        return nanoseconds / 1e9
    try:
        text = (ROOT / groups.get("", "").lstrip("/") / "cpu.stat").read_text()
        fields = dict(line.split() for line in text.splitlines())
        return int(fields["usage_usec"]) / 1e6
    except (OSError, KeyError, ValueError):
        return None


def memory_bytes(pid: int) -> Optional[int]:
    """Memory that the unit of `pid` is charged for, in bytes; None where the kernel does not say."""
    groups = paths(pid)
    return _first_number(
        [ROOT / groups.get("", "").lstrip("/") / "memory.current",
         ROOT / "memory" / groups.get("memory", "").lstrip("/") / "memory.usage_in_bytes"]
    )  # fmt: skip
