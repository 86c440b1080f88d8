# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Distributions of times, by mean and squared coefficient of variation; as Laplace transforms and as samples.

A transform is turned back by the Euler algorithm of Abate and Whitt, "Numerical inversion of Laplace transforms of probability
distributions" (ORSA Journal on Computing 7(1), 1995): an alternating series, whose sum is taken by Euler's binomial averages.
"""

import cmath
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

Transform = Callable[[complex], complex]

DISCRETISATION = 18.4  # A: an error of about e^-A = 1e-8
TERMS, AVERAGED = 40, 12
WEIGHTS = [math.comb(AVERAGED, k) / 2**AVERAGED for k in range(AVERAGED + 1)]


@dataclass(frozen=True)
class Law:
    """``kind`` is one of model.LAWS; auto: by the coefficient deterministic (0), gamma, exponential (1) or hyperexponential."""

    mean: float
    scv: float
    given: str = "auto"

    @property
    def kind(self) -> str:
        if self.given != "auto":
            return self.given
        usual = "gamma" if self.scv < 1 else "hyperexponential"
        return {0.0: "deterministic", 1.0: "exponential"}.get(self.scv, usual)

    @property
    def branches(self) -> tuple[float, float, float]:
        """Of the hyperexponential with balanced means: the first branch's probability, and both rates."""
        first = (1 + math.sqrt((self.scv - 1) / (self.scv + 1))) / 2
        return first, 2 * first / self.mean, 2 * (1 - first) / self.mean

    def transform(self, s: complex) -> complex:
        """E[exp(-s X)]. Lognormal and Pareto have none in closed form."""
        if self.kind == "deterministic":
            return cmath.exp(-s * self.mean)
        if self.kind == "gamma":
            return (1 + s * self.mean * self.scv) ** (-1 / self.scv)
        if self.kind == "hyperexponential":
            first, quick, slow = self.branches
            return first * quick / (quick + s) + (1 - first) * slow / (slow + s)
        if self.kind == "exponential":
            return 1 / (1 + s * self.mean)
        raise ValueError(f"{self.kind}: no transform")

    def sampler(self, source: random.Random) -> Callable[[], float]:
        mean, scv, kind = self.mean, self.scv, self.kind
        uniform, log = source.random, math.log
        if kind == "deterministic":
            return lambda: mean
        if kind == "exponential":
            return lambda: -mean * log(1 - uniform())
        if kind == "gamma":
            shape, scale = 1 / scv, mean * scv
            return lambda: source.gammavariate(shape, scale)
        if kind == "lognormal":
            variance = math.log1p(scv)
            middle, width = log(mean) - variance / 2, math.sqrt(variance)
            return lambda: source.lognormvariate(middle, width)
        if kind == "pareto":  # alpha (alpha - 2) = 1 / scv
            alpha = 1 + math.sqrt(1 + 1 / scv)
            least, power = mean * (alpha - 1) / alpha, -1 / alpha
            return lambda: least * (1 - uniform()) ** power
        first, quick, slow = self.branches
        return lambda: -log(1 - uniform()) / (quick if uniform() < first else slow)


def survival(transform: Transform, at: float) -> float:
    """P(X > at) for at > 0, of the transform of X."""
    half = DISCRETISATION / (2 * at)

    def term(k: int) -> float:
        s = complex(half, k * math.pi / at)
        return ((1 - transform(s)) / s).real

    total = term(0) / 2
    averaged = 0.0
    for k in range(1, TERMS + AVERAGED + 1):
        total += term(k) if k % 2 == 0 else -term(k)
        if k >= TERMS:
            averaged += WEIGHTS[k - TERMS] * total
    return min(1.0, max(0.0, math.exp(DISCRETISATION / 2) / at * averaged))


def percentile(beyond: Callable[[float], float], part: float, about: float) -> float:
    """The smallest t with P(X > t) <= 1 - part, to 9 digits; ``about`` is a time of the right size, such as the mean."""
    low, high = 0.0, about
    while beyond(high) > 1 - part:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) > 1 - part else (low, middle)
    return high
