# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Erlang formulas, by the recursion: a^c/c! itself overflows at c = 171.

B(0) = 1, B(c) = a B(c-1) / (c + a B(c-1)). Every term is positive, so nothing cancels and the relative error stays near
c times the machine's. ``load`` is the offered load a = rate * service time, in erlangs (servers busy on average).
"""

from functools import lru_cache


@lru_cache(maxsize=32)
def _known(load: float) -> list[float]:
    """B(0), B(1), ...: as far as was asked for. So looking for a number of servers c costs O(c) in all."""
    return [1.0]


def blocked(servers: int, load: float) -> float:
    """Erlang B: the part of the arrivals that is lost where nobody can wait."""
    known = _known(float(load))
    while len(known) <= servers:
        last = load * known[-1]
        known.append(last / (len(known) + last))
    return known[servers]


def waits(servers: int, load: float) -> float:
    """Erlang C: the part of the arrivals that waits where everybody may; 1 for an unstable queue."""
    if load >= servers:
        return 1.0
    lost = blocked(servers, load)
    return servers * lost / (servers - load * (1 - lost))


def servers_for_loss(load: float, most: float) -> int:
    """The smallest number of servers that loses at most that part."""
    if not 0 < most <= 1:
        raise ValueError(f"a part between 0 and 1, not {most}")
    servers = 0
    while blocked(servers, load) > most:
        servers += 1
    return servers
