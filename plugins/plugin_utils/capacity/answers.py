# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways in: how does this workload behave, how many instances does it need, and what does the answer hang on?

Each picks the method by the queue and says in its Figures which; a simulation takes over where the formulas are poor.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from .model import CapacityError, Figures, Queue, Slo, Unstable, Workload
from .queues import ggc, heavy, loss_system, mg1, mmc, mmck
from .simulation import USUAL, Effort, settles, simulate

MOST = 100_000  # instances

# Where Whitt's approximation is left alone. Measured against exact GI/M/c and M/D/c (tests): with more varied arrivals it is too
# short, by 30 % at 10 servers and a coefficient of 4; with regular ones and many servers too long.
BURSTY, HEAVY, FEW, REGULAR = 1.1, 2.0, 8, 0.9


def method(queue: Queue) -> Callable[[Queue, Effort], Figures]:
    """The one for this queue: exact where there is one, then Whitt's where it is good, else the simulation."""
    poisson, markovian = queue.arrival_scv == 1, queue.arrival_scv == 1 and queue.service_scv == 1
    inverted = queue.law not in ("lognormal", "pareto")  # has a transform
    if queue.burst or not inverted or (queue.batch > 1 and (queue.room is not None or not markovian)):
        return simulate
    if queue.room == 0 and poisson:
        return lambda given, _effort: loss_system(given)
    if queue.room is not None:
        return (lambda given, _effort: mmck(given)) if markovian else simulate
    if markovian:
        return lambda given, _effort: mmc(given)
    if poisson and queue.servers == 1:
        return lambda given, _effort: mg1(given)
    poor = (
        queue.arrival_scv > BURSTY
        or (queue.service_scv > HEAVY and queue.servers > 1)
        or (queue.arrival_scv < REGULAR and queue.servers > FEW)
    )
    if poor and settles(queue):
        return simulate
    # near saturation a simulation would have to be endless, and with many servers Whitt's is far too short
    return (lambda given, _effort: heavy(given)) if poor else lambda given, _effort: ggc(given)


def answer(workload: Workload, effort: Effort = USUAL) -> Figures:
    """Raises Unstable, with the smallest stable count, where the instances cannot keep up."""
    queue = workload.queue()
    if not queue.stable:
        smallest = workload.smallest_stable
        raise Unstable(
            f"unstable: {queue.offered:.4g} erlangs are offered to {queue.servers} at once"
            f"{'' if workload.shared else ' in each instance'}; {smallest} instances are the fewest that keep up",
            smallest,
        )
    figures = method(queue)(queue, effort)
    dealt = (
        "one queue before all instances"
        if workload.shared
        else "each request goes to an instance by chance, with its own queue"
    )
    return replace(figures, assumptions=(dealt, *figures.assumptions)) if workload.instances > 1 else figures


@dataclass(frozen=True)
class Sizing:
    """The smallest number of instances that keeps the SLO, how it then is, and how it would be with one less (None: unstable)."""

    instances: int
    figures: Figures
    one_less: Figures | None


def size(workload: Workload, slo: Slo, effort: Effort = USUAL, most: int = MOST) -> Sizing:
    """CapacityError where no number of instances does it: the work alone takes too long."""
    known: dict[int, Figures] = {}

    def with_instances(count: int) -> Figures:
        if count not in known:
            known[count] = answer(replace(workload, instances=count), effort)
        return known[count]

    start = 1 if workload.room is not None else workload.smallest_stable
    _check_possible(workload, slo, effort)
    count = _smallest(lambda given: slo.met(with_instances(given)), start, most)
    if count is None:
        raise CapacityError(f"slo: not even {most} instances keep {slo.name} below {slo.below:g} s")
    return Sizing(count, with_instances(count), with_instances(count - 1) if count > start else None)


def _check_possible(workload: Workload, slo: Slo, effort: Effort) -> None:
    """A response is never shorter than the work: as if there were a server for each."""
    if slo.of == "response":
        light = Queue(1e-9 / workload.service, workload.service, 1, 1.0, workload.service_scv, 0, workload.law)
        alone = method(light)(light, effort)
        if slo.value(replace(alone, intervals={})) > slo.below:
            raise CapacityError(
                f"slo: no number of instances keeps {slo.name} below {slo.below:g} s:"
                f" the work alone, without any wait, has {slo.value(alone):.4g} s"
            )


def _smallest(good: Callable[[int], bool], start: int, most: int) -> int | None:
    """The smallest that is good, where all larger ones are: steps that double, then halving between."""
    if good(start):
        return start
    bad, step = start, 1
    while not good(min(most, bad + step)):
        if bad + step >= most:
            return None
        bad, step = bad + step, 2 * step
    best = min(most, bad + step)
    while best - bad > 1:
        middle = (bad + best) // 2
        bad, best = (bad, middle) if good(middle) else (middle, best)
    return best


def largest_rate(workload: Workload, slo: Slo, effort: Effort = USUAL) -> float:
    """Requests a second up to which these instances keep the SLO, to 0.1 % (1 % where it is simulated); 0 where none is few enough."""

    def good(rate: float) -> bool:
        tried = replace(workload, rate=rate)
        return tried.queue().stable and slo.met(answer(tried, effort))

    full = workload.instances * workload.concurrency / workload.service
    low, high = 0.0, full if workload.room is None else 2 * full
    while good(high):
        low, high = high, 2 * high
        if high > 1e6 * full:
            return math.inf
    while high - low > (0.01 if method(workload.queue()) is simulate else 0.001) * high:
        middle = (low + high) / 2
        low, high = (middle, high) if good(middle) else (low, middle)
        if high < 1e-6 * full:
            return 0.0
    return low


@dataclass(frozen=True)
class Loss:
    """What is left without some instances: figures, or, where what is left cannot keep up, None and the reason."""

    left: int
    figures: Figures | None
    reason: str = ""


def without(workload: Workload, lost: int, effort: Effort = USUAL) -> Loss:
    left = workload.instances - lost
    if left < 1:
        return Loss(max(0, left), None, "no instance is left")
    try:
        return Loss(left, answer(replace(workload, instances=left), effort))
    except Unstable as error:
        return Loss(left, None, str(error))


INPUTS = ("rate", "service", "arrival_scv", "service_scv")


def sensitivity(
    workload: Workload, of: str = "response", measure: str = "p95", effort: Effort = USUAL
) -> dict[str, float]:
    """Elasticities: by how many percent the measure rises where an input rises by one. An input of 0, which has no percent, is left out.

    Central differences: of 1 % where there are formulas; of 5 % where it is simulated, with the same chance on both sides, which leaves
    out a coefficient below 1, whose samples would not be comparable.
    """
    simulated = method(workload.queue()) is simulate
    step = 0.05 if simulated else 0.01
    law = "auto" if workload.law in ("deterministic", "exponential") else workload.law  # those fix what is to be moved

    def at(name: str, factor: float) -> float:
        queue = replace(workload, **{name: getattr(workload, name) * factor}, law=law).queue()
        if not queue.stable:
            return math.inf
        chosen = simulate if simulated else method(queue)
        # beside an exact formula is Whitt's: there it equals M/M/c
        value: float = getattr(
            getattr(chosen(queue, effort) if simulated or chosen is not simulate else ggc(queue), of), measure
        )
        return value

    found = {}
    for name in INPUTS:
        given = getattr(workload, name)
        coefficient = name.endswith("_scv")
        bounded = coefficient and (simulated or workload.room is not None or workload.batch > 1)
        if given == 0 or (name == "arrival_scv" and workload.burst) or (bounded and given * (1 - step) <= 1):
            continue
        low, high = at(name, 1 - step), at(name, 1 + step)
        if low > 0:
            found[name] = math.log(high / low) / math.log((1 + step) / (1 - step)) if high < math.inf else math.inf
    return found
