# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds of every question: answers within the rules, bounds that are bounds, and nothing that depends on names."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils.placement import (
    Agent,
    Host,
    Problem,
    check,
    check_order,
    solve,
)

RESOURCES = ("cpu", "memory")


@st.composite
def problems(draw: Any, *, largest: int = 5, whole: bool = True) -> Problem:
    """Up to `largest` hosts and 4 agents with every rule but fixed state; `whole`: also what runs now."""
    names = [f"h{i}" for i in range(draw(st.integers(1, largest)))]
    hosts = tuple(
        Host(
            name,
            {r: draw(st.integers(0, 9)) for r in RESOURCES},
            {"cpu": draw(st.integers(0, 2))},
            draw(st.sampled_from("abc")),
            draw(st.sampled_from(("active", "active", "active", "drained", "failed"))) if whole else "active",
        )
        for name in names
    )
    agents, current = [], {}
    for i in range(draw(st.integers(1, 4))):
        agents.append(
            Agent(
                f"a{i}",
                draw(st.integers(0, 4)),
                {r: draw(st.integers(0, 4)) for r in RESOURCES},
                draw(st.none() | st.lists(st.sampled_from(names), unique=True, min_size=1).map(tuple)),
                draw(st.none() | st.integers(1, 3)),
                draw(st.sampled_from(("none", "none", "even", 1, 2))),
                draw(st.booleans()),
                draw(st.sampled_from(("none", "portable"))),
            )
        )
        if whole:
            there = st.dictionaries(st.integers(0, 4), st.sampled_from([*names, "gone"]), max_size=4)
            current[f"a{i}"] = draw(there)
    return Problem(hosts, tuple(agents), current)


@settings(max_examples=250, deadline=None)
@given(problems())
def test_answers_are_within_the_rules(problem: Problem) -> None:
    answer = solve(problem, proof=False)
    seen = {violation.rule for violation in check(problem, answer.placement, answer.relaxed)}
    assert seen <= ({"missing"} if answer.without else set())
    assert answer.bounds.moves <= answer.moves
    assert answer.without or answer.bounds.max_utilisation <= answer.max_utilisation
    assert answer.without or answer.bounds.hosts <= answer.hosts
    if not answer.without and not answer.order.deadlocked:
        assert check_order(problem, answer.placement, answer.order.steps) == []


@settings(max_examples=100, deadline=None)
@given(problems())
def test_a_valid_placement_is_left_alone(problem: Problem) -> None:
    """Whatever was made of a question, asking again changes nothing. (Who could not be spread evenly may be, at another start.)"""
    first = solve(problem, proof=False)
    if first.without or first.relaxed:
        return
    again = solve(replace(problem, current=first.placement), proof=False)
    assert (again.placement, again.changes, again.relaxed) == (first.placement, [], first.relaxed)


@settings(max_examples=100, deadline=None)
@given(problems(), st.randoms(use_true_random=False))
def test_names_change_nothing(problem: Problem, random: Any) -> None:
    """Other names in any alphabetical order: the same answer in the other names, so the same cost."""
    fresh = [f"n{i:02}" for i in range(20)]
    random.shuffle(fresh)
    host = dict(zip([h.name for h in problem.hosts], fresh, strict=False)) | {"gone": "gone"}
    name = dict(zip([a.name for a in problem.agents], fresh[10:], strict=False))
    other = Problem(
        tuple(replace(h, name=host[h.name], zone=f"z{3 - ord(h.zone) % 3}") for h in problem.hosts),
        tuple(replace(a, name=name[a.name], hosts=a.hosts and tuple(host[h] for h in a.hosts)) for a in problem.agents),
        {name[a]: {i: host[h] for i, h in there.items()} for a, there in problem.current.items()},
    )
    one, two = solve(problem, proof=False), solve(other, proof=False)
    assert two.placement == {name[a]: {i: host[h] for i, h in there.items()} for a, there in one.placement.items()}
    assert (one.moves, one.max_utilisation, one.bounds) == (two.moves, two.max_utilisation, two.bounds)


@settings(max_examples=60, deadline=None)
@given(problems(largest=4), st.data())
def test_more_capacity_never_places_fewer(problem: Problem, data: Any) -> None:
    """Of the exact search, which finds how many can be placed; the heuristic may be lucky."""
    pytest.importorskip("highspy")
    agents = tuple(replace(a, spread="none" if a.spread == "even" else a.spread) for a in problem.agents)
    problem = replace(problem, agents=agents)
    which, resource = data.draw(st.integers(0, len(problem.hosts) - 1)), data.draw(st.sampled_from(RESOURCES))
    host = problem.hosts[which]
    larger = replace(host, capacity={**host.capacity, resource: host.capacity[resource] + data.draw(st.integers(1, 5))})
    hosts = (*problem.hosts[:which], larger, *problem.hosts[which + 1 :])
    before, after = solve(problem, proof=True), solve(replace(problem, hosts=hosts), proof=True)
    placed = [sum(len(there) for there in answer.placement.values()) for answer in (before, after)]
    assert placed[0] <= placed[1]


@settings(max_examples=60, deadline=None)
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_the_question_does_not_change_the_exact_cost(problem: Problem, random: Any) -> None:
    pytest.importorskip("highspy")
    hosts, agents = list(problem.hosts), list(problem.agents)
    random.shuffle(hosts)
    random.shuffle(agents)
    one, two = solve(problem, proof=True), solve(Problem(tuple(hosts), tuple(agents), problem.current), proof=True)
    if one.without or two.without or one.relaxed or two.relaxed:
        return
    assert one.moves == two.moves


def _fewest(problem: Problem) -> int | None:
    """By trying every placement: the fewest moves, None where not everything can be placed."""
    units = [(agent, index) for agent in problem.agents for index in range(agent.count)]
    best = None
    for chosen in itertools.product([host.name for host in problem.hosts], repeat=len(units)):
        placement: dict[str, dict[int, str]] = {agent.name: {} for agent in problem.agents}
        moves = 0
        for (agent, index), host in zip(units, chosen, strict=True):
            placement[agent.name][index] = host
            moves += problem.current.get(agent.name, {}).get(index, host) != host
        if (best is None or moves < best) and not check(problem, placement):
            best = moves
    return best


@settings(max_examples=60, deadline=None)
@given(problems(largest=3).filter(lambda problem: sum(agent.count for agent in problem.agents) <= 6))
def test_against_every_placement(problem: Problem) -> None:
    """The proven optimum is the optimum, and the bound is one."""
    pytest.importorskip("highspy")
    agents = tuple(replace(a, spread=1 if a.spread == "even" else a.spread) for a in problem.agents)
    problem = replace(problem, agents=agents)
    best = _fewest(problem)
    answer, quick = solve(problem, proof=True), solve(problem, proof=False)
    assert bool(answer.without) == (best is None)
    if best is not None:
        assert (answer.moves, answer.proven) == (best, True)
        assert quick.bounds.moves <= best
        assert quick.without or best <= quick.moves
