# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's side of every call: one request in, one JSON answer out.

Operations: ``stage`` and ``select`` lay the next release beside the running one, ``activate`` switches and ``follow`` waits for
it, ``info`` tells the truth and ``diagnose`` what explains it. A request that only asks, a check or one that finds everything as
declared takes no lock and writes nothing.
"""

import errno
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO, Callable

from . import activator, credentials, desired, lease, release, removal, staging, store, target, tree
from .errors import Busy, HostError, Unpackaged, in_words
from .files import lock, read_known
from .layout import Instance, Layout, instances, meant
from .plan import Change
from .systemd import Systemd

MARK = "AGENTFACTORY-ANSWER "
FOLLOW_SECONDS = 20.0


class Host:
    """This host during one call."""

    def __init__(self, layout: Layout, library: str, request: "dict[str, Any]", stream: BinaryIO) -> None:
        self.layout, self.library, self.request, self.stream = layout, library, request, stream
        self.systemd = Systemd()
        self.check = bool(request.get("check"))

    def locked(self) -> Any:
        return lock(self.layout.factory / "locks" / "host.lock", wait=15, holder="another run is changing this host")

    # -- stage ----------------------------------------------------------------------------------------------------

    def stage(self) -> "dict[str, Any]":
        """Assess; and unless that is all that is asked, lay out what is to change. What cannot run here leaves no trace."""
        self._not_during_activation()
        try:
            return self._stage()
        except HostError:
            if not (self.layout.factory / "key").exists() and not self.check:  # it was never used
                removal.remove_library(self.layout, Path(self.library))
            raise

    def _stage(self) -> "dict[str, Any]":
        if self.check or self.request.get("ask"):
            found = staging.assess(self.layout, self.request, self.systemd)
            return dict(self._staging_answer(found), need=self._lacking(found))
        if not (self.layout.factory / "key").exists():  # before there is one
            staging.assess(self.layout, self.request, self.systemd)
        with self.locked():
            lease.take(self.layout, self.request["who"], "deploy")
            credentials.load_key(self.layout.factory / "key", create=True)
            try:
                found = staging.assess(self.layout, self.request, self.systemd)
            except HostError:
                lease.give_back(self.layout, self.request["who"]["run"])  # nothing was touched, and nothing follows
                raise
            lacking = self._lacking(found)
            if lacking:
                return dict(self._staging_answer(found), need=lacking)
            try:
                done = staging.apply(self.layout, self.request, found, self.stream, self.systemd)
            except store.Damaged as damage:
                return dict(self._staging_answer(found), need={"files": sorted(damage.files)})
            answer = dict(self._staging_answer(found), **done)
            if not answer["activation"] and not answer["removals"]:
                lease.give_back(self.layout, self.request["who"]["run"])  # nothing follows
            return answer

    def _lacking(self, found: staging.Assessment) -> "dict[str, Any]":
        """What must still be sent before the changes can be made."""
        trees = self.request.get("trees") or {}
        unknown = [t for t in found.missing_trees if t not in trees]
        if unknown:
            return {"trees": unknown, "held": tree.present(self.layout)}
        sent = {sha256 for sha256, _size in self.request.get("blobs") or []}
        files = [
            f for f in desired.missing_files(self.layout, {t: trees[t] for t in found.missing_trees}) if f not in sent
        ]
        return {"files": files} if files else {}

    def _staging_answer(self, found: staging.Assessment) -> "dict[str, Any]":
        kinds = staging.UNTIL[self.request["state"]]
        changes = [c for c in found.staging if c.kind in kinds or c.kind == "tree"]
        complete = self.request["state"] == "configured"
        return {
            "staging": [_told(c) for c in changes],
            "activation": [_told(c) for c in found.activation] if complete else [],
            "removals": found.removals if complete else [],
            "releases": {d.instance.id: d.want.release for d in found.desired},
            "diff": staging.diffs(found) if self.request.get("diff") else [],
        }

    # -- select: the rollback's way to stage ----------------------------------------------------------------------

    def select(self) -> "dict[str, Any]":
        """Stage a release that is already here: a version, a name or ``previous``. All instances, or none."""
        self._not_during_activation()
        seen = activator.read_intent(self.layout)
        chosen, problems = {}, []
        mine = [i for i in self._mine() if release.proven(i) or any(r.good for r in release.everything(i).values())]
        for instance in mine:  # what was never proven here has nothing to go back to, and holds nobody up
            found = release.choose(instance, self.request["release"])
            if found is None:
                here = ", ".join("%s (%s)" % (r.name, r.status) for r in release.everything(instance).values())
                problems.append(
                    "%s: there is no good release %r here; there are: %s" % (instance.id, self.request["release"], here)
                )
            elif not tree.intact(self.layout, found.tree) or not release.complete(instance, found.name):
                problems.append("%s: release %s is damaged on this host" % (instance.id, found.name))
            else:
                chosen[instance.id] = found.name
        if problems:
            raise HostError("\n".join(problems))
        changes, booted = [], {i.id: release.proven(i) for i in mine}
        states = {i.id: read_known(i.staged).get("state", "started") for i in mine}
        for instance in mine:  # one that is to be stopped is not switched, as in a deploy
            if booted[instance.id] != chosen[instance.id] and states[instance.id] == "started":
                reason = "%s -> %s" % (booted[instance.id], chosen[instance.id])
                changes.append(Change("activate", instance.id, reason))
        if changes and not self.check:
            with self.locked():
                self._take_lease("rollback", seen)
                for instance in mine:
                    environment, state = self.request["environment"], states[instance.id]
                    staging.select(instance, chosen[instance.id], state, environment, back=True)
        return {
            "staging": [],
            "activation": [_told(c) for c in changes],
            "removals": [],
            "releases": chosen,
            "diff": [],
        }

    def _mine(self) -> "list[Instance]":
        """The instances here of the asked agents that belong to this environment."""
        only, owner = self.request.get("only"), staging.owners(self.layout)
        return [
            i for i in instances(self.layout)
            if owner[i.id] == self.request["environment"] and meant(i.id, only)
        ]  # fmt: skip

    # -- activate -------------------------------------------------------------------------------------------------

    def activate(self) -> "dict[str, Any]":
        """Write the intent and start the activator; `follow` tells how it ends."""
        self._not_during_activation()
        missing = [i for i in self.request.get("declared", []) if not self._has(i)]
        if missing:
            return {"steps": [], "done": True, "missing": missing}
        from . import steps as planned  # only where something may have to be done: every call is a new process

        seen = activator.read_intent(self.layout)
        steps = planned.plan(self.layout, self.request, self._mine(), self.systemd)
        if not steps and not self.check:
            self._nothing_to_do()
        undoing = self.request["state"] == "undone"
        gone = planned.removed_by(self.layout, self.request["who"]["run"]) if undoing else []
        if not steps or self.check:
            return {"steps": steps, "done": True, "gone": gone}
        with self.locked():
            self._take_lease(self.request["state"], seen)
            activator.write_intent(self.layout, steps, self.request)
        activator.launch(self.library)
        return dict(self.follow(), gone=gone)

    def _take_lease(self, reason: str, seen: "dict[str, Any]") -> None:
        """For what was planned when `seen` was the last intent: every change begins with one. Raises Busy."""
        lease.take(self.layout, self.request["who"], reason)
        if activator.read_intent(self.layout) != seen:
            raise Busy("another run has changed this host since this one looked at it")

    def _nothing_to_do(self) -> None:
        """An end all the same: of the lease that staging took, or of a removal that was interrupted after its last instance."""
        if self.request["state"] == "absent" and not self.layout.factory.exists():  # it was never used
            removal.remove_library(self.layout, Path(self.library))
            return
        held = (lease.current(self.layout) or {}).get("run") == self.request["who"]["run"]
        if held or self.request["state"] == "absent":
            with self.locked():
                lease.take(self.layout, self.request["who"], self.request["state"])
            self._finish()

    def _has(self, agent_id: str) -> bool:
        agent, _at, name = agent_id.partition("@")
        return Instance(self.layout, agent, name).staged.exists()

    def follow(self) -> "dict[str, Any]":
        """Wait a while for the activation of this run. ``done`` says whether it came to its end, ``allowed`` when it should (s)."""
        deadline, pause = time.monotonic() + FOLLOW_SECONDS, 0.03
        while True:
            intent = activator.read_intent(self.layout)
            if intent.get("run") != self.request["who"]["run"]:
                raise HostError("another run took this host over: %s" % intent.get("who"))
            if intent["done"]:
                self._finish()
                return {"steps": intent["steps"], "done": True, "interrupted": bool(intent.get("interrupted"))}
            if time.monotonic() > deadline:
                activator.unfinished(self.layout, self.systemd, self.library)
                return {"steps": intent["steps"], "done": False, "allowed": intent["allowed"]}
            time.sleep(pause)
            pause = min(pause * 1.3, 0.25)

    def _finish(self) -> None:
        with self.locked():
            if self.request["state"] == "absent":
                removal.remove_factory(self.layout, purge=bool(self.request.get("purge")))
            lease.give_back(self.layout, self.request["who"]["run"])

    # -- info -----------------------------------------------------------------------------------------------------

    def info(self) -> "dict[str, Any]":
        from . import info

        return info.gather(self.layout, self.request)

    def diagnose(self) -> "dict[str, Any]":
        from . import diagnosis

        return diagnosis.gather(self.layout, self.request)

    def _not_during_activation(self) -> None:
        if self.check:
            return
        intent = activator.unfinished(self.layout, self.systemd, self.library)
        if intent:
            raise Busy("an activation is under way here (run %s by %s)" % (intent["run"], intent["who"].get("user")))


def _told(change: Change) -> "dict[str, str]":
    return {"kind": change.kind, "subject": change.subject, "reason": change.reason}


def _space(error: OSError, layout: Layout) -> str:
    """Where there is how much space, if that is what was missing."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return ""
    found = []
    for path in filter(os.path.isdir, (layout.opt.parent, layout.state.parent, layout.units)):
        free = os.statvfs(path)
        found.append("%d kB, %d files below %s" % (free.f_bavail * free.f_frsize // 1024, free.f_favail, path))
    return " (free: %s). What runs was left alone" % "; ".join(found)


def main(request: "dict[str, Any]", stream: BinaryIO, library: str) -> None:
    """Run one operation and print its answer as one marked line: ``{"ok": ...}``, ``{"error": text}`` or ``{"busy": text}``."""
    layout = Layout()
    host = Host(layout, library, request, stream)
    operations: dict[str, Callable[[], dict[str, Any]]] = {
        "stage": host.stage, "select": host.select, "activate": host.activate, "follow": host.follow, "info": host.info,
        "diagnose": host.diagnose,
    }  # fmt: skip
    try:
        answer: dict[str, Any] = {"ok": operations[request["op"]]()}
    except Busy as error:
        answer = {"busy": str(error), "lease": lease.current(layout)}
    except Unpackaged as error:
        answer = {"error": str(error), "unpackaged": str(target.here())}
    except HostError as error:
        answer = {"error": str(error)}
    except OSError as error:
        answer = {
            "error": "%s: %s%s" % (error.filename or request["op"], error.strerror or error, _space(error, layout))
        }
    except Exception as error:
        answer = {"error": "unexpected, please report: " + in_words(error)}
    sys.stdout.write(MARK + json.dumps(answer) + "\n")
    sys.stdout.flush()
