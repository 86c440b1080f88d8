# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Activation: switch an instance to a release, prove it, commit it; else undo it and keep the evidence.

A release under proof runs from a unit below /run, which systemd prefers to the one in /etc. The commit is the rename of its
unit into /etc. So at every instant a reboot leads to the last proven release. See systemd.unit(5), "Unit File Load Path".
"""

import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from . import credentials, egress, health, history, release, tree, truth, users
from .errors import HostError
from .files import checkpoint, read_json, remove, replace_link, write_atomic, write_json
from .layout import Instance
from .systemd import Systemd, journal

Save = Callable[..., None]


class Failed(Exception):
    """The release did not prove itself: which check, and what was seen."""

    def __init__(self, check: str, seen: str) -> None:
        super().__init__("%s: %s" % (check, seen))
        self.check, self.seen = check, seen


class Spoiled(Failed):
    """Something on this host stands in the way, not the release: once that is repaired, it may be tried again."""


@dataclass
class Started:
    """One start of a unit: its invocation, main process, and when it was ordered (monotonic seconds)."""

    invocation: str
    pid: int
    born: Optional[str]
    ordered: float


class Activation:
    """The switch of one instance. `step` is its line of the intent file; `save` makes a phase durable."""

    def __init__(
        self, instance: Instance, step: "dict[str, Any]", who: "dict[str, Any]", systemd: Systemd, save: Save
    ) -> None:
        self.instance, self.step, self.who, self.systemd, self._save = instance, step, who, systemd, save
        self.name = str(step["to"])
        self.facts = release.read(instance, self.name)
        self.last = health.Seen(False, "start", "was not probed yet")

    def phase(self, name: str, **more: Any) -> None:
        self._save(self.step, phase=name, **more)
        checkpoint("activate." + name)

    def run(self) -> None:
        """From wherever the step was interrupted to its outcome. Ends with phase ``done``."""
        if self.step["phase"] == "committing":
            return self._finish()
        if self.step["phase"] == "undoing":
            return self._undo(self.step["evidence"])
        try:
            self.preflight()
            self.phase("switching")
            gap = self._switch()
        except Failed as failure:
            return self._undo(self._evidence(failure))
        except Exception as error:
            # Whatever it was, a release that was not proven does not stay.
            told = str(error) if isinstance(error, (HostError, OSError)) else traceback.format_exc(limit=-4)
            return self._undo(self._evidence(Failed("unexpected", told)))
        self.phase("committing", gap=gap)
        return self._finish()

    # -- before anything is switched ------------------------------------------------------------------------------

    def preflight(self) -> None:
        """What can be known before the old release stops: complete, undamaged, its ports free, its own check passed."""
        if not release.complete(self.instance, self.name):
            raise Spoiled("preflight", "release %s is not complete on this host, or was changed" % self.name)
        damage = tree.verify(self.instance.layout, self.facts["tree"])
        if damage:
            tree.distrust(self.instance.layout, self.facts["tree"])
            raise Spoiled("preflight", "%s; the next deploy repairs it" % damage)
        user = users.find(self.instance)
        if user is None:
            raise Spoiled("preflight", "user %s is gone" % self.instance.user)
        for item in health.listeners():
            if item.port not in self.facts["ports"].values() or item.uid == user.pw_uid:
                continue
            if item.uid != self._uid_of_running():  # another than now, where the user was deleted and made anew
                raise Failed("preflight", "port %d is taken by a process of user id %d" % (item.port, item.uid))
        if self.facts["manifest"]["health"]["preflight"]:
            self._run_preflight_command()

    def _uid_of_running(self) -> Optional[int]:
        try:
            return Path("/proc/" + self.systemd.show([self.instance.unit])[self.instance.unit]["MainPID"]).stat().st_uid
        except OSError:
            return None

    def _run_preflight_command(self) -> None:
        unit = self.instance.preflight_unit
        path = self.instance.layout.scratch_units / unit
        write_atomic(path, (self.instance.releases / self.name / "preflight").read_bytes(), 0o644)
        try:
            self.systemd.reload()
            try:
                self.systemd.start_and_wait(unit, self.facts["manifest"]["health"]["start_timeout"] + 10)
            except HostError as error:
                state = self.systemd.show([unit])[unit]
                lines = " | ".join(journal(unit, state["InvocationID"], 5))
                raise Failed("preflight command", "%s: %s" % (truth.describe(state), lines or error)) from None
        finally:
            remove(path)
            self.systemd.forget(unit)

    # -- the switch and its proof ---------------------------------------------------------------------------------

    def _switch(self) -> float:
        """Start the release from a unit under /run and prove it. Returns the seconds without a healthy answer."""
        timeout = self.facts["manifest"]["health"]["start_timeout"]
        write_atomic(self.instance.proof_file, release.unit_text(self.instance, self.name), 0o644)
        checkpoint("activate.proof-unit")
        self.systemd.reload()
        started = self._start(timeout)
        checkpoint("activate.started")
        healthy_at = self._wait_until_healthy(started, started.ordered + timeout)
        self._bake(started, healthy_at)
        self._prove(started)
        checkpoint("activate.proven")
        return round(healthy_at - started.ordered, 3)

    def _start(self, timeout: float) -> Started:
        unit = self.instance.unit
        before = self.systemd.show([unit])[unit]
        stopping = _stop_timeout(self.instance, self.step)
        ordered = time.monotonic()
        if before["NRestarts"] not in ("", "0") or before["ActiveState"] not in ("active", "inactive"):
            # A restart in between two automatic ones would go on counting them, as if this release had caused them.
            self.systemd.stop(unit, stopping)
        self.systemd.restart(unit)
        state = self.systemd.settle(unit, ordered + timeout + stopping, after=before["InvocationID"])
        pid = int(state["MainPID"])
        if (state["ActiveState"], state["SubState"]) != ("active", "running") or not pid:
            raise Failed("start", truth.describe(state))
        if state["NRestarts"] != "0":
            raise Failed("start", "it ended and was restarted: %s" % truth.describe(state))
        return Started(state["InvocationID"], pid, truth.start_time(pid), ordered)

    def _expect_alive(self, started: Started) -> None:
        if started.born is None or truth.start_time(started.pid) != started.born:
            state = self.systemd.show([self.instance.unit])[self.instance.unit]
            raise Failed("process", "the main process ended: %s" % truth.describe(state))

    def _look(self, started: Started) -> health.Seen:
        self._expect_alive(started)
        self.last = truth.probe(self.instance, self.facts, started.pid)
        return self.last

    def _wait_until_healthy(self, started: Started, deadline: float) -> float:
        pause = 0.02
        while not self._look(started).healthy:
            if time.monotonic() >= deadline:
                wanted = self.facts["manifest"]["health"]["start_timeout"]
                raise Failed(self.last.probe, "%s (not healthy within %g s)" % (self.last.detail, wanted))
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        self._save(self.step, note="healthy, baking")
        return time.monotonic()

    def _bake(self, started: Started, since: float) -> None:
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

    def _prove(self, started: Started) -> None:
        """That what answers is this release, and all of it: process, unit, environment, listeners, credentials."""
        instance, unit = self.instance, self.instance.unit
        state = self.systemd.show([unit])[unit]
        user = users.find(instance)
        running = truth.process_environment(started.pid).get("AGENT_RELEASE")
        foreign = [
            "port %d belongs to user id %d" % (item.port, item.uid)
            for item in health.listeners(started.pid)
            if item.port in self.facts["ports"].values() and (user is None or item.uid != user.pw_uid)
        ]
        names = [credentials.CONFIG] + list(self.facts["secrets"])
        shown = Path("/proc/%d/root" % started.pid) / credentials.directory(self.facts["delivery"], unit)[1:]
        empty = [n for n in names if not _has_content(shown / n)]
        checks = [
            (state["InvocationID"] == started.invocation, "the unit was started again while it was observed"),
            (state["NRestarts"] == "0", "it was restarted %s times" % state["NRestarts"]),
            (state["SubState"] == "running", truth.describe(state)),
            (
                instance.proof_file.read_bytes() == release.unit_text(instance, self.name),
                "the unit was changed meanwhile",
            ),
            (running == self.name, "the process that answers is release %s, not %s" % (running, self.name)),
            (not foreign, "; ".join(foreign)),
            (not empty, "credentials missing or empty: %s" % ", ".join(empty)),
        ]
        for holds, seen in checks:
            if not holds:
                raise Failed("proof", seen)

    # -- the two ends ---------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The commit: the unit's rename into /etc; then the bookkeeping, all of it repeatable."""
        instance, before = self.instance, self.step["from"]
        write_atomic(instance.unit_file, release.unit_text(instance, self.name), 0o644)
        checkpoint("activate.committed")
        enable(instance)
        release.judge(instance, self.name, release.GOOD, {})
        replace_link(instance.current, "releases/" + self.name)
        remove(instance.proof_file)
        self.systemd.reload()
        _renewed(instance, self.name)
        history.append(instance.layout, self.who, instance.id, "activate", before=before, after=self.name, result="ok")
        self.phase("done", result="ok", message="%s is healthy" % self.name)

    def _evidence(self, failure: Failed) -> "dict[str, Any]":
        """Why it failed: the check, exit status, last probe, last lines of its journal; without the secrets."""
        unit = self.instance.unit
        state = self.systemd.show([unit])[unit] if self.step["phase"] != "planned" else {}
        lines = journal(unit, state.get("InvocationID", "")) if state else []
        secrets = credentials.reveal(self.instance.releases / self.name / "credentials", self.facts.get("delivery", ""))
        return {
            "check": failure.check,
            "spoiled": isinstance(failure, Spoiled),
            "seen": credentials.redact(failure.seen, secrets),
            "summary": credentials.redact(str(failure), secrets),
            "unit": truth.describe(state) if state else "was not started",
            "refused_packets": egress.refused(self.instance) if state else 0,
            "exit_status": state.get("ExecMainStatus"),
            "last_probe": credentials.redact("%s: %s" % (self.last.probe, self.last.detail), secrets),
            "journal": [credentials.redact(line, secrets) for line in lines],
        }

    def _undo(self, evidence: "dict[str, Any]") -> None:
        """Back to what was proven before; the failed release becomes void."""
        instance, before = self.instance, self.step["from"]
        switched = self.step.get("switched", self.step["phase"] != "planned")
        self.phase("undoing", evidence=evidence, switched=switched)
        if before != self.name and not evidence["spoiled"] and (instance.releases / self.name).is_dir():
            release.judge(instance, self.name, release.VOID, evidence)
        told = "nothing was switched"
        if switched or instance.proof_file.exists():
            try:
                told = self._restore(before)
            except HostError as error:
                told = "and undoing it failed too: %s" % error
        history.append(
            instance.layout, self.who, instance.id, "activate", before=before, after=self.name, result="undone"
        )
        hints = ["its journal: " + line for line in evidence["journal"][-3:]]
        if evidence.get("refused_packets"):
            hints.append("permissions.outbound refused %d packets of it" % evidence["refused_packets"])
        message = "\n    ".join(["%s failed: %s; %s" % (self.name, evidence["summary"], told)] + hints)
        self.phase("done", result="failed", message=message)

    def _restore(self, before: Optional[str]) -> str:
        """Run the previous release again and see it healthy. Returns what became of it."""
        unit = self.instance.unit
        if before is None:
            # Its unit goes only after it has stopped: the unit says how to stop it.
            deactivate(self.instance, self.systemd)
            return "nothing runs"
        remove(self.instance.proof_file)
        self.systemd.reload()
        if not self.step["was_running"]:
            stop(self.instance, self.systemd)
            return "%s is stopped, as before" % before
        if before == self.name:
            return "there is no other release to go back to, so it stays as it is"
        if not truth.unit_intact(self.instance, before):
            write_atomic(self.instance.unit_file, release.unit_text(self.instance, before), 0o644)
            self.systemd.reload()
        self.facts, started = release.read(self.instance, before), time.monotonic()
        timeout = self.facts["manifest"]["health"]["start_timeout"]
        try:
            self._wait_until_healthy(
                self._start(timeout), started + timeout + self.facts["manifest"]["stop"]["timeout"]
            )
        except (Failed, HostError) as failure:
            return "%s was started again but is not healthy either: %s" % (before, failure)
        state = self.systemd.show([unit])[unit]
        return "%s runs again and is healthy (%s)" % (before, truth.describe(state))


def _stop_timeout(instance: Instance, step: "dict[str, Any]") -> float:
    """How long the release that runs now may take to stop, in seconds."""
    facts = read_json(instance.releases / str(step["from"]) / "release.json")
    return float(facts["manifest"]["stop"]["timeout"]) + 5 if facts else 5.0


def _has_content(path: Any) -> bool:
    try:
        return bool(path.stat().st_size)
    except OSError:
        return False


def _renewed(instance: Instance, name: str) -> None:
    """What runs was started from what lies there now."""
    staged = read_json(instance.staged) or {}
    if staged.pop("renew", False) and staged.get("release") == name:
        write_json(instance.staged, staged)


def enable(instance: Instance) -> None:
    """Start at boot: the link that `systemctl enable` would make (the unit says where)."""
    replace_link(instance.wants, "../" + instance.unit)


def stop(instance: Instance, systemd: Systemd) -> None:
    name = release.named_by(instance.proof_file) or release.proven(instance)
    facts = release.read(instance, name) if name else {}
    systemd.stop(instance.unit, facts["manifest"]["stop"]["timeout"] if facts else 90)


def deactivate(instance: Instance, systemd: Systemd) -> None:
    """Stop the instance and take its unit away; releases and state stay."""
    stop(instance, systemd)
    checkpoint("remove.stopped")
    bound = Path(credentials.directory(credentials.BOUND, instance.unit)).parent
    for path in (instance.wants, instance.unit_file, instance.proof_file, instance.current, bound):
        remove(path)
    systemd.reload()
    user = users.find(instance)
    egress.remove(instance, user.pw_uid if user else None)
