# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a unit uses, from its control group, under cgroup v1, hybrid and v2 (systemd leaves some of it unset in some modes).

What the kernel does not say is None, never 0. See cgroups(7) and the kernel's admin-guide/cgroup-v2.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

ROOT = Path("/sys/fs/cgroup")
PROC = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """One look at a unit: CPU in seconds, memory in bytes (the working set), the rest are counts."""

    cpu_seconds: Optional[float] = None
    cpu_periods: Optional[int] = None
    cpu_throttled_periods: Optional[int] = None
    memory_bytes: Optional[int] = None
    oom_kills: Optional[int] = None
    tasks: Optional[int] = None


def usage(pid: int) -> Usage:
    """What the unit of the process `pid` uses now, or has used since it started."""
    groups = Groups(pid)
    throttling = groups.fields("", "cpu.stat")
    if "nr_periods" not in throttling:
        throttling = groups.fields("cpu", "cpu.stat")
    kills = groups.fields("", "memory.events") or groups.fields("memory", "memory.oom_control")
    return Usage(
        groups.cpu_seconds(), throttling.get("nr_periods"), throttling.get("nr_throttled"), groups.working_set(),
        kills.get("oom_kill"), groups.number("", "pids.current") or groups.number("pids", "pids.current"),
    )  # fmt: skip


def cpu_seconds(pid: int) -> Optional[float]:
    return Groups(pid).cpu_seconds()


def memory_bytes(pid: int) -> Optional[int]:
    return Groups(pid).memory_bytes()


def _text(path: str) -> str:
    """All of a file, the cheap way: a scrape reads a thousand of them."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(descriptor, 65536), b"")).decode()
    finally:
        os.close(descriptor)


class Groups:
    """The control groups of one process, by controller; the unified hierarchy is ``""``."""

    def __init__(self, pid: int) -> None:
        self._paths: dict[str, str] = {}
        try:
            lines = _text("%s/%d/cgroup" % (PROC, pid)).splitlines()
        except OSError:
            return
        for line in lines:
            _number, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                self._paths[controller] = path

    def own(self, controller: str) -> Optional[str]:
        """The unit's own group; None where the process is only in a group of others (a container's, say)."""
        path = self._paths.get(controller, "")
        return path.lstrip("/") if path.endswith(".service") else None

    def _read(self, controller: str, name: str) -> Optional[str]:
        group = self.own(controller)
        if not group:
            return None
        mounts = [controller.removeprefix("name=")] if controller else ["", "unified"]
        if controller in ("cpu", "cpuacct"):
            mounts.append("cpu,cpuacct")
        for mount in mounts:
            try:
                return _text("%s/%s/%s/%s" % (ROOT, mount, group, name))
            except OSError:
                continue
        return None

    def number(self, controller: str, name: str) -> Optional[int]:
        text = (self._read(controller, name) or "").strip()
        return int(text) if text.isdigit() else None

    def fields(self, controller: str, name: str) -> "dict[str, int]":
        """The lines ``name number`` of a file."""
        lines = (line.split() for line in (self._read(controller, name) or "").splitlines())
        return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}

    def cpu_seconds(self) -> Optional[float]:
        used = self.fields("", "cpu.stat").get("usage_usec")
        if used is not None:
            return used / 1e6
        used = self.number("cpuacct", "cpuacct.usage")
        return used / 1e9 if used is not None else self._cpu_of_processes()

    def _cpu_of_processes(self) -> Optional[float]:
        """Where the kernel does not count for the group: its processes', and those that they have waited for."""
        listed = self._read("", "cgroup.procs") or self._read("name=systemd", "cgroup.procs")
        if not listed:
            return None
        ticks = 0
        for pid in listed.split():
            try:
                stat = (PROC / pid / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += sum(int(n) for n in stat[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> Optional[int]:
        used = self.number("", "memory.current")
        return used if used is not None else self.number("memory", "memory.usage_in_bytes")

    def working_set(self) -> Optional[int]:
        """Memory without the file cache that the kernel would give up first: what comes near a limit."""
        used = self.memory_bytes()
        spare = self.fields("", "memory.stat").get("inactive_file")
        if spare is None:
            spare = self.fields("memory", "memory.stat").get("total_inactive_file", 0)
        return max(used - spare, 0) if used is not None else None
