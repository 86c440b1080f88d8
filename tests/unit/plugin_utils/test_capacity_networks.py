# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of plugin_utils/capacity, open and closed, and trends."""

import heapq
import random
from fractions import Fraction
from itertools import pairwise

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity import networks
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.closed import Station, closed, knee
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.closed_visits import visits
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.model import CapacityError
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.student import interval
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.trend import saturates

CALLS = {"planner": {"search": 2.0, "memory": 0.5}, "search": {"memory": 1.0}, "memory": {"planner": 0.1}}
OUTSIDE = {"planner": 10.0, "search": 1.0, "memory": 0.0}


def test_traffic_equations() -> None:
    found = networks.rates(OUTSIDE, CALLS)
    for name, rate in found.items():
        assert rate == pytest.approx(OUTSIDE[name] + sum(found[a] * to.get(name, 0) for a, to in CALLS.items()))
    assert networks.from_outside(found, CALLS) == pytest.approx(OUTSIDE)


def test_what_was_measured_stays() -> None:
    found = networks.rates({"planner": 10.0, "memory": 0.0}, CALLS, {"search": 30.0})
    assert found["search"] == 30.0
    assert found["planner"] == pytest.approx(10 + 0.1 * found["memory"])
    assert networks.from_outside(found, CALLS)["search"] == pytest.approx(30 - 2 * found["planner"])


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ({"a": {"b": 1.0}, "b": {"a": 1.0}}, "without end"),
        ({"a": {"a": 2.0}}, "without end"),
        ({"a": {"c": 1.0}}, "a calls c, and one of them is not among the agents"),
        ({"a": {"b": -1.0}}, "-1.0 times"),
        ({"a": {"b": float("nan")}}, "nan times"),
    ],
)
def test_calls_that_make_no_sense(calls: dict[str, dict[str, float]], reason: str) -> None:
    with pytest.raises(CapacityError, match=reason):
        networks.rates({"a": 1.0, "b": 1.0}, calls)


def test_calls_beyond_what_was_measured() -> None:
    assert networks.from_outside({"a": 10.0, "b": 5.0}, {"a": {"b": 2.0}}) == {"a": 10.0, "b": -15.0}


def test_who_is_full_first() -> None:
    order = networks.saturation({"a": 0.5, "b": 0.8, "c": 0.0, "d": 0.8})
    assert [(limit.agent, limit.factor) for limit in order] == [("b", 1.25), ("d", 1.25), ("a", 2.0)]


def test_end_to_end() -> None:
    calls = {"a": {"b": 2.0}, "b": {"c": 3.0}}
    assert networks.end_to_end({"a": 1.0, "b": 0.0, "c": 0.0}, calls, {"a": 1.0, "b": 0.1, "c": 0.01}) == pytest.approx(
        {"a": 1.26}
    )


@given(order=st.permutations(list(OUTSIDE)))
def test_names_and_their_order_change_nothing(order: list[str]) -> None:
    renamed = dict(zip(OUTSIDE, order, strict=True))
    found = networks.rates(
        {renamed[name]: rate for name, rate in OUTSIDE.items()},
        {renamed[a]: {renamed[b]: times for b, times in to.items()} for a, to in CALLS.items()},
    )
    expected = networks.rates(OUTSIDE, CALLS)
    assert found == pytest.approx({renamed[name]: rate for name, rate in expected.items()})


def exact(stations: list[Station], think: float, population: int) -> list[Fraction]:
    """Throughputs by the convolution of product-form weights (Buzen), in fractions: nothing is rounded."""

    def weights(demand: float, servers: int) -> list[Fraction]:
        found = [Fraction(1)]
        for n in range(1, population + 1):
            found.append(found[-1] * Fraction(demand) / min(n, servers))
        return found

    whole = weights(think, population + 1)
    for station in stations:
        single = weights(station.demand, station.servers)
        whole = [sum((whole[k] * single[n - k] for k in range(n + 1)), Fraction(0)) for n in range(population + 1)]
    return [whole[n - 1] / whole[n] for n in range(1, population + 1)]


CLOSED = [
    ([Station("cpu", 0.5), Station("disk", 0.25, visits=3.0)], 2.0, 40),
    ([Station("gateway", 0.125, 4), Station("store", 0.0625)], 8.0, 100),
    ([Station("gateway", 0.125, 4), Station("model", 0.5, 12), Station("store", 0.03125, 2)], 8.0, 120),
    ([Station("gateway", 0.5, 3)], 0.0, 30),
    ([Station("gateway", 1.0, 10), Station("other", 1.0, 10)], 0.0, 80),
]


@pytest.mark.parametrize(("stations", "think", "population"), CLOSED)
def test_closed_networks_in_fractions(stations: list[Station], think: float, population: int) -> None:
    """Several servers far beyond the knee: where the textbook's recursion ends in noise."""
    expected = exact(stations, think, population)
    for found, throughput in zip(closed(stations, think, population), expected, strict=True):
        assert found.throughput == pytest.approx(float(throughput), rel=1e-11)
        away = found.throughput * think
        assert sum(found.lengths.values()) + away == pytest.approx(found.population)


def test_machine_repair() -> None:
    """Gross and Harris: machines that fail, repairmen; the birth-death chain by itself. 1,000 machines, 30 repairmen."""
    machines, men, up, repair = 1000, 30, 100.0, 2.0
    chain = [Fraction(1)]
    for n in range(machines):
        chain.append(chain[-1] * (machines - n) / Fraction(up) * Fraction(repair) / min(n + 1, men))
    total = sum(chain)
    working = sum(p * (machines - n) for n, p in enumerate(chain)) / total
    assert closed([Station("men", repair, men)], up, machines)[-1].throughput == pytest.approx(
        float(working / Fraction(up)), rel=1e-10
    )


@pytest.mark.parametrize(("stations", "think", "population"), CLOSED)
def test_a_visit_takes_as_long_as_mean_values_say(stations: list[Station], think: float, population: int) -> None:
    """Two ways to the mean, by all that one may find there and by the recursion of means."""
    populations = [1, 2, population // 2, population]
    rounds = closed(stations, think, population)
    for number, times in zip(populations, visits(stations, think, populations), strict=True):
        for station in stations:
            in_a_round = rounds[number - 1].responses[station.name]
            assert times[station.name].mean == pytest.approx(in_a_round / station.visits, rel=1e-9)
            assert times[station.name].p50 < times[station.name].p95 < times[station.name].p99


@pytest.mark.parametrize(("servers", "population", "think"), [(1, 8, 4.0), (3, 14, 3.0), (3, 2, 1.0), (2, 12, 0.0)])
def test_percentiles_of_a_visit_with_50_digits(servers: int, population: int, think: float) -> None:
    """One station, as the machine repair model; who finds j waits for a gamma of j - servers + 1 departures, then for its own."""
    with mpmath.workdps(50):
        weights = [mpmath.mpf(1) if think or n == population - 1 else mpmath.mpf(0) for n in range(population)]
        for n in range(1, population if think else 0):
            weights[n] = weights[n - 1] * (population - n) / mpmath.mpf(think) / min(n, servers)
        total = mpmath.fsum(weights)

        def beyond(at: mpmath.mpf) -> mpmath.mpf:
            found = mpmath.mpf(0)
            for there, weight in enumerate(weights):
                waits = there - servers + 1
                if waits <= 0:
                    found += weight * mpmath.exp(-at)
                else:  # by the departures, and the time they take: a density of a gamma, before an exponential
                    gone = mpmath.gammainc(waits, servers * at, regularized=True)
                    work = mpmath.quad(
                        lambda x, k=waits: mpmath.exp(-(at - x)) * servers**k * x ** (k - 1) * mpmath.exp(-servers * x),
                        [0, at / 2, at],
                    )
                    found += weight * (gone + work / mpmath.factorial(waits - 1))
            return found / total

        (times,) = visits([Station("men", 1.0, servers)], think, [population])
        for part, seconds in ((0.5, times["men"].p50), (0.95, times["men"].p95), (0.99, times["men"].p99)):
            assert float(beyond(mpmath.mpf(seconds))) == pytest.approx(1 - part, rel=1e-7)


def test_a_fleet_simulated() -> None:
    """Of two stations, event by event, in ten replications; one that comes by a coin's toss to either."""
    stations, think, population = [Station("a", 0.2, 2, visits=0.5), Station("b", 0.5, visits=0.5)], 3.0, 16
    seen: dict[str, list[float]] = {"a": [], "b": []}
    for seed in range(10):
        source, taken = random.Random(seed), dict[str, list[float]](a=[], b=[])
        free = {station.name: [0.0] * station.servers for station in stations}
        coming = [(source.expovariate(1 / think), agent) for agent in range(population)]
        heapq.heapify(coming)
        for number in range(40_000):
            now, agent = heapq.heappop(coming)
            station = source.choice(stations)
            start = max(now, free[station.name][0])
            end = start + source.expovariate(1 / station.service)
            heapq.heapreplace(free[station.name], end)
            heapq.heappush(coming, (end + source.expovariate(1 / think), agent))
            if number > 2000:
                taken[station.name].append(end - now)
        for name, times in taken.items():
            seen[name].append(sorted(times)[int(0.95 * len(times))])
    (expected,) = visits(stations, think, [population])
    for name, found in seen.items():
        low, high = interval(found, 0.999)
        assert low <= expected[name].p95 <= high, name


def test_visits_in_a_large_fleet_beyond_its_knee() -> None:
    (times,) = visits([Station("gateway", 0.125, 40), Station("store", 0.003)], 10.0, [4000])
    assert times["gateway"].p95 < 2 * times["gateway"].mean  # far beyond the knee all wait alike


def test_knee_and_bounds() -> None:
    stations = [Station("gateway", 0.2, 3), Station("store", 0.05)]
    limit = 3 / 0.2
    assert knee(stations, 20.0) == pytest.approx((20 + 0.25) * limit)
    rounds = closed(stations, 20.0, 600)
    assert all(a.throughput < b.throughput for a, b in pairwise(rounds[:400]))
    assert rounds[-1].throughput == pytest.approx(limit, rel=1e-6)
    assert rounds[-1].response == pytest.approx(600 / limit - 20, rel=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        ([], 1.0, 5), ([Station("a", 1.0)], -1.0, 5), ([Station("a", 1.0)], 1.0, 0), ([Station("a", 1.0)] * 2, 1.0, 5),
        ([Station(str(i), 1.0, 2) for i in range(7)], 1.0, 5),
    ],
)  # fmt: skip
def test_closed_networks_that_make_no_sense(wrong: tuple[list[Station], float, int]) -> None:
    with pytest.raises(CapacityError, match="closed"):
        closed(*wrong)


DAY = 86400.0
# NIST Statistical Reference Datasets, linear regression, Norris: y and x.
NORRIS = (
    "0.1 0.2 338.8 337.4 118.1 118.2 888.0 884.6 9.2 10.1 228.1 226.5 668.5 666.3 998.5 996.3 449.1 448.6 778.9 777.0 559.2 558.2"
    " 0.3 0.4 0.1 0.6 778.1 775.5 668.8 666.9 339.3 338.0 448.9 447.5 10.8 11.6 557.7 556.0 228.3 228.1 998.0 995.8 888.8 887.6"
    " 119.6 120.2 0.3 0.3 0.6 0.3 557.6 556.8 339.3 339.1 888.0 887.2 998.5 999.0 778.9 779.0 10.2 11.1 117.6 118.3 228.9 229.2"
    " 668.4 669.1 449.2 448.9 0.2 0.5"
)


def test_slope_of_norris() -> None:
    numbers = [float(word) for word in NORRIS.split()]
    samples = [(x * DAY, y) for y, x in zip(numbers[::2], numbers[1::2], strict=True)]
    found = saturates(samples, 2000.0)
    assert found.growth == pytest.approx(1.00211681802045, rel=1e-12)


def test_a_line_is_reached_where_it_is() -> None:
    found = saturates([(day * DAY, 10 + 2.0 * day) for day in range(30)], 100.0)
    assert found.at is not None
    assert found.at == pytest.approx(45 * DAY, abs=2)
    assert found.earliest == found.latest == pytest.approx(found.at, abs=2)


def test_the_interval_holds_what_it_promises() -> None:
    """The day that a further observation would be at the limit: the band at that day holds 95 % of new observations."""
    source, held, tries = random.Random(3), 0, 400
    for _try in range(tries):
        samples = [(day * DAY, 50 + day + source.gauss(0, 5)) for day in range(40)]
        limit = 50 + 60 + source.gauss(0, 5)  # what is observed on day 60
        found = saturates(samples, limit)
        held += (found.earliest or 0) <= 60 * DAY <= (found.latest or 1e99)
    assert 0.92 <= held / tries <= 0.98


def test_neighbours_that_resemble_each_other_widen_it() -> None:
    source, noise, alike, apart = random.Random(4), 0.0, [], []
    for day in range(120):
        noise = 0.8 * noise + source.gauss(0, 3)
        alike.append((day * DAY, 50 + 0.5 * day + noise))
        apart.append((day * DAY, 50 + 0.5 * day + source.gauss(0, 5)))
    one, other = saturates(alike, 150.0), saturates(apart, 150.0)
    assert one.correlation > 0.6
    assert one.effective < 30 < 100 < other.effective
    assert "120 samples count as" in one.assumptions[1]
    assert one.growth_interval[1] - one.growth_interval[0] > 1.5 * (other.growth_interval[1] - other.growth_interval[0])


def test_no_date_where_nothing_grows_beyond_doubt() -> None:
    source = random.Random(5)
    flat = saturates([(day * DAY, 50 + source.gauss(0, 5)) for day in range(30)], 100.0)
    falling = saturates([(day * DAY, 50.0 - day) for day in range(30)], 100.0)
    for found in (flat, falling):
        assert not found.rises
        assert (found.at, found.earliest, found.latest) == (None, None, None)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([(0.0, 1.0)] * 5, "5 samples; at least 8 are needed"),
        ([(0.0, float(i)) for i in range(9)], "all samples are of one time"),
        ([(float(i), float("nan")) for i in range(9)], "not a number"),
    ],
)
def test_trends_that_cannot_be_had(samples: list[tuple[float, float]], reason: str) -> None:
    with pytest.raises(CapacityError, match=reason):
        saturates(samples, 10.0)
