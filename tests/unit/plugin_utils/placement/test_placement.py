# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small questions whose answers are known."""

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils.placement import (
    Agent,
    Host,
    PlacementError,
    Problem,
    check,
    check_order,
    questions,
    solve,
    text,
)


def hosts(*cpus: int, zones: str = "", **more: Any) -> tuple[Host, ...]:
    """h0, h1, ... with that much cpu."""
    return tuple(Host(f"h{i}", {"cpu": cpu}, zone=zones[i] if zones else "", **more) for i, cpu in enumerate(cpus))


def agent(name: str, count: int, cpu: int, **more: Any) -> Agent:
    return Agent(name, count, {"cpu": cpu}, **more)


def state(problem: Problem, name: str, what: Any) -> Problem:
    return replace(problem, hosts=tuple(replace(h, state=what) if h.name == name else h for h in problem.hosts))


def solved(problem: Problem) -> Any:
    """Without the exact solver; whatever the answer is, it must be within the rules."""
    answer = solve(problem, proof=False)
    seen = [v for v in check(problem, answer.placement, answer.relaxed) if v.rule != "missing"]
    assert not seen or answer.stuck or answer.without, seen
    assert not check_order(problem, answer.placement, answer.order.steps) or answer.order.deadlocked or answer.without
    return answer


@pytest.mark.parametrize("proof", [False, None])
def test_what_is_valid_is_left_alone(proof: bool | None) -> None:
    """However unbalanced it is."""
    current = {"a": dict.fromkeys(range(4), "h0")}
    answer = solve(Problem(hosts(8, 8), (agent("a", 4, 2),), current), proof=proof)
    assert answer.placement == current
    assert (answer.moves, answer.bounds.moves, answer.changes, answer.order.steps) == (0, 0, [], [])
    assert (answer.max_utilisation, answer.bounds.max_utilisation) == (1_000_000, 1_000_000)


def test_new_instances_balance() -> None:
    answer = solved(Problem(hosts(8, 8, 8), (agent("a", 6, 2),)))
    assert sorted(answer.placement["a"].values()) == ["h0", "h0", "h1", "h1", "h2", "h2"]
    assert answer.gaps == {"moves": 0, "max_utilisation": 0, "hosts": 1}


def test_indexes_are_stable() -> None:
    """a@1 stays, a@3 goes because there are only three, a@0 moves and keeps its name."""
    problem = Problem(hosts(4, 4, 4), (agent("a", 3, 2),), {"a": {0: "h0", 1: "h1", 3: "h2"}})
    answer = solved(state(problem, "h0", "drained"))
    assert answer.placement["a"][1] == "h1"
    assert [(s.kind, s.instance) for s in answer.order.steps] == [("remove", "a@3"), ("move", "a@0"), ("new", "a@2")]


@pytest.mark.parametrize(
    ("what", "kind", "source"), [("drained", "move", "h0"), ("failed", "restart", "h0"), ("active", None, None)]
)
def test_a_host_that_is_emptied(what: str, kind: str | None, source: str | None) -> None:
    problem = state(Problem(hosts(4, 4), (agent("a", 1, 2),), {"a": {0: "h0"}}), "h0", what)
    answer = solved(problem)
    assert [(s.kind, s.source) for s in answer.order.steps] == ([(kind, source)] if kind else [])
    assert answer.moves == answer.bounds.moves == (1 if kind else 0)


def test_a_host_that_is_gone_counts_as_failed() -> None:
    answer = solved(Problem(hosts(4), (agent("a", 1, 2),), {"a": {0: "old"}}))
    assert [(s.kind, s.source, s.target) for s in answer.order.steps] == [("restart", "old", "h0")]


@pytest.mark.parametrize(
    ("cpus", "needs", "moves"),
    [
        ((4, 8), {"a": 2, "b": 1}, 1),  # h0 holds 2 a and 1 b in 4 cores that need 5
        ((3, 8), {"a": 2, "b": 1}, 1),  # one a
        ((2, 8), {"a": 2, "b": 1}, 2),
        ((0, 8), {"a": 2, "b": 1}, 3),
    ],
)
def test_as_few_as_possible_leave_an_overfull_host(cpus: tuple[int, ...], needs: dict[str, int], moves: int) -> None:
    agents = (agent("a", 2, needs["a"]), agent("b", 1, needs["b"]))
    answer = solved(Problem(hosts(*cpus), agents, {"a": {0: "h0", 1: "h0"}, "b": {0: "h0"}}))
    assert answer.moves == answer.bounds.moves == moves


def test_an_ejection_chain_makes_room() -> None:
    """The big one fits nowhere until a small one steps aside: one move, and none is possible without."""
    current = {"small": {0: "h0", 1: "h1"}}
    answer = solved(Problem(hosts(4, 4), (agent("small", 2, 2), agent("big", 1, 3)), current))
    assert (answer.moves, len(answer.without)) == (1, 0)
    assert [step.kind for step in answer.order.steps] == ["move", "new"]


@pytest.mark.parametrize(
    ("agents", "zones", "counts"),
    [
        ((agent("a", 6, 1, spread="even"),), "aab", {"a": 3, "b": 3}),
        ((agent("a", 6, 1, spread=4),), "aab", None),
        ((agent("a", 5, 1, spread="even", max_per_host=2),), "aab", {"a": 3, "b": 2}),
        ((agent("a", 6, 1, spread="even", max_per_host=2),), "aab", {"a": 4, "b": 2}),  # zone b is full
    ],
)
def test_spread(agents: tuple[Agent, ...], zones: str, counts: dict[str, int] | None) -> None:
    problem = Problem(hosts(8, 8, 8, zones=zones), agents)
    answer = solved(problem)
    assert answer.possible
    zone = {host.name: host.zone for host in problem.hosts}
    seen = [zone[host] for host in answer.placement["a"].values()]
    assert counts is None or {name: seen.count(name) for name in counts} == counts


def test_rather_less_even_than_not_placed() -> None:
    problem = Problem(hosts(8, 2, zones="ab"), (agent("a", 5, 2, spread="even"),))
    answer = solved(problem)
    assert (answer.possible, answer.relaxed) == (True, {"a": 3})
    assert not solved(replace(problem, agents=(agent("a", 5, 2, spread=1),))).possible


def test_rather_less_even_than_not_placed_is_asked_of_the_exact_search_too() -> None:
    """The search does not find the one placement there is; the exact one with everything even proves nothing about it."""
    pytest.importorskip("highspy")
    there = [
        Host(f"h{i}", {"c": c, "m": m}, zone=zone)
        for i, (c, m, zone) in enumerate([(8, 7, "b"), (9, 3, "a"), (2, 4, "a")])
    ]
    one = Agent("one", 1, {"c": 2, "m": 4}, spread="even")
    agents = [one, Agent("two", 2, {"m": 2}, spread="even", surge=True)]
    problem = Problem(tuple(there), tuple(agents), {"one": {}, "two": {0: "h2", 1: "h1"}})
    answer = solve(problem, proof=True)
    assert (answer.without, answer.relaxed) == ([], {"two": 2})
    assert answer.placement == {"one": {0: "h2"}, "two": {0: "h0", 1: "h0"}}
    assert check(problem, answer.placement, answer.relaxed) == []
    more = replace(problem, agents=(*agents, Agent("three", 1, {"m": 4}, spread="even")))
    assert [short.certain for short in solve(more, proof=True).without] == [True]


def test_a_zone_that_is_drained_is_no_zone_to_spread_over() -> None:
    problem = Problem(hosts(9, 9, 9, zones="abc"), (agent("a", 6, 1, spread="even"),))
    placed = replace(problem, current=solved(problem).placement)
    answer = solved(state(placed, "h2", "drained"))
    assert answer.moves == 2
    assert sorted(answer.placement["a"].values()) == ["h0"] * 3 + ["h1"] * 3


def test_surge_keeps_room_for_one_more_on_each_of_its_hosts() -> None:
    def spread_out(surge: bool) -> int:
        return len(set(solved(Problem(hosts(4, 4, 4), (agent("a", 3, 2, surge=surge),))).placement["a"].values()))

    full = Problem(hosts(4), (agent("a", 2, 2),))
    assert solved(full).possible
    assert not solved(Problem(hosts(4), (agent("a", 2, 2, surge=True),))).possible
    assert spread_out(True) == 3


@pytest.mark.parametrize(
    ("cpus", "count", "lost"),
    [((4, 4, 4), 4, []), ((4, 4, 4), 6, ["h0", "h1", "h2"]), ((8, 2, 2), 4, ["h0"])],
)
def test_the_loss_of_any_host(cpus: tuple[int, ...], count: int, lost: list[str]) -> None:
    """On three hosts of 4, four of 2 leave room for a lost one; six do not. A large host may be kept free of load."""
    problem = Problem(hosts(*cpus), (agent("a", count, 2),), host_loss=True)
    answer = solve(problem, proof=False)
    assert [one.host for one in answer.losses] == lost
    assert answer.possible == (not lost)


def test_what_is_reserved_is_not_used() -> None:
    answer = solved(Problem((Host("h0", {"cpu": 4}, {"cpu": 3}), *hosts(0, 4)[1:]), (agent("a", 2, 2),)))
    assert set(answer.placement["a"].values()) == {"h1"}


@pytest.mark.parametrize(
    ("problem", "reason", "rule", "resource", "missing"),
    [
        (Problem(hosts(4, 4), (agent("a", 5, 2),)), "resource", "", "cpu", 2),
        (Problem(hosts(3, 3), (agent("a", 3, 2),)), "fragmentation", "", "cpu", 1),
        (Problem(hosts(9, 9), (agent("a", 3, 1, max_per_host=1),)), "rule", "max_per_host", "", 1),
        (Problem(hosts(9, state="drained"), (agent("a", 1, 1),)), "rule", "hosts", "", 0),
        (Problem(hosts(9, 1, zones="ab"), (agent("a", 6, 1, spread=1),)), "rule", "spread", "", 3),
        (Problem(hosts(9), (Agent("a", 2, {"cpu": 1, "gpu": 1}),)), "resource", "", "gpu", 2),
    ],
)
def test_why_it_cannot_be_done(problem: Problem, reason: str, rule: str, resource: str, missing: int) -> None:
    answer = solved(problem)
    assert not answer.possible
    found = [(s.reason, s.rule, s.resource, s.missing) for s in answer.without]
    assert found == [(reason, rule, resource, missing)], answer.without


def test_fragmentation_says_the_biggest_piece() -> None:
    short = solved(Problem(hosts(3, 3), (agent("a", 3, 2),))).without[0]
    assert (short.biggest, short.needed) == ({"cpu": 1}, {"cpu": 2})
    assert "the biggest free piece is 1, and 2 are needed" in short.text


def test_fixed_state_stays_and_is_named() -> None:
    problem = Problem(hosts(4, 4), (agent("a", 2, 1, state="fixed"),), {"a": {0: "h0", 1: "h1"}})
    answer = solved(state(problem, "h0", "drained"))
    assert (answer.stuck, answer.placement, answer.changes) == (["a@0"], problem.current, [])
    assert not answer.possible


def test_bad_questions() -> None:
    for made, reason in (
        (lambda: Problem((*hosts(1), *hosts(1)), ()), "hosts.h0: is given twice"),
        (lambda: Problem(hosts(-1), ()), "hosts.h0.capacity.cpu: must be a whole number"),
        (lambda: Problem(hosts(1), (Agent("a", 1, {"cpu": 0.5}),)), "agents.a.needs.cpu: must be a whole number"),
        (lambda: Problem(hosts(1), (agent("a", 1, 1, hosts=("x",)),)), "agents.a.hosts: there is no host x"),
        (lambda: Problem(hosts(1), (agent("a", 1, 1, spread=0),)), "agents.a.spread: must be"),
        (lambda: Problem(hosts(1), (), {"a": {0: "h0"}}), "current.a: there is no such agent"),
    ):
        with pytest.raises(PlacementError, match=reason):
            made()


class TestOrder:
    """Two hosts that are full of each other's instances."""

    full = (agent("a", 1, 3, hosts=("h1", "h2")), agent("b", 1, 3, hosts=("h0", "h2")))
    swapped = {"a": {0: "h0"}, "b": {0: "h1"}}

    def test_an_exchange_goes_over_a_third_host(self) -> None:
        problem = Problem(hosts(4, 4, 3), (replace(self.full[0], hosts=("h1",)), self.full[1]), self.swapped)
        # b may wait on h2; a may not
        answer = solved(state(problem, "h2", "active"))
        steps = [(s.kind, s.instance, s.target) for s in answer.order.steps]
        assert steps in ([("move", "b@0", "h2"), ("move", "a@0", "h1")],
                         [("hop", "b@0", "h2"), ("move", "a@0", "h1"), ("move", "b@0", "h0")])  # fmt: skip

    def test_without_a_third_host_it_is_deadlocked(self) -> None:
        agents = (replace(self.full[0], hosts=("h1",)), replace(self.full[1], hosts=("h0",)))
        answer = solve(Problem(hosts(4, 4), agents, self.swapped), proof=False)
        assert (answer.order.steps, len(answer.order.deadlocked), answer.possible) == ([], 2, False)
        assert any(line.startswith("deadlocked: move a@0 h0 -> h1") for line in text.lines(answer))

    def test_a_hop_is_counted(self) -> None:
        agents = (
            replace(self.full[0], hosts=("h1",)),
            replace(self.full[1], hosts=("h0",)),
            agent("c", 1, 3, hosts=("h2",)),
        )
        problem = Problem(hosts(4, 4, 4), agents[:2], self.swapped)
        problem = replace(problem, agents=tuple(replace(a, hosts=(*a.hosts, "h2")) for a in problem.agents))
        target = {"a": {0: "h1"}, "b": {0: "h0"}}
        from ansible_collections.agentfactory.core.plugins.plugin_utils.placement import grid, order

        numbers = grid.build(problem)
        found = order.order(numbers, order.changes(numbers, target))
        assert (found.hops, found.deadlocked, len(found.steps)) == (1, [], 3)
        assert check_order(problem, target, found.steps) == []


def test_the_checker_sees_what_is_wrong() -> None:
    """The witness is worth something only if it objects."""
    problem = Problem(
        hosts(4, 4, zones="ab"),
        (agent("a", 2, 3, spread=1), agent("b", 1, 1, hosts=("h1",), max_per_host=1, surge=True)),
    )
    for placement, rule in (
        ({"a": {0: "h0", 1: "h0"}, "b": {0: "h1"}}, "room"),
        ({"a": {0: "h0", 1: "h0"}, "b": {0: "h1"}}, "spread"),
        ({"a": {0: "h0", 1: "h1"}, "b": {0: "h0"}}, "hosts"),
        ({"a": {0: "h0", 1: "h1"}, "b": {0: "h1"}}, "surge"),
        ({"a": {0: "h0"}, "b": {0: "h1"}}, "missing"),
        ({"a": {0: "h0", 1: "h1", 2: "h1"}, "b": {0: "h1"}}, "index"),
        ({"a": {0: "h0", 1: "h1"}, "b": {0: "h1", 1: "h1"}}, "max_per_host"),
        ({"a": {0: "h0", 1: "gone"}, "b": {0: "h1"}}, "hosts"),
    ):
        assert rule in {violation.rule for violation in check(problem, placement)}, (placement, rule)
    drained = state(problem, "h1", "drained")
    assert "state" in {violation.rule for violation in check(drained, {"a": {0: "h0", 1: "h1"}})}


class TestQuestions:
    problem = Problem(
        hosts(4, 4, 4), (agent("a", 3, 2),), {"a": {0: "h0", 1: "h1", 2: "h1"}}
    )  # 2, 4 and 0 of 4 are used

    def test_drains(self) -> None:
        found = questions.drains(self.problem)
        assert {name: answer.moves for name, answer in found.alone.items()} == {"h0": 1, "h1": 2, "h2": 0}
        assert (found.together, found.most, found.answer.moves) == (["h2"], 1, 0)

    def test_more(self) -> None:
        assert questions.more(self.problem, "a", 3, proof=False).possible
        assert not questions.more(self.problem, "a", 4, proof=False).possible

    def test_biggest(self) -> None:
        found = questions.biggest(replace(self.problem, current={"a": {0: "h0", 1: "h1", 2: "h2"}}), {"cpu": 2})
        assert (found.as_is, found.with_moves) == (100, 200)

    def test_one_more(self) -> None:
        full = Problem(hosts(4, 4), (agent("a", 4, 2),), {"a": {0: "h0", 1: "h0", 2: "h1", 3: "h1"}})
        found = questions.one_more(full, Host("h2", {"cpu": 5}))
        assert (found.room, found.drainable, found.unsafe) == ({"a": (0, 2)}, (0, 2), (2, 0))

    def test_unknown_hosts(self) -> None:
        with pytest.raises(PlacementError, match="there is no host nowhere"):
            questions.failed(self.problem, ["nowhere"])
