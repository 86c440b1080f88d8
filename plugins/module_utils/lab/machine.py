# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine needs so that a container's systemd really enforces sandboxes and limits.

On cgroup v2 podman's own ``--systemd=always`` gives the host's systemd a cgroup tree to write to. On cgroup v1
(also in hybrid mode) it does not, and systemd then ignores limits without a word: there the controllers that carry
them are bound read-write, and ``runc`` is used, since ``crun`` refuses the hybrid mode.
"""

import dataclasses
import os
import resource

from .command import LabError

# What root of a real machine can do, and a container's root by default cannot: mount (sandboxes), nftables, raw
# sockets, look into another user's process, priorities, audit (sudo). Denials by a unit's sandbox prove nothing without.
CAPABILITIES = (
    "SYS_ADMIN",
    "NET_ADMIN",
    "NET_RAW",
    "SYS_PTRACE",
    "SYS_NICE",
    "DAC_READ_SEARCH",
    "AUDIT_WRITE",
    "MKNOD",
    "IPC_LOCK",
)
CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
PODMAN_NOFILE = 1048576
CAP_SYS_RESOURCE = 24
INOTIFY = "/proc/sys/fs/inotify/max_user_instances"


@dataclasses.dataclass(frozen=True)
class Machine:
    """The facts that decide how a host is run: mount points of the v1 controllers (none on v2), hard limits."""

    controllers: tuple[str, ...]
    nofile: int
    nproc: int
    may_raise_limits: bool


def v1_controllers(mounts: str) -> tuple[str, ...]:
    """Mount points of the controllers that carry limits, from the text of ``/proc/self/mounts``; empty on cgroup v2."""
    found = []
    for line in mounts.splitlines():
        path, kind, options = line.split(" ")[1:4]
        if kind == "cgroup" and set(options.split(",")) & set(CONTROLLERS) and path not in found:
            found.append(path)
    return tuple(found)


def effective_capabilities() -> int:
    with open("/proc/self/status", encoding="ascii") as stream:
        return next(int(line.split()[1], 16) for line in stream if line.startswith("CapEff:"))


def pid_max() -> int:
    """podman lowers its own limit of processes to this."""
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as stream:
        return int(stream.read())


def this_machine() -> Machine:
    with open("/proc/self/mounts", encoding="utf-8") as stream:
        controllers = v1_controllers(stream.read())
    return Machine(
        controllers=controllers,
        nofile=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        nproc=min(limit for limit in (resource.getrlimit(resource.RLIMIT_NPROC)[1], pid_max()) if limit > 0),
        may_raise_limits=bool(effective_capabilities() >> CAP_SYS_RESOURCE & 1),
    )


def flags(machine: Machine) -> list[str]:
    """Options of ``podman run`` beside those that every container has."""
    options = ["--systemd=always", "--cap-add=" + ",".join(CAPABILITIES)]
    if machine.controllers:
        options.append("--runtime=runc")
        options += [f"--volume={path}:{path}:rw" for path in machine.controllers]
    if not machine.may_raise_limits:
        if 0 <= machine.nofile < PODMAN_NOFILE:
            options.append(f"--ulimit=nofile={min(1024, machine.nofile)}:{machine.nofile}")
        if 0 <= machine.nproc < PODMAN_NOFILE:
            options.append(f"--ulimit=nproc={machine.nproc}:{machine.nproc}")
    return options


def raise_inotify(wanted: int, check: bool) -> bool:
    """Whether the kernel's limit had to be raised: a systemd host holds 6 instances, and hangs at boot without."""
    with open(INOTIFY, encoding="ascii") as stream:
        current = int(stream.read())
    if current >= wanted:
        return False
    if check:
        return True
    try:
        with open(INOTIFY, "w", encoding="ascii") as stream:
            stream.write(str(wanted))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise LabError(
            f"fs.inotify.max_user_instances is {current} and cannot be raised to {wanted} here ({reason}). "
            "About every 20 hosts need 128 more; set it on the machine itself: "
            f"sysctl -w fs.inotify.max_user_instances={wanted}"
        ) from error
    return True
