# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order instances go from one host to another, and where they are when that does not work out."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils import moves
from ansible_collections.agentfactory.core.plugins.plugin_utils.moves import Leaving, Moves

STEPS = [
    {"kind": "move", "agent": "a", "index": 0, "from": "h1", "to": "h2"},
    {"kind": "move", "agent": "kept", "index": 1, "from": "h1", "to": "h3"},
    {"kind": "remove", "agent": "a", "index": 4, "from": "h1", "to": None},
    {"kind": "new", "agent": "a", "index": 2, "from": None, "to": "h1"},
    {"kind": "restart", "agent": "a", "index": 3, "from": "h9", "to": "h1"},
]
PLANNED = moves.leaving(STEPS, ["kept"])


def staged(**there: Any) -> dict[str, dict[str, Any]]:
    """Staging's records of h1, which everything leaves, and of others by their status."""
    found: dict[str, dict[str, Any]] = {"h1": {"status": "pending", "removals": ["a@0", "a@4", "kept@1", "stray@0"]}}
    return found | {host: {"status": status} for host, status in there.items() if status}


def by_status(**there: str) -> dict[str, dict[str, Any]]:
    return {host: {"status": status} for host, status in there.items()}


@pytest.mark.parametrize(
    ("when", "there", "activated", "due"),
    [
        ("with", "pending", {}, ["a@4", "stray@0"]),
        ("last", "pending", {"h2": "ok"}, ["a@0"]),
        ("last", "pending", {"h3": "ok"}, ["kept@1"]),
        ("last", "unchanged", {}, ["a@0", "kept@1"]),  # an earlier run brought it there
        ("last", "pending", {}, []),  # nobody knows: its connection broke
        ("last", "unreachable", {}, []),
        ("last", None, {}, []),
        ("last", "pending", {"h2": "failed", "h3": "failed"}, []),
        ("last", "pending", {"h2": "skipped", "h3": "skipped"}, []),
    ],
)
def test_when_something_is_removed(when: str, there: str | None, activated: dict[str, str], due: list[str]) -> None:
    found = staged(h2=there, h3=there)
    assert Moves(PLANNED, found, by_status(**activated)).due("h1", when) == due
    assert Moves({}, found, by_status(**activated)).due("h1", when) == (
        found["h1"]["removals"] if when == "with" else []
    )


def activating(*agent_ids: str) -> dict[str, Any]:
    changes = [{"kind": "activate", "subject": agent_id, "reason": "new"} for agent_id in agent_ids]
    return {"status": "pending", "plan": {"activation": changes}}


@pytest.mark.parametrize(
    ("portable", "record", "found"),
    [
        (["kept"], activating("kept@1", "a@0"), {"h1": {"kept@1": Leaving(when="first", to="h2")}}),
        (["kept"], activating("a@0"), {}),  # it leaves, and starts nowhere
        (["kept"], {"status": "failed"}, {}),
        ([], activating("kept@1"), {}),
    ],
)
def test_what_moves_without_a_plan_and_must_not_run_twice_is_seen(
    portable: list[str], record: dict[str, Any], found: dict[str, Any]
) -> None:
    """As after a plan that was carried out in part, and by a placement that was written without one."""
    assert moves.foreseen({}, portable, {**staged(), "h2": record}) == found


def test_what_a_plan_says_is_not_guessed() -> None:
    there = {**staged(), "h2": activating("kept@1")}
    assert moves.foreseen(PLANNED, ["kept"], there) == PLANNED


def test_what_is_started_anew_where_it_is_does_not_move() -> None:
    record = {**activating("kept@1"), "removals": ["kept@1"]}
    assert moves.foreseen({}, ["kept"], {"h1": record}) == {}


TWO = moves.leaving(
    [
        {"agent": "kept", "index": 0, "from": "h1", "to": "h3"},
        {"agent": "kept", "index": 1, "from": "h1", "to": "h2"},
        {"agent": "kept", "index": 2, "from": "h2", "to": "h3"},
        {"agent": "free", "index": 0, "from": "h2", "to": "h3"},
    ],
    ["kept"],
)
LEAVE = {
    "h1": {"status": "pending", "removals": ["kept@0", "kept@1"]},
    "h2": {"status": "pending", "removals": ["kept@2", "free@0"]},
    "h3": {"status": "pending"},
}


@pytest.mark.parametrize(
    ("wave", "asked"),
    [
        (["h1"], {}),
        (["h2"], {"h1": ("h2", ["kept@1"])}),
        (["h3"], {"h1": ("h3", ["kept@0"]), "h2": ("h3", ["kept@2"])}),
        # h1 is left for both, and asked by one
        (["h2", "h3"], {"h1": ("h2", ["kept@0", "kept@1"]), "h2": ("h3", ["kept@2"])}),
        (["h3", "h2"], {"h1": ("h3", ["kept@0", "kept@1"]), "h2": ("h3", ["kept@2"])}),
    ],
)
def test_what_stops_before_a_wave(wave: list[str], asked: dict[str, Any]) -> None:
    assert Moves(TWO, LEAVE).first(wave) == asked


STOPPED = {"first": {"h1": {"kept@0": "", "kept@1": "is stuck"}}}


@pytest.mark.parametrize(
    ("target", "stops", "why"),
    [
        ("h3", STOPPED, ["kept@2: has not stopped on h2, and must not run twice: nobody asked"]),
        ("h3", {"first": {**STOPPED["first"], "h2": {"kept@2": ""}}}, []),
        ("h2", STOPPED, ["kept@1: has not stopped on h1, and must not run twice: is stuck"]),
        ("h1", {}, []),
    ],
)
def test_nothing_starts_that_has_not_stopped_elsewhere(target: str, stops: Any, why: list[str]) -> None:
    assert list(Moves(TWO, LEAVE, stops=stops).held_up(target)) == why


@pytest.mark.parametrize(
    ("activated", "undone", "first", "back", "returns", "stuck"),
    [
        ({"h3": "ok"}, {}, "", None, [], []),
        ({"h3": "failed"}, {}, "", "", ["kept@1"], []),
        ({}, {}, "", "", ["kept@1"], []),  # the rollout was stopped before its wave
        ({"h3": "ok"}, {"h3": "ok"}, "", "", ["kept@1"], []),  # it was there, and was taken back
        ({"h3": "unreachable"}, {}, "", "no route", [], [("kept@1", "h3")]),
        ({"h3": "failed"}, {}, "", None, [], [("kept@1", "h3")]),
        ({"h3": "failed"}, {}, "is stuck", "", ["kept@1"], []),  # who knows whether it runs: it is started if not
        ({"h3": "failed"}, {}, None, None, [], []),  # nobody has stopped it
    ],
)
def test_what_does_not_come_up_elsewhere_starts_again_where_it_was(
    activated: dict[str, str], undone: dict[str, str], first: str | None, back: str | None,
    returns: list[str], stuck: list[tuple[str, str]],
) -> None:  # fmt: skip
    stops = {
        "first": {} if first is None else {"h1": {"kept@1": first}},
        "back": {} if back is None else {"h3": {"kept@1": back}},
    }
    found = Moves(PLANNED, staged(h2="pending", h3="pending"), by_status(**activated), by_status(**undone), stops)
    assert found.returns("h1") == (returns, stuck)
    assert found.back() == ({"h3": ("h1", ["kept@1"])} if returns or stuck else {})


HOSTS = ["h1", "h2", "h3", "h4"]


class World:
    """Four hosts, on which calls fail, or do their work and are not answered, as hypothesis will have it; and a rollout's ledger."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        places = self.draw(st.lists(st.tuples(st.sampled_from(HOSTS), st.sampled_from(HOSTS)), min_size=1, max_size=5))
        steps = [{"agent": "kept", "index": n, "from": a, "to": b} for n, (a, b) in enumerate(places) if a != b]
        self.plan = moves.leaving(steps, ["kept"])
        self.runs = {f"kept@{step['index']}": {step["from"]} for step in steps}
        self.target = {f"kept@{step['index']}": step["to"] for step in steps}
        self.staged = {host: {"status": "pending", "removals": list(self.plan.get(host, {}))} for host in HOSTS}
        self.stops: dict[str, dict[str, dict[str, str]]] = {"first": {}, "back": {}}
        self.activated: dict[str, dict[str, Any]] = {}
        self.undone: dict[str, dict[str, Any]] = {}

    def known(self) -> Moves:
        return Moves(self.plan, self.staged, self.activated, self.undone, self.stops)

    def stop(self, when: str, orders: moves.Orders) -> None:
        for host, (_by, agent_ids) in orders.items():
            why = self.draw(st.sampled_from(["", "no answer"]))
            self.stops[when].setdefault(host, {}).update(dict.fromkeys(agent_ids, why))
            for agent_id in agent_ids if not why or self.draw(st.booleans()) else []:
                self.runs[agent_id].discard(host)

    def start(self, host: str, agent_ids: list[str]) -> None:
        for agent_id in agent_ids:
            self.runs[agent_id].add(host)
            assert len(self.runs[agent_id]) == 1, f"{agent_id} runs on {self.runs[agent_id]}"

    def wave(self, hosts: list[str]) -> None:
        self.stop("first", self.known().first(hosts))
        for host in hosts:
            held = list(self.known().held_up(host))
            self.activated[host] = {
                "status": "failed" if held else self.draw(st.sampled_from(["ok", "failed", "unreachable"]))
            }
            if not held and (self.activated[host]["status"] == "ok" or self.draw(st.booleans())):
                self.start(host, [agent_id for agent_id, to in self.target.items() if to == host])

    def undo(self, host: str) -> None:
        self.undone[host] = {"status": self.draw(st.sampled_from(["ok", "failed"]))}
        for agent_id, to in self.target.items():
            if to == host and self.undone[host]["status"] == "ok":
                self.runs[agent_id].discard(host)

    def settle(self) -> None:
        self.stop("back", self.known().back())
        for host in HOSTS:
            self.start(host, self.known().returns(host)[0])
        for host in HOSTS:
            assert all(self.runs[agent_id] == {self.target[agent_id]} for agent_id in self.known().due(host, "last"))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_what_must_not_run_twice_never_does(data: st.DataObject) -> None:
    """Whatever fails in whatever wave, and however far it comes; and what is removed runs elsewhere."""
    world = World(data)
    waves = data.draw(st.sampled_from([[[host] for host in HOSTS], [HOSTS[:1], HOSTS[1:]], [HOSTS]]))
    for wave in waves[: data.draw(st.integers(0, len(waves)))]:
        world.wave(wave)
    for host in data.draw(st.lists(st.sampled_from(HOSTS), unique=True)):
        world.undo(host)
    world.settle()


@pytest.mark.parametrize(
    ("changes", "silent", "statuses", "expected"),
    [
        ({}, [], ["ok", "ok"], True),
        ({"hosts": []}, [], [], True),
        ({}, [], ["ok", "failed"], False),
        ({}, [], ["ok"], False),
        ({}, ["h2"], ["ok", "ok"], False),
        ({"failures": 1}, [], ["ok", "ok"], False),
        ({"reason": "too many"}, [], ["ok", "ok"], False),
    ],
)
def test_a_placement_holds_once_all_of_it_is_proven(
    changes: dict[str, Any], silent: list[str], statuses: list[str], expected: bool
) -> None:
    planned = {"hosts": ["h1", "h2"], "reason": None, "failures": 0, **changes}
    activated = {f"h{number}": {"status": status} for number, status in enumerate(statuses, 1)}
    assert moves.carried_out(planned, silent, activated) is expected
