# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads at the end of a rollout: one summary of the run, one message for each failed host."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import rollout
from .ledger import Ledger
from .moves import Moves

_LINES = 12


@dataclass
class Story:
    """The whole ledger of a run, by phase."""

    begin: Mapping[str, Any]
    plan: rollout.Plan
    staged: dict[str, dict[str, Any]]
    activated: dict[str, dict[str, Any]]
    undone: dict[str, dict[str, Any]]
    retired: dict[str, dict[str, Any]]
    moves: Moves

    @classmethod
    def read(cls, ledger: Ledger) -> "Story":
        planned = ledger.make_plan()
        staged, activated, undone, retired = (ledger.last(phase) for phase in ("stage", "activate", "undo", "retire"))
        moves = Moves.read(ledger) if planned["leaving"] else Moves({}, {})
        return cls(ledger.begin() or {}, planned, staged, activated, undone, retired, moves)

    def failed(self) -> list[str]:
        return rollout.failed(self.plan, self.staged, self.activated, self.undone, self.retired)

    def reason(self) -> str | None:
        """Why the rollout ended early, else None."""
        bad = rollout.silent(self.plan, self.activated)
        return rollout.stopped(self.plan, {**self.activated, **{host: {"status": "unreachable"} for host in bad}})


def verdict(story: Story, host: str) -> str:
    """What went wrong on a host, a line a message; where nothing did, why the run failed all the same."""
    lines: list[str] = []
    for phase, what in (
        (story.staged, "staging"), (story.activated, "activation"), (story.undone, "undoing"), (story.retired, "retiring")
    ):  # fmt: skip
        record = phase.get(host, {})
        if record.get("status") in rollout.BAD:
            lines += record.get("messages") or [f"{what}: {record['status']}"]
    if host in story.plan["silent"]:
        lines.append("staging: unreachable, or ended before it could say how")
    if host in rollout.silent(story.plan, story.activated):
        lines.append("activation: unreachable, or ended before it could say how")
    if not lines and (reason := story.reason()):
        lines.append(reason)
    return "\n".join(lines)


def summary(story: Story) -> str:
    """The run on a page: how many hosts, each wave, what changed, what failed and why, what was undone."""
    lost = story.plan["lost"]
    staged = {host: record for host, record in story.staged.items() if host not in lost}
    unchanged = sum(record["status"] == "unchanged" for record in staged.values())
    everywhere = len(staged) + len(story.plan["silent"])
    if unchanged == everywhere and not story.retired:
        return f"Nothing to do: {_hosts(unchanged)} as declared."
    check = bool(story.begin.get("check"))
    fleet = f"Fleet {story.plan['environment']}" if story.plan["environment"] else "Fleet"
    lines = [
        f"{fleet}: {_hosts(everywhere)}, {unchanged} as declared, {len(story.plan['hosts'])} to change"
        + (" (check mode: nothing is changed)" if check else "")
    ]
    lines += [f"Lost, as the plan has it: {rollout.names(lost)}"] if lost else []
    lines += _changes(story, check=check)
    lines += _waves(story, check=check)
    if reason := story.reason():
        lines.append(f"Stopped: {reason}")
    if story.undone:
        taken = [host for host in story.plan["hosts"] if story.undone.get(host, {}).get("back")]
        lines.append(f"Undone (rollback: {story.plan['rollback']}): {rollout.names(taken) or 'none'}")
    lines += _moves(story)
    lines += _failures(story)
    return "\n".join(lines)


def _hosts(count: int) -> str:
    return "1 host" if count == 1 else f"{count} hosts"


def _changes(story: Story, *, check: bool) -> list[str]:
    """One line an agent: where it changes, where it is removed."""
    found: dict[tuple[str, str], list[str]] = {}
    for host in story.plan["hosts"]:
        record = story.staged[host]
        for agent in record.get("agents", []):
            found.setdefault(("Would change" if check else "Changes", agent), []).append(host)
        for agent in record.get("removals", []):
            found.setdefault(("Would remove" if check else "Removes", agent), []).append(host)
    return [f"{verb} {agent}: {rollout.names(hosts)}" for (verb, agent), hosts in sorted(found.items())]


def _waves(story: Story, *, check: bool) -> list[str]:
    if story.plan["reason"] is not None:
        return []
    lines = []
    for index, hosts in enumerate(rollout.waves_of(story.plan)):
        if check:
            lines.append(f"  {rollout.wave_line(story.plan, index)}")
            continue
        by_result: dict[str, list[str]] = {}
        for host in hosts:
            by_result.setdefault(_result(story, host), []).append(host)
        order = [result for result in ("ok", "FAILED", "UNREACHABLE", "not activated") if result in by_result]
        parts = [f"{result}: {rollout.names(by_result[result])}" for result in order]
        lines.append(f"  Wave {index + 1} of {len(story.plan['batches'])}: {'; '.join(parts)}")
    return lines


def _result(story: Story, host: str) -> str:
    if host in rollout.silent(story.plan, story.activated):
        return "UNREACHABLE"
    status = story.activated.get(host, {}).get("status", "skipped")
    return {"ok": "ok", "skipped": "not activated"}.get(status, str(status).upper())


def _moves(story: Story) -> list[str]:
    """What was stopped to start elsewhere and did not: where it is now."""
    again = {(host, agent_id) for host, record in story.retired.items() for agent_id in record.get("back", [])}
    returning = story.moves.returning()
    back = [f"{agent_id} on {host}" for host, agent_id, _to in returning if (host, agent_id) in again]
    left = [f"{agent_id} ({host} -> {to})" for host, agent_id, to in returning if (host, agent_id) not in again]
    lines = [f"Runs again where it was: {', '.join(back)}"] if back else []
    return lines + ([f"Stopped where it was, and not proven where it moves to: {', '.join(left)}"] if left else [])


def _failures(story: Story) -> list[str]:
    lines = []
    reason = story.reason()
    for host in story.failed():
        said = [message.rstrip() for message in verdict(story, host).splitlines() if message.strip()]
        if said == [reason]:
            continue
        lines.append(f"Failed: {host}")
        lines += [f"  {line}" for line in said[:_LINES]]
        if len(said) > _LINES:
            lines.append(f"  ({len(said) - _LINES} more lines: see the verdict of {host})")
    return lines
