# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging: everything up to, and nothing of, activation. What runs is not touched."""

import contextlib
import time
from pathlib import Path
from typing import Any, BinaryIO, Optional

from . import credentials, desired, plan, release, store, tree, truth, users
from .desired import Desired
from .errors import HostError
from .files import checkpoint, read_json, read_known, remove, write_json
from .layout import Instance, Layout, instances
from .plan import Change
from .systemd import Systemd, version

UNTIL = {"distributed": (), "installed": ("tree",), "configured": plan.STAGING}
DEFAULT_KEEP = 3
LIBRARY_SECONDS = 86400
RESERVED_SECONDS = 30 * 86400


class Assessment:
    """What is wanted, what is, and what therefore has to be done on this host."""

    def __init__(self, wanted: "list[Desired]", key: bytes) -> None:
        self.desired, self.key = wanted, key
        self.staging: list[Change] = []
        self.activation: list[Change] = []
        self.missing_trees: list[str] = []
        self.removals: list[str] = []
        self.booted: dict[str, Optional[str]] = {}


def owner(instance: Instance) -> str:
    """The environment that an instance on this host belongs to."""
    releases = list(release.everything(instance).values())
    staged = read_known(instance.staged)
    return str(releases[-1].environment if releases else staged.get("environment", ""))


def kept_file(instance: Instance) -> Path:
    """Where it is noted whose the state is that a removed instance has left here."""
    return instance.layout.kept / (instance.id + ".json")


def kept_owner(instance: Instance) -> str:
    """The environment that kept state belongs to; empty where there is none, or nobody knows."""
    return str((read_json(kept_file(instance)) or {}).get("environment", "")) if instance.state.is_dir() else ""


def owners(layout: Layout) -> "dict[str, str]":
    """The environment that owns each instance on this host, by agent id."""
    return {instance.id: owner(instance) for instance in instances(layout)}


def assess(layout: Layout, request: "dict[str, Any]", systemd: Systemd) -> Assessment:
    """Ask this host the truth and compare it with what is declared. Changes nothing. Raises HostError."""
    key = credentials.load_key(layout.factory / "key", create=False)
    wanted = desired.build(layout, request, key, version())
    result = Assessment(wanted, key)
    states = truth.states([d.instance for d in wanted], systemd)
    once = truth.Once()
    problems: list[str] = []
    activating: list[tuple[Desired, plan.Now]] = []
    owned = owners(layout)
    for item in wanted:
        agent_id = item.instance.id
        if owned.get(agent_id) not in (None, "", request["environment"]):
            problems.append("%s belongs to environment %s on this host, not to %s" % (
                agent_id, owned[agent_id], request["environment"]))  # fmt: skip
            continue
        if agent_id not in owned and kept_owner(item.instance) not in ("", request["environment"]):
            problems.append("the state that %s has left on this host belongs to environment %s, not to %s" % (
                agent_id, kept_owner(item.instance), request["environment"]))  # fmt: skip
            continue
        now = truth.look(
            item.instance,
            states[agent_id],
            wanted=item.want.release,
            wanted_tree=item.spec.tree,
            attempts=4,
            once=once,
        )
        if now.void and item.want.state == "started" and now.booted != item.want.release and not request.get("retry"):
            problems.append(
                "%s: release %s is void: %s. Declare something else, or try it again with -e retry=true"
                % (agent_id, item.want.release, now.void)
            )
        result.booted[agent_id] = now.booted
        result.staging += plan.stage(agent_id, item.want, now)
        changes = plan.activate(agent_id, item.want, now)
        result.activation += changes
        activating += [(item, now)] if changes and item.want.state == "started" else []
    if problems:
        raise HostError("\n".join(problems))
    if activating:
        _take_turns(activating)
    missing = {tree for tree, intact in once.trees.items() if not intact}
    if request["state"] == "distributed":
        missing -= {r["tree"] for r in reserved(layout).values() if not store.missing(layout.store, r["entries"])}
        here = {item.instance.id for item in wanted if item.spec.tree not in missing}
        result.staging = [c for c in result.staging if c.kind != "tree" or c.subject not in here]
    result.missing_trees = sorted(missing)
    result.removals = plan.removals(
        owned, {d.instance.id for d in wanted}, request["environment"],
        set(request["only"]) if request.get("only") is not None else None,
    )  # fmt: skip
    return result


def _take_turns(activating: "list[tuple[Desired, plan.Now]]") -> None:
    """Raises HostError where ports are to pass in a circle: no order of activation does that."""
    from . import turns  # every call is a new process, and most change nothing

    turns.order(
        [
            turns.claim(item.instance, now.booted, now.running or now.enabled, item.spec.ports.values())
            for item, now in activating
        ]
    )


def diffs(assessment: Assessment) -> "list[dict[str, str]]":
    """What `--diff` shows: configuration, unit and names of secrets of each instance that changes."""
    found: list[dict[str, str]] = []
    changing = {c.subject for c in assessment.staging if c.kind in ("release", "tree")}
    changing |= {c.subject for c in assessment.activation}
    for item in assessment.desired:
        if item.instance.id in changing and assessment.booted[item.instance.id] != item.want.release:
            found += item.differences(assessment.booted[item.instance.id], assessment.key)
    return found


def apply(
    layout: Layout, request: "dict[str, Any]", assessment: Assessment, stream: BinaryIO, systemd: Systemd,
) -> "dict[str, Any]":  # fmt: skip
    """Walk the staging changes, up to the wanted step. Called under the host's lock. Raises HostError."""
    trees = request.get("trees") or {}
    for entries in trees.values():
        tree.check_entries(entries)
    received = 0
    if request.get("blobs"):
        needed = [e for entries in trees.values() for e in entries]
        received = store.receive(layout.store, needed, request["blobs"], stream)
        checkpoint("stage.received")
    kinds = UNTIL[request["state"]]
    if "release" not in kinds:
        _reserve(layout, assessment, trees)
    if "release" in kinds:
        _mark_repairs(assessment, request["environment"])
    if "tree" in kinds:
        for digest in assessment.missing_trees:
            spec = next(d.spec for d in assessment.desired if d.spec.tree == digest)
            tree.install(layout, digest, trees[digest], python=spec.manifest["runtime"]["type"] == "python")
    if "release" in kinds:
        _stage_releases(layout, request, assessment, systemd)
    return {"received": received}


def reserved(layout: Layout) -> "dict[str, dict[str, Any]]":
    """agent -> ``{"tree", "entries"}`` of what was distributed or installed for it, and waits for its configuration."""
    found = {}
    for path in sorted(layout.reserved.glob("*.json")):
        with contextlib.suppress(HostError, OSError):  # one that cannot be read reserves nothing
            if time.time() - path.stat().st_mtime < RESERVED_SECONDS:
                found[path.stem] = dict(read_json(path) or {})
    return {agent: reservation for agent, reservation in found.items() if "tree" in reservation}


def _reserve(layout: Layout, assessment: Assessment, trees: "dict[str, Any]") -> None:
    for item in assessment.desired:
        if item.spec.tree in trees:
            path = layout.reserved / (item.instance.agent + ".json")
            write_json(path, {"tree": item.spec.tree, "entries": trees[item.spec.tree]}, 0o644)


def _mark_repairs(assessment: Assessment, environment: str) -> None:
    """What runs of a release that is about to be repaired must be started again, also when this run dies in between."""
    for item in assessment.desired:
        kinds = {c.kind for c in assessment.staging if c.subject == item.instance.id}
        if kinds & {"tree", "user", "release"} and assessment.booted[item.instance.id] == item.want.release:
            select(item.instance, item.want.release, item.want.state, environment, renew=True)
            checkpoint("stage.marked")


def _stage_releases(
    layout: Layout, request: "dict[str, Any]", assessment: Assessment, systemd: Systemd,
) -> None:  # fmt: skip
    # The key may have been made just now: identities are only final with it.
    key = credentials.load_key(layout.factory / "key", create=True)
    for item in desired.build(layout, request, key, version()):
        instance, name = item.instance, item.want.release
        changes = {c.kind for c in assessment.staging if c.subject == instance.id}
        if not changes:
            continue
        user = users.ensure(instance)
        checkpoint("stage.user")
        if changes & {"release", "user"} or not release.complete(instance, name):
            release.stage(name, key, item.spec, item.content, item.config, item.secrets, user)
        select(instance, name, item.want.state, request["environment"])
        checkpoint("stage.selected")


def select(
    instance: Instance, name: str, state: str, environment: str, *, renew: "Optional[bool]" = None, back: bool = False
) -> None:
    """Say which release the next activation of the instance takes; with `renew` also if it runs (None: as it was).

    `back`: it is an older one that is gone back to.
    """
    chosen: dict[str, Any] = {"release": name, "state": state, "environment": environment}
    if back:
        chosen["back"] = True
    before = read_known(instance.staged)
    if renew or (renew is None and before.get("renew") and before.get("release") == name):
        chosen["renew"] = True
    write_json(instance.staged, chosen)


def _prune_libraries(layout: Layout) -> None:
    """Older versions of this very library, and what killed transfers of it left."""
    mine = Path(__file__).resolve().parent.parent
    if mine.parent == layout.lib:
        for other in layout.lib.iterdir():
            if other != mine and time.time() - other.lstat().st_mtime > LIBRARY_SECONDS:
                remove(other)


def collect(layout: Layout, keep: int, needed: "frozenset[str]" = frozenset()) -> "dict[str, list[str]]":
    """Prune releases, then trees without a release, then files without a tree; not what is reserved for a release to come."""
    pruned = {i.id: release.prune(i, keep, needed) for i in instances(layout)}
    used = {r.tree for i in instances(layout) for r in release.everything(i).values()}
    waiting = {agent: r for agent, r in reserved(layout).items() if r["tree"] not in used}
    for path in layout.reserved.glob("*.json"):
        if path.stem not in waiting:
            remove(path)
    trees = tree.prune(layout, used | {r["tree"] for r in waiting.values()})
    store.collect_garbage(layout.store, (entry for r in waiting.values() for entry in r["entries"]))
    _prune_libraries(layout)
    return {"releases": [n for names in pruned.values() for n in names], "trees": trees}
