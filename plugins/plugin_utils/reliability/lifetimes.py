# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long until it fails: an exponential and a Weibull distribution from lives that were watched, whole or in part.

Exponential: failures over time watched, with the exact chi-squared interval for a watch that ends at a given time, and without a
failure the one-sided bound (NIST/SEMATECH e-Handbook, 8.4.5.1). Weibull: maximum likelihood with right censoring (8.4.1.3), whose
equation for the shape rises throughout and so has one root; intervals by profile likelihood, which hold with few failures where
those from the Fisher information do not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from .answer import Interval, ReliabilityError
from .special import chi2_quantile, chi2_upper, root

FEWEST_FOR_WEIBULL = 3
GOLDEN = (math.sqrt(5) - 1) / 2
SHAPES = (1e-3, 1e3)
MOST_FOR_GAMMA = 150


@dataclass(frozen=True)
class Life:
    """One run of an instance: seconds watched, and whether it ended by a failure. `whole`: watched from its start."""

    seconds: float
    failed: bool
    whole: bool = True


@dataclass(frozen=True)
class Exponential:
    """`mtbf` in seconds. Without failures there is no estimate, and only a lower bound, with all of the confidence."""

    failures: int
    seconds: float
    mtbf: Interval
    confidence: float


@dataclass(frozen=True)
class Weibull:
    """`scale` and `mean` in seconds (None: beyond numbers). `lives` are those it rests on, `failures` those of them that failed."""

    failures: int
    lives: int
    shape: Interval
    scale: float
    mean: float | None
    log_likelihood: float
    confidence: float


def exponential(failures: int, seconds: float, confidence: float = 0.9) -> Exponential:
    """After `failures` in `seconds` of watched operation of all instances together."""
    if failures < 0 or not seconds > 0:
        raise ReliabilityError(f"{failures} failures in {seconds} s of operation: there must be some time")
    if not failures:
        return Exponential(0, seconds, Interval(None, seconds / -math.log1p(-confidence), None), confidence)
    tail = (1 - confidence) / 2
    low, high = 2 * seconds / chi2_upper(tail, 2 * failures + 2), 2 * seconds / chi2_quantile(tail, 2 * failures)
    return Exponential(failures, seconds, Interval(seconds / failures, low, high), confidence)


def exponential_fails(fit: Exponential, horizon: float) -> Interval:
    """The probability of a failure within `horizon` seconds, at whatever age."""

    def within(mtbf: float | None) -> float | None:
        return None if mtbf is None else -math.expm1(-horizon / mtbf)

    return Interval(within(fit.mtbf.estimate), within(fit.mtbf.high), within(fit.mtbf.low))


def weibull(lives: Sequence[Life], confidence: float = 0.9) -> Weibull | None:
    """None where the lives that were watched from their start do not say: under 3 failures, or all at the age that none outlived."""
    sample = _Sample.of(lives)
    if sample is None:
        return None
    shape = sample.best_shape()
    at_best = sample.profile(shape)
    allowed = NormalDist().inv_cdf((1 + confidence) / 2) ** 2 / 2

    def beyond(logarithm: float) -> float:
        return at_best - sample.profile(math.exp(logarithm)) - allowed

    low = math.exp(-root(lambda x: beyond(-x), -math.log(shape), 0.5))
    high = math.exp(root(beyond, math.log(shape), 0.5))
    scale = sample.scale(shape)
    mean = scale * math.gamma(1 + 1 / shape) if 1 / shape < MOST_FOR_GAMMA else None
    return Weibull(
        sample.count,
        len(sample.logs),
        Interval(shape, low, high),
        scale,
        mean,
        at_best - sample.count * sample.unit,
        confidence,
    )


def weibull_fails(lives: Sequence[Life], horizon: float, age: float = 0, confidence: float = 0.9) -> Interval | None:
    """The probability that what has lived `age` seconds fails within `horizon` more. None where `weibull` is."""
    sample = _Sample.of(lives)
    if sample is None:
        return None
    shape = sample.best_shape()
    hazard = sample.log_hazard(shape, age, horizon)
    at_best = sample.profile(shape)
    allowed = NormalDist().inv_cdf((1 + confidence) / 2) ** 2 / 2

    def beyond(logarithm: float) -> float:
        return at_best - sample.best_given(logarithm, age, horizon) - allowed

    low = -root(lambda x: beyond(-x), -hazard, 0.5)
    high = root(beyond, hazard, 0.5)
    return Interval(*(-math.expm1(-math.exp(min(x, 700.0))) for x in (hazard, low, high)))


@dataclass(frozen=True)
class _Sample:
    """Ages as logarithms, in units of the oldest: powers of them cannot overflow. `unit` is the logarithm of that, of seconds."""

    logs: tuple[float, ...]
    failed: tuple[float, ...]
    unit: float

    @classmethod
    def of(cls, lives: Sequence[Life]) -> "_Sample | None":
        known = [life for life in lives if life.whole and life.seconds > 0]
        failed = [life.seconds for life in known if life.failed]
        if len(failed) < FEWEST_FOR_WEIBULL:
            return None
        oldest = max(life.seconds for life in known)
        if min(failed) >= oldest * (1 - 1e-9):
            return None
        unit = math.log(oldest)
        logs = tuple(math.log(life.seconds) - unit for life in known)
        return cls(logs, tuple(math.log(age) - unit for age in failed), unit)

    @property
    def count(self) -> int:
        return len(self.failed)

    def total(self, shape: float) -> float:
        return math.fsum(math.exp(shape * x) for x in self.logs)

    def best_shape(self) -> float:
        mean = math.fsum(self.failed) / self.count

        def rising(logarithm: float) -> float:
            shape = math.exp(logarithm)
            return math.fsum(x * math.exp(shape * x) for x in self.logs) / self.total(shape) - 1 / shape - mean

        return math.exp(root(rising, 0.0, 1.0))

    def scale(self, shape: float) -> float:
        return math.exp(self.unit + math.log(self.total(shape) / self.count) / shape)

    def profile(self, shape: float) -> float:
        """The log likelihood with the best scale for this shape."""
        rate = math.log(self.count / self.total(shape))
        return self.count * (math.log(shape) + rate - 1) + (shape - 1) * math.fsum(self.failed)

    def log_growth(self, shape: float, age: float, horizon: float) -> float:
        """ln((age + horizon)^shape - age^shape)."""
        end = math.log(age + horizon) - self.unit
        if not age:
            return shape * end
        return shape * end + math.log(-math.expm1(shape * (math.log(age) - math.log(age + horizon))))

    def log_hazard(self, shape: float, age: float, horizon: float) -> float:
        """The logarithm of the cumulated hazard over the horizon, with the best scale."""
        return self.log_growth(shape, age, horizon) + math.log(self.count / self.total(shape))

    def best_given(self, log_hazard: float, age: float, horizon: float) -> float:
        """The highest log likelihood of all pairs that have this cumulated hazard over the horizon."""

        def at(logarithm: float) -> float:
            shape = math.exp(logarithm)
            rate = log_hazard - self.log_growth(shape, age, horizon)
            lost = math.exp(min(rate + math.log(self.total(shape)), 700.0))
            return self.count * (logarithm + rate) + (shape - 1) * math.fsum(self.failed) - lost

        low, high = (math.log(bound) for bound in SHAPES)
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        at_left, at_right = at(left), at(right)
        while high - low > 1e-9:
            if at_left > at_right:
                high, right, at_right = right, left, at_left
                left = high - GOLDEN * (high - low)
                at_left = at(left)
            else:
                low, left, at_left = left, right, at_right
                right = low + GOLDEN * (high - low)
                at_right = at(right)
        return max(at_left, at_right)
