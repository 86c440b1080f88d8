# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: what happened in a run, host by host, for the plays that come after.

A file of JSON lines on the controller, appended to by forks: one write a record, so none is ever half there or mixed up
with another. Plays are separate in Ansible and see nothing of each other's results but this.
"""

import json
import os
from collections.abc import Iterator
from typing import Any, NotRequired, TypedDict

from . import moves, rollout, run

SUMMARY = "summary"
"""what is done `once` at a run's end"""


class LedgerError(RuntimeError):
    """The ledger cannot be read or written; a rollout must not go on without it."""


class Begin(TypedDict):
    """What holds for the whole run; written by lookup rollout."""

    phase: str
    hosts: list[str]
    """those that are to be staged, in inventory order"""
    check: bool
    confirm_removals: int | None
    only: NotRequired[list[str] | None]
    """agents and agent ids that this run is about; None for all"""
    planned: NotRequired[dict[str, dict[str, moves.Leaving]]]
    """host -> agent id that a plan takes from it -> how"""
    portable: NotRequired[list[str]]
    """agents that must not run twice when they move"""
    lost: NotRequired[list[str]]
    """hosts on which a plan takes nothing to run: they need not be reached, and nothing is activated there"""


class Stage(TypedDict):
    """What staging found on a host and will change."""

    phase: str
    host: str
    status: str
    """unchanged | pending | failed | unreachable"""
    agents: NotRequired[list[str]]
    """names of the changing ones"""
    rollouts: NotRequired[dict[str, rollout.Rollout]]
    removals: NotRequired[list[str]]
    plan: NotRequired[dict[str, Any]]
    messages: NotRequired[list[str]]
    hosts_total: NotRequired[int]
    """not needed: a run knows the hosts that it began with"""


class Activate(TypedDict):
    """How the activation of a host ended."""

    phase: str
    host: str
    status: str
    """ok | failed | unreachable | skipped"""
    switched: NotRequired[bool]
    messages: NotRequired[list[str]]
    wave: NotRequired[int | None]


class Moving(TypedDict):
    """That a play activates which first has stopped what must not run twice."""

    phase: str
    hosts: list[str]


class Stop(TypedDict):
    """How it went to stop on a host what must not run twice: "first" to let it start elsewhere, or "back" again."""

    phase: str
    host: str
    when: str
    agents: list[str]
    """agent ids"""
    status: str
    """ok | failed | unreachable"""
    messages: NotRequired[list[str]]


class Undo(TypedDict):
    """How taking a host back ended."""

    phase: str
    host: str
    status: str
    """ok | failed | unreachable"""
    back: NotRequired[bool]
    """whether there was something to take back, and all of it was; `status` is also about what cannot be brought back"""
    messages: NotRequired[list[str]]


class Retire(TypedDict):
    """How it ended on a host to remove what moved away, and to start again what did not come up where it went."""

    phase: str
    host: str
    status: str
    """ok | failed | unreachable"""
    back: NotRequired[list[str]]
    """agent ids of what runs again"""
    messages: NotRequired[list[str]]


class Goal(TypedDict):
    """Where a plan has the fleet's instances in the end: what was reviewed, whatever becomes of its file."""

    phase: str
    placement: dict[str, dict[str, list[int]]]
    """agent -> host -> indexes"""
    host_order: list[str]


class Silence(TypedDict):
    """The silence that Alertmanager keeps while the rollout runs."""

    phase: str
    url: str
    silence: str


Record = Begin | Stage | Moving | Stop | Activate | Undo | Retire | Goal | Silence | rollout.Plan


class Ledger:
    """One run's ledger. Without a run (`run_id` None) nothing is kept and nothing is found."""

    def __init__(self, run_id: str | None) -> None:
        self.run_id = run_id
        self._base = os.path.join(run.directory(), run_id) if run_id else ""
        self._plan: rollout.Plan | None = None

    @classmethod
    def current(cls) -> "Ledger":
        """The ledger of the run that this process belongs to."""
        return cls(run.current())

    @classmethod
    def under_way(cls) -> "Ledger":
        """The same until its verdict is told. What the process does after that, in other playbooks, is no part of the rollout."""
        found = cls.current()
        return cls(None) if found.run_id and os.path.exists(f"{found._base}.{SUMMARY}") else found

    def append(self, record: Record) -> None:
        """Add a record, in one write. LedgerError where it cannot be kept."""
        if not self.run_id:
            return
        values: dict[str, Any] = {**record}
        first = {key: values[key] for key in ("phase", "host") if key in values}  # as `records` looks for them
        line = json.dumps({**first, **values}, separators=(",", ":")).encode() + b"\n"
        path = f"{self._base}.jsonl"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                written = os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise LedgerError(f"{path}: {error.strerror}") from error
        if written != len(line):
            raise LedgerError(f"{path}: only {written} of {len(line)} bytes could be written")

    def records(self, phase: str, host: str | None = None) -> Iterator[dict[str, Any]]:
        """The records of a phase (and of one host), oldest first. Only these lines are parsed: plans are large."""
        if not self.run_id:
            return
        start = f'{{"phase":{json.dumps(phase)},' + (f'"host":{json.dumps(host)}' if host is not None else "")
        path = f"{self._base}.jsonl"
        try:
            with open(path, "rb") as stream:
                for line in stream:
                    if line.startswith(start.encode()):
                        yield json.loads(line)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise LedgerError(f"{path}: {error}") from error

    def last(self, phase: str) -> dict[str, dict[str, Any]]:
        """host -> its last record of a phase, in the order in which the hosts first appeared."""
        found: dict[str, dict[str, Any]] = {}
        for record in self.records(phase):
            found[record["host"]] = record
        return found

    def begin(self) -> dict[str, Any] | None:
        return next(self.records("begin"), None)

    def stage(self, host: str) -> dict[str, Any] | None:
        """What staging wrote of a host."""
        return next(reversed(list(self.records("stage", host))), None)

    def plan(self) -> rollout.Plan | None:
        """The rollout as it was planned once staging was over; None before that."""
        if self._plan is None:  # it never changes once it is there
            found = next(self.records("plan"), None)
            self._plan = rollout.Plan(**found) if found else None  # type: ignore[typeddict-item]
        return self._plan

    def make_plan(self, *, environment: str = "", max_removals: int = 1) -> rollout.Plan:
        """The plan, made from what was staged and written down if it is not there yet (in the main process only)."""
        found = self.plan()
        if found is None:
            begin = {**(self.begin() or {}), "environment": environment, "max_removals": max_removals}
            found = rollout.plan(begin, self.last("stage"))
            self.append(found)
        return found

    def stopped(self, host: str | None = None) -> str | None:
        """Why nothing more may be activated, else None. With `host`, silent hosts of earlier waves count."""
        planned = self.plan()
        return planned and rollout.stopped(planned, self.last("activate"), host)

    def wave_of(self, host: str) -> int | None:
        """The wave of a host, from 0; None where it has none."""
        planned = self.plan()
        return planned and rollout.wave_of(planned, host)

    def wave(self, host: str) -> list[str]:
        """The hosts of its wave; empty where it has none, and where nothing more may be activated."""
        planned, wave = self.plan(), self.wave_of(host)
        return [] if planned is None or wave is None or self.stopped(host) else rollout.waves_of(planned)[wave]

    def announce_wave(self, host: str) -> str | None:
        """The line that announces the host's wave, for exactly one of the processes that ask; None for all others."""
        planned = self.plan()
        wave = planned and rollout.wave_of(planned, host)
        if planned is None or wave is None or not self.once(f"wave{wave}"):
            return None
        return rollout.wave_line(planned, wave)

    def once(self, what: str) -> bool:
        """True for the first caller in this run, in whatever process, and False for every other."""
        if not self.run_id:
            return False
        try:
            os.close(os.open(f"{self._base}.{what}", os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return False
        except OSError as error:
            raise LedgerError(f"{self._base}.{what}: {error.strerror}") from error
        return True
