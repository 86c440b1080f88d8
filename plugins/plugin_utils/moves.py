# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order within a rollout in which instances go from one host to another.

An instance that moves is started and proven at its new place; only then is the old one removed. One that must not run twice
(`state_portable`) is stopped at its old place right before the wave of its new one; where it is not proven there, it is stopped there
too, and starts again where it was. The same holds for what starts elsewhere since its host is lost: where that host is reached all the
same, it leaves there. Pure functions over the ledger's records.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from .ledger import Ledger

Records = Mapping[str, Mapping[str, Any]]
Orders = dict[str, tuple[str, list[str]]]
"""host that something leaves -> the host of those that it leaves for that has it asked (so that one does), what is to stop there"""


class Leaving(TypedDict):
    """`when` it is removed: "with" its host's wave, or "last", once it is proven on `to`; "first" is that too, but it stops before `to`'s
    wave."""

    when: str
    to: str | None


Leavings = Mapping[str, Mapping[str, Leaving]]
"""host -> agent id -> how it leaves"""


def leaving(steps: Iterable[Mapping[str, Any]], portable: Iterable[str]) -> dict[str, dict[str, Leaving]]:
    """How instances leave by a plan's steps."""
    stops_first, found = set(portable), {}  # type: ignore[var-annotated]
    for step in steps:
        if step["from"] is None:
            continue
        when = "with" if step["to"] is None else "first" if step["agent"] in stops_first else "last"
        agent_id = f"{step['agent']}@{step['index']}"
        found.setdefault(step["from"], {})[agent_id] = Leaving(when=when, to=step["to"])
    return found


def foreseen(planned: Leavings, portable: Iterable[str], staged: Records) -> dict[str, dict[str, Leaving]]:
    """What a plan has `planned`, and what must not run twice and moves without one: it is to leave one host and to start on another."""
    found = {host: dict(there) for host, there in planned.items()}
    once = set(portable)
    starts = {
        change["subject"]: host
        for host, record in (staged if once else {}).items()
        for change in record.get("plan", {}).get("activation", [])
        if change["kind"] == "activate"
    }
    for host, record in staged.items():
        for agent_id in record.get("removals", []) if starts else []:
            to = starts.get(agent_id, host)
            if to != host and agent_id.partition("@")[0] in once and agent_id not in found.get(host, {}):
                found.setdefault(host, {})[agent_id] = Leaving(when="first", to=to)
    return found


@dataclass(frozen=True)
class Moves:
    """What a rollout knows of what moves.

    `stops`: "first" (before a wave) and "back" -> host -> agent id -> what kept it from stopping there, empty where nothing did.
    """

    leaving: Leavings
    staged: Records
    activated: Records = field(default_factory=dict)
    undone: Records = field(default_factory=dict)
    stops: Mapping[str, Records] = field(default_factory=dict)

    @classmethod
    def read(cls, ledger: "Ledger") -> "Moves":
        planned = ledger.plan()
        stops: dict[str, dict[str, dict[str, str]]] = {}
        for record in ledger.records("stop"):
            there = stops.setdefault(record["when"], {}).setdefault(record["host"], {})
            why = "" if record["status"] == "ok" else "; ".join(record["messages"]) or record["status"]
            there.update(dict.fromkeys(record["agents"], why))
        staged, activated, undone = (ledger.last(phase) for phase in ("stage", "activate", "undo"))
        return cls(planned["leaving"] if planned else {}, staged, activated, undone, stops)

    def first(self, wave: Sequence[str]) -> Orders:
        """What stops before these hosts are activated, since it starts on them."""
        return _orders(wave, ((host, to, agent_id) for host, agent_id, to in self._once() if to in wave))

    def back(self) -> Orders:
        """What stops on the host that it was to move to, before it starts again where it was."""
        returning = [(to, host, agent_id) for host, agent_id, to in self.returning()]
        return _orders([host for _to, host, _agent_id in returning], returning)

    def held_up(self, target: str) -> Iterator[str]:
        """Why nothing may start on `target`: what must not run twice, and has not stopped where it is."""
        for host, agent_id, to in self._once():
            if to == target and (why := self._stopped("first", host, agent_id)) != "":
                yield f"{agent_id}: has not stopped on {host}, and must not run twice: {why or 'nobody asked'}"

    def returning(self) -> list[tuple[str, str, str]]:
        """(host, agent id, host that it is not on) of what was to stop before it started there, and was not proven or was taken back."""
        return [
            (host, agent_id, to)
            for host, agent_id, to in self._once()
            if self._stopped("first", host, agent_id) is not None and (to in self.undone or not self._arrived(to))
        ]

    def returns(self, host: str) -> tuple[list[str], list[tuple[str, str]]]:
        """What can start again on its old host; and (agent id, host) of what cannot, since it may run there."""
        mine = [(agent_id, to) for old, agent_id, to in self.returning() if old == host]
        safe = [agent_id for agent_id, to in mine if self._stopped("back", to, agent_id) == ""]
        return safe, [(agent_id, to) for agent_id, to in mine if agent_id not in safe]

    def due(self, host: str, when: str) -> list[str]:
        """Those of a host's removals whose turn it is, "with" its wave or "last": where they are proven on the host that they moved to,
        in this rollout or before it, and nothing was taken back. What is not foreseen goes with the host's wave."""
        found = []
        for agent_id in self.staged.get(host, {}).get("removals", []):
            how = self.leaving.get(host, {}).get(agent_id, Leaving(when="with", to=None))
            turn = "with" if how["when"] == "with" else "last"
            if turn == when and (turn == "with" or (self._arrived(how["to"] or "") and not self.undone)):
                found.append(agent_id)
        return found

    def _once(self) -> Iterator[tuple[str, str, str]]:
        """(host, agent id, host that it moves to) of what must not run twice."""
        for host, there in self.leaving.items():
            here = self.staged.get(host, {}).get("removals", [])
            for agent_id, how in there.items():
                if how["when"] == "first" and how["to"] and agent_id in here:
                    yield host, agent_id, how["to"]

    def _stopped(self, when: str, host: str, agent_id: str) -> str | None:
        return self.stops.get(when, {}).get(host, {}).get(agent_id)

    def _arrived(self, target: str) -> bool:
        if target in self.activated:
            return bool(self.activated[target]["status"] == "ok")
        return bool(self.staged.get(target, {}).get("status") == "unchanged")


def _orders(order: Sequence[str], leaves: Iterable[tuple[str, str, str]]) -> Orders:
    """Of (host, host that it leaves for, agent id): each host is asked once, by the first in `order` of those."""
    found: dict[str, list[tuple[str, str]]] = {}
    for host, to, agent_id in leaves:
        found.setdefault(host, []).append((to, agent_id))
    return {
        host: (min((to for to, _agent_id in there), key=order.index), [agent_id for _to, agent_id in there])
        for host, there in found.items()
    }


def orders(ledger: "Ledger", when: str, host: str) -> Orders:
    """What stops on which hosts on behalf of `host` and those that it goes with: "first" its wave, or "back" what returns."""
    moves = Moves.read(ledger)
    return moves.back() if when == "back" else moves.first(ledger.wave(host))


def carried_out(planned: Mapping[str, Any], silent: Iterable[str], activated: Records) -> bool:
    """Whether all of a rollout went well, so that its placement is the fleet's from now on."""
    well = all(activated.get(host, {}).get("status") == "ok" for host in planned["hosts"])
    return planned["reason"] is None and not planned["failures"] and not list(silent) and well
