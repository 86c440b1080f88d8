# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""G/G/c by two moments: W. Whitt, "Approximations for the GI/G/m queue", Production and Operations Management 2(2), 1993, 114-161.

Mean wait: formulas 2.16 to 2.25. The part that waits: 3.5 to 3.11. The conditional wait's coefficient: 4.2 and 4.3, these as in
his "The Queueing Network Analyzer" (Bell System Technical Journal 62(9), 1983). m, rho, ca2 and cs2 are his names.
"""

import math
from statistics import NormalDist

from . import erlang
from .model import Queue


def mean_wait(queue: Queue) -> float:
    """Seconds: that of M/M/m, times (ca2 + cs2) / 2, times a correction that is exact for M/M/m and near M/D/m."""
    m, rho, ca2, cs2 = _names(queue)
    plain = erlang.waits(m, queue.offered) * queue.service / (m * (1 - rho))
    return plain * (ca2 + cs2) / 2 * _correction(m, rho, ca2, cs2)


def _correction(m: int, rho: float, ca2: float, cs2: float) -> float:
    if ca2 + cs2 == 0:  # two clocks: nobody waits
        return 0.0
    gamma = min(0.24, (1 - rho) * (m - 1) * (math.sqrt(4 + 5 * m) - 2) / (16 * m * rho))
    fixed_service = 1 + gamma  # phi 1: M/D/m, by Cosmetatos
    fixed_arrivals = (1 - 4 * gamma) * math.exp(-2 * (1 - rho) / (3 * rho))  # phi 3: D/M/m
    mean = min(1.0, (fixed_service + fixed_arrivals) / 2)
    both = (ca2 + cs2) / 2
    psi = 1.0 if both >= 1 else mean ** (2 * (1 - both))
    if ca2 >= cs2:
        return (4 * (ca2 - cs2) * fixed_service + cs2 * psi) / (4 * ca2 - 3 * cs2)
    return ((cs2 - ca2) * fixed_arrivals + (cs2 + 3 * ca2) * psi) / (2 * (ca2 + cs2))


def waits(queue: Queue) -> float:
    """The part that waits."""
    m, rho, ca2, cs2 = _names(queue)
    poisson = erlang.waits(m, queue.offered)
    if ca2 == 1:
        return poisson
    if ca2 + cs2 == 0:
        return 0.0
    gamma = (m - m * rho - 0.5) / math.sqrt(m * rho * (ca2 + cs2) / (1 + cs2))
    heavy = _tilted(poisson, m, rho, (1 + cs2) / (ca2 + cs2))
    light = _tilted(poisson, m, rho, 2 / (1 + ca2))
    first = rho * rho * heavy + (1 - rho * rho) * light
    if m <= 6 or gamma <= 0.5 or ca2 > 1:
        return min(1.0, first)
    second = ca2 * first + (1 - ca2) * _beyond(gamma)
    weight = min(1.0, 2 * (1 - ca2) * (gamma - 0.5)) if gamma < 1 else 1.0
    return min(1.0, weight * second + (1 - weight) * first)


def delay_scv(queue: Queue) -> float:
    """The squared coefficient of variation of the wait of those that wait."""
    _m, rho, _ca2, cs2 = _names(queue)
    third = 3 * cs2 * (1 + cs2) if cs2 >= 1 else (2 * cs2 + 1) * (cs2 + 1)
    return 2 * rho - 1 + 4 * (1 - rho) * third / (3 * (cs2 + 1) ** 2)


def _names(queue: Queue) -> tuple[int, float, float, float]:
    return queue.servers, queue.offered / queue.servers, queue.arrival_scv, queue.service_scv


def _tilted(poisson: float, m: int, rho: float, factor: float) -> float:
    slack = (1 - rho) * math.sqrt(m)
    below = _beyond(slack)
    return min(1.0, poisson * _beyond(factor * slack) / below) if below else 0.0


def _beyond(x: float) -> float:
    """P(N > x) of the standard normal; by its symmetry, so that a small one does not cancel."""
    return NormalDist().cdf(-x)
