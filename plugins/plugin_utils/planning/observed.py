# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often instances were down, as a Prometheus saw it: for fleets that do not say."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..capacity import promql
from ..capacity.study import Ask
from ..prometheus_answer import PrometheusError, Unavailable
from ..reliability.answer import ReliabilityError, in_words
from ..reliability.observed import forecasts
from ..reliability.structure import Chance

CONFIDENCE = 0.9
FINEST, MOST = 60, 10_000  # seconds between samples; samples of a series
KINDS = ("up", "wanted", "restarts_total")
SAID_HERE = ("no history of changes", "no failure was seen")  # warnings of a forecast that are told otherwise


@dataclass(frozen=True)
class Seen:
    """Of an agent's instances: how they are found in the long run (None: no failure was seen, which says nothing of that), the number
    of failures that this rests on (None: nothing was seen at all), that in words, with intervals, and why to doubt it."""

    chance: Chance | None = None
    failures: int | None = None
    told: str = ""
    doubts: tuple[str, ...] = ()


def watched(environment: str, agents: Iterable[str], window: str, ask: Ask) -> dict[str, Seen]:
    """Agent -> what was seen of it in the window. One query each, so that none is too large; once nobody answers, nobody is asked."""
    found: dict[str, Seen] = {}
    away = None
    for agent in agents:
        try:
            found[agent] = _unseen(away) if away else _seen(environment, agent, window, ask)
        except (PrometheusError, ReliabilityError) as error:
            found[agent] = _unseen(error)
            away = error if isinstance(error, Unavailable) else None
    return found


def _unseen(why: Exception) -> Seen:
    return Seen(doubts=(f"how often an instance is down was not seen: {why}",))


def _seen(environment: str, agent: str, window: str, ask: Ask) -> Seen:
    every = max(FINEST, math.ceil(promql.seconds(window) / MOST))
    names = f'__name__=~"agentfactory_agent_({"|".join(KINDS)})"'
    series = ask(f'{{{names},environment="{environment}",agent="{agent}"}}[{window}:{every}s]').series
    given: dict[str, Any] = {
        kind: [one for one in series if one["labels"]["__name__"] == f"agentfactory_agent_{kind}"] for kind in KINDS
    }
    if not given["up"]:
        raise ReliabilityError(f"Prometheus has no agentfactory_agent_up of it over {window}")
    given |= {"restarts": given.pop("restarts_total"), "step": f"{every}s"}
    (found,) = forecasts({"observed": given, "horizon": window, "confidence": CONFIDENCE})
    return _judged(found, window, every)


def _judged(one: dict[str, Any], window: str, every: int) -> Seen:
    """Without a failure there is no estimate. Without a repair an outage is as long as those that go on are so far, and at least half a
    step: a shorter one is between two samples, where it began and ended by chance."""
    doubts = [line for line in one["basis"]["warnings"] if not line.startswith(SAID_HERE)]
    failures, operation, mtbf = one["failures"], one["operation_seconds"], one["mtbf_seconds"]
    if not failures:
        bound = f"but that the mean time between failures is over {in_words(mtbf['low'])} ({CONFIDENCE:.0%} confidence)"
        told = f"no failure was seen over {window}, in {in_words(operation)} of operation"
        return Seen(None, 0, told, (f"{told}: nothing is known of how often an instance is down, {bound}", *doubts))
    mttr = (one["mttr_seconds"] or {}).get("estimate")
    if mttr is None:
        down = operation * (1 / one["availability"] - 1)
        mttr = max(down / failures, every / 2)
        doubts.append(f"no outage was seen to its end: each is taken to last {in_words(mttr)}, and may be longer")
    doubts.append("updates may count as failures: a stop is known to be meant only where the instance was not wanted")
    told = f"how often an instance is down is as observed over {window}: {one['summary'].partition('; within')[0]}"
    return Seen(Chance.of_times(mtbf["estimate"], mttr), failures, told, tuple(doubts))
