# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lifetimes and trends: against the worked examples of the NIST e-Handbook and others, 50 digits, and samples of known origin."""

import itertools
import math
import random

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.answer import ReliabilityError
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.lifetimes import (
    Life,
    exponential,
    exponential_fails,
    weibull,
    weibull_fails,
)
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.special import (
    chi2_quantile,
    chi2_tails,
    chi2_upper,
)
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.trend import Watched, trend

mpmath.mp.dps = 50
HOUR = 3600.0
# NIST/SEMATECH e-Handbook 8.4.1.3: ten failures, in hours, and ten units that had not failed at 500
NIST_WEIBULL = [Life(hours, True) for hours in (54, 187, 216, 240, 244, 335, 361, 373, 375, 386)] + [
    Life(500, False)
] * 10
# the same, 8.4.5.2: a test of 1500 hours
NIST_REPAIRS = (5, 40, 43, 175, 389, 712, 747, 795, 1299, 1478)


@pytest.mark.parametrize("dof", [1, 2, 3, 10, 57, 400, 20_000, 200_000])
@pytest.mark.parametrize("probability", [1e-12, 1e-6, 0.025, 0.3, 0.5, 0.9, 0.975])
def test_chi_squared_with_50_digits(dof: int, probability: float) -> None:
    """The quantile's error is that of the probability there, over the density."""
    half = mpmath.mpf(dof) / 2
    for found, bounds in (
        (chi2_quantile(probability, dof), (0, None)),
        (chi2_upper(probability, dof), (None, mpmath.inf)),
    ):
        x = mpmath.mpf(found) / 2
        low, high = (x if bound is None else bound for bound in bounds)
        error = mpmath.gammainc(half, low, high, regularized=True) - mpmath.mpf(probability)
        density = mpmath.exp((half - 1) * mpmath.log(x) - x - mpmath.loggamma(half)) / 2
        assert abs(error / density / found) < 1e-11
    lower, upper = chi2_tails(chi2_quantile(probability, dof), dof)
    assert (lower, lower + upper) == pytest.approx((probability, 1), rel=1e-9)


# -- exponential ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failures", [1, 2, 5, 10, 50])
def test_exponential_by_the_formula_of_the_handbook(failures: int) -> None:
    """8.4.5.1: 2 T / chi2(1 - a/2; 2 r + 2) and 2 T / chi2(a/2; 2 r), the quantiles found by mpmath from the definition."""
    fit = exponential(failures, 1000 * HOUR, 0.9)
    assert fit.mtbf.estimate == 1000 * HOUR / failures
    for bound, dof, probability in ((fit.mtbf.low, 2 * failures + 2, 0.95), (fit.mtbf.high, 2 * failures, 0.05)):
        x = 2 * 1000 * HOUR / bound
        assert float(mpmath.gammainc(mpmath.mpf(dof) / 2, 0, x / 2, regularized=True)) == pytest.approx(
            probability, rel=1e-12
        )


def test_exponential_factors_of_two_failures() -> None:
    """With 90 %, the mean is between 0.3177 and 5.6281 times the estimate: half of the factors' quantiles, found by mpmath."""
    bounds = exponential(2, 2.0, 0.9).mtbf
    factors = []
    for half, probability in ((3, 0.95), (2, 0.05)):

        def beyond(x: mpmath.mpf, half: int = half, probability: float = probability) -> mpmath.mpf:
            return mpmath.gammainc(half, 0, x, regularized=True) - probability

        factors.append(float(2 / mpmath.findroot(beyond, (0.01, 30), solver="illinois")))
    assert (bounds.low, bounds.high) == pytest.approx(tuple(factors), rel=1e-12)
    assert [round(factor, 4) for factor in factors] == [0.3177, 5.6281]


def test_no_failure_is_a_bound() -> None:
    """The rule of three: with 95 %, the rate is below 3 over the time watched, nearly (8.4.5.1: T / -ln alpha)."""
    fit = exponential(0, 3e6, 0.95)
    assert (fit.mtbf.estimate, fit.mtbf.high) == (None, None)
    assert fit.mtbf.low == pytest.approx(float(3e6 / -mpmath.log(mpmath.mpf("0.05"))), rel=1e-12)
    assert fit.mtbf.low == pytest.approx(1e6, rel=2e-3)
    fails = exponential_fails(fit, 1e6)
    assert (fails.estimate, fails.low) == (None, None)
    assert fails.high == pytest.approx(1 - 0.05 ** (1 / 3), rel=1e-12)


def test_a_tiny_probability_keeps_its_digits() -> None:
    assert exponential_fails(exponential(3, 3e18), 1.0).estimate == pytest.approx(1e-18, rel=1e-12)


def test_without_operation_there_is_no_rate() -> None:
    with pytest.raises(ReliabilityError, match="there must be some time"):
        exponential(0, 0)


def test_the_exponential_interval_holds_as_often_as_it_says() -> None:
    """Failures of a known rate in a fixed time; the interval is exact or wider. Four standard errors."""
    rng, runs, hits = random.Random(6), 1000, 0
    for _run in range(runs):
        count, time = -1, 0.0
        while time < 5:
            count, time = count + 1, time + rng.expovariate(1)
        if count:
            bounds = exponential(count, 5, 0.9).mtbf
            hits += bounds.low <= 1 <= bounds.high
        else:
            hits += exponential(0, 5, 0.9).mtbf.low <= 1
    assert hits / runs > 0.9 - 4 * math.sqrt(0.09 / runs)


# -- Weibull ----------------------------------------------------------------------------------------------------------


def test_weibull_of_the_handbook() -> None:
    """8.4.1.3 prints shape 1.7208, scale 606.5280, log likelihood -75.135 and mean 540.737."""
    fit = weibull(NIST_WEIBULL)
    assert fit is not None
    assert (fit.failures, fit.lives) == (10, 20)
    assert fit.shape.estimate == pytest.approx(1.7208, abs=5e-5)
    assert fit.scale == pytest.approx(606.5280, rel=1e-6)
    assert fit.log_likelihood == pytest.approx(-75.135, abs=5e-4)
    assert fit.mean == pytest.approx(540.737, abs=1e-3)


def likelihood(shape: float, scale: float) -> mpmath.mpf:
    """Of that sample, from the definition."""
    shape, scale = mpmath.mpf(shape), mpmath.mpf(scale)
    found = mpmath.mpf(0)
    for life in NIST_WEIBULL:
        found -= (life.seconds / scale) ** shape
        if life.failed:
            found += mpmath.log(shape / scale) + (shape - 1) * mpmath.log(life.seconds / scale)
    return found


@pytest.mark.parametrize(("age", "horizon"), [(0, 100), (300, 100), (0, 500)])
def test_bounds_are_where_the_likelihood_has_fallen_by_half_a_quantile(age: float, horizon: float) -> None:
    """Profile likelihood, from its definition: the best shape at a bound is searched with 50 digits."""
    fall = mpmath.mpf(chi2_quantile(0.9, 1)) / 2
    fit, fails = weibull(NIST_WEIBULL), weibull_fails(NIST_WEIBULL, horizon, age)
    assert fit is not None
    assert fails is not None
    best = likelihood(fit.shape.estimate, fit.scale)
    growth = ((age + horizon) / fit.scale) ** fit.shape.estimate - (age / fit.scale) ** fit.shape.estimate
    assert fails.estimate == pytest.approx(-math.expm1(-growth), rel=1e-9)
    for bound in (fails.low, fails.high):
        hazard = -mpmath.log1p(-mpmath.mpf(bound))

        def at(shape: mpmath.mpf, hazard: mpmath.mpf = hazard) -> mpmath.mpf:
            scale = ((mpmath.mpf(age + horizon) ** shape - mpmath.mpf(age) ** shape) / hazard) ** (1 / shape)
            return likelihood(shape, scale)

        top = mpmath.findroot(lambda shape: mpmath.diff(at, shape), (1.0, 2.5), solver="anderson", tol=1e-20)
        assert float(best - at(top) - fall) == pytest.approx(0, abs=1e-6)
    for shape in (fit.shape.low, fit.shape.high):
        scale = (sum(life.seconds**shape for life in NIST_WEIBULL) / fit.failures) ** (1 / shape)
        assert float(best - likelihood(shape, scale) - fall) == pytest.approx(0, abs=1e-8)


def test_the_weibull_interval_holds_about_as_often_as_it_says() -> None:
    """Eight lives of shape 2, cut at 120; the probability to fail within 30 more at 50. Profile likelihood is not exact: 80 % or more."""
    rng, runs, hits = random.Random(3), 50, 0
    truth = 1 - math.exp(0.5**2 - 0.8**2)
    for _run in range(runs):
        lived = [rng.weibullvariate(100, 2) for _life in range(8)]
        bounds = weibull_fails([Life(min(age, 120), age < 120) for age in lived], 30, 50)
        hits += bounds is not None and bounds.low <= truth <= bounds.high
    assert hits >= 0.8 * runs


@pytest.mark.parametrize(
    ("lives", "why"),
    [
        ([], "nothing"),
        ([Life(1, True), Life(2, True), Life(9, False)], "two failures"),
        ([Life(5, True)] * 4, "all failed at the age that none outlived"),
        ([Life(1, True, whole=False), Life(2, True), Life(3, True)], "one is of unknown age"),
    ],
)
def test_where_a_weibull_says_nothing(lives: list[Life], why: str) -> None:
    assert weibull(lives) is None, why
    assert weibull_fails(lives, 1) is None


@given(
    st.lists(st.tuples(st.floats(1e-3, 1e6), st.booleans()), min_size=4, max_size=12),
    st.floats(1e-6, 1e9),
    st.floats(1e-2, 1e2),
)
@settings(max_examples=25, deadline=None)
def test_units_and_order_are_nothing_to_a_weibull(drawn: list[tuple[float, bool]], unit: float, horizon: float) -> None:
    lives = [Life(seconds, failed) for seconds, failed in drawn]
    first, second = weibull(lives), weibull([Life(life.seconds * unit, life.failed) for life in reversed(lives)])
    assert (first is None) == (second is None)
    if first and second:
        assert second.shape.estimate == pytest.approx(first.shape.estimate, rel=1e-6)
        assert math.log(second.scale) == pytest.approx(math.log(first.scale * unit), rel=1e-6, abs=1e-6)
        assert first.shape.low < first.shape.estimate < first.shape.high
        fails = weibull_fails(lives, horizon)
        assert fails is not None
        assert 0 <= fails.low <= fails.estimate <= fails.high <= 1


# -- trend ------------------------------------------------------------------------------------------------------------


def test_military_handbook_test_of_the_handbook() -> None:
    """8.4.5.2 prints for its ten repairs the (unbiased) slope 0.516494: 1 - (r - 1) / sum ln(T / t)."""
    found = trend([Watched(1500, NIST_REPAIRS)])
    assert found.military is not None
    assert 1 - 9 / (found.military / 2) == pytest.approx(0.516494, abs=5e-7)
    assert found.shape is not None
    assert found.shape.estimate == pytest.approx(10 / (found.military / 2))
    lower = mpmath.gammainc(10, 0, mpmath.mpf(found.military) / 2, regularized=True)
    assert found.military_p == pytest.approx(float(2 * min(lower, 1 - lower)), rel=1e-12)
    assert found.direction == "improving"


def test_laplace_test_of_a_published_example() -> None:
    """Thirty times between failures, from the documentation of the Python package reliability (ROCOF): U = 2.409, worsening. There
    the test ends with the last failure, which then says nothing."""
    between = [104, 131, 1597, 59, 4, 503, 157, 6, 118, 173, 114, 62, 101, 216, 106, 140, 1, 102, 3, 393, 96, 232, 89, 61, 37, 293, 7,
               165, 87, 99]  # fmt: skip
    *failures, end = itertools.accumulate(between)
    found = trend([Watched(end, tuple(failures))])
    assert found.laplace == pytest.approx(2.409, abs=5e-4)
    assert found.laplace_p == pytest.approx(float(mpmath.erfc(mpmath.mpf(found.laplace) / mpmath.sqrt(2))), rel=1e-9)
    assert found.direction == "worsening"


def test_a_steady_rate_shows_a_trend_as_rarely_as_it_says() -> None:
    """In at most 5 %; four standard errors above it are 9 % of 400 histories of two instances."""
    rng, runs, found = random.Random(8), 400, 0
    for _run in range(runs):
        watched = [Watched(end, tuple(sorted(rng.uniform(0, end) for _f in range(6)))) for end in (100.0, 30.0)]
        found += trend(watched).direction != "none"
    assert 0.01 * runs < found < 0.09 * runs


def test_few_failures_show_no_trend() -> None:
    assert trend([Watched(10, (1, 2, 3))]).direction == "unknown"
    assert trend([]).failures == 0
