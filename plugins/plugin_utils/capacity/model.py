# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into a model and what comes out of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

LAWS = ("auto", "deterministic", "exponential", "gamma", "hyperexponential", "lognormal", "pareto")
MEASURES = ("mean", "p50", "p95", "p99")
FULL = 1 - 1e-12  # of the servers: what is nearer to them has no drain that a number could hold


class CapacityError(Exception):
    """A question that has no answer; its text says which value is wrong, or what is missing."""


class Unstable(CapacityError):
    """More comes in than can be done: there is no steady state, and every wait grows for ever.

    ``smallest`` is the first count of instances that is stable.
    """

    def __init__(self, message: str, smallest: int) -> None:
        super().__init__(message)
        self.smallest = smallest


@dataclass(frozen=True)
class Burst:
    """Arrivals that come in bursts: a Poisson process with two rates in turn (a two-state MMPP).

    ``factor``: the rate in a burst, as a multiple of the mean rate. ``share``: the part of all time that is burst.
    ``length``: seconds that a burst lasts on average; they are exponential.
    """

    factor: float
    share: float
    length: float

    def __post_init__(self) -> None:
        if not (0 < self.share < 1 and 1 <= self.factor <= 1 / self.share and 0 < self.length < math.inf):
            raise CapacityError(
                "burst: share is between 0 and 1, factor between 1 and 1 / share, length more than 0 seconds"
            )


@dataclass(frozen=True)
class Queue:
    """One queue, first come first served, before ``servers`` that are alike. ``room``: how many can wait; None: all."""

    rate: float
    service: float
    servers: int = 1
    arrival_scv: float = 1.0
    service_scv: float = 1.0
    room: int | None = None
    law: str = "auto"
    burst: Burst | None = None
    batch: float = 1.0

    @property
    def offered(self) -> float:
        return self.rate * self.service

    @property
    def stable(self) -> bool:
        return self.room is not None or self.offered < self.servers * FULL


@dataclass(frozen=True)
class Workload:
    """An agent's requests, and the instances that answer them.

    ``rate``: requests a second, of all instances together. ``service``: seconds of work for one, waiting not included.
    ``concurrency``: how many requests one instance works on at a time. ``shared``: one queue before all instances, from which the
    first that is free takes the next; else each has its own, and a request goes to one of them by chance.
    ``arrival_scv``, ``service_scv``: squared coefficients of variation (variance / mean^2) of the times between arrivals and of the work:
    0 is a clock, 1 is exponential. ``room``: how many can wait in each queue. ``law``: of the service time, one of LAWS; auto is the
    usual one for its coefficient. ``batch``: how many come at once on average, as a geometric number; ``arrival_scv`` and ``burst``
    are then about the times at which some come.
    """

    rate: float
    service: float
    instances: int = 1
    concurrency: int = 1
    shared: bool = True
    arrival_scv: float = 1.0
    service_scv: float = 1.0
    room: int | None = None
    law: str = "auto"
    burst: Burst | None = None
    batch: float = 1.0

    def __post_init__(self) -> None:
        for name in ("rate", "service"):
            if not 0 < getattr(self, name) < math.inf:
                raise CapacityError(f"{name}: {getattr(self, name)} is not a number above 0")
        for name in ("arrival_scv", "service_scv"):
            if not 0 <= getattr(self, name) < math.inf:
                raise CapacityError(f"{name}: {getattr(self, name)} is not a number of at least 0")
        for name in ("instances", "concurrency"):
            if getattr(self, name) < 1:
                raise CapacityError(f"{name}: {getattr(self, name)}; there must be at least 1")
        if not 1 <= self.batch < math.inf:
            raise CapacityError(f"batch: {self.batch} is not a number of at least 1")
        if self.room is not None and self.room < 0:
            raise CapacityError(f"room: {self.room} is less than 0")
        self._check_law()

    def _check_law(self) -> None:
        fixed = {"deterministic": 0.0, "exponential": 1.0}.get(self.law, self.service_scv)
        if self.law not in LAWS:
            raise CapacityError(f"law: {self.law!r} is none of {', '.join(LAWS)}")
        if self.service_scv != fixed:
            raise CapacityError(f"law: {self.law} has a service_scv of {fixed:g}, not {self.service_scv:g}")
        if self.law in ("gamma", "lognormal", "pareto") and self.service_scv == 0:
            raise CapacityError(f"law: {self.law} needs a service_scv above 0")
        if self.law == "hyperexponential" and self.service_scv < 1:
            raise CapacityError(f"law: hyperexponential has a service_scv of at least 1, not {self.service_scv:g}")

    @property
    def smallest_stable(self) -> int:
        """The fewest instances that can keep up, whatever the waits."""
        fewest = max(1, math.floor(self.rate * self.service / self.concurrency))
        while self.rate * self.service >= fewest * self.concurrency * FULL:
            fewest += 1
        return fewest

    def queue(self) -> Queue:
        """The queue that a request sees. Arrivals dealt out by chance to n are Poisson the more, the larger n is.

        So are the times at which some of a batch come to one of them; those that do are a geometric number again, a smaller one.
        """
        same = (self.room, self.law, self.burst)
        if self.shared or self.instances == 1:
            servers = self.instances * self.concurrency
            return Queue(self.rate, self.service, servers, self.arrival_scv, self.service_scv, *same, self.batch)
        batch = 1 + (self.batch - 1) / self.instances
        thinned = 1 + (self.arrival_scv - 1) * self.batch / (self.instances * batch)
        rate = self.rate / self.instances
        return Queue(rate, self.service, self.concurrency, thinned, self.service_scv, *same, batch)


@dataclass(frozen=True)
class Times:
    """Seconds: the mean, and what a half, 95 and 99 of 100 requests do not exceed."""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Figures:
    """How a queue behaves in its steady state. Times are of the requests that were taken in; ``wait`` ends where the work begins,
    ``response`` is wait and work.

    ``offered``: erlangs. ``utilisation``: of the servers, from 0 to 1. ``waits``: the part that waits at all. ``queue``: how many wait,
    on average. ``loss``: the part that found no room. ``intervals``: of a simulation, 95 % confidence intervals by name, as
    ``response.p95``. ``relaxation``: seconds in which the queue forgets its past. ``settled``: false of a simulation that is too short for
    its waits to be believed.
    """

    offered: float
    utilisation: float
    waits: float
    queue: float
    loss: float
    wait: Times
    response: Times
    method: str
    confidence: str
    relaxation: float
    settled: bool = True
    assumptions: tuple[str, ...] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Slo:
    """``measure`` (of MEASURES) ``of`` response or wait is at most ``below`` seconds, and at most the part ``loss`` of requests is lost."""

    below: float
    measure: str = "p95"
    of: str = "response"
    loss: float = 0.001

    def __post_init__(self) -> None:
        if self.measure not in MEASURES or self.of not in ("response", "wait") or not 0 < self.below < math.inf:
            raise CapacityError(
                "slo: a measure of mean, p50, p95 or p99, of response or wait, below a number of seconds"
            )
        if not 0 <= self.loss < 1:
            raise CapacityError(f"slo: a loss of at least 0 and below 1, not {self.loss}")

    @property
    def name(self) -> str:
        return f"{self.of}.{self.measure}"

    def value(self, figures: Figures) -> float:
        """The larger end of its interval where there is one: what is promised must hold."""
        seen: float = getattr(getattr(figures, self.of), self.measure)
        return max(seen, figures.intervals.get(self.name, (0.0, 0.0))[1])

    def met(self, figures: Figures) -> bool:
        lost = max(figures.loss, figures.intervals.get("loss", (0.0, 0.0))[1])
        return figures.settled and self.value(figures) <= self.below and lost <= self.loss
