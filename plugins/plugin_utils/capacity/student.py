# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Student's t, which the standard library lacks."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev


def within(t: float, freedom: int) -> float:
    """P(-t < T < t) for t >= 0: Abramowitz and Stegun 26.7.3 and 26.7.4, finite sums for whole degrees of freedom."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term = total = cosine if odd else 1.0
    if freedom == 1:
        total = 0.0
    for k in range(3 if odd else 2, freedom, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


def quantile(level: float, freedom: int) -> float:
    """The t with P(-t < T < t) = level: 12.706 for 0.95 and 1 degree of freedom."""
    low, high = 0.0, 1.0
    while within(high, freedom) < level:
        low, high = high, 2 * high
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, freedom) < level else (low, middle)
    return high


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Of the mean of independent values."""
    half = quantile(level, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half
