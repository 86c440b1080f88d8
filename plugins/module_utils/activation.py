# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Activation: switch an instance to a release, prove it, commit it; else undo it and keep the evidence.

A release under proof runs from a unit below /run, which systemd prefers to the one in /etc. The commit is the rename of its
unit into /etc. So at every instant a reboot leads to the last proven release. See systemd.unit(5), "Unit File Load Path".
"""

import contextlib
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

from . import credentials, egress, health, history, release, tree, truth, users
from .errors import HostError, in_words
from .files import checkpoint, read_known, remove, replace_link, write_atomic, write_json
from .layout import Instance
from .proof import Failed, Proof, Spoiled
from .systemd import Systemd, journal

Save = Callable[..., None]
T = TypeVar("T")
UNKNOWN = {"ActiveState": "unknown", "SubState": "systemd gives no answer"}


class Activation:
    """The switch of one instance. `step` is its line of the intent file; `save` makes a phase durable."""

    def __init__(
        self, instance: Instance, step: "dict[str, Any]", who: "dict[str, Any]", systemd: Systemd, save: Save
    ) -> None:
        self.instance, self.step, self.who, self.systemd, self._save = instance, step, who, systemd, save
        self.name = str(step["to"])
        self.proof = Proof(instance, self.name, systemd)
        self.facts = self.proof.facts

    def phase(self, name: str, **more: Any) -> None:
        self._save(self.step, phase=name, **more)
        checkpoint("activate." + name)

    def run(self) -> None:
        """From wherever the step was interrupted to its outcome. Ends with phase ``done``.

        Raises OSError where that outcome cannot be written down yet: what runs and boots is right, so this can go on later.
        """
        if self.step["phase"] == "undoing":
            return self._undo(self.step["evidence"])
        try:
            if self.step["phase"] != "committing":
                self.preflight()
                self.phase("switching")
                self.phase("committing", gap=self._switch())
            self._commit()
        except Failed as failure:
            return self._undo(self._evidence(failure))
        except OSError as error:  # a full disk, say: that is not the release's fault
            return self._undo(self._evidence(Spoiled("this host", in_words(error))))
        except Exception as error:
            # Whatever it was, a release that was not proven does not stay.
            return self._undo(self._evidence(Failed("unexpected", in_words(error))))
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
                raise Spoiled(
                    "preflight", "port %d is taken by a process of %s" % (item.port, users.known_as(item.uid))
                )
        if self.facts["manifest"]["health"]["preflight"]:
            self._run_preflight_command(user.pw_uid)

    def _uid_of_running(self) -> Optional[int]:
        try:
            return Path("/proc/" + self.systemd.show([self.instance.unit])[self.instance.unit]["MainPID"]).stat().st_uid
        except OSError:
            return None

    def _run_preflight_command(self, uid: int) -> None:
        unit = self.instance.preflight_unit
        path = self.instance.layout.scratch_units / unit
        write_atomic(path, (self.instance.releases / self.name / "preflight").read_bytes(), 0o644)
        try:
            self._rules_of_both(uid)
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
            self._rules_of(self.step["from"])

    def _rules_of_both(self, uid: int) -> None:
        """What runs and the check have one user, so one set of rules: meanwhile each may reach what either may."""
        both = [f for f in (self.facts, release.read(self.instance, str(self.step["from"]))) if f]
        if any((self.instance.releases / f["release"] / "egress.nft").exists() for f in both):
            outbound = [network for f in both for network in f["manifest"]["permissions"]["outbound"]]
            egress.allow(self.instance, uid, outbound, {str(port): port for f in both for port in f["ports"].values()})

    def _rules_of(self, name: Optional[str]) -> None:
        """What goes on running gets its own rules back."""
        rules = self.instance.releases / str(name) / "egress.nft"
        if rules.exists():
            egress.load(rules)
        else:
            egress.remove(self.instance)

    # -- the switch -----------------------------------------------------------------------------------------------

    def _switch(self) -> float:
        """Start the release from a unit under /run and prove it. Returns the seconds without a healthy answer."""
        instance = self.instance
        write_atomic(instance.proof_file, release.unit_text(instance, self.name), 0o644)
        checkpoint("activate.proof-unit")
        new = self.step["from"] is None
        if not (new and self.systemd.discover(instance.unit, instance.proof_file, instance.layout.scratch_units)):
            self.systemd.reload()
        gap = self.proof.run(_stop_timeout(instance, self.step), lambda: self._save(self.step, note="healthy, baking"))
        checkpoint("activate.proven")
        return gap

    # -- the two ends ---------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        """The unit's rename into /etc. What systemd holds in memory stays true: it is told of the file's new place later."""
        if not truth.unit_intact(self.instance, self.name):
            write_atomic(self.instance.unit_file, self.instance.proof_file.read_bytes(), 0o644)
        checkpoint("activate.committed")

    def _finish(self) -> None:
        """The bookkeeping after the commit, all of it repeatable."""
        instance, before = self.instance, self.step["from"]
        enable(instance)
        went_back = bool(self.step.get("back")) or before == self.name
        release.judge(
            instance, self.name, release.GOOD, {}, deployed=not went_back, after=before or "", run=self.who["run"]
        )
        replace_link(instance.current, "releases/" + self.name)
        remove(instance.proof_file)
        _renewed(instance, self.name)
        history.append(
            instance.layout, self.who, instance.id, "activate", before=before, after=self.name, result="ok",
            was_running=self.step["was_running"],
        )  # fmt: skip
        self.phase("done", result="ok", message="%s is healthy" % self.name)

    def _evidence(self, failure: Failed) -> "dict[str, Any]":
        """Why it failed: the check, exit status, last probe, last lines of its journal; without the secrets.

        What cannot be had, on a host that is out of memory, say, does not keep the old release from running again.
        """
        unit, invocation = self.instance.unit, self.proof.invocation
        state: dict[str, str] = {}
        if self.step["phase"] != "planned":
            state = _if_possible(lambda: self.systemd.show([unit])[unit], UNKNOWN)
        unreadable: dict[str, Optional[str]] = {"": None}
        secrets = _if_possible(lambda: release.secrets(self.instance, self.name), unreadable).values()
        lines = journal(unit, invocation) if invocation else []  # what this release said: its secrets are struck out
        if lines and None in secrets:
            lines = ["(not shown: one of its secrets cannot be read here, so it could not be struck out)"]
        return {
            "check": failure.check,
            "spoiled": isinstance(failure, Spoiled),
            "seen": credentials.redact(failure.seen, secrets),
            "summary": credentials.redact(str(failure), secrets),
            "unit": truth.describe(state) if state else "was not started",
            "refused_packets": _if_possible(lambda: egress.refused(self.instance), 0) if state else 0,
            "exit_status": state.get("ExecMainStatus"),
            "last_probe": credentials.redact("%s: %s" % (self.proof.last.probe, self.proof.last.detail), secrets),
            "journal": [credentials.redact(line, secrets) for line in lines],
        }

    def _undo(self, evidence: "dict[str, Any]") -> None:
        """Back to what was proven before; the failed release becomes void, unless it was proven at another time."""
        instance, before = self.instance, self.step["from"]
        switched = self.step.get("switched", self.step["phase"] != "planned")
        with contextlib.suppress(OSError):  # a full disk does not keep the old release from running again
            self.phase("undoing", evidence=evidence, switched=switched)
        told = "nothing was switched"
        if switched or instance.proof_file.exists():
            try:
                told = self._restore(before)
            except Exception as error:
                told = "and undoing it failed too: %s" % in_words(error)
        if before != self.name and not evidence["spoiled"] and (instance.releases / self.name).is_dir():
            release.fail(instance, self.name, evidence)
        history.append(
            instance.layout, self.who, instance.id, "activate", before=before, after=self.name, result="undone"
        )
        hints = ["its journal: " + line for line in evidence["journal"][-3:]]
        if evidence.get("refused_packets"):
            hints.append("permissions.outbound refused %d packets of it" % evidence["refused_packets"])
        message = "\n    ".join(["%s failed: %s; %s" % (self.name, evidence["summary"], told)] + hints)
        self.phase("done", result="failed", evidence=evidence, message=message)

    def _restore(self, before: Optional[str]) -> str:
        """Run the previous release again and see it healthy. Returns what became of it."""
        unit = self.instance.unit
        if before is None:
            # Its unit goes only after it has stopped: the unit says how to stop it.
            deactivate(self.instance, self.systemd)
            return "nothing runs"
        if before != self.name and not truth.unit_intact(self.instance, before):
            write_atomic(self.instance.unit_file, release.unit_text(self.instance, before), 0o644)
        remove(self.instance.proof_file)
        self.systemd.reload()
        if not self.step["was_running"]:
            stop(self.instance, self.systemd)
            return "%s is stopped, as before" % before
        if before == self.name:
            return "there is no other release to go back to, so it stays as it is"
        now = truth.look(self.instance, self.systemd.show([unit])[unit])
        if now.running == before and now.healthy:  # it was never stopped, or runs again already
            self._rules_of(before)
        else:
            old = Proof(self.instance, before, self.systemd)
            try:
                old.wait_until_healthy(old.start(float(self.facts["manifest"]["stop"]["timeout"]) + 5))
            except (Failed, HostError) as failure:
                told = release.without_secrets(self.instance, before, str(failure))
                return "%s was started again but is not healthy either: %s" % (before, told)
        state = self.systemd.show([unit])[unit]
        return "%s runs again and is healthy (%s)" % (before, truth.describe(state))


def _if_possible(ask: "Callable[[], T]", otherwise: T) -> T:
    try:
        return ask()
    except (HostError, OSError):
        return otherwise


def _stop_timeout(instance: Instance, step: "dict[str, Any]") -> float:
    """How long the release that runs now may take to stop, in seconds."""
    facts = release.read(instance, str(step["from"]))
    return float(facts["manifest"]["stop"]["timeout"]) + 5 if facts else 5.0


def _renewed(instance: Instance, name: str) -> None:
    """What runs was started from what lies there now."""
    staged = read_known(instance.staged)
    if staged.pop("renew", False) and staged.get("release") == name:
        write_json(instance.staged, staged)


def enable(instance: Instance) -> None:
    """Start at boot: the link that `systemctl enable` would make (the unit says where)."""
    replace_link(instance.wants, "../" + instance.unit)


def stop(instance: Instance, systemd: Systemd) -> None:
    name = release.named_by(instance.proof_file) or release.proven(instance)
    facts = release.read(instance, name) if name else {}
    systemd.stop(instance.unit, facts["manifest"]["stop"]["timeout"] if facts else 90)


def shelve(instance: Instance, name: str, systemd: Systemd) -> None:
    """Back to a proven release that did not run: it boots no more than it did, and nothing runs."""
    text = release.unit_text(instance, name)
    remove(instance.wants)
    stop(instance, systemd)
    write_atomic(instance.unit_file, text, 0o644)
    replace_link(instance.current, "releases/" + name)
    remove(instance.proof_file)
    systemd.reload()


def deactivate(instance: Instance, systemd: Systemd) -> None:
    """Stop the instance and take its unit away; releases and state stay."""
    stop(instance, systemd)
    checkpoint("remove.stopped")
    bound = Path(credentials.directory(credentials.BOUND, instance.unit)).parent
    for path in (instance.wants, instance.unit_file, instance.proof_file, instance.current, bound):
        remove(path)
    systemd.reload()
    egress.remove(instance)
