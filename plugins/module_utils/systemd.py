# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of systemd: one call for many units, and as few calls as can be."""

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

from .errors import HostError

STATE = (
    "Id", "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "MainPID", "ExecMainCode", "ExecMainStatus",
    "InvocationID", "ActiveEnterTimestampMonotonic", "MemoryCurrent", "TasksCurrent", "ControlGroup", "NeedDaemonReload",
    "FragmentPath", "IPIngressBytes", "IPEgressBytes",
)  # fmt: skip


def version() -> int:
    """systemd's major version, from the name of its shared library (no process), else from systemctl."""
    for pattern in ("/usr/lib/systemd/libsystemd-shared-*.so", "/usr/lib/*/systemd/libsystemd-shared-*.so",
                    "/lib/systemd/libsystemd-shared-*.so", "/usr/lib64/systemd/libsystemd-shared-*.so"):  # fmt: skip
        for path in Path("/").glob(pattern[1:]):
            match = re.match(r"libsystemd-shared-(\d+)", path.name)
            if match:
                return int(match[1])
    match = re.match(r"systemd (\d+)", run(["systemctl", "--version"]))
    if not match:
        raise HostError("this host does not run systemd")
    return int(match[1])


def number(text: Optional[str]) -> Optional[int]:
    """A number that systemd printed; None where it says that it has none."""
    return int(text) if text and text.isdigit() and text != "18446744073709551615" else None


def run(argv: "list[str]", *, data: Optional[bytes] = None, timeout: float = 120, check: bool = True) -> str:
    """A command's standard output. Raises HostError with its standard error, never with its input."""
    try:
        done = subprocess.run(argv, input=data, capture_output=True, timeout=timeout, check=False)
    except FileNotFoundError:
        raise HostError("%s is not installed on this host" % argv[0]) from None
    except OSError as error:
        raise HostError("%s cannot be started: %s" % (argv[0], error.strerror)) from None
    except subprocess.TimeoutExpired:
        raise HostError("%s did not end within %d s" % (" ".join(argv[:3]), timeout)) from None
    if check and done.returncode:
        reason = done.stderr.decode(errors="replace").strip() or "exit status %d" % done.returncode
        raise HostError("%s: %s" % (" ".join(argv[:3]), reason))
    return done.stdout.decode(errors="replace")


class Systemd:
    """The service manager of this host."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reloads = 0

    def show(self, units: "Iterable[str]") -> "dict[str, dict[str, str]]":
        """The properties `STATE` of each unit, in one call. A unit that does not exist has LoadState not-found."""
        names = list(units)
        if not names:
            return {}
        output = run(["systemctl", "show", "--property=" + ",".join(STATE), "--"] + names)
        blocks = (dict(line.partition("=")[::2] for line in b.splitlines()) for b in output.strip().split("\n\n"))
        return dict(zip(names, blocks))

    def reload(self) -> None:
        """daemon-reload; threads that ask while one is under way share the next one."""
        asked = self._reloads
        with self._lock:
            if self._reloads >= asked + 2:
                return
            self._reloads += 1
            run(["systemctl", "daemon-reload"])
            self._reloads += 1

    def refresh(self, units: "Iterable[str]") -> None:
        """daemon-reload, if the file of any of these units is not (or not where) it was when systemd read it."""
        if any(state["NeedDaemonReload"] == "yes" for state in self.show(units).values()):
            self.reload()

    def discover(self, unit: str, path: Path, beside: Path) -> bool:
        """Have systemd read the file of a unit that it did not know: a tenth of a reload. Whether it holds that very file now.

        Asked about an unknown unit it looks again if the time of one of its directories has changed. That of units under proof
        does not count: `beside` is one that does.
        """
        with contextlib.suppress(FileNotFoundError):
            os.utime(beside)
        state = self.show([unit])[unit]
        return state["FragmentPath"] == str(path) and state["NeedDaemonReload"] == "no"

    def restart(self, unit: str, timeout: float) -> str:
        """Restart a unit, and wait at most `timeout` seconds for the end of that: `settle` says what came of it.

        Returns what systemctl had against it: that the unit cannot be started at all, say, or that it failed.
        """
        try:
            run(["systemctl", "restart", unit], timeout=timeout)
        except HostError as error:
            return str(error)
        return ""

    def stop(self, unit: str, timeout: float) -> None:
        run(["systemctl", "stop", unit], timeout=timeout + 60, check=False)
        self.forget(unit)

    def start_and_wait(self, unit: str, timeout: float) -> None:
        """Start a oneshot unit and wait for its end. Raises HostError if it fails."""
        run(["systemctl", "start", unit], timeout=timeout)

    def forget(self, unit: str) -> None:
        """Drop what systemd remembers of a failed unit, so that it can be unloaded."""
        run(["systemctl", "reset-failed", unit], check=False)

    def active(self, unit: str) -> bool:
        return self.show([unit])[unit]["ActiveState"] in ("active", "activating", "reloading", "deactivating")

    def settle(self, unit: str, deadline: float, *, after: str, refused: str = "") -> "dict[str, str]":
        """Wait until a start that was ordered when the invocation was `after` has come to something. Returns the state.

        That is a new invocation that is neither starting nor stopping, a failure, or `deadline` (monotonic seconds).
        Raises HostError with what was `refused`, if that is why nothing was started.
        """
        pause = 0.01
        while True:
            state = self.show([unit])[unit]
            moving = state["ActiveState"] in ("activating", "deactivating", "reloading")
            ended = state["ActiveState"] == "failed" or state["SubState"].startswith("auto-restart")
            started = not moving and state["InvocationID"] not in ("", after)
            if ended or started or time.monotonic() > deadline:
                return state
            if refused and not moving:
                raise HostError(refused)
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)


def journal(unit: str, invocation: str, lines: int = 20) -> "list[str]":
    """The last lines that one invocation of a unit wrote."""
    match = ["_SYSTEMD_INVOCATION_ID=" + invocation] if invocation else []
    argv = ["journalctl", "--no-pager", "--quiet", "--output=cat", "--lines=%d" % lines, "--unit=" + unit]
    try:
        run(["journalctl", "--sync"], check=False, timeout=20)  # else the last words may still be on their way
        return run(argv + match, check=False, timeout=20).splitlines()[-lines:]
    except HostError as error:  # evidence only: what needs it must go on without
        return ["the journal cannot be read: %s" % error]
