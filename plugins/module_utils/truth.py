# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is really so on this host: files, units, processes, health. Nothing here changes anything."""

import os
import re
import time
from pathlib import Path
from typing import Any, Optional

from . import credentials, egress, health, release, tree, unit, users
from .files import read_known
from .layout import Instance, Layout
from .plan import Now
from .systemd import Systemd

UNKNOWN = "?"
_NAME = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._-]*")


def process_environment(pid: int) -> "dict[str, str]":
    """A process's environment; empty if it is gone."""
    try:
        raw = Path("/proc/%d/environ" % pid).read_bytes()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if item)
    return {k.decode(errors="replace"): v.decode(errors="replace") for k, _sep, v in pairs}


def start_time(pid: int) -> Optional[str]:
    """When a process started (clock ticks since boot, field 22 of proc_pid_stat(5)): tells a reused pid. None: gone."""
    try:
        fields = Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]


def probe(instance: Instance, facts: "dict[str, Any]", pid: int) -> health.Seen:
    """One look at a running instance with its own release's probes."""

    def run_command(wanted: "dict[str, Any]") -> health.Seen:
        user = users.find(instance)
        if user is None:
            return health.Seen(False, "command", "user %s is gone" % instance.user)
        gone = users.missing_groups(facts["manifest"]["permissions"]["groups"])
        if gone:
            return health.Seen(False, "command", "the group %s is gone" % ", ".join(gone))
        spec = spec_of(instance, facts)
        argv = [unit.program(wanted["argv"][0], facts["tree"])] + unit.expand(wanted["argv"][1:], spec, instance.unit)
        # As the unit gives it, not as the process has it: that could have written there what its sandbox forbids it.
        given = dict(unit.environment(spec, instance.unit), STATE_DIRECTORY=str(instance.state))
        given["CREDENTIALS_DIRECTORY"] = credentials.directory(facts["delivery"], instance.unit)
        environment = {k: v.replace(unit.RELEASE, facts["release"]) for k, v in given.items()}
        return health.command(
            argv, timeout=wanted["timeout"], uid=user.pw_uid, gid=user.pw_gid,
            groups=users.group_ids(facts["manifest"]["permissions"]["groups"]), environment=environment, directory=str(instance.state),
        )  # fmt: skip

    return health.look(facts, pid=pid, run_command=run_command)


def spec_of(instance: Instance, facts: "dict[str, Any]") -> unit.Spec:
    return unit.Spec(
        instance, facts["manifest"], facts["environment"], facts["tree"], facts["ports"], facts["resources"],
        delivery=facts["delivery"],
    )  # fmt: skip


def unit_intact(instance: Instance, booted: Optional[str]) -> bool:
    """Whether the unit in /etc is, byte for byte, the one of the release it names."""
    if booted is None:
        return True
    try:
        return instance.unit_file.read_bytes() == release.unit_text(instance, booted)
    except OSError:
        return False


class Once:
    """What is the same for all instances of a host, and asked once."""

    def __init__(self) -> None:
        self.trees: dict[str, bool] = {}
        self.rules: Optional[str] = None

    def tree_intact(self, layout: Layout, digest: Optional[str]) -> bool:
        if not digest:
            return False
        if digest not in self.trees:
            self.trees[digest] = tree.intact(layout, digest)
        return self.trees[digest]

    def confined(self, instance: Instance, name: str) -> bool:
        """Whether the firewall rules of a release are loaded, if it has some. (Reloading a host's firewall takes them away.)"""
        if not (instance.releases / name / "egress.nft").exists():
            return True
        if self.rules is None:
            self.rules = egress.listing()
        return egress.chain_of(instance) in self.rules


def look(
    instance: Instance, state: "dict[str, str]", *, wanted: Optional[str] = None, wanted_tree: Optional[str] = None,
    attempts: int = 1, once: "Optional[Once]" = None,
) -> Now:  # fmt: skip
    """The truth about one instance. `state` is systemd's; `wanted` the release to ask about, `once` what others asked already.

    With no `attempts` its probes are left alone, and it counts as not healthy.
    """
    once = once or Once()
    booted = release.proven(instance)
    staged = read_known(instance.staged)
    active = state.get("ActiveState") == "active" and state.get("SubState") == "running"
    pid = int(state.get("MainPID") or 0)
    running = running_release(instance, pid) if active and pid else None
    seen = health.Seen(False, "unit", describe(state))
    facts = release.read(instance, running) if running and running != UNKNOWN else {}
    if facts:
        for _attempt in range(attempts):
            seen = probe(instance, facts, pid)
            if seen.healthy:
                break
            time.sleep(0.5)
    detail = "%s: %s" % (seen.probe, seen.detail)
    if facts and attempts and not seen.healthy:  # in the agent's own words
        detail = release.without_secrets(instance, str(running), detail)
    name, wanted_tree = wanted or booted, wanted_tree or _tree_of(instance, wanted or booted)
    known = release.everything(instance)
    return Now(
        booted=booted, running=running, staged=staged.get("release"), staged_state=staged.get("state"),
        under_proof=instance.proof_file.exists(), unit_intact=unit_intact(instance, booted),
        enabled=os.path.lexists(instance.wants), healthy=seen.healthy, detail=detail,
        has_user=users.find(instance) is not None, tree_intact=once.tree_intact(instance.layout, wanted_tree),
        release_complete=bool(name) and release.complete(instance, str(name)),
        void=why_void(known.get(name or "")), renew=bool(staged.get("renew")),
        confined=once.confined(instance, str(running)) if facts else True,
    )  # fmt: skip


def running_release(instance: Instance, pid: int) -> str:
    """The release that a process says it is. It can say anything, so only what could be a release's name counts.

    One that has overwritten its environment (to change its title, say) is what the unit that started it is.
    """
    said = process_environment(pid).get("AGENT_RELEASE")
    if said is None and start_time(pid) is not None:
        said = release.named_by(instance.proof_file) or release.named_by(instance.unit_file)
    return said if said and _NAME.fullmatch(said) else UNKNOWN


def _tree_of(instance: Instance, name: Optional[str]) -> Optional[str]:
    return release.read(instance, name).get("tree") if name else None


def why_void(found: Optional[release.Release]) -> Optional[str]:
    """Why a release failed its activation; None for one that did not, or is not there."""
    if found is None or found.status != release.VOID:
        return None
    return str(found.evidence.get("summary", "it failed its activation"))


def describe(state: "dict[str, str]") -> str:
    """systemd's view of a unit in a few words."""
    if state.get("LoadState") == "not-found":
        return "there is no unit"
    text = "%s (%s)" % (state.get("ActiveState"), state.get("SubState"))
    if state.get("Result") not in (None, "success"):
        text += ", result %s, exit status %s" % (state["Result"], state.get("ExecMainStatus"))
    if state.get("NRestarts") not in (None, "", "0", "[not set]"):
        text += ", %s restarts" % state["NRestarts"]
    return text


def states(found: "list[Instance]", systemd: Systemd) -> "dict[str, dict[str, str]]":
    """systemd's view of many instances by agent id, in one call."""
    shown = systemd.show(i.unit for i in found)
    return {i.id: shown[i.unit] for i in found}
