# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long one visit of a station of a closed fleet takes: not only its mean, exactly.

Who comes finds the network as it is with one agent less (the arrival theorem: K. C. Sevcik and I. Mitrani, "The distribution of queuing
network states at input and output instants", Journal of the ACM 28(2), 1981). How many are at the station then follows from throughputs:
p(j | n) = f(j) G'(n - j) / G(n), with G(n) = 1 / (X(1) ... X(n)), G' that of the network without the station, and f(j) its product of
demand / min(i, servers); all terms are positive. Who finds j waits for j - servers + 1 departures, then works: phases that are counted off
by one Poisson process (A. Jensen's uniformisation), so a percentile is a sum of positive terms too.

A whole round has no such answer: what its visits have to do with each other depends on their order, which nobody gave.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate

from .closed import Station, throughputs
from .laws import percentile
from .model import Times

DEVIATIONS = 10  # of a Poisson process; what is beyond is below 1e-15


def visits(stations: Sequence[Station], think: float, populations: Sequence[int]) -> list[dict[str, Times]]:
    """Of each population, by station, the seconds of one visit: wait and work. The options are those of ``closed``."""
    most = max(populations)
    whole, rest = throughputs(stations, think, most)
    found: list[dict[str, Times]] = [{} for _population in populations]
    for station in stations:
        for times, population in zip(found, populations, strict=True):
            there = found_there(station, whole, rest[station.name], population)
            times[station.name] = _times(there, station)
    return found


def found_there(station: Station, whole: Sequence[float], rest: Sequence[float], population: int) -> list[float]:
    """The probabilities that one who comes finds 0, 1, ... others there. ``whole`` and ``rest``: throughputs with and without it."""
    others = population - 1
    if not rest:  # there is nowhere else
        return [0.0] * others + [1.0]
    norm, other = (list(accumulate((-math.log(x) for x in found), initial=0.0)) for found in (whole, rest))
    demands = (math.log(station.demand / min(i, station.servers)) for i in range(1, population))
    weights = list(accumulate(demands, initial=0.0))
    return [math.exp(weights[j] + other[others - j] - norm[others]) for j in range(population)]


def _times(there: Sequence[float], station: Station) -> Times:
    servers, rate = station.servers, station.servers / station.service
    # how many departures one has to wait for
    waits = [math.fsum(there[:servers]), *there[servers:]]
    mean = station.service + math.fsum(k * p for k, p in enumerate(waits)) / rate
    beyond = _beyond(waits, servers, rate)
    return Times(mean, *(percentile(beyond, part, mean) for part in (0.5, 0.95, 0.99)))


def _beyond(waits: Sequence[float], servers: int, rate: float) -> Callable[[float], float]:
    """P(a visit takes longer than t). Events come at ``rate``; the first ones are the departures, then one in ``servers`` is one's own."""
    stays = 1 - 1 / servers
    after = [*list(accumulate(reversed(waits)))[-2::-1], 0.0]  # P(more than k departures)
    working = list(accumulate(waits, lambda sum_, p: sum_ * stays + p))

    def lasts(events: int) -> float:
        """P(not over after so many events)."""
        if events < len(waits):
            return after[events] + working[events]
        return float(working[-1] * stays ** (events - len(waits) + 1))

    def beyond(at: float) -> float:
        expected = rate * at
        width = DEVIATIONS * math.sqrt(expected) + 3 * DEVIATIONS
        low, high = max(0, int(expected - width)), int(expected + width)
        logs = ((n, n * math.log(expected) - expected - math.lgamma(n + 1)) for n in range(low, high + 1))
        return math.fsum(math.exp(log) * lasts(n) for n, log in logs)

    return beyond
