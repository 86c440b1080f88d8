# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The formulas of plugin_utils/capacity: against tables, against 50 digits, and against other exact methods."""

import math
from dataclasses import replace
from itertools import pairwise

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity import answers, erlang, queues, whitt
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.laws import Law, survival
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.model import (
    Burst,
    CapacityError,
    Queue,
    Slo,
    Times,
    Unstable,
    Workload,
)
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.simulation import Effort, simulate
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.student import quantile, within

mpmath.mp.dps = 50
MPF = mpmath.mpf


def exact_waits(servers: int, load: float) -> mpmath.mpf:
    """Erlang C by its definition: there is nothing here to overflow."""
    a, term, total = MPF(load), MPF(1), MPF(0)
    for k in range(servers):
        total += term
        term *= a / (k + 1)
    busy = term * servers / (servers - a)
    return busy / (total + busy)


# The standard table of Erlang B: the load in erlangs that so many servers carry with a loss of 1 %.
ONE_PERCENT = {1: 0.0101, 2: 0.153, 5: 1.36, 10: 4.46, 20: 12.0, 50: 37.9, 100: 84.1}


@pytest.mark.parametrize(("servers", "load"), ONE_PERCENT.items())
def test_erlang_b_of_the_table(servers: int, load: float) -> None:
    low, high = 0.0, float(servers)
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if erlang.blocked(servers, middle) < 0.01 else (low, middle)
    assert float(f"{low:.3g}") == load
    assert erlang.servers_for_loss(low, 0.01) == servers


@pytest.mark.parametrize(
    ("servers", "load"), [(1, 0.999), (2, 1e-9), (10, 9.5), (171, 170.0), (1000, 1.0), (1000, 990.0), (10_000, 9_990.0)]
)
def test_erlang_c_has_six_digits_and_more(servers: int, load: float) -> None:
    assert erlang.waits(servers, load) == pytest.approx(float(exact_waits(servers, load)), rel=1e-10, abs=1e-300)


def test_mmc_of_gross_and_harris() -> None:
    """Fundamentals of Queueing Theory, second edition, example 2.2: 6 arrivals an hour, 3 servers of 20 minutes."""
    figures = queues.mmc(Queue(rate=6, service=1 / 3, servers=3))
    assert figures.waits == pytest.approx(4 / 9)
    assert figures.queue == pytest.approx(8 / 9)
    assert figures.wait.mean == pytest.approx(8 / 54)
    assert figures.response.mean == pytest.approx(13 / 27)


@pytest.mark.parametrize(("servers", "used"), [(1, 0.8), (4, 0.875), (4, 0.75), (200, 0.97), (10_000, 0.999)])
def test_percentiles_of_mmc_with_50_digits(servers: int, used: float) -> None:
    """4 servers at 0.75: the rates of wait and work are one, where the closed form would divide by zero."""
    figures = queues.mmc(Queue(rate=used * servers, service=1.0, servers=servers))
    waits, drain = exact_waits(servers, used * servers), servers - MPF(used * servers)
    for part, wait, response in zip(
        (0.5, 0.95, 0.99),
        (figures.wait.p50, figures.wait.p95, figures.wait.p99),
        (figures.response.p50, figures.response.p95, figures.response.p99),
        strict=True,
    ):
        expected = max(MPF(0), mpmath.log(waits / (1 - MPF(part))) / drain)
        assert wait == pytest.approx(float(expected), rel=1e-6)
        t = MPF(response)
        both = (
            (1 + t) * mpmath.exp(-t) if drain == 1 else (drain * mpmath.exp(-t) - mpmath.exp(-drain * t)) / (drain - 1)
        )
        beyond = (1 - waits) * mpmath.exp(-t) + waits * both
        assert float(beyond) == pytest.approx(1 - part, rel=1e-6)


@pytest.mark.parametrize(
    ("servers", "load", "room"), [(1, 0.5, 3), (1, 1.0, 10), (3, 2.5, 0), (4, 9.0, 20), (50, 49.0, 200), (2, 40.0, 300)]
)
def test_mmck_with_50_digits(servers: int, load: float, room: int) -> None:
    weights = [MPF(1)]
    for n in range(1, servers + room + 1):
        weights.append(weights[-1] * MPF(load) / min(n, servers))
    p = [weight / sum(weights) for weight in weights]
    figures = queues.mmck(Queue(load, 1.0, servers, room=room))
    assert figures.loss == pytest.approx(float(p[-1]), rel=1e-9)
    waiting = sum(n * p[servers + n] for n in range(room + 1))
    assert figures.wait.mean == pytest.approx(float(waiting / (load * (1 - p[-1]))), rel=1e-9, abs=1e-12)
    assert figures.queue == pytest.approx(float(waiting), rel=1e-9, abs=1e-12)
    for part, at in ((0.5, figures.wait.p50), (0.95, figures.wait.p95), (0.99, figures.wait.p99)):
        if at:  # behind j others the wait is longer than t where fewer than j + 1 of a Poisson process have left
            x, behind, beyond = MPF(at) * servers, MPF(0), MPF(0)
            for j in range(room):
                behind += mpmath.exp(-x) * x**j / mpmath.factorial(j)
                beyond += p[servers + j] / (1 - p[-1]) * behind
            assert float(beyond) == pytest.approx(1 - part, rel=1e-5)
        else:
            assert figures.waits <= 1 - part


def test_loss_system_is_insensitive_and_nobody_waits() -> None:
    for scv in (0.0, 1.0, 4.0):
        figures = queues.loss_system(Queue(8.0, 1.0, 10, service_scv=scv, room=0))
        assert figures.loss == pytest.approx(erlang.blocked(10, 8.0))
        assert figures.wait == Times(0, 0, 0, 0)
    assert queues.mmck(Queue(8.0, 1.0, 10, room=0)).loss == pytest.approx(erlang.blocked(10, 8.0))


@pytest.mark.parametrize("used", [0.5, 0.8, 0.95])
def test_mg1_is_mm1_for_exponential_service(used: float) -> None:
    by_transform, closed = queues.mg1(Queue(used, 1.0)), queues.mmc(Queue(used, 1.0))
    for one, other in ((by_transform.wait, closed.wait), (by_transform.response, closed.response)):
        assert one.mean == pytest.approx(other.mean)
        assert [one.p50, one.p95, one.p99] == pytest.approx([other.p50, other.p95, other.p99], rel=1e-6)


@pytest.mark.parametrize("used", [0.5, 0.8, 0.95])
def test_md1_by_erlangs_sum(used: float) -> None:
    """P(W <= t) = (1 - rho) sum of (-rho (t - k))^k / k! e^(rho (t - k)) over k <= t (Erlang, 1909): it alternates, so 50 digits."""
    figures = queues.mg1(Queue(used, 1.0, service_scv=0.0))
    for part, at in ((0.5, figures.wait.p50), (0.95, figures.wait.p95), (0.99, figures.wait.p99)):
        if at:
            terms = [
                (MPF(used) * (k - MPF(at))) ** k / mpmath.factorial(k) * mpmath.exp(MPF(used) * (at - k))
                for k in range(int(at) + 1)
            ]
            assert 1 - (1 - used) * float(sum(terms)) == pytest.approx(1 - part, rel=2e-3)
        assert getattr(figures.response, f"p{int(part * 100)}") == pytest.approx(at + 1, rel=1e-6)


def gi_m_c(servers: int, used: float, scv: float) -> tuple[float, float]:
    """P(wait) and mean wait of GI/M/c, exact (Gross and Harris, chapter 5; Takacs), with 50 digits; service time 1."""
    law = Law(1 / (used * servers), scv)

    def transform(s: mpmath.mpf) -> mpmath.mpf:
        if law.kind == "deterministic":
            return mpmath.exp(-s * law.mean)
        if law.kind == "gamma":
            return (1 + s * law.mean * law.scv) ** (-1 / MPF(law.scv))
        first, quick, slow = law.branches
        return first * quick / (quick + s) + (1 - first) * slow / (slow + s)

    root = mpmath.findroot(lambda x: transform(servers * (1 - x)) - x, (0.0, used), solver="anderson")
    product, total = MPF(1), 1 / (1 - root)
    for j in range(1, servers + 1):
        at = transform(MPF(j))
        product *= at / (1 - at)
        total += (
            mpmath.binomial(servers, j) / product * (servers * (1 - at) - j) / ((1 - at) * (servers * (1 - root) - j))
        )
    return float(1 / (total * (1 - root))), float(1 / (total * servers * (1 - root) ** 2))


# Whitt 1993, P(W > 0): his approximation, two digits, as transcribed in the tests of the public package qng (M. Isken).
WHITT = [
    # rho, m, ca2, cs2, approximation
    (0.9, 4, 1.0, 1.0, 0.79), (0.9, 4, 0.0, 1.0, 0.65), (0.9, 4, 2.25, 1.0, 0.85), (0.9, 4, 0.25, 1.0, 0.70),
    (0.9, 4, 0.56, 1.0, 0.75), (0.9, 4, 1.0, 0.0, 0.79), (0.9, 4, 0.0, 2.0, 0.71), (0.9, 4, 0.5, 2.0, 0.76),
    (0.9, 4, 0.0, 9.0, 0.75), (0.9, 4, 9.0, 9.0, 0.86), (0.9, 4, 0.1, 0.5, 0.60), (0.9, 20, 0.0, 1.0, 0.31),
    (0.6, 2, 0.5, 9.0, 0.38), (0.9, 4, 2.25, 0.0, 0.86),
]  # fmt: skip


@pytest.mark.parametrize(("rho", "m", "ca2", "cs2", "approximation"), WHITT)
def test_part_that_waits_of_whitt(rho: float, m: int, ca2: float, cs2: float, approximation: float) -> None:
    assert whitt.waits(Queue(rho * m, 1.0, m, ca2, cs2)) == pytest.approx(approximation, abs=0.009)


# The same source's exact values, which check our own exact method.
@pytest.mark.parametrize(("m", "ca2", "exact"), [(4, 0.0, 0.67), (4, 2.25, 0.85), (4, 0.25, 0.71), (20, 0.0, 0.39)])
def test_exact_part_that_waits(m: int, ca2: float, exact: float) -> None:
    assert gi_m_c(m, 0.9, ca2)[0] == pytest.approx(exact, abs=0.006)


# Mean wait of M/D/s by Cosmetatos: Table 1 of T. Kimura, Journal of the Operational Research Society 42(7), 1991, 595-603.
COSMETATOS = [
    (2, 0.9, 2.1445), (2, 0.7, 0.4916), (2, 0.5, 0.1757), (4, 0.9, 1.0000), (4, 0.7, 0.1890), (4, 0.5, 0.0494),
    (25, 0.9, 0.107922), (25, 0.8, 0.023845), (25, 0.7, 0.005258), (50, 0.9, 0.039838), (50, 0.8, 0.005275),
]  # fmt: skip


@pytest.mark.parametrize(("servers", "used", "wait"), COSMETATOS)
def test_mean_wait_with_fixed_service_of_the_table(servers: int, used: float, wait: float) -> None:
    assert whitt.mean_wait(Queue(used * servers, 1.0, servers, 1.0, 0.0)) == pytest.approx(wait, rel=1e-3)


@pytest.mark.parametrize("servers", [1, 2, 4, 8])
@pytest.mark.parametrize("used", [0.7, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("scv", [0.0, 0.25, 0.5, 0.75])
def test_where_whitt_is_left_alone_it_is_near_and_not_short(servers: int, used: float, scv: float) -> None:
    """What ``confidence`` says of it."""
    queue = Queue(used * servers, 1.0, servers, scv)
    assert answers.method(queue) is not simulate
    assert 0.98 < whitt.mean_wait(queue) / gi_m_c(servers, used, scv)[1] < 1.45


def test_where_whitt_is_short_a_simulation_takes_over() -> None:
    queue = Queue(7.0, 1.0, 10, arrival_scv=4.0)
    exact = gi_m_c(10, 0.7, 4.0)[1]
    assert whitt.mean_wait(queue) < 0.75 * exact
    figures = answers.answer(Workload(7.0, 1.0, 10, arrival_scv=4.0))
    assert figures.method.startswith("simulation")
    low, high = figures.intervals["wait.mean"]
    assert low < exact < high
    assert high - low < 0.2 * exact


SATURATED = [
    (2, 0.99, 4.0), (10, 0.95, 50.0), (20, 0.995, 0.5), (100, 0.96, 25.0), (200, 0.97, 16.0), (500, 0.95, 50.0),
    (500, 0.97, 25.0), (500, 0.992, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("servers", "used", "scv"), SATURATED)
def test_where_no_simulation_settles_the_answer_is_near_and_not_short(servers: int, used: float, scv: float) -> None:
    """With many servers and bursts Whitt's mean would be a quarter of the truth."""
    part, mean = gi_m_c(servers, used, scv)
    found = answers.answer(Workload(used * servers, 1.0, servers, arrival_scv=scv))
    assert found.method.startswith("G/G/c: the limit of heavy traffic")
    assert 1 < found.wait.mean / mean < 1.4
    assert 1 < found.wait.p95 / (mean / part * math.log(part / 0.05)) < 1.16


def test_a_promise_that_few_servers_keep_is_kept_by_more() -> None:
    """Across where a simulation takes over, at 506."""
    slo = Slo(1.2, of="wait")
    kept = [
        slo.met(answers.answer(Workload(475.0, 1.0, count, arrival_scv=50.0), Effort(1, 2)))
        for count in (500, 504, 506)
    ]
    assert kept == [False, False, False]


MARKOV, BURSTY = Queue(3.0, 1.0, 4), Burst(3.0, 0.2, 30.0)
METHODS: list[tuple[Queue, str]] = [
    (MARKOV, "M/M/c:"),
    (replace(MARKOV, room=9), "M/M/c/K"),
    (replace(MARKOV, room=0, service_scv=3.0), "M/G/c/c"),
    (Queue(0.5, 1.0, 1, service_scv=3.0), "M/G/1"),
    (replace(MARKOV, service_scv=0.5), "G/G/c"),
    (replace(MARKOV, arrival_scv=0.5), "G/G/c"),
    (replace(MARKOV, arrival_scv=2.0), "simulation"),
    (replace(MARKOV, service_scv=4.0), "simulation"),
    (replace(MARKOV, burst=BURSTY), "simulation"),
    (replace(MARKOV, batch=4.0), "M^[X]/M/c:"),
    (replace(MARKOV, batch=4.0, service_scv=0.5), "simulation"),
    (replace(MARKOV, batch=4.0, room=9), "simulation"),
    (replace(MARKOV, law="pareto"), "simulation"),
    (replace(MARKOV, room=9, service_scv=0.5), "simulation"),
    (Queue(15.0, 1.0, 20, arrival_scv=0.5), "simulation"),
    (Queue(999.0, 1.0, 1000, arrival_scv=4.0), "G/G/c: the limit of heavy traffic"),  # no simulation would settle
]


@pytest.mark.parametrize(("queue", "method"), METHODS)
def test_each_queue_has_its_method(queue: Queue, method: str) -> None:
    chosen = answers.method(queue)
    assert (chosen is simulate) == (method == "simulation")
    if chosen is not simulate:
        assert chosen(queue, answers.USUAL).method.startswith(method)


@pytest.mark.parametrize("scv", [0.0, 0.3, 1.0, 2.0])
def test_inverse_of_a_transform(scv: float) -> None:
    """Of sums of two: gamma of twice the shape; away from the jump of the fixed one."""
    law = Law(1.0, scv)
    if scv == 0:
        assert [survival(law.transform, at) for at in (0.5, 2.0)] == pytest.approx([1.0, 0.0], abs=0.02)
    elif scv <= 1:
        for at in (0.2, 1.0, 3.0):
            expected = mpmath.gammainc(1 / MPF(scv), at / MPF(scv), mpmath.inf, regularized=True)
            assert survival(law.transform, at) == pytest.approx(float(expected), rel=1e-5)
    else:
        first, quick, slow = law.branches
        assert survival(law.transform, 3.0) == pytest.approx(
            first * math.exp(-3 * quick) + (1 - first) * math.exp(-3 * slow), rel=1e-6
        )


# Student's t of any table, two-sided 95 %
@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.706), (2, 4.303), (3, 3.182), (9, 2.262), (10, 2.228), (30, 2.042), (120, 1.980)]
)
def test_student(freedom: int, t: float) -> None:
    assert quantile(0.95, freedom) == pytest.approx(t, abs=6e-4)
    assert within(t, freedom) == pytest.approx(0.95, abs=1e-4)


def test_smallest_number_is_the_smallest() -> None:
    """Against trying one after the other."""
    for rate, below in ((10.0, 1.2), (40.0, 0.35), (3.0, 5.0), (300.0, 0.5)):
        workload, slo = Workload(rate, 0.1), Slo(below)
        found = answers.size(workload, slo)
        tried = workload.smallest_stable
        while not slo.met(answers.answer(replace(workload, instances=tried))):
            tried += 1
        assert found.instances == tried
        assert found.one_less is None or not slo.met(found.one_less)


def test_sizing_of_ten_thousand_costs_one_recursion() -> None:
    found = answers.size(Workload(9_900.0, 1.0), Slo(0.01, "p95", "wait"))
    assert found.figures.wait.p95 <= 0.01 < (found.one_less or found.figures).wait.p95
    assert len(erlang._known(9_900.0, 1.0)) <= 2 * found.instances


@pytest.mark.parametrize(
    ("workload", "slo", "reason"),
    [
        (Workload(10.0, 0.1), Slo(0.2), "the work alone, without any wait, has 0.2996 s"),
        (Workload(10.0, 0.1, service_scv=0.0), Slo(0.09), "the work alone, without any wait, has 0.1 s"),
    ],
)
def test_what_no_number_of_instances_can_do(workload: Workload, slo: Slo, reason: str) -> None:
    with pytest.raises(CapacityError, match=reason):
        answers.size(workload, slo)


@pytest.mark.parametrize("shared", [True, False])
def test_unstable_says_the_smallest_count(shared: bool) -> None:
    with pytest.raises(Unstable, match="4 instances are the fewest that keep up") as caught:
        answers.answer(Workload(30.0, 0.1, 3, shared=shared))
    assert caught.value.smallest == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0.0}, {"rate": math.nan}, {"service": -1.0}, {"arrival_scv": -0.1}, {"instances": 0}, {"room": -1}, {"batch": 0.5},
        {"law": "normal"}, {"law": "deterministic"}, {"law": "hyperexponential", "service_scv": 0.5},
        {"law": "pareto", "service_scv": 0.0},
    ],
)  # fmt: skip
def test_bad_workloads_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(CapacityError, match=next(iter(wrong))):
        Workload(**{"rate": 1.0, "service": 1.0} | wrong)


def test_own_queues_wait_longer_than_a_shared_one() -> None:
    one, own = (answers.answer(Workload(30.0, 0.1, 4, shared=shared)) for shared in (True, False))
    assert own.wait.mean > 3 * one.wait.mean
    assert own.wait.mean == pytest.approx(queues.mmc(Queue(7.5, 0.1)).wait.mean)


def test_a_load_that_fills_the_servers_to_the_last_digit_is_not_stable() -> None:
    """4 / 0.0599... times 0.0599... is a little less than 4, and yet leaves no drain."""
    service = 0.0599536513742406
    full = Workload(4 / service, service, 4)
    assert (full.queue().stable, full.smallest_stable) == (False, 5)
    assert 0 < answers.largest_rate(replace(full, rate=40.0), Slo(0.2)) < full.rate


def test_largest_rate_is_where_the_slo_breaks() -> None:
    workload, slo = Workload(20.0, 0.1, 4), Slo(0.4)
    largest = answers.largest_rate(workload, slo)
    assert slo.met(answers.answer(replace(workload, rate=largest)))
    assert not slo.met(answers.answer(replace(workload, rate=1.01 * largest)))
    assert answers.largest_rate(workload, Slo(0.01)) == 0


def test_sensitivity_of_a_response() -> None:
    """Of M/M/1 the response's elasticity in rate is rho / (1 - rho); and in the service time one more: time has no unit."""
    found = answers.sensitivity(Workload(0.8, 1.0), measure="mean")
    assert found["rate"] == pytest.approx(4.0, rel=2e-3)
    assert found["service"] == pytest.approx(5.0, rel=2e-3)
    bursty = answers.sensitivity(Workload(0.5, 1.0, burst=Burst(1.5, 0.3, 5.0)), effort=Effort(replications=2))
    assert set(bursty) == {"rate", "service"}
    assert 0 < bursty["rate"] < bursty["service"]


servers_, parts = st.integers(1, 60), st.floats(0.05, 0.98)
scvs = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@given(servers=st.integers(1, 8), used=parts, ca2=scvs, cs2=scvs, more=st.integers(1, 8))
def test_more_servers_never_wait_longer(servers: int, used: float, ca2: float, cs2: float, more: int) -> None:
    few = Queue(used * servers, 1.0, servers, ca2, cs2)
    many = replace(few, servers=servers + more)
    assert whitt.mean_wait(many) <= whitt.mean_wait(few) * (1 + 1e-9)


@settings(max_examples=30)
@given(servers=servers_, used=parts)
def test_more_servers_never_wait_longer_nor_lose_more_where_it_is_exact(servers: int, used: float) -> None:
    load = used * servers
    few, many = (queues.mmc(Queue(load, 1.0, count)) for count in (servers, servers + 1))
    lost = [queues.mmck(Queue(2 * load, 1.0, count, room=3)).loss for count in (servers, servers + 1)]
    for one, other in ((few.wait, many.wait), (few.response, many.response)):
        for name in ("mean", "p50", "p95", "p99"):
            assert getattr(other, name) <= getattr(one, name) * (1 + 1e-8)
    assert lost[1] <= lost[0]


@given(servers=st.integers(1, 8), ca2=scvs, cs2=scvs, used=st.lists(parts, min_size=2, max_size=4))
def test_more_load_never_waits_shorter(servers: int, ca2: float, cs2: float, used: list[float]) -> None:
    means = [whitt.mean_wait(Queue(part * servers, 1.0, servers, ca2, cs2)) for part in sorted(used)]
    assert all(later >= earlier * (1 - 1e-9) for earlier, later in pairwise(means))


@settings(max_examples=30)
@given(
    queue=st.sampled_from([queue for queue, method in METHODS if method != "simulation"]),
    unit=st.sampled_from([1e-6, 1e-3, 60.0, 86400.0]),
)
def test_the_unit_of_time_changes_nothing(queue: Queue, unit: float) -> None:
    other = replace(queue, rate=queue.rate / unit, service=queue.service * unit)
    one, two = (answers.method(given)(given, answers.USUAL) for given in (queue, other))
    assert two.waits == pytest.approx(one.waits)
    assert two.loss == pytest.approx(one.loss)
    for name in ("mean", "p50", "p95", "p99"):
        assert getattr(two.response, name) == pytest.approx(getattr(one.response, name) * unit, rel=1e-6)
