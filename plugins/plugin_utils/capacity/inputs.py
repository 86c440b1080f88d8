# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a Prometheus' answers to a model's inputs. What misleads is refused, or named in ``notes``.

Response time is not service time: it holds the wait, and a model that adds the wait again answers nonsense. Service time comes from
the utilisation law, U = X S: how many are busy on average, by how many requests a second there are (Denning and Buzen, "The operational
analysis of queueing network models", ACM Computing Surveys 10(3), 1978).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..prometheus_answer import Answer
from .model import CapacityError, Figures, Queue
from .queues import mmc

FEWEST, FEW = 100, 1000  # requests in the window: below the first it is refused, below the second it is named
SAMPLED = 30  # minutes that say something about bursts
BURSTY = 1.5  # a dispersion above this is taken for that of the arrivals


class Refused(CapacityError):
    """No recommendation can come from these data."""


@dataclass(frozen=True)
class Observed:
    """``rate``: the peak of the 5-minute rate, ``mean``: over the window, both a second. ``service``: seconds, from ``source``: busy or
    response. ``dispersion``: variance by mean of the minutes' counts; 1 is Poisson; None where it cannot be said. ``response_p95``: as
    measured, seconds; infinite beyond the last bucket."""

    rate: float
    mean: float
    service: float
    source: str
    requests: float
    window: float
    dispersion: float | None
    response_mean: float | None
    response_p95: float | None
    confidence: str
    notes: tuple[str, ...]


def observed(answers: Mapping[str, Answer], window: float, instances: int | None, concurrency: int = 1) -> Observed:
    """``answers``: by the names of promql.queries. ``window``: seconds. ``instances``: those of today, where they are known."""
    notes: list[str] = []
    requests = number(answers["requests"], "requests")
    if requests < FEWEST:
        raise Refused(f"requests: {requests:.0f} in the window; at least {FEWEST} are needed")
    _ages(answers, notes)
    peak, mean = number(answers["peak"], "peak"), number(answers["mean"], "mean")
    if not (peak > 0 and mean > 0):
        raise Refused("requests: their rate is 0")
    if peak > 3 * mean:
        notes.append(f"the peak is {peak / mean:.1f} times the mean: what is needed at the peak idles otherwise")
    response_mean, p95 = _responses(answers, notes)
    service, source = _service(answers, mean, response_mean, instances, concurrency, notes)
    dispersion = dispersed(answers.get("minutes"))
    if dispersion and dispersion > BURSTY:
        notes.append(
            f"arrivals are bursty: the counts of minutes have {dispersion:.1f} times the variance of a Poisson process"
        )
    few = requests < FEW
    if few:
        notes.append(f"only {requests:.0f} requests in the window")
    confidence = "low" if few or source == "response" else "medium" if notes else "high"
    return Observed(
        peak, mean, service, source, requests, window, dispersion, response_mean, p95, confidence, tuple(notes)
    )


def number(answer: Answer, what: str) -> float:
    """The one value of an answer. Refused where there is none, more than one, or NaN or infinite."""
    if not answer.series:
        raise Refused(f"{what}: no data")
    if len(answer.series) > 1:
        raise Refused(f"{what}: {len(answer.series)} series where one number is needed")
    value = float(answer.series[0]["value"])
    if not math.isfinite(value):
        raise Refused(f"{what}: {answer.series[0]['value']}, which is no number to plan with")
    return value


def _ages(answers: Mapping[str, Answer], notes: list[str]) -> None:
    now = number(answers["counters"], "counters")
    if not answers["counters_before"].series:
        raise Refused("requests: every counter is younger than the window; wait, or take a shorter one")
    kept = answers["counters_kept"]
    young = now - (number(kept, "counters_kept") if kept.series else 0.0)
    if young > 0:
        notes.append(
            f"{young:.0f} of {now:.0f} counters are younger than the window: what they counted before their first sample is missing"
        )


def _service(
    answers: Mapping[str, Answer],
    mean: float,
    response: float | None,
    instances: int | None,
    concurrency: int,
    notes: list[str],
) -> tuple[float, str]:
    if "busy" in answers:
        busy = number(answers["busy"], "busy")
        if busy <= 0:
            raise Refused("busy: 0 while there were requests; is it the right gauge?")
        if instances:
            _worked_on(answers, instances, concurrency)
        return busy / mean, "busy"
    if response is None:
        raise Refused(
            "service time: give it, or a gauge of busy requests (busy, busy_seconds), or a histogram (duration)"
        )
    if instances is None:
        raise Refused("service time: from response times it can only be had where the instances are known")
    notes.append(
        "service time is reckoned back from response times, as if this were an M/M/c queue: a busy gauge would say it"
    )
    return service_from_response(response, mean, instances * concurrency), "response"


def _worked_on(answers: Mapping[str, Answer], instances: int, concurrency: int) -> None:
    """Refused where busy is too much for one instance and for all of them: there may have been more of them, or one series is of all."""
    servers = instances * concurrency
    peak, most = number(answers["busy_peak"], "busy_peak"), number(answers["busy_most"], "busy_most")
    if peak > 1.01 * servers and most > 1.01 * concurrency:
        raise Refused(
            f"busy: {peak:.4g} at its peak, more than the {servers} that can be worked on at a time, and {most:.4g} in one series,"
            f" where {concurrency} can; it counts those that wait"
        )


def service_from_response(response: float, rate: float, servers: int) -> float:
    """The service time with which an M/M/c queue has that mean response; it is always shorter."""
    low, high = 0.0, min(response, servers / rate)
    for _step in range(100):
        middle = (low + high) / 2
        figures = mmc(Queue(rate, middle, servers)) if rate * middle < servers else None
        low, high = (middle, high) if figures and figures.response.mean < response else (low, middle)
    return low


def _responses(answers: Mapping[str, Answer], notes: list[str]) -> tuple[float | None, float | None]:
    """Mean and p95 as measured, where there is a histogram."""
    if "buckets" not in answers:
        return None, None
    count = number(answers["response_count"], "duration_count")
    if count < FEWEST:
        raise Refused(f"duration: {count:.0f} requests in the window; at least {FEWEST} are needed")
    mean = number(answers["response_sum"], "duration_sum") / count
    buckets = sorted((float(series["labels"]["le"]), float(series["value"])) for series in answers["buckets"].series)
    if any(not math.isfinite(value) for _bound, value in buckets) or not buckets or buckets[-1][0] < math.inf:
        raise Refused("duration: its buckets are no histogram: one is missing, or not a number")
    p95 = bucket_percentile(buckets, 0.95)
    if p95 == math.inf:
        finite = [bound for bound, _count in buckets if bound < math.inf]
        notes.append(
            f"p95 of the measured response is in the +Inf bucket: more than {finite[-1] if finite else 0:g} s, how much is unknown"
        )
    return mean, p95


def bucket_percentile(buckets: Sequence[tuple[float, float]], part: float) -> float:
    """As histogram_quantile, by straight lines in a bucket; infinite, not the last bound, where it falls beyond it."""
    wanted = part * buckets[-1][1]
    low = below = 0.0
    for bound, count in buckets:
        if count >= wanted:
            return (
                low + (bound - low) * (wanted - below) / (count - below)
                if bound < math.inf and count > below
                else bound
            )
        low, below = bound, count
    return math.inf


def dispersed(minutes: Answer | None) -> float | None:
    """Variance by mean of the counts of minutes. By the differences of neighbours, so that a day's rise and fall is no burst.

    The largest twentieth of the squares is left out, so that a step of the level is none either; of the normal law's that leaves 0.76.
    """
    if not minutes or not minutes.series:
        return None
    counts = [float(value) for _time, value in minutes.series[0].get("samples", [])]
    mean = math.fsum(counts) / len(counts) if counts else math.nan
    if len(counts) < SAMPLED or not (math.isfinite(mean) and mean >= 1):
        return None
    squares = sorted((a - b) ** 2 for a, b in pairwise(counts))
    kept = squares[: len(squares) - len(squares) // 20]
    return math.fsum(kept) / (2 * 0.76 * len(kept) * mean)


def steady(figures: Figures, window: float) -> str:
    """Why the steady state is no more than a claim, or nothing."""
    if figures.relaxation <= window / 2:
        return ""
    return (
        f"the queue forgets its past in {figures.relaxation:.0f} s, more than half the window of {window:.0f} s:"
        " its steady state is a claim, not what was seen"
    )
