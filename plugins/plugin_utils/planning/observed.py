# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often instances were down, as a Prometheus saw it: for fleets that do not say."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ..capacity import promql
from ..capacity.study import Ask
from ..reliability.answer import ReliabilityError
from ..reliability.observed import forecasts
from ..reliability.structure import UP, Chance

CONFIDENCE = 0.9
FINEST, MOST = 60, 10_000  # seconds between samples; samples of a series
KINDS = ("up", "wanted", "restarts_total")


@dataclass(frozen=True)
class Seen:
    """Of an agent's instances: how they are found in the long run (as if never down, where no failure was seen), the number of failures
    that this rests on, and that in words, with intervals."""

    chance: Chance
    failures: int
    told: str
    doubts: tuple[str, ...]


def seen(environment: str, agents: Collection[str], window: str, ask: Ask) -> dict[str, Seen]:
    """Agent -> what was seen of it in the window; without those of which nothing was."""
    every = max(FINEST, math.ceil(promql.seconds(window) / MOST))
    names = f'__name__=~"agentfactory_agent_({"|".join(KINDS)})"'
    series = ask(f'{{{names},environment="{environment}",agent=~"{"|".join(agents)}"}}[{window}:{every}s]').series
    given: dict[str, Any] = {
        kind: [one for one in series if one["labels"]["__name__"] == f"agentfactory_agent_{kind}"] for kind in KINDS
    }
    given |= {"restarts": given.pop("restarts_total"), "step": f"{every}s"}
    try:
        found = forecasts({"observed": given, "horizon": window, "confidence": CONFIDENCE})
    except ReliabilityError:
        return {}
    return {one["agent"]: _seen(one, window) for one in found}


def _seen(one: dict[str, Any], window: str) -> Seen:
    mtbf, mttr = one["mtbf_seconds"]["estimate"], (one["mttr_seconds"] or {}).get("estimate")
    chance = Chance.of_times(mtbf, mttr) if mtbf is not None and mttr is not None else UP
    told = f"how often an instance is down is as observed over {window}: {one['summary'].partition('; within')[0]}"
    if chance is UP:
        told = f"an instance is taken not to fail by itself: {told}"
    # that a host's own history is not asked concerns every agent, and planned stops are known by what was wanted
    doubts = tuple(line for line in one["basis"]["warnings"] if not line.startswith("no history of changes"))
    return Seen(chance, one["failures"], told, doubts)
