# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until the answer of a Prometheus is as one wants it."""

import operator
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .prometheus_answer import Answer, PrometheusError, Series, Unavailable, text_of

OPERATORS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "eq": ("==", operator.eq),
    "ne": ("!=", operator.ne),
    "gt": (">", operator.gt),
    "ge": (">=", operator.ge),
    "lt": ("<", operator.lt),
    "le": ("<=", operator.le),
}


@dataclass(frozen=True)
class Condition:
    """``of`` is all (of at least one series), any, or count: the number of series. Of a range the last sample counts."""

    operator: str
    value: float
    of: str = "all"

    def __str__(self) -> str:
        return f"{self.of} {OPERATORS[self.operator][0]} {self.value:g}"

    def judge(self, answer: Answer) -> tuple[bool, str]:
        """Whether it is met, and what was seen, for people."""
        if self.of == "count":
            return self._holds(len(answer.series)), f"{len(answer.series)} series"
        if answer.type == "string":
            raise PrometheusError("until: the result is a string, which cannot be compared with a number")
        if not answer.series:
            return False, "there is no series"
        bad = [item for item in answer.series if not self._holds(float(item["value"]))]
        good = len(answer.series) - len(bad)
        met = not bad or (self.of == "any" and good > 0)
        seen = f"{good} of {len(answer.series)} series {OPERATORS[self.operator][0]} {self.value:g}"
        return met, seen + "".join(f"; {_told(item)}" for item in bad[:1])

    def _holds(self, seen: float) -> bool:
        return OPERATORS[self.operator][1](seen, self.value)


@dataclass(frozen=True)
class Outcome:
    """``met`` is None without a condition. ``answer`` is the last one; None where none was had, which ``error`` explains."""

    answer: Answer | None
    met: bool | None
    questions: int
    seen: str = ""
    error: PrometheusError | None = None


def condition(given: Mapping[str, Any] | None) -> Condition | None:
    return Condition(**given) if given else None


def wait(
    ask: Callable[[], Answer],
    until: Condition | None,
    *,
    retries: int,
    delay: float,
    tell: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Ask, and up to ``retries`` times again until it is so. Nobody there is "not yet"; any other error is raised at once."""
    if until is None:
        return Outcome(ask(), None, 1)
    if retries < 0 or delay < 0:
        raise PrometheusError("retries and delay must not be negative")
    for number in range(1, retries + 2):
        answer = error = None
        try:
            answer = ask()
            met, seen = until.judge(answer)
        except Unavailable as unavailable:
            error, met, seen = unavailable, False, str(unavailable)
        if met or number > retries:
            break
        tell(f"not yet {until}: {seen}; again in {delay:g} s ({number} of {retries})")
        sleep(delay)
    return Outcome(answer, met, number, seen, error)


def _told(item: Series) -> str:
    value = item["value"]
    return f"{text_of(item['labels'])} is {value if isinstance(value, str) else format(value, 'g')}"
