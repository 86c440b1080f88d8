# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the rate of failures change with time? The question before any mean time between failures.

Failures of several instances are pooled, each on its own scale of watched operation. Laplace: the mean of the times against the
middle. Military handbook (MIL-HDBK-189): 2 sum ln(T / t) is chi-squared with 2 degrees of freedom a failure if there is no
trend; half of its inverse is the shape of a power law (Crow, AMSAA): under 1 improving, above 1 wearing out. Both, and their formulas:
NIST/SEMATECH e-Handbook of Statistical Methods, 8.2.3.4 and 8.4.5.2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from .answer import Interval
from .special import chi2_quantile, chi2_tails, chi2_upper

SIGNIFICANCE = 0.025  # of each of two tests, so of both together at most 5 %
FEWEST = 4  # failures; with fewer no trend would be seen


@dataclass(frozen=True)
class Watched:
    """One instance: for how long its operation was watched (seconds), and at which times of that it failed."""

    seconds: float
    failures: tuple[float, ...]


@dataclass(frozen=True)
class Trend:
    """`direction` is ``none``, ``improving``, ``worsening``, or ``unknown`` with too few failures. `shape` is that of the power law."""

    direction: str
    failures: int
    laplace: float | None = None
    laplace_p: float | None = None
    military: float | None = None
    military_p: float | None = None
    shape: Interval | None = None


def trend(watched: Sequence[Watched], confidence: float = 0.9) -> Trend:
    """Two-sided; a trend is what either test finds at 2.5 %, so both together see one where there is none in at most 5 %."""
    pairs = [(max(time, one.seconds * 1e-12), one.seconds) for one in watched for time in one.failures]
    count = len(pairs)
    if count < FEWEST:
        return Trend("unknown", count)
    middle = math.fsum(end / 2 for _time, end in pairs)
    spread = math.sqrt(math.fsum(end * end / 12 for _time, end in pairs))
    laplace = (math.fsum(time for time, _end in pairs) - middle) / spread
    laplace_p = 2 * NormalDist().cdf(-abs(laplace))
    military = 2 * math.fsum(math.log(end / time) for time, end in pairs)
    military_p = min(1.0, 2 * min(chi2_tails(military, 2 * count)))
    tail = (1 - confidence) / 2
    shape = Interval(
        2 * count / military, chi2_quantile(tail, 2 * count) / military, chi2_upper(tail, 2 * count) / military
    )
    direction = "none"
    if min(laplace_p, military_p) < SIGNIFICANCE:
        worse = laplace > 0 if laplace_p <= military_p else military < 2 * count
        direction = "worsening" if worse else "improving"
    return Trend(direction, count, laplace, laplace_p, military, military_p, shape)
