# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From samples of `agentfactory_agent_up` (or of `up`) to lives, failures and repairs.

What is not seen is not made up. A gap in the samples ends a life without a failure, and what comes after it has an unknown age; what is
down after it, or from the start, is downtime and no failure.
A stop that was meant (when it went down, the host's record said that it is not wanted, the factory's history has a change of it, or
you name a maintenance) ends a life without a failure, and the next life begins. A restart that fits between two samples is seen by
the counter of restarts. An outage is one failure, however often the agent was restarted in it.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Any

from ..prometheus_answer import Series, text_of
from .answer import ReliabilityError
from .lifetimes import Life

GAP = 1.5  # steps without a sample
MARGIN = 300.0  # seconds that a change may take until the host has it written down: the proof of a release comes before
UNPLANNED = "interrupted by a reboot"

Window = tuple[float, float]  # seconds since 1970
Samples = Sequence[tuple[float, float | None]]  # time and value, None where it was no number


@dataclass(frozen=True)
class Repair:
    """One outage, or what was seen of it: seconds, and whether its end was seen."""

    seconds: float
    done: bool


@dataclass
class Observed:
    """What was seen of one instance; times in seconds. `failed_at` is on the scale of its watched operation. `hidden` are the
    failures that only the counter of restarts tells; `planned` counts stops that were meant, `gaps` times of `unwatched` seconds."""

    name: str
    window: Window
    samples: int
    step: float
    lives: list[Life] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    failed_at: list[float] = field(default_factory=list)
    hidden: int = 0
    planned: int = 0
    gaps: int = 0
    unwatched: float = 0.0
    age: float | None = None  # of the life that goes on at the end, where it is known

    @property
    def operation(self) -> float:
        return math.fsum(life.seconds for life in self.lives)

    @property
    def failures(self) -> int:
        return len(self.failed_at)


@dataclass(frozen=True)
class Plan:
    """What was meant: windows, and the moments of the changes that the factory made, in order."""

    windows: tuple[Window, ...] = ()
    changes: tuple[float, ...] = ()

    def covers(self, begin: float, end: float, step: float = 0.0) -> bool:
        if any(start <= end and begin <= stop for start, stop in self.windows):
            return True
        return bisect_right(self.changes, end + MARGIN) > bisect_left(self.changes, begin - step)

    def changes_in(self, begin: float, end: float) -> list[float]:
        return list(self.changes[bisect_left(self.changes, begin) : bisect_left(self.changes, end)])


def changes(records: Sequence[Mapping[str, Any]], agent_id: str) -> tuple[float, ...]:
    """When the factory changed an instance, by one host's history (as ``gather: history`` of agent_info gives it)."""
    found = []
    for record in records:
        if record.get("agent_id") == agent_id and record.get("result") != UNPLANNED:
            try:
                found.append(datetime.fromisoformat(str(record["at"])).astimezone(UTC).timestamp())
            except (KeyError, ValueError):
                raise ReliabilityError(f"history: a record of {agent_id} has no time (at)") from None
    return tuple(sorted(found))


def samples_of(series: Series) -> list[tuple[float, float | None]]:
    """In order of time; what is no number is None. ReliabilityError where it is no range."""
    if "samples" not in series:
        raise ReliabilityError(
            f"{text_of(series.get('labels', {}))}: has no samples: ask for a range, with start and step"
        )
    found = []
    for time, value in sorted(series["samples"], key=lambda sample: float(sample[0])):
        number = float(value)
        found.append((float(time), number if math.isfinite(number) else None))
    return found


def observe(name: str, up: Samples, *, wanted: Samples = (), restarts: Samples = (), plan: Plan | None = None,
            step: float | None = None) -> Observed:  # fmt: skip
    """Read one instance's samples. ReliabilityError where there are too few, or a value is neither 0 nor 1."""
    good = [(time, value) for time, value in up if value is not None]
    odd = next((value for _time, value in good if value not in (0, 1)), None)
    if odd is not None:
        raise ReliabilityError(
            f"{name}: a value of {odd:g} is neither 0 nor 1: ask for the series itself, not for a mean or a sum"
        )
    if len(good) < 2:
        raise ReliabilityError(f"{name}: {len(good)} samples are no history")
    step = step or median(b - a for (a, _v), (b, _w) in pairwise(up))
    found = Observed(name, (good[0][0], good[-1][0]), len(good), step)
    _Reader(found, wanted, restarts, plan or Plan()).read(good)
    return found


class _Reader:
    """Goes through the samples once, spell by spell. `began` is where the present life did, `whole` whether that was seen."""

    def __init__(self, found: Observed, wanted: Samples, restarts: Samples, plan: Plan) -> None:
        self.found, self.plan = found, plan
        self.wanted, self.restarts = _Lookup(wanted), _Lookup(restarts)
        self.began, self.whole, self.total = 0.0, False, 0.0
        self.explained = -math.inf  # changes up to here belong to a stop or an outage that was seen

    def read(self, good: Sequence[tuple[float, float]]) -> None:
        spells = self._spells(good)
        for index, spell in enumerate(spells):
            before = spells[index - 1] if index else None
            after = spells[index + 1] if index + 1 < len(spells) else None
            joined = before is not None and not self._gap(before[-1][0], spell[0][0])
            follows = after is not None and not self._gap(spell[-1][0], after[0][0])
            if before and not joined:
                self.found.gaps += 1
                self.found.unwatched += spell[0][0] - before[-1][0]
            begin = (before[-1][0] + spell[0][0]) / 2 if before and joined else spell[0][0]
            end = (spell[-1][0] + after[0][0]) / 2 if after and follows else spell[-1][0]
            if spell[0][1]:
                fails = after is not None and follows and not self._meant(after)
                self._up(begin, end, spell, whole=joined, fails=fails)
            elif self._meant(spell):
                self.found.planned += 1
            else:
                self.found.repairs.append(Repair(end - begin, follows))
            if not spell[0][1]:
                self.explained = end + MARGIN
        last = self.found.lives[-1] if self.found.lives else None
        self.found.age = last.seconds if last and last.whole and good[-1][1] else None

    def _spells(self, good: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
        """Samples next to each other that are alike."""
        spells = [[good[0]]]
        for before, sample in pairwise(good):
            if sample[1] != before[1] or self._gap(before[0], sample[0]):
                spells.append([])
            spells[-1].append(sample)
        return spells

    def _gap(self, before: float, after: float) -> bool:
        return after - before > GAP * self.found.step

    def _meant(self, spell: Sequence[tuple[float, float]]) -> bool:
        """Whether it went down by intent. By its beginning: what ends an outage (a restart, a release, a stop) did not cause it."""
        first, step = spell[0][0], self.found.step
        if any(self.wanted.at(time, step) == 0 for time, _value in spell if time <= first + MARGIN):
            return True
        return self.plan.covers(first, first, step)

    def _up(self, begin: float, end: float, spell: Sequence[tuple[float, float]], *, whole: bool, fails: bool) -> None:
        """Cut where it was restarted between two samples, by itself or by a change."""
        self.began, self.whole = begin, whole
        for (before, _v), (after, _w) in pairwise(spell):
            count = self.restarts.rise(before, after)
            meant = [moment for moment in self.plan.changes_in(before, after) if moment > self.explained]
            if count and not self.plan.covers(before, after):
                for number in range(count):
                    self._cut(before + (after - before) * (number + 1) / (count + 1), failed=True)
                self.found.hidden += count
            elif count or meant:
                self.found.planned += 1
                self._cut(meant[0] if meant else (before + after) / 2, failed=False)
        self._cut(end, failed=fails)

    def _cut(self, moment: float, *, failed: bool) -> None:
        lived = moment - self.began
        self.total += lived
        self.found.lives.append(Life(lived, failed, self.whole))
        if failed:
            self.found.failed_at.append(self.total)
        self.began, self.whole = moment, True


class _Lookup:
    """The samples of another series of the same instance."""

    def __init__(self, samples: Samples) -> None:
        known = [(time, value) for time, value in samples if value is not None]
        self.times, self.values = [time for time, _value in known], [value for _time, value in known]

    def at(self, moment: float, step: float) -> float | None:
        """The last value, where it is not older than a step."""
        index = bisect_right(self.times, moment) - 1
        return self.values[index] if index >= 0 and moment - self.times[index] <= step else None

    def rise(self, before: float, after: float) -> int:
        """By how much a counter rose; it begins again at 0 when the unit is started anew."""
        first, last = bisect_right(self.times, before) - 1, bisect_right(self.times, after) - 1
        if first < 0 or last <= first:
            return 0
        return int(sum(b - a if b >= a else b for a, b in pairwise(self.values[first : last + 1])))
