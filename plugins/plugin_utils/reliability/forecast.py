# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was observed of one agent's instances, turned into a forecast that says how much it can be trusted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .answer import Basis, Interval, ReliabilityError, in_words
from .history import Observed
from .lifetimes import (
    Exponential,
    Weibull,
    exponential,
    exponential_fails,
    weibull,
    weibull_fails,
)
from .special import chi2_tails
from .trend import Trend, Watched, trend

FEW = 5  # failures
UNWATCHED = 0.1
ALIKE = 0.01  # significance of a difference between instances


@dataclass(frozen=True)
class Forecast:
    """Of one agent, its instances taken together; times in seconds. `fails`: the probability that an instance of the given age fails
    within the horizon, by `model` (``exponential`` or ``weibull``). `availability` is what was seen, planned stops left out."""

    failures: int
    operation: float
    availability: float
    mtbf: Interval
    mttr: Interval | None
    trend: Trend
    weibull: Weibull | None
    model: str
    horizon: float
    age: float
    fails: Interval
    instances: tuple[Observed, ...]
    summary: str
    basis: Basis


def forecast(
    instances: Sequence[Observed], horizon: float, *, age: float = 0, confidence: float = 0.9, counted: bool = True
) -> Forecast:
    """`counted`: the counter of restarts was looked at. ReliabilityError without any operation watched."""
    operation = math.fsum(one.operation for one in instances)
    if not operation:
        raise ReliabilityError("in all of the samples nothing was up: there is no operation to judge")
    lives = [life for one in instances for life in one.lives]
    repairs = [repair for one in instances for repair in one.repairs]
    fit = exponential(sum(one.failures for one in instances), operation, confidence)
    found = trend([Watched(one.operation, tuple(one.failed_at)) for one in instances], confidence)
    aging = weibull(lives, confidence)
    fails, model = exponential_fails(fit, horizon), "exponential"
    if aging and not _holds(aging.shape, 1):
        fails, model = weibull_fails(lives, horizon, age, confidence) or fails, "weibull"
    down = math.fsum(repair.seconds for repair in repairs)
    mended = exponential(sum(repair.done for repair in repairs), down, confidence).mtbf if down else None
    window = max(one.window[1] for one in instances) - min(one.window[0] for one in instances)
    return Forecast(
        failures=fit.failures,
        operation=operation,
        availability=operation / (operation + down),
        mtbf=fit.mtbf,
        mttr=mended,
        trend=found,
        weibull=aging,
        model=model,
        horizon=horizon,
        age=age,
        fails=fails,
        instances=tuple(instances),
        summary=_summary(fit, fails, horizon),
        basis=Basis(
            _method(model, aging),
            _assumptions(instances, model),
            (*_doubts(instances, fit, found, horizon, window, counted=counted), *_new(instances, model, age)),
            window,
            sum(one.samples for one in instances),
            confidence,
        ),
    )


def _holds(interval: Interval, value: float) -> bool:
    return (interval.low or -math.inf) <= value <= (interval.high or math.inf)


def _summary(fit: Exponential, fails: Interval, horizon: float) -> str:
    sure = f"with {fit.confidence:.0%} confidence"
    low, high = fit.mtbf.low or 0.0, fit.mtbf.high
    ahead = f"within {in_words(horizon)} it fails with a probability of"
    if fit.mtbf.estimate is None or high is None or fails.estimate is None or fails.low is None or fails.high is None:
        bound = f"{sure} the mean time between failures is over {in_words(low)}, and {ahead} at most {fails.high:.3g}"
        return f"no failure in {in_words(fit.seconds)} of operation: {bound}"
    count = "1 failure" if fit.failures == 1 else f"{fit.failures} failures"
    return (
        f"{count} in {in_words(fit.seconds)} of operation: a mean time between failures of {in_words(fit.mtbf.estimate)}, {sure} between "
        f"{in_words(low)} and {in_words(high)}; {ahead} {fails.estimate:.3g}, between {fails.low:.3g} and {fails.high:.3g}"
    )


def _method(model: str, aging: Weibull | None) -> str:
    constant = "exponential: failures over time watched, chi-squared interval"
    if aging is None:
        return f"{constant}; fewer than 3 failures of lives seen from their start, so no Weibull"
    fitted = "Weibull: maximum likelihood with censoring, profile likelihood interval"
    if model == "weibull":
        return f"{fitted}; its shape is not 1, so the rate depends on the age; the mean time is by the {constant}"
    return f"{constant}; a Weibull's shape may be 1, so the age says nothing"


def _assumptions(instances: Sequence[Observed], model: str) -> tuple[str, ...]:
    found = [
        "a gap in the samples is not a failure: it ends a life unfinished",
        "a stop that is meant is not a failure: down in a maintenance, or up to 5 minutes before a change or before it is unwanted",
        "a change of state was midway between two samples",
        "one outage is one failure, however often the agent is restarted in it",
    ]
    if len(instances) > 1:
        found.append(f"the {len(instances)} instances are alike")
    found.append("a restart makes it as new" if model == "weibull" else "the rate of failures is constant")
    return tuple(found)


def _doubts(
    instances: Sequence[Observed], fit: Exponential, found: Trend, horizon: float, window: float, *, counted: bool
) -> list[str]:
    doubts = []
    low, high = fit.mtbf.low or 0.0, fit.mtbf.high
    if high is None:
        doubts.append("no failure was seen: there are bounds, no estimates")
    elif fit.failures < FEW:
        doubts.append(
            f"it rests on {fit.failures} failures: the bounds of the mean time are a factor of {high / low:.3g} apart"
        )
    if found.direction in ("improving", "worsening"):
        how = "rarer" if found.direction == "improving" else "more frequent"
        chance = min(found.laplace_p or 0.0, found.military_p or 0.0)
        doubts.append(f"failures become {how} (p = {chance:.2g}): a mean over the window says little of now")
    if not counted:
        doubts.append("without the counter of restarts, a restart between two samples is not seen")
    if horizon > window:
        doubts.append(f"the horizon is longer than the window of {in_words(window)}")
    unwatched = math.fsum(one.unwatched for one in instances)
    whole = math.fsum(one.window[1] - one.window[0] for one in instances)
    if unwatched > UNWATCHED * whole:
        doubts.append(f"{unwatched / whole:.0%} of the time was not watched")
    outages = [repair.seconds for one in instances for repair in one.repairs]
    step = max(one.step for one in instances)
    if sum(seconds <= 2 * step for seconds in outages) * 2 > len(outages):
        doubts.append(
            f"most outages are as short as the step of {in_words(step)}: times to repair are no finer than that"
        )
    return doubts + _unlike(instances, fit)


def _new(instances: Sequence[Observed], model: str, age: float) -> list[str]:
    """Where the rate depends on the age, the answer for a new instance is none for those that run."""
    ages = [one.age for one in instances if one.age]
    if model != "weibull" or age or not ages:
        return []
    return [
        f"the probability is that of a new instance; those that run are up to {in_words(max(ages))} old: give their age"
    ]


def _unlike(instances: Sequence[Observed], fit: Exponential) -> list[str]:
    """The chi-squared test that the instances have one rate, where it has enough failures to be one."""
    watched = [one for one in instances if one.operation]
    if len(watched) < 2 or fit.failures < 2 * len(watched):
        return []
    expected = [fit.failures * one.operation / fit.seconds for one in watched]
    statistic = math.fsum((one.failures - mean) ** 2 / mean for one, mean in zip(watched, expected, strict=True))
    if chi2_tails(statistic, len(watched) - 1)[1] >= ALIKE:
        return []
    worst = max(zip(watched, expected, strict=True), key=lambda pair: pair[0].failures / pair[1])[0]
    return [f"the instances are not alike: {worst.name} had {worst.failures} of {fit.failures} failures"]
