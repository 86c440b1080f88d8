# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repair by a limited number of crews.

Units that wait for a crew are no longer independent. With failure rates l_i and repair rates m_i, c crews that share the work
evenly among all that is down (each unit gets at most one) make a reversible Markov chain, whose states S (what is down) have
probabilities in proportion to prod(l_i / m_i, i in S) * prod(j / min(j, c), j = 1..|S|): detailed balance, state by state.
So the independent model holds but for a weight that depends on how many are down. With equal units, the number that is down
is the birth-death chain of the machine repair model (Karlin and Taylor, A First Course in Stochastic Processes, chapter 4),
whatever the order of repair.
"""

import math
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Crews:
    """How many units of one kind (``instance``, ``host``, ``zone``) can be repaired at a time, in all of the fleet."""

    level: str
    number: int


def log_weights(units: int, crews: int) -> list[float]:
    """The logarithm of the weight of 0, 1, ... `units` down. As logarithms, for they outgrow a double at 171 units."""
    return list(accumulate((math.log(j / min(j, crews)) for j in range(1, units + 1)), initial=0.0))
