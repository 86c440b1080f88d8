# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs this: the person, the run and the process, for leases and for each host's history."""

import getpass
import os
import socket
from collections.abc import Mapping
from functools import cache
from typing import Any

from . import run


def started(pid: int) -> str | None:
    """When a process started (clock ticks since boot), or None if it is gone, be it still waited for by its parent."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            fields = stream.read().rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else fields[19]
    except (OSError, IndexError):
        return None


def run_id() -> str:
    """The id of this run; without a rollout it is made of the process that forked the task, so all its tasks share it."""
    return run.current() or f"p{os.getppid()}-{started(os.getppid()) or 0}"


@cache
def _machine() -> str:
    """Where process ids mean what they mean here: this boot of this machine, and this container of it."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as stream:
            return f"{stream.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


@cache
def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def who(variables: Mapping[str, Any], acting_as: str = "") -> dict[str, Any]:
    """``{"user", "run", "controller", "pid": "<pid>:<start>", "gone": []}``; AWX's user where it says who it is.

    `acting_as` is what acts where no person does, such as the healer.
    """
    main = int(current.split("-")[1]) if (current := run.current()) else os.getppid()
    awx = variables.get("awx_user_name") or variables.get("tower_user_name")
    return {
        "user": acting_as or str(awx or _user()),
        "run": run_id(),
        "controller": socket.gethostname(),
        "machine": _machine(),
        "pid": f"{main}:{started(main)}",
        "gone": [],
        "break_lease": str(variables.get("break_lease", "")).lower() in ("true", "yes", "1"),
    }


def abandoned(lease: Mapping[str, Any] | None) -> str | None:
    """The run of a lease whose process, on this very machine, is gone."""
    if not lease or lease.get("machine") != _machine():
        return None
    pid, _colon, born = str(lease.get("pid")).partition(":")
    return str(lease["run"]) if pid.isdigit() and started(int(pid)) != born else None
