# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Availability over shared domains: against all states one by one, in fractions; against 50 digits; against published examples."""

import itertools
import math
import random
from collections.abc import Callable
from fractions import Fraction

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.answer import ReliabilityError
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.availability import YEAR, availability
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.importance import contributions, down_share
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.repair import Crews
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.structure import Chance, Node, fleet, k_of_n

SIX_DIGITS = 1e-6
mpmath.mp.dps = 50


def unit(kind: str, name: str, chance: Chance | float, *members: Node) -> Node:
    return Node(kind, name, chance if isinstance(chance, Chance) else Chance.of_unavailability(chance), members)


def flat(*chances: Chance | float) -> Node:
    return fleet([unit("instance", str(i), chance) for i, chance in enumerate(chances)])


def grown(pick: Callable[[], Chance | float], *shape: tuple[int, ...]) -> Node:
    """Zones with hosts with instances: ``((2, 1), (1,))`` is a zone of two hosts, with 2 and 1 instances, and one of one host."""
    zones = []
    for z, hosts in enumerate(shape):
        made = []
        for h, count in enumerate(hosts):
            members = [unit("instance", f"{z}.{h}.{i}", pick()) for i in range(count)]
            made.append(unit("host", f"{z}.{h}", pick(), *members))
        zones.append(unit("zone", str(z), pick(), *made))
    return fleet(zones)


def random_tree(seed: int, *shape: tuple[int, ...], times: bool = False) -> Node:
    rng = random.Random(seed)
    if times:
        return grown(lambda: Chance.of_times(10 ** rng.uniform(0, 4), 10 ** rng.uniform(-1, 1)), *shape)
    return grown(lambda: 10 ** rng.uniform(-6, -0.05), *shape)


# -- all states, one by one -------------------------------------------------------------------------------------------


def units(node: Node, above: tuple[Node, ...] = ()) -> list[tuple[Node, tuple[Node, ...]]]:
    """Each unit with all that it needs to be up: itself and the domains around it."""
    found = []
    for member in node.members:
        chain = (*above, member)
        found.append((member, chain))
        found += units(member, chain)
    return found


def is_up(root: Node, needed: int, down: frozenset[int]) -> bool:
    """By the structure alone: `down` are positions in `units`."""
    every = units(root)
    broken = {id(every[i][0]) for i in down}
    alive = sum(not any(id(one) in broken for one in chain) for one, chain in every if one.kind == "instance")
    return alive >= needed


Weights = dict[frozenset[int], Fraction] | dict[frozenset[int], float]


def stationary(root: Node, crews: Crews | None = None) -> Weights:
    """The probability of each state, in fractions of the given floats. With crews: from the rates of the Markov chain."""
    every = [one for one, _chain in units(root)]
    states = [frozenset(s) for n in range(len(every) + 1) for s in itertools.combinations(range(len(every)), n)]
    if not crews:
        found = {}
        for state in states:
            found[state] = math.prod(
                (Fraction(one.chance.down if i in state else one.chance.up) for i, one in enumerate(every)),
                start=Fraction(1),
            )
        return found
    rates: dict[tuple[frozenset[int], frozenset[int]], float] = {}
    for state in states:
        waiting = sum(every[i].kind == crews.level for i in state)
        for i, one in enumerate(every):
            pace = i + 1.0  # units differ in more than the ratio of their rates
            if i not in state:
                rates[state, state | {i}] = pace * one.chance.down / one.chance.up
            elif one.kind == crews.level:
                rates[state, state - {i}] = pace * min(waiting, crews.number) / waiting
            else:
                rates[state, state - {i}] = pace
    return eliminated(states, rates)


def eliminated(states: list[frozenset[int]], rates: dict[tuple[frozenset[int], frozenset[int]], float]) -> Weights:
    """The stationary distribution by the elimination of Grassmann, Taksar and Heyman (1985), which subtracts nothing."""
    n = len(states)
    q = [[rates.get((a, b), 0.0) for b in states] for a in states]
    for last in range(n - 1, 0, -1):
        out, tail = math.fsum(q[last][:last]), q[last][:last]
        for i in range(last):
            if q[i][last]:
                factor = q[i][last] = q[i][last] / out
                q[i][:last] = [x + factor * y for x, y in zip(q[i][:last], tail, strict=True)]
    weights = [1.0]
    for j in range(1, n):
        weights.append(math.fsum(weights[i] * q[i][j] for i in range(j)))
    return {state: weight / math.fsum(weights) for state, weight in zip(states, weights, strict=True)}


SHAPES = [((1,),), ((2, 1), (1,)), ((1, 1), (1, 0)), ((3,), (1,)), ((1,), (1,), (1,))]


@pytest.mark.parametrize("shape", SHAPES)
def test_as_all_states_one_by_one(shape: tuple[tuple[int, ...], ...]) -> None:
    for seed in range(3):
        root = random_tree(seed, *shape)
        chances = stationary(root)
        for needed in range(root.size + 2):
            exact = sum(chance for state, chance in chances.items() if not is_up(root, needed, state))
            found = k_of_n(root, needed)
            assert found.unavailability == pytest.approx(float(exact), rel=1e-12)
            assert found.availability == pytest.approx(float(1 - exact), rel=1e-12)


@pytest.mark.parametrize(("level", "number"), [("host", 1), ("host", 2), ("instance", 1), ("instance", 2), ("zone", 1)])
def test_crews_as_the_markov_chain_solved_exactly(level: str, number: int) -> None:
    """Of unequal units; chains of 64 and 128 states."""
    for seed, shape in enumerate([((1,), (1,)), ((2,), (1,))]):
        rng = random.Random(seed)
        root = grown(lambda rng=rng: rng.choice([0.25, 0.5, 0.0625, 0.125]), *shape)
        crews = Crews(level, number)
        chances = stationary(root, crews)
        for needed in range(1, root.size + 1):
            exact = sum(chance for state, chance in chances.items() if not is_up(root, needed, state))
            assert k_of_n(root, needed, crews).unavailability == pytest.approx(float(exact), rel=1e-12)
        every = units(root)
        crewed = [one for one, _chain in every if one.kind == level]
        for index, one in enumerate(crewed):
            place = next(i for i, (other, _chain) in enumerate(every) if other is one)
            exact = sum(chance for state, chance in chances.items() if place in state)
            assert down_share(crewed, index, crews) == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "crews"), [(shape, None) for shape in SHAPES] + [(shape, Crews("host", 1)) for shape in SHAPES[:2]]
)
def test_importance_as_all_states_one_by_one(shape: tuple[tuple[int, ...], ...], crews: Crews | None) -> None:
    rng = random.Random(7)
    root = grown(lambda: rng.choice([0.25, 0.5, 0.0625, 2**-20]), *shape)
    chances, every = stationary(root, crews), units(root)
    needed = max(1, root.size - 1)
    total = sum(chance for state, chance in chances.items() if not is_up(root, needed, state))
    found = {(one.kind, one.name): one for one in contributions(root, needed, crews)}
    for i, (one, _chain) in enumerate(every):
        down = sum(chance for state, chance in chances.items() if i in state)
        with_down = sum(chance for state, chance in chances.items() if i in state and not is_up(root, needed, state))
        birnbaum = with_down / down - (total - with_down) / (1 - down)
        got = found[one.kind, one.name]
        assert got.unavailability == pytest.approx(float(down), rel=1e-12)
        assert got.birnbaum == pytest.approx(float(birnbaum), rel=1e-11, abs=1e-15 if crews else 0)
        assert got.criticality == pytest.approx(float(birnbaum * down / total), rel=1e-11, abs=1e-12 if crews else 0)
    shares = [one.criticality for one in contributions(root, needed, crews)]
    assert shares == sorted(shares, reverse=True)


def test_outages_as_the_flow_from_up_states_to_down_states() -> None:
    root = random_tree(5, (2, 1), (1,), times=True)
    chances, every = stationary(root), units(root)
    for needed in (1, 2, 3):
        flow = Fraction(0)
        for state, chance in chances.items():
            if is_up(root, needed, state):
                worse = [i for i in range(len(every)) if i not in state and not is_up(root, needed, state | {i})]
                flow += chance * sum((1 / Fraction(every[i][0].chance.mtbf) for i in worse), start=Fraction(0))
        found = availability(root, needed)
        assert found.outages_per_year == pytest.approx(float(flow) * YEAR, rel=1e-11)
        assert found.outage is not None
        assert found.outages_per_year * found.outage == pytest.approx(found.unavailability * YEAR, rel=1e-12)


# -- published, and known in closed form ------------------------------------------------------------------------------


def test_three_of_four_displays() -> None:
    """MIL-HDBK-338B's four displays of which three must work, each with 0.9: 0.9477, as worked through at
    https://reliabilityanalytics.com/blog/2011/09/02/reliability-modeling-k-out-of-n-configutation/"""
    assert k_of_n(flat(0.1, 0.1, 0.1, 0.1), 3).availability == pytest.approx(0.9477, abs=5e-5)


@pytest.mark.parametrize("ratio", [1e-9, 0.01, 0.8, 50.0])
def test_two_units_with_one_repairman(ratio: float) -> None:
    """Both down: 2 r^2 / (1 + 2 r + 2 r^2), with r the rate of failure over that of repair. (The machine repair model with R = 1 and
    M = N: Karlin and Taylor, A First Course in Stochastic Processes, 2nd edition, chapter 4, problem 10.)"""
    root = flat(*[Chance.of_times(1.0, ratio)] * 2)
    exact = 2 * ratio**2 / (1 + 2 * ratio + 2 * ratio**2)
    assert k_of_n(root, 1, Crews("instance", 1)).unavailability == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(
    ("count", "crews", "ratio"), [(3, 2, 0.8), (50, 1, 0.001), (200, 1, 1.0), (200, 7, 40.0), (200, 3, 1e-4)]
)
def test_crews_as_the_birth_death_chain_with_50_digits(count: int, crews: int, ratio: float) -> None:
    """200! is beyond a double."""
    term, terms = mpmath.mpf(1), [mpmath.mpf(1)]
    for down in range(1, count + 1):
        term *= (count - down + 1) * mpmath.mpf(ratio) / min(down, crews)
        terms.append(term)
    root = flat(*[Chance.of_times(1.0, ratio)] * count)
    for needed in (1, count // 2, count - 1, count):
        exact = mpmath.fsum(terms[count - needed + 1 :]) / mpmath.fsum(terms)
        found = k_of_n(root, needed, Crews("instance", crews)).unavailability
        assert found == pytest.approx(float(exact), rel=SIX_DIGITS / 1e3)


def test_enough_crews_are_as_good_as_any_number() -> None:
    root = random_tree(3, (2, 2), (1, 1))
    for level, number in (("host", 4), ("zone", 2), ("instance", 6)):
        assert k_of_n(root, 2, Crews(level, number)).unavailability == pytest.approx(
            k_of_n(root, 2).unavailability, rel=1e-12
        )


# -- digits -----------------------------------------------------------------------------------------------------------


def precise(node: Node) -> list[mpmath.mpf]:
    """How many are down, with 50 digits, without any of the product's code."""
    row = [mpmath.mpf(1)]
    for member in node.members:
        other = precise(member)
        row = [
            mpmath.fsum(row[i] * other[n - i] for i in range(len(row)) if 0 <= n - i < len(other))
            for n in range(len(row) + len(other) - 1)
        ]
    if node.kind == "instance":
        row = [mpmath.mpf(1), mpmath.mpf(0)]
    down, up = mpmath.mpf(node.chance.down), mpmath.mpf(node.chance.up)
    row = [up * x for x in row]
    row[-1] += down
    return row


@pytest.mark.parametrize(("least", "most"), [(-16, -12), (-12, -1), (-3, -1e-9), (-0.5, -1e-12)])
def test_unequal_tiny_and_huge_chances_to_six_digits(least: float, most: float) -> None:
    rng = random.Random(11)
    root = grown(lambda: Chance.of_times(1.0, 10 ** rng.uniform(least, -least)) if least < -15 else 10 ** rng.uniform(least, most),
                 (3, 2, 4), (1, 5), (2, 2, 2))  # fmt: skip
    exact = precise(root)
    total = mpmath.fsum(exact)
    for needed in range(1, root.size + 1):
        found, cut = k_of_n(root, needed), root.size - needed + 1
        assert found.unavailability == pytest.approx(float(mpmath.fsum(exact[cut:]) / total), rel=SIX_DIGITS / 1e3)
        assert found.availability == pytest.approx(float(mpmath.fsum(exact[:cut]) / total), rel=SIX_DIGITS / 1e3)


@pytest.mark.parametrize(
    ("each", "count", "needed"), [(1e-5, 3, 1), (1e-15, 5, 5), (1e-3, 40, 30), (0.4, 600, 300), (1e-9, 1000, 998)]
)
def test_an_unavailability_does_not_cancel(each: float, count: int, needed: int) -> None:
    q = mpmath.mpf(each)
    exact = mpmath.fsum(
        mpmath.binomial(count, j) * q**j * (1 - q) ** (count - j) for j in range(count - needed + 1, count + 1)
    )
    assert k_of_n(flat(*[each] * count), needed).unavailability == pytest.approx(float(exact), rel=SIX_DIGITS / 1e3)


def test_simulated() -> None:
    """Units drawn one by one; four standard errors."""
    rng, runs = random.Random(42), 10_000
    root = grown(lambda: rng.uniform(0.05, 0.3), (2, 2), (2,))
    every = units(root)
    for needed in (2, 4):
        failing = 0
        for _run in range(runs):
            down = frozenset(i for i, (one, _chain) in enumerate(every) if rng.random() < one.chance.down)
            failing += not is_up(root, needed, down)
        exact = k_of_n(root, needed).unavailability
        error = math.sqrt(exact * (1 - exact) / (runs))
        assert abs(failing / (runs) - exact) < 4 * error


# -- properties -------------------------------------------------------------------------------------------------------

chances = st.floats(-15, 0).map(lambda power: 10**power)
shapes = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3)


@given(shapes, st.integers(0, 9), st.randoms(use_true_random=False), chances)
@settings(max_examples=60, deadline=None)
def test_what_must_hold_of_every_fleet(
    shape: list[tuple[int, ...]], needed: int, rng: random.Random, extra: float
) -> None:
    root = grown(lambda: 10 ** rng.uniform(-15, 0), *shape)
    now = k_of_n(root, needed)
    assert now.availability + now.unavailability == pytest.approx(1, abs=1e-12)
    # one more, in a zone of its own, never harms
    more = fleet([*root.members, unit("zone", "new", extra, unit("instance", "new/0", extra))])
    assert k_of_n(more, needed).unavailability <= now.unavailability * (1 + 1e-12)
    # to need fewer never harms
    assert k_of_n(root, needed - 1).unavailability <= now.unavailability * (1 + 1e-12)
    # order and names are nothing to it
    mixed = list(root.members)
    rng.shuffle(mixed)
    renamed = fleet([Node("zone", f"x{i}", one.chance, tuple(reversed(one.members))) for i, one in enumerate(mixed)])
    assert k_of_n(renamed, needed).unavailability == pytest.approx(now.unavailability, rel=1e-11)


@given(st.lists(chances, min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_none_and_all_needed(each: list[float]) -> None:
    root = flat(*each)
    assert (k_of_n(root, 0).unavailability, k_of_n(root, len(each) + 1).unavailability) == (0, 1)
    all_up = math.prod(mpmath.mpf(1 - down) for down in each)
    assert k_of_n(root, len(each)).unavailability == pytest.approx(float(1 - all_up), rel=1e-9, abs=1e-15)
    assert k_of_n(root, 1).unavailability == pytest.approx(
        float(math.prod(mpmath.mpf(down) for down in each)), rel=1e-11
    )


def test_a_binomial_over_instances_is_far_too_optimistic() -> None:
    """Four instances on two hosts in two zones: what they share makes them fail together."""
    host = unit("host", "a1", 1e-3, unit("instance", "a1/0", 1e-3), unit("instance", "a1/1", 1e-3))
    other = unit("host", "b1", 1e-3, unit("instance", "b1/0", 1e-3), unit("instance", "b1/1", 1e-3))
    found = availability(fleet([unit("zone", "a", 1e-4, host), unit("zone", "b", 1e-4, other)]), 2)
    assert found.if_independent is not None
    assert found.unavailability / found.if_independent > 15


# -- what to doubt ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "needed", "doubt"),
    [
        (grown(lambda: 0.0, (2,)), 1, "no host or zone that several instances share ever fails"),
        (flat(0.1, 0.1), 3, "3 are needed and there are 2"),
        (flat(Chance.of_times(60, 3600)), 1, "is down longer than up"),
        (flat(Chance.of_times(1e9, 86400 * 40)), 1, "takes 39.9 d to come near its long run"),
        (flat(*[1e-200] * 3), 1, "below what a number can hold"),
    ],
)
def test_what_misleads_is_named(root: Node, needed: int, doubt: str) -> None:
    warnings = " ".join(availability(root, needed).basis.warnings)
    assert doubt in warnings


def test_what_is_too_large_to_be_exact_is_refused() -> None:
    with pytest.raises(ReliabilityError, match="more than can be worked out exactly"):
        k_of_n(flat(*[0.1] * 500), 1, Crews("instance", 1))
    with pytest.raises(ReliabilityError, match=r"crews.level: there is no rack"):
        k_of_n(flat(0.1), 1, Crews("rack", 1))
