# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a trend reaches a limit: least squares with a prediction interval.

The line is ordinary least squares; the dates are where the line, and where the 95 % band for a single further observation, reach the
limit. Neighbouring samples that resemble each other say less than independent ones: with the residuals' correlation r of lag 1, n
samples count as n (1 - r) / (1 + r) (for an AR(1) process; Wilks, "Statistical Methods in the Atmospheric Sciences", on effective
sample size), and the band widens by it.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from .model import CapacityError
from .student import quantile

FEWEST = 8  # samples, and effective ones too


@dataclass(frozen=True)
class Saturation:
    """``at``, ``earliest``, ``latest``: when the limit is reached, in the samples' seconds; None: not within the horizon.

    ``growth``: per day, and its 95 % interval. ``correlation``: of neighbouring residuals; ``effective``: how many independent samples
    that leaves. ``rises``: whether the growth is above 0 beyond doubt; where it is not, there is no date.
    """

    at: float | None
    earliest: float | None
    latest: float | None
    growth: float
    growth_interval: tuple[float, float]
    rises: bool
    samples: int
    effective: float
    correlation: float
    method: str
    assumptions: tuple[str, ...]


def saturates(samples: Sequence[tuple[float, float]], limit: float, *, horizon: float = 3 * 365 * 86400) -> Saturation:
    """``samples``: (seconds since 1970, value), evenly apart, best the peak of each day or week.

    ``horizon``: seconds beyond the last that are looked at.
    """
    if len(samples) < FEWEST:
        raise CapacityError(f"trend: {len(samples)} samples; at least {FEWEST} are needed")
    if not all(math.isfinite(number) for sample in samples for number in (*sample, limit)):
        raise CapacityError("trend: a time or a value is not a number")
    times, values = zip(*sorted(samples), strict=True)
    middle, mean = fmean(times), fmean(values)
    spread = math.fsum((t - middle) ** 2 for t in times)
    if not spread:
        raise CapacityError("trend: all samples are of one time")
    slope = math.fsum((t - middle) * (v - mean) for t, v in zip(times, values, strict=True)) / spread
    residuals = [v - mean - slope * (t - middle) for t, v in zip(times, values, strict=True)]
    squares = math.fsum(r * r for r in residuals)
    correlation = math.fsum(a * b for a, b in itertools.pairwise(residuals)) / squares if squares else 0.0
    count = len(times)
    effective = count * (1 - correlation) / (1 + correlation) if correlation > 0 else float(count)
    freedom = max(1, math.floor(effective) - 2)
    inflate = count / effective  # of what is known of the line; a single observation scatters as before
    noise = math.sqrt(squares / (count - 2))
    t = quantile(0.95, freedom)
    half = t * noise * math.sqrt(inflate / spread)

    def line(at: float) -> float:
        return mean + slope * (at - middle)

    def band(at: float) -> float:
        return t * noise * math.sqrt(1 + inflate * (1 / count + (at - middle) ** 2 / spread))

    rises = slope - half > 0
    until = times[-1] + horizon

    def reached(height: Callable[[float], float]) -> float | None:
        return _first(height, limit, times[-1], until) if rises else None

    return Saturation(
        at=reached(line),
        earliest=reached(lambda at: line(at) + band(at)),
        latest=reached(lambda at: line(at) - band(at)),
        growth=slope * 86400,
        growth_interval=((slope - half) * 86400, (slope + half) * 86400),
        rises=rises,
        samples=count,
        effective=effective,
        correlation=correlation,
        method="ordinary least squares; dates where line and 95 % prediction band reach the limit, widened for autocorrelation",
        assumptions=(
            "growth goes on as a straight line",
            f"residuals resemble their neighbours by {correlation:.2f}: {count} samples count as {effective:.1f}",
            *(("fewer effective samples than are needed for more than a hint",) if effective < FEWEST else ()),
        ),
    )


def _first(height: Callable[[float], float], limit: float, start: float, until: float) -> float | None:
    """When it is first at the limit, to a second; the band's edges are convex or concave, so looking from the start on is enough."""
    if height(start) >= limit:
        return start
    low, step = start, 3600.0
    while height(low + step) < limit:
        low, step = low + step, 1.5 * step
        if low > until:
            return None
    high = low + step
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (middle, high) if height(middle) < limit else (low, middle)
    return high if high <= until else None
