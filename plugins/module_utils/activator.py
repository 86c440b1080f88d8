# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The activator: walks an intent file to its end as a transient unit of its own.

It does not depend on the controller, SSH, or the module that started it. Killed, systemd starts it again and it goes on from
the phases that the intent file holds. Agents go in parallel; the instances of one agent one at a time.
"""

import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Optional

from . import activation, egress, history, release, removal, staging, truth
from .errors import HostError, in_words
from .files import checkpoint, lock, read_known, read_text, remove, write_json
from .layout import Instance, Layout
from .systemd import Systemd, run

UNIT = "agentfactory-activation.service"
BOOT = Path("/proc/sys/kernel/random/boot_id")
OLD_ONE_LEAVES = 15.0
TAKES_AT_MOST = 600.0
RESERVE = 256 * 1024


def intent_path(layout: Layout) -> Path:
    return layout.factory / "intents" / "activation.json"


def reserve_path(layout: Layout) -> Path:
    return layout.factory / "intents" / "reserve"


def _reserve(layout: Layout) -> None:
    """Room on the disk for how this ends, should the disk be full by then."""
    path = reserve_path(layout)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, RESERVE)
    finally:
        os.close(descriptor)


def read_intent(layout: Layout) -> "dict[str, Any]":
    """The last intent: ``{"run", "who", "boot", "keep", "undo_siblings", "done", "steps": [...]}``; empty if none."""
    return read_known(intent_path(layout))


def write_intent(layout: Layout, steps: "list[dict[str, Any]]", request: "dict[str, Any]") -> None:
    """Make the intent durable. A step is ``{"agent", "instance", "action", "to", "from", "was_running", "phase"}``."""
    intent = {
        "run": request["who"]["run"], "who": request["who"], "boot": boot(), "at": int(time.time()), "done": False,
        "keep": request.get("keep", staging.DEFAULT_KEEP), "undo_siblings": request.get("undo_siblings", True),
        "purge": bool(request.get("purge")), "allowed": allowed(layout, steps), "steps": steps,
    }  # fmt: skip
    _reserve(layout)
    write_json(intent_path(layout), intent)
    checkpoint("activate.intent")


def allowed(layout: Layout, steps: "list[dict[str, Any]]") -> float:
    """The seconds after which something is wrong with the activator itself, however slow this host is.

    Each release that a step is about may be started, proven and stopped on the way there, back, and back with its siblings.
    """
    seconds = TAKES_AT_MOST
    for step in steps:
        instance = Instance(layout, step["agent"], step["instance"])
        for name in {step["from"], step["to"]} - {None}:
            manifest = release.read(instance, str(name)).get("manifest")
            if manifest:
                own = manifest["health"]["start_timeout"] + manifest["health"]["bake"] + manifest["stop"]["timeout"]
                seconds += 4 * own
    return float(seconds)


def boot() -> str:
    """This boot of this host. A container has its host's boot id, so the start of process 1 is a part of it."""
    return "%s/%s" % ((read_text(BOOT) or "").strip(), truth.start_time(1))


def launch(library: str) -> None:
    """Start the activator as a transient unit that systemd starts again when it is killed.

    One that has just done its work may still be about to leave; one that is at work already is as good as a new one.
    """
    deadline = time.monotonic() + OLD_ONE_LEAVES
    while True:
        try:
            return _launch(library)
        except HostError:
            if time.monotonic() > deadline:
                if Systemd().active(UNIT):
                    return None
                raise
            time.sleep(0.05)


def _launch(library: str) -> None:
    run([
        "systemd-run", "--quiet", "--collect", "--unit=" + UNIT, "--description=agentfactory: activation",
        "--property=Restart=on-failure", "--property=RestartSec=500ms", "--property=StartLimitIntervalSec=300",
        "--property=StartLimitBurst=100",
        "--setenv=PYTHONPATH=" + library, sys.executable, "-S", "-m", "agentfactory_host.activator",
    ])  # fmt: skip


def unfinished(layout: Layout, systemd: Systemd, library: str) -> Optional["dict[str, Any]"]:
    """The intent that is still being walked, if any.

    One whose activator is gone goes on (same boot), or is closed: after a reboot the last proven releases run anyway.
    """
    intent = read_intent(layout)
    if not intent or intent["done"]:
        return None
    if systemd.active(UNIT):
        return intent
    if intent["boot"] == boot():
        launch(library)
        return intent
    with lock(layout.factory / "locks" / "host.lock", wait=10, holder="another run is changing this host"):
        close_after_reboot(layout, systemd, intent)
    return None


def close_after_reboot(layout: Layout, systemd: Systemd, intent: "dict[str, Any]") -> None:
    """The last proven releases run. What was committed right before the end is written down as the success that it was."""
    walk = Walk(layout, systemd)
    for step in map(now_walked, walk.intent["steps"]):
        instance = Instance(layout, step["agent"], step["instance"])
        if step["phase"] == "committing" and release.proven(instance) == step["to"]:
            activation.Activation(instance, step, intent["who"], walk.systemd, walk.save).run()
        elif step["phase"] != "done":
            history.append(layout, intent["who"], instance.id, step["action"], before=step["from"], after=step["to"],
                           result="interrupted by a reboot")  # fmt: skip
        walk.mark(step)
    write_json(intent_path(layout), dict(walk.intent, done=True, interrupted=True))
    walk.tidy()


def way_back(before: Optional[str], was_running: bool) -> "tuple[str, Optional[str]]":
    """The step that undoes a switch, and the release that it leads to."""
    if before is None:
        return "deactivate", None
    return ("activate" if was_running else "shelve"), before


def now_walked(step: "dict[str, Any]") -> "dict[str, Any]":
    """The step itself, or the way back from it once that has begun."""
    return step.get("way_back") or step


class Walk:
    """One walk over an intent file, by as many threads as there are agents."""

    def __init__(self, layout: Layout, systemd: Systemd) -> None:
        self.layout, self.systemd, self.intent = layout, systemd, read_intent(layout)
        self._guard = threading.Lock()

    def save(self, step: "dict[str, Any]", **changes: Any) -> None:
        """Make a change of a step durable, or else not so. For how it ends there is room on a full disk."""
        with self._guard:
            before = dict(step)
            step.update(changes)
            try:
                self._write(last=step["phase"] in ("undoing", "done"))
            except OSError:
                step.clear()
                step.update(before)
                raise

    def _write(self, *, last: bool) -> None:
        try:
            write_json(intent_path(self.layout), self.intent)
        except OSError:
            if not (last and remove(reserve_path(self.layout))):
                raise
            write_json(intent_path(self.layout), self.intent)

    def all(self) -> None:
        """Activations first; what leaves the host goes only when all of them went well. Who needs another's port comes after it."""
        removals = [s for s in self.intent["steps"] if s["action"] == "remove"]
        for step in removals:
            self.let_go(step)
        changes = [s for s in self.intent["steps"] if s["action"] != "remove"]
        for rank in sorted({s.get("rank", 0) for s in changes}):
            self._in_parallel([s for s in changes if s.get("rank", 0) == rank])
        if any(s.get("result") in ("failed", "undone") for s in changes):
            for step in removals:
                self.stay(step)
        else:
            self._in_parallel(removals)
        staging.collect(
            self.layout, self.intent["keep"], frozenset(s["from"] for s in self.intent["steps"] if s["from"])
        )
        checkpoint("activate.collected")
        self.intent["done"] = True
        self._write(last=True)

    def let_go(self, step: "dict[str, Any]") -> None:
        """Stop what leaves, where its port is needed before that. A reboot starts it again: it is not removed yet."""
        if step.get("yields") and step["phase"] != "done" and "way_back" not in step:
            with contextlib.suppress(HostError):  # then who needs the port says so
                activation.stop(Instance(self.layout, step["agent"], step["instance"]), self.systemd)
            checkpoint("remove.let-go")

    def stay(self, step: "dict[str, Any]") -> None:
        """What was to leave does not; it runs again where it had to let go of a port."""
        told, back = "not removed: another agent failed", step.get("way_back")
        if step.get("yields") and not back:
            back = dict(step, action="activate", to=step["from"], back=True)
            self.save(step, way_back=back)
        if back and back["phase"] != "done":
            self.one(back)
        if back:
            told += "; it had let go of its port, and is started again: %s" % back["message"]
        self.save(
            step, phase="done", result=back["result"] if back and back["result"] != "ok" else "skipped", message=told
        )

    def tidy(self) -> None:
        """Tell systemd where the units lie now. Nobody has to wait for it: it holds what they say already."""
        steps = self.intent.get("steps", [])
        self.systemd.refresh(Instance(self.layout, step["agent"], step["instance"]).unit for step in steps)

    def _in_parallel(self, steps: "list[dict[str, Any]]") -> None:
        """One thread an agent. Raises what kept one of them from writing down how it ended: systemd starts us again then."""
        agents: dict[str, list[dict[str, Any]]] = {}
        for step in steps:
            agents.setdefault(step["agent"], []).append(step)
        errors: list[BaseException] = []

        def walk(mine: "list[dict[str, Any]]") -> None:
            try:
                self.agent(mine)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=walk, args=(mine,)) for mine in agents.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            remove(reserve_path(self.layout))  # next time there is room
            raise errors[0]

    def agent(self, steps: "list[dict[str, Any]]") -> None:
        """The instances of one agent, one at a time; after a failure the rest is left and what was switched goes back."""
        failed = False
        for step in steps:
            if step["phase"] != "done" and failed:
                self.save(step, phase="done", result="skipped", message="not attempted: another instance failed")
            elif step["phase"] != "done":
                self.one(step)
            self.mark(step)
            failed = failed or step["result"] == "failed"
        if failed and self.intent["undo_siblings"]:
            for step in [s for s in reversed(steps) if "taken_back" not in s]:  # an undo is not undone
                if step["result"] == "ok" and step["action"] == "activate" and step["to"] != step["from"]:
                    self.take_back(step)

    def mark(self, step: "dict[str, Any]") -> None:
        """What was taken back counts as undone; said once, also where the walk was killed right before it could say so."""
        if step.get("taken_back") and step.get("result") == "ok":
            instance = Instance(self.layout, step["agent"], step["instance"])
            release.take_back(instance, step["taken_back"], self.intent["run"])

    def one(self, step: "dict[str, Any]") -> None:
        """Walk one step to its end, whatever happens; but for an OSError that keeps the end of an activation from being written."""
        instance = Instance(self.layout, step["agent"], step["instance"])
        try:
            if step["action"] == "activate":
                activation.Activation(instance, step, self.intent["who"], self.systemd, self.save).run()
            else:
                self.simple(instance, step)
        except Exception as error:
            if isinstance(error, OSError) and step["action"] == "activate":
                raise
            self.save(step, phase="done", result="failed", message="%s failed: %s" % (step["action"], in_words(error)))

    def simple(self, instance: Instance, step: "dict[str, Any]") -> None:
        if step["action"] == "enable":
            activation.enable(instance)
            told = "starts at boot again"
        elif step["action"] == "confine":
            egress.load(instance.releases / str(step["from"]) / "egress.nft")
            activation.enable(instance)
            told = "is confined again"
        elif step["action"] == "stop":
            instance.wants.unlink(missing_ok=True)
            activation.stop(instance, self.systemd)
            if remove(instance.proof_file):
                self.systemd.reload()
            told = "is stopped"
        elif step["action"] == "shelve":
            activation.shelve(instance, step["to"], self.systemd)
            told = "%s is stopped, as before" % step["to"]
        elif step["action"] == "deactivate":
            activation.deactivate(instance, self.systemd)
            told = "is as before this run: nothing runs"
        elif step["action"] == "purge":
            removal.delete_state(instance)
            told = "its state is deleted"
        elif step["action"] != "remove":
            raise HostError("this version of the library knows no step %r" % step["action"])
        else:
            left = removal.remove(instance, self.systemd, purge=self.intent["purge"])
            if left:
                raise HostError("still there after the removal: %s" % ", ".join(left))
            told = "is removed" + ("" if self.intent["purge"] else "; its state is kept")
        checkpoint("activate.changed")
        history.append(
            self.layout, self.intent["who"], instance.id, step["action"], before=step["from"], after=step["to"], result="ok",
            was_running=step["was_running"],
        )  # fmt: skip
        self.save(step, phase="done", result="ok", message=told)

    def take_back(self, step: "dict[str, Any]") -> None:
        """Bring an instance that was switched in this run back to where it was: an activation like any other.

        The way back is a step of its own, in the intent like the others: it goes on from its phase when the walk was killed.
        """
        if "way_back" not in step:
            action, to = way_back(step["from"], step["was_running"])
            back = dict(step, to=to, phase="planned", action=action, taken_back=step["to"], back=True)
            back["from"] = back["taken_back"]
            back.pop("result")
            self.save(step, way_back=back)
            checkpoint("activate.taking-back")
        back = step["way_back"]
        if back["phase"] != "done":
            self.one(back)
        self.mark(back)
        told = "undone with its sibling: %s" if back["result"] == "ok" else "undo failed: %s"
        self.save(step, result="undone" if back["result"] == "ok" else "failed", message=told % back["message"])


def main() -> None:
    """The transient unit's program. Leaves every outcome in the intent file."""
    layout = Layout()
    with lock(layout.factory / "locks" / "host.lock", wait=60, holder="another run is changing this host"):
        walk = Walk(layout, Systemd())
        if walk.intent and not walk.intent["done"]:
            walk.all()
    walk.tidy()


if __name__ == "__main__":
    main()
