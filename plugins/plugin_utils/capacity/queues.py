# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Queues with formulas: M/M/c, M/M/c/K and the Erlang loss system, M/G/1, and G/G/c by Whitt. Each takes a Queue and gives Figures.

Sources: Gross and Harris, "Fundamentals of Queueing Theory" (M/M/c, M/M/c/K, Pollaczek-Khinchine); for G/G/c see whitt.py.
"""

import math
from collections.abc import Callable

from . import erlang, whitt
from .laws import Law, percentile, survival
from .model import Figures, Queue, Times

POISSON = "arrivals are Poisson"
FIRST_COME = "first come, first served; nobody gives up"
Beyond = Callable[[float], float]


def relaxation(queue: Queue) -> float:
    """Seconds in which the queue forgets where it started, about: Odoni and Roth (Operations Research 31(3), 1983)."""
    slack = 1 - math.sqrt(min(1.0, queue.offered / queue.servers))
    # a geometric number at a time: the variance of the number that came, by its mean, in the long run
    varied = queue.batch * queue.arrival_scv + queue.batch - 1 + queue.service_scv
    settled = varied * queue.service / (2.8 * queue.servers * slack * slack) if slack else math.inf
    if queue.room is not None:  # a diffusion between two walls
        walls = 2 * (queue.room + 1) ** 2 * queue.service / (math.pi**2 * queue.servers * max(0.1, varied))
        settled = min(settled, walls)
    return max(queue.service, settled) + (queue.burst.length / queue.burst.share if queue.burst else 0.0)


def batches(queue: Queue) -> tuple[str, ...]:
    """What is assumed of them, where there are any."""
    return () if queue.batch == 1 else (f"{queue.batch:g} come at once on average, a geometric number",)


def mmc(queue: Queue) -> Figures:
    """Exact, also where a geometric number comes at once. The wait is 0, or exponential with rate (c mu - lambda) / batch."""
    mu, servers = 1 / queue.service, queue.servers
    waits = erlang.waits(servers, queue.offered, queue.batch)
    drain = (servers * mu - queue.rate) / queue.batch

    def response(at: float) -> float:
        if abs(drain - mu) < 1e-7 * mu:  # the two rates are one: the limit
            return math.exp(-mu * at) * (1 + waits * mu * at)
        # P(T > t) = (1 - C) e^-mu t + C P(wait + work > t)
        both = (drain * math.exp(-mu * at) - mu * math.exp(-drain * at)) / (drain - mu)
        return (1 - waits) * math.exp(-mu * at) + waits * both

    return _figures(
        queue,
        waits=waits,
        mean_wait=waits / drain,
        wait=lambda at: waits * math.exp(-drain * at),
        response=response,
        method=f"{'M/M/c' if queue.batch == 1 else 'M^[X]/M/c'}: Erlang C by the recursion; wait and response in closed form",
        assumptions=(POISSON, *batches(queue), "service times are exponential", FIRST_COME),
    )


def mmck(queue: Queue) -> Figures:
    """Exact. Times are of those that found room; the one who waits behind j others waits for j + 1 departures."""
    room = queue.room or 0
    mu, load = queue.service**-1 * queue.servers, queue.offered
    ratio = load / queue.servers
    tail = _tail(queue.servers, load, room)  # P(servers + j in it), j = 0..room
    loss = tail[-1]
    taken = 1 - loss
    waiting = sum(tail[:-1]) / taken
    length = sum(j * p for j, p in enumerate(tail))
    first = tail[0] / taken
    last = tail[-2] / taken if room else 0.0
    service = Law(queue.service, 1.0).transform

    def wait(s: complex) -> complex:
        """1 - waiting + sum of first ratio^j x^(j+1) over j < room, from the side where it does not overflow."""
        x = mu / (mu + s)
        step = ratio * x
        if abs(1 - step) < 1e-9:
            return 1 - waiting + first * x * room
        if abs(step) < 1:
            return 1 - waiting + first * x * (1 - step**room) / (1 - step)
        return 1 - waiting + last * x**room * (1 - step**-room) / (1 - 1 / step)

    return _figures(
        queue,
        waits=waiting,
        mean_wait=length / (queue.rate * taken),
        wait=lambda at: survival(wait, at),
        response=lambda at: survival(lambda s: wait(s) * service(s), at),
        method="M/M/c/K: the recursion of Erlang B, continued over the waiting room; percentiles by inverting the transform",
        assumptions=(
            POISSON,
            "service times are exponential",
            f"{room} can wait in a queue, who finds no room is lost",
            FIRST_COME,
        ),
        loss=loss,
    )


def _tail(servers: int, load: float, room: int) -> list[float]:
    """P(all servers busy and j waiting). Scaled by its largest term, so that nothing overflows; all terms are positive."""
    ratio, lost = load / servers, erlang.blocked(servers, load)
    if lost == 0:
        return [0.0] * (room + 1)
    if ratio <= 1:
        weights = [ratio**j for j in range(room + 1)]
        # those below: their sum is (1 - B) / B times the first weight
        total = (1 - lost) / lost + math.fsum(weights)
    else:
        weights = [ratio ** (j - room) for j in range(room + 1)]
        total = (1 - lost) / lost * weights[0] + math.fsum(weights)
    return [weight / total for weight in weights]


def loss_system(queue: Queue) -> Figures:
    """Exact for every law of service: the Erlang loss formula is insensitive to it. Nobody waits."""
    law = Law(queue.service, queue.service_scv, queue.law)
    return _figures(
        queue,
        waits=0.0,
        mean_wait=0.0,
        wait=lambda at: 0.0,
        response=lambda at: _served(law, at),
        method="M/G/c/c: Erlang B by the recursion",
        assumptions=(POISSON, "nobody can wait, who finds no server free is lost"),
        loss=erlang.blocked(queue.servers, queue.offered),
    )


def mg1(queue: Queue) -> Figures:
    """Mean by Pollaczek-Khinchine, exact by two moments; the distribution by inverting its transform, of the law of service."""
    used = queue.offered
    law = Law(queue.service, queue.service_scv, queue.law)

    def wait(s: complex) -> complex:
        return (1 - used) * s / (s - queue.rate * (1 - law.transform(s)))

    return _figures(
        queue,
        waits=used,
        mean_wait=used * queue.service * (1 + queue.service_scv) / (2 * (1 - used)),
        wait=lambda at: survival(wait, at),
        response=_after(law, wait),
        method="M/G/1: Pollaczek-Khinchine; percentiles by inverting its transform (Abate and Whitt's Euler algorithm)",
        assumptions=(POISSON, f"service times are {law.kind}; the mean wait needs only their coefficient", FIRST_COME),
    )


def ggc(queue: Queue) -> Figures:
    """Whitt 1993: the mean wait and the part that waits; its conditional wait as the law with its two moments."""
    waits, mean = whitt.waits(queue), whitt.mean_wait(queue)
    return _by_moments(
        queue, waits, Law(mean / waits if waits else 0.0, whitt.delay_scv(queue)),
        "G/G/c: Whitt 1993, an approximation by two moments; percentiles of a law fitted to its conditional wait",
        "medium: an approximation; of mean waits at 70 % utilisation and more it is rather too long than too short",
    )  # fmt: skip


def heavy(queue: Queue) -> Figures:
    """The limit of heavy traffic: everybody waits, an exponential time (Kingman 1962; of several servers, Koellerstroem 1974)."""
    varied = (queue.arrival_scv + queue.service_scv) / 2
    mean = varied * queue.service / (queue.servers - queue.offered)
    return _by_moments(
        queue, 1.0, Law(mean, 1.0), "G/G/c: the limit of heavy traffic, as if everybody waited",
        "medium: an approximation, rather too long than too short, most of all with many servers; no simulation settles so near saturation",
    )  # fmt: skip


def _by_moments(queue: Queue, waits: float, delay: Law, method: str, confidence: str) -> Figures:
    """Of a queue whose arrivals and services are known by two moments; ``delay``: the wait of those that wait."""
    law = Law(queue.service, queue.service_scv, queue.law)

    def wait(s: complex) -> complex:
        return 1 - waits + waits * delay.transform(s)

    return _figures(
        queue,
        waits=waits,
        mean_wait=waits * delay.mean,
        wait=lambda at: survival(wait, at),
        response=_after(law, wait),
        method=method,
        assumptions=(
            f"times between arrivals are independent, with a coefficient of {queue.arrival_scv:g}",
            f"service times are {law.kind} with a coefficient of {queue.service_scv:g}",
            FIRST_COME,
        ),
        confidence=confidence,
    )


def _served(law: Law, at: float) -> float:
    if law.kind == "deterministic":
        return 1.0 if at < law.mean else 0.0
    return survival(law.transform, at)


def _after(law: Law, wait: Callable[[complex], complex]) -> Beyond:
    """P(wait + work > t). A fixed service time only shifts the wait: that jump is not for a Fourier series."""
    if law.kind == "deterministic":
        return lambda at: 1.0 if at <= law.mean else survival(wait, at - law.mean)
    return lambda at: survival(lambda s: wait(s) * law.transform(s), at)


def _figures(
    queue: Queue, *, waits: float, mean_wait: float, wait: Beyond, response: Beyond, method: str,
    assumptions: tuple[str, ...], loss: float = 0.0, confidence: str = "high: exact for these assumptions",
) -> Figures:  # fmt: skip
    def times(beyond: Beyond, mean: float, positive: float) -> Times:
        found = [percentile(beyond, p, mean) if positive > 1 - p else 0.0 for p in (0.5, 0.95, 0.99)]
        return Times(mean, *found)

    taken = queue.rate * (1 - loss)
    return Figures(
        offered=queue.offered,
        utilisation=queue.offered * (1 - loss) / queue.servers,
        waits=waits,
        queue=taken * mean_wait,
        loss=loss,
        wait=times(wait, mean_wait, waits),
        response=times(response, mean_wait + queue.service, 1.0),
        method=method,
        confidence=confidence,
        relaxation=relaxation(queue),
        assumptions=assumptions,
    )
