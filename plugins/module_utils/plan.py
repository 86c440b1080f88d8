# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is wanted and what is, to a list of changes. Pure: check mode is this list, and a real run walks it."""

from typing import NamedTuple, Optional

from .layout import meant

STAGING = ("tree", "user", "release", "stage")
ACTIVATION = ("activate", "confine", "enable", "stop", "remove")


class Want(NamedTuple):
    """One declared instance: the release that its declaration makes on this host, and its state."""

    release: str
    version: str
    state: str = "started"


class Now(NamedTuple):
    """What is true of one instance. `booted` is the release in /etc, `running` the one in the main process.

    `renew`: what the process was started from has been repaired since.
    """

    booted: Optional[str] = None
    running: Optional[str] = None
    staged: Optional[str] = None
    staged_state: Optional[str] = None
    under_proof: bool = False
    unit_intact: bool = True
    enabled: bool = False
    healthy: bool = True
    detail: str = ""
    has_user: bool = False
    tree_intact: bool = False
    release_complete: bool = False
    void: Optional[str] = None
    renew: bool = False
    confined: bool = True


class Change(NamedTuple):
    """One thing to do: its kind, the agent id (or the agent for a tree), and why, for people."""

    kind: str
    subject: str
    reason: str

    def __str__(self) -> str:
        return "%s: %s (%s)" % (self.subject, self.kind, self.reason)


def stage(agent_id: str, want: Want, now: Now) -> "list[Change]":
    """What has to be laid beside what runs."""
    changes = []
    if not now.tree_intact:
        changes.append(Change("tree", agent_id, "the code is not on this host, or was changed here"))
    if not now.has_user:
        changes.append(Change("user", agent_id, "no system user yet"))
    if not now.release_complete:
        changes.append(Change("release", agent_id, "%s is new here" % want.version))
    if (now.staged, now.staged_state) != (want.release, want.state):
        changes.append(Change("stage", agent_id, "%s is to be %s" % (want.version, want.state)))
    return changes


def activate(agent_id: str, want: Want, now: Now) -> "list[Change]":
    """What has to happen to the running instance."""
    if want.state == "stopped":
        on = now.running or now.enabled or now.under_proof
        return [Change("stop", agent_id, "is to be stopped")] if on else []
    reason = _why_activate(want, now)
    if reason:
        return [Change("activate", agent_id, reason)]
    if not now.confined:
        return [Change("confine", agent_id, "its firewall rules are gone")]
    return [] if now.enabled else [Change("enable", agent_id, "would not start at boot")]


def _why_activate(want: Want, now: Now) -> str:
    if now.booted is None:
        return "new: %s" % want.release
    if now.booted != want.release:
        return "%s -> %s" % (now.booted, want.release)
    if now.under_proof:
        return "an activation was interrupted"
    if not now.tree_intact:
        return "its code was changed on this host"
    if not now.unit_intact:
        return "its unit was changed on this host"
    if not now.has_user:
        return "its system user was gone"
    if not now.release_complete:
        return "its configuration or its secrets were changed on this host"
    if now.renew:
        return "it was started before it was repaired"
    if now.running is None:
        return "is not running: %s" % now.detail
    if now.running != want.release:
        return "%s runs instead of %s" % (now.running, want.release)
    return "" if now.healthy else "is not healthy: %s" % now.detail


def removals(
    present: "dict[str, str]", declared: "set[str]", environment: str, only: "Optional[set[str]]"
) -> "list[str]":
    """The agent ids to remove: on this host for this `environment`, and not declared (any more).

    `present` maps agent ids to the environment that owns them; `only` limits it to these agents' names and agent ids.
    """
    return sorted(
        agent_id
        for agent_id, owner in present.items()
        if owner == environment and agent_id not in declared and meant(agent_id, only)
    )
