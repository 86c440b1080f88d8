# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A seeded simulation of one queue, for what formulas are poor at: bursts, heavy tails, batches, a bounded queue of general times.

Independent replications, each from an empty queue; the first part of each is thrown away (ten relaxation times, at least a fifth of
what is kept). Intervals are Student's, at 95 %, over the replications: they say how sure the simulation is, not the inputs.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heapreplace

from .laws import Law
from .model import Burst, CapacityError, Figures, Queue, Times
from .queues import FIRST_COME, batches, relaxation
from .student import interval

LEAST, MOST = 50_000, 200_000  # requests that are kept of a replication
WARM = 10  # relaxation times that are thrown away
MEMORIES = 200  # relaxation times that a replication is long, where MOST allows it
PARTS = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


@dataclass(frozen=True)
class Effort:
    """The same seed gives the same numbers, also over what differs in rate or servers: comparisons share their chance."""

    seed: int = 1
    replications: int = 10

    def __post_init__(self) -> None:
        if self.replications < 2:
            raise CapacityError(f"replications: {self.replications}; an interval needs at least 2")


USUAL = Effort()


def settles(queue: Queue) -> bool:
    """Whether a replication can be long enough to forget that it began empty: else its waits are far too short."""
    return WARM * relaxation(queue) * queue.rate <= MOST


def simulate(queue: Queue, effort: Effort = USUAL) -> Figures:
    """Figures with intervals. An unstable queue is the caller's to refuse: it has no steady state to simulate."""
    memory = relaxation(queue) * queue.rate  # in requests
    wanted = MEMORIES * memory if math.isfinite(memory) else LEAST
    kept = int(min(MOST, max(LEAST, wanted)))
    warm = int(min(MOST, max(kept / 5, WARM * memory if math.isfinite(memory) else 0)))
    runs = [_replication(queue, warm, kept, f"{effort.seed}/{number}") for number in range(effort.replications)]
    means = {name: math.fsum(run[name] for run in runs) / len(runs) for name in runs[0]}
    reached = interval([run["response.p95"] for run in runs])
    width = (reached[1] - reached[0]) / 2 / means["response.p95"]
    short, settled = kept < wanted, settles(queue)
    return Figures(
        offered=queue.offered,
        utilisation=queue.offered * (1 - means["loss"]) / queue.servers,
        waits=means["waits"],
        queue=queue.rate * (1 - means["loss"]) * means["wait.mean"],
        loss=means["loss"],
        wait=Times(*(means[f"wait.{name}"] for name in ("mean", "p50", "p95", "p99"))),
        response=Times(*(means[f"response.{name}"] for name in ("mean", "p50", "p95", "p99"))),
        method=f"simulation: {effort.replications} replications of {kept} requests after {warm} of warm-up, seed {effort.seed};"
        " 95 % intervals by Student's t",
        confidence=f"{'low' if short or width > 0.1 else 'medium'}: response.p95 is known to {width:.1%}"
        + (
            ""
            if settled
            else f"; it does not settle: {WARM} relaxation times are more than {MOST} requests, the waits are too short"
        )
        + (f"; a replication is shorter than {MEMORIES} relaxation times" if short else ""),
        relaxation=relaxation(queue),
        settled=settled,
        assumptions=_assumptions(queue),
        intervals={name: interval([run[name] for run in runs]) for name in runs[0]},
    )


def _assumptions(queue: Queue) -> tuple[str, ...]:
    burst, room = queue.burst, queue.room
    arrivals = (
        f"arrivals come in bursts of {burst.factor:g} times the mean rate, {burst.length:g} s long, {burst.share:.0%} of the time"
        if burst
        else f"times between arrivals are independent, {Law(1, queue.arrival_scv).kind} with a coefficient of {queue.arrival_scv:g}"
    )
    law = Law(queue.service, queue.service_scv, queue.law)
    service = f"service times are {law.kind} with a coefficient of {queue.service_scv:g}"
    bounded = () if room is None else (f"{room} can wait in a queue, who finds no room is lost",)
    return (arrivals, *batches(queue), service, *bounded, FIRST_COME)


def _replication(queue: Queue, warm: int, kept: int, seed: str) -> dict[str, float]:
    """Arrivals and services have each their own source of chance: so more servers see the same requests."""
    arrivals = _arrivals(queue, random.Random(f"arrivals {seed}"))  # noqa: S311 (no secret)
    service = Law(queue.service, queue.service_scv, queue.law).sampler(random.Random(f"services {seed}"))  # noqa: S311
    waits, responses, lost = _serve(queue, arrivals, service, warm, kept)
    count = len(waits)
    found = {"loss": lost / kept, "waits": sum(1 for wait in waits if wait > 0) / count}
    for name, times in (("wait", waits), ("response", responses)):
        found[f"{name}.mean"] = math.fsum(times) / count
        times.sort()
        found |= {f"{name}.{part}": times[min(count - 1, math.ceil(p * count) - 1)] for part, p in PARTS}
    return found


def _serve(
    queue: Queue, arrivals: Iterator[float], service: Callable[[], float], warm: int, kept: int
) -> tuple[list[float], list[float], int]:
    """First come, first served: the next goes to the server that is free first. ``starts``: of those that still wait."""
    free = [0.0] * queue.servers
    room, starts = queue.room, deque[float]()
    waits: list[float] = []
    responses: list[float] = []
    lost = 0
    for number in range(warm + kept):
        now, work = next(arrivals), service()
        start = max(now, free[0])
        if room is not None:
            while starts and starts[0] <= now:
                starts.popleft()
            if start > now and len(starts) >= room:
                lost += number >= warm
                continue
            if start > now:
                starts.append(start)
        heapreplace(free, start + work)
        if number >= warm:
            waits.append(start - now)
            responses.append(start - now + work)
    return waits, responses, lost


def _arrivals(queue: Queue, source: random.Random) -> Iterator[float]:
    moments = queue.rate / queue.batch  # a second, at which some come
    apart = Law(1 / moments, queue.arrival_scv).sampler(source)
    singly = _bursts(moments, queue.burst, source) if queue.burst else _renewal(apart)
    return singly if queue.batch == 1 else _batches(singly, queue.batch, source)


def _renewal(gap: Callable[[], float]) -> Iterator[float]:
    now = 0.0
    while True:
        now += gap()
        yield now


def _batches(moments: Iterator[float], mean: float, source: random.Random) -> Iterator[float]:
    """A geometric number at each moment, at least one: each but the first comes with the same chance."""
    more = 1 - 1 / mean
    for now in moments:
        yield now
        while source.random() < more:
            yield now


def _bursts(rate: float, burst: Burst, source: random.Random) -> Iterator[float]:
    """Two Poisson rates in turn; the state is drawn as time would find it."""
    calm = rate * max(0.0, 1 - burst.share * burst.factor) / (1 - burst.share)
    states = ((rate * burst.factor, burst.length), (calm, burst.length * (1 - burst.share) / burst.share))
    state = 0 if source.random() < burst.share else 1
    now, until = 0.0, source.expovariate(1 / states[state][1])
    while True:
        speed = states[state][0]
        coming = now + source.expovariate(speed) if speed else math.inf
        if coming < until:
            now = coming
            yield now
        else:  # without memory: what is left of the gap is drawn anew at the other rate
            now, state = until, 1 - state
            until = now + source.expovariate(1 / states[state][1])
