# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Erlang formulas, by the recursion: a^c/c! itself overflows at c = 171.

B(0) = 1, B(c) = a B(c-1) / (c + a B(c-1)). Every term is positive, so nothing cancels and the relative error stays near
c times the machine's. ``load`` is the offered load a = rate * service time, in erlangs (servers busy on average).

Where a geometric number of mean m comes at once, q = 1 - 1/m, the flows across each cut of M^[X]/M/c give a product as simple: the chance
that n are ahead of one who comes is in proportion to (q + a / (m 1)) ... (q + a / (m n)), and from n = c on to a power. With m = 1 that
is Erlang's. (M^[X]/M/1: Gross and Harris, "Fundamentals of Queueing Theory", 3.1.)
"""

from functools import lru_cache


@lru_cache(maxsize=32)
def _known(load: float, batch: float) -> list[float]:
    """B(0), B(1), ..., the last term of the products by the sum of all up to it: as far as was asked for.

    So looking for a number of servers c costs O(c) in all.
    """
    return [1.0]


def blocked(servers: int, load: float) -> float:
    """Erlang B: the part of the arrivals that is lost where nobody can wait."""
    return _last(servers, float(load), 1.0)


def _last(servers: int, load: float, batch: float) -> float:
    known = _known(load, batch)
    while len(known) <= servers:
        last = _factor(len(known), load, batch) * known[-1]
        known.append(last / (len(known) + last))
    return known[servers]


def _factor(servers: int, load: float, batch: float) -> float:
    """servers * (q + load / (batch * servers))."""
    return load / batch + servers * (1 - 1 / batch)


def waits(servers: int, load: float, batch: float = 1.0) -> float:
    """Erlang C: the part of the arrivals that waits where everybody may; 1 for an unstable queue."""
    if load >= servers:
        return 1.0
    last = _last(servers, float(load), batch)
    return servers * last / (servers - _factor(servers, load, batch) * (1 - last))


def servers_for_loss(load: float, most: float) -> int:
    """The smallest number of servers that loses at most that part."""
    if not 0 < most <= 1:
        raise ValueError(f"a part between 0 and 1, not {most}")
    servers = 0
    while blocked(servers, load) > most:
        servers += 1
    return servers
