# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof: a release is started, becomes healthy in time, stays so, and what answers is that release and nothing else."""

import time
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from . import credentials, egress, health, release, truth, users
from .files import checkpoint
from .layout import Instance
from .systemd import Systemd


class Failed(Exception):
    """The release did not prove itself: which check, and what was seen."""

    def __init__(self, check: str, seen: str) -> None:
        super().__init__("%s: %s" % (check, seen))
        self.check, self.seen = check, seen


class Spoiled(Failed):
    """Something on this host stands in the way, not the release: once that is repaired, it may be tried again."""


class Started(NamedTuple):
    """One start of a unit: its invocation and main process; when it was ordered and when it ran (monotonic seconds)."""

    invocation: str
    pid: int
    born: Optional[str]
    ordered: float
    ran: float


class Proof:
    """One release of one instance, from its start to the last check. Every method raises Failed."""

    def __init__(self, instance: Instance, name: str, systemd: Systemd) -> None:
        self.instance, self.name, self.systemd = instance, name, systemd
        self.facts = release.read(instance, name)
        self.last = health.Seen(False, "start", "was not probed yet")
        self.invocation = ""  # systemd may start it again before its journal is read: that is another one

    @property
    def timeout(self) -> float:
        return float(self.facts["manifest"]["health"]["start_timeout"])

    def run(self, stopping: float, healthy: Callable[[], None]) -> float:
        """Start, wait, bake, check; `stopping` seconds are for what runs now to stop. Returns the seconds without an answer."""
        started = self.start(stopping)
        checkpoint("activate.started")
        healthy_at = self.wait_until_healthy(started)
        healthy()
        self.bake(started, healthy_at)
        self.check(started)
        return round(healthy_at - started.ordered, 3)

    def start(self, stopping: float) -> Started:
        """Start the unit with the release's own firewall rules, and see its process run."""
        unit = self.instance.unit
        before = self.systemd.show([unit])[unit]
        ordered = time.monotonic()
        if not (self.instance.releases / self.name / "egress.nft").exists() and egress.confines(self.instance):
            self.systemd.stop(unit, stopping)  # the release before keeps its rules to its end
            egress.remove(self.instance)
        if before["NRestarts"] not in ("", "0") or before["ActiveState"] not in ("active", "inactive"):
            # A restart in between two automatic ones would go on counting them, as if this release had caused them.
            self.systemd.stop(unit, stopping)
        refused = self.systemd.restart(unit, self.timeout + stopping)
        deadline = ordered + self.timeout + stopping
        state = self.systemd.settle(unit, deadline, after=before["InvocationID"], refused=refused)
        self.invocation = state["InvocationID"] if state["InvocationID"] != before["InvocationID"] else ""
        pid = int(state["MainPID"])
        if (state["ActiveState"], state["SubState"]) != ("active", "running") or not pid:
            raise Failed("start", truth.describe(state))
        if state["NRestarts"] != "0":
            raise Failed("start", "it ended and was restarted: %s" % truth.describe(state))
        return Started(state["InvocationID"], pid, truth.start_time(pid), ordered, time.monotonic())

    def _expect_alive(self, started: Started) -> None:
        if started.born is None or truth.start_time(started.pid) != started.born:
            state = self.systemd.show([self.instance.unit])[self.instance.unit]
            raise Failed("process", "the main process ended: %s" % truth.describe(state))

    def _look(self, started: Started) -> health.Seen:
        self._expect_alive(started)
        self.last = truth.probe(self.instance, self.facts, started.pid)
        return self.last

    def wait_until_healthy(self, started: Started) -> float:
        """Probe until it is healthy, at most for `timeout` seconds since it ran. Returns when that was (monotonic)."""
        pause = 0.02
        while not self._look(started).healthy:
            if time.monotonic() >= started.ran + self.timeout:
                raise Failed(self.last.probe, "%s (not healthy within %g s)" % (self.last.detail, self.timeout))
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        return time.monotonic()

    def bake(self, started: Started, since: float) -> None:
        """It has to stay healthy for the manifest's `bake` seconds."""
        bake = self.facts["manifest"]["health"]["bake"]
        while True:
            left = since + bake - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, max(0.2, bake / 10)))
            seen = self._look(started)
            if not seen.healthy:
                told = "%s (%.1f s after it was healthy)" % (seen.detail, time.monotonic() - since)
                for _pause in range(5):  # who is ending closes its sockets first: its exit status says more
                    time.sleep(0.1)
                    self._expect_alive(started)
                raise Failed(seen.probe, told)

    def check(self, started: Started) -> None:
        """That what answers is this release, and all of it: process, unit, environment, listeners, credentials."""
        instance, unit = self.instance, self.instance.unit
        state = self.systemd.show([unit])[unit]
        user = users.find(instance)
        running = truth.running_release(instance, started.pid)
        foreign = [
            "port %d belongs to user id %d" % (item.port, item.uid)
            for item in health.listeners(started.pid)
            if item.port in self.facts["ports"].values() and (user is None or item.uid != user.pw_uid)
        ]
        names = [credentials.CONFIG] + list(self.facts["secrets"])
        shown = Path("/proc/%d/root" % started.pid) / credentials.directory(self.facts["delivery"], unit)[1:]
        empty = [n for n in names if not _has_content(shown / n)]
        same_unit = instance.proof_file.read_bytes() == release.unit_text(instance, self.name)
        checks = [
            (state["InvocationID"] == started.invocation, "the unit was started again while it was observed"),
            (state["NRestarts"] == "0", "it was restarted %s times" % state["NRestarts"]),
            (state["SubState"] == "running", truth.describe(state)),
            (same_unit, "the unit was changed meanwhile"),
            (running == self.name, "the process that answers is release %s, not %s" % (running, self.name)),
            (not foreign, "; ".join(foreign)),
            (not empty, "credentials missing or empty: %s" % ", ".join(empty)),
        ]
        for holds, seen in checks:
            if not holds:
                raise Failed("proof", seen)


def _has_content(path: Any) -> bool:
    try:
        return bool(path.stat().st_size)
    except OSError:
        return False
