# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chi-squared distribution by the incomplete gamma function, with all digits in both tails.

Series and continued fraction: Abramowitz and Stegun, 6.5.29 and 6.5.31; the latter evaluated by Lentz's method.
"""

import math
from collections.abc import Callable

TINY = 1e-300
EPSILON = 1e-16
STEPS = 200  # halvings: far more than a double has digits


def gamma_tails(a: float, x: float) -> tuple[float, float]:
    """P(a, x) and Q(a, x) = 1 - P(a, x): the smaller one is computed, not subtracted."""
    if x <= 0:
        return 0.0, 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        lower = front * _series(a, x)
        return lower, 1 - lower
    upper = front * _fraction(a, x)
    return 1 - upper, upper


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    n = a
    while term > total * EPSILON:
        n += 1
        term *= x / n
        total += term
    return total


def _fraction(a: float, x: float) -> float:
    b = x + 1 - a
    c, d = 1 / TINY, 1 / b
    found, i = d, 0
    while True:
        i += 1
        factor = -i * (i - a)
        b += 2
        d = 1 / (factor * d + b or TINY)
        c = b + factor / c or TINY
        found *= c * d
        if abs(c * d - 1) < 4 * EPSILON:
            return found


def chi2_tails(x: float, dof: float) -> tuple[float, float]:
    """The probabilities that a chi-squared variable is at most, and is above, `x`."""
    return gamma_tails(dof / 2, x / 2)


def chi2_quantile(probability: float, dof: float) -> float:
    """What a chi-squared variable is below with this probability (0 to 1, both excluded)."""
    return _inverse(lambda x: chi2_tails(x, dof)[0] - probability, dof)


def chi2_upper(probability: float, dof: float) -> float:
    """What it is above with this probability."""
    return _inverse(lambda x: probability - chi2_tails(x, dof)[1], dof)


def _inverse(rising: Callable[[float], float], start: float) -> float:
    return math.exp(root(lambda logarithm: rising(math.exp(logarithm)), math.log(start), 1.0))


def root(rising: Callable[[float], float], start: float, stride: float) -> float:
    """Where a function that never falls crosses 0: bracketed by growing strides from `start`, then halved. OverflowError: nowhere."""
    low = high = start
    while rising(low) > 0:
        low, stride = low - stride, 2 * stride
        if stride > 1e6:
            raise OverflowError("no lower bracket")
    while rising(high) < 0:
        high, stride = high + stride, 2 * stride
        if stride > 1e6:
            raise OverflowError("no upper bracket")
    for _step in range(STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2
