# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions on an answer, and waiting for them."""

from collections.abc import Callable

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus import Client, Connection, Question
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_answer import (
    Answer,
    PrometheusError,
    Series,
    TimedOut,
    Unavailable,
)
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_until import Condition, Outcome, wait


def answer(*values: float | str, kind: str = "vector") -> Answer:
    return Answer(kind, [Series(labels={"n": str(n)}, time=0.0, value=value) for n, value in enumerate(values)])


@pytest.mark.parametrize(
    ("condition", "values", "met", "seen"),
    [
        (("gt", 3, "all"), [4.0, 5.0], True, "2 of 2 series > 3"),
        (("gt", 3, "all"), [4.0, 3.0, 2.0], False, '1 of 3 series > 3; {n="1"} is 3'),
        (("gt", 3, "all"), [], False, "there is no series"),
        (("gt", 3, "any"), [4.0, 3.0], True, '1 of 2 series > 3; {n="1"} is 3'),
        (("gt", 3, "any"), [3.0], False, '0 of 1 series > 3; {n="0"} is 3'),
        (("gt", 3, "any"), [], False, "there is no series"),
        (("ge", 3, "all"), [3.0], True, "1 of 1 series >= 3"),
        (("lt", 3, "all"), [3.0], False, '0 of 1 series < 3; {n="0"} is 3'),
        (("le", 3, "all"), [3.0], True, "1 of 1 series <= 3"),
        (("eq", 0.1, "all"), [0.1], True, "1 of 1 series == 0.1"),
        (("ne", 0, "all"), ["NaN"], True, "1 of 1 series != 0"),
        (("eq", 0, "all"), ["NaN"], False, '0 of 1 series == 0; {n="0"} is NaN'),
        (("gt", 3, "all"), ["+Inf"], True, "1 of 1 series > 3"),
        (("lt", 3, "all"), ["-Inf"], True, "1 of 1 series < 3"),
        (("eq", 0, "count"), [], True, "0 series"),
        (("ge", 2, "count"), [0.0], False, "1 series"),
    ],
)
def test_conditions(condition: tuple, values: list, met: bool, seen: str) -> None:
    assert Condition(*condition).judge(answer(*values)) == (met, seen)


def test_a_string_cannot_be_compared_but_counted() -> None:
    with pytest.raises(PrometheusError, match="is a string"):
        Condition("eq", 1).judge(answer("1", kind="string"))
    assert Condition("eq", 1, "count").judge(answer("1", kind="string")) == (True, "1 series")


def outcome(*events: Answer | PrometheusError, retries: int = 5) -> tuple[Outcome, list[str], list[float]]:
    left, told, slept = list(events), [], []

    def ask() -> Answer:
        event = left.pop(0)
        if isinstance(event, PrometheusError):
            raise event
        return event

    found = wait(ask, Condition("ge", 2), retries=retries, delay=0.5, tell=told.append, sleep=slept.append)
    return found, told, slept


def test_it_asks_until_it_is_so_and_tells() -> None:
    found, told, slept = outcome(answer(), answer(1.0), answer(2.0))
    assert (found.met, found.questions, found.answer) == (True, 3, answer(2.0))
    assert told == [
        "not yet all >= 2: there is no series; again in 0.5 s (1 of 5)",
        'not yet all >= 2: 0 of 1 series >= 2; {n="0"} is 1; again in 0.5 s (2 of 5)',
    ]
    assert slept == [0.5, 0.5]


def test_it_gives_up_and_keeps_what_was_seen() -> None:
    found, _told, slept = outcome(answer(0.0), answer(1.0), retries=1)
    assert (found.met, found.questions, found.answer, len(slept)) == (False, 2, answer(1.0), 1)
    assert found.seen == '0 of 1 series >= 2; {n="0"} is 1'


@pytest.mark.parametrize("error", [Unavailable("Connection refused"), TimedOut("no answer")])
def test_nobody_there_is_not_yet(error: PrometheusError) -> None:
    found, told, _slept = outcome(error, answer(2.0))
    assert found.met
    assert told == [f"not yet all >= 2: {error}; again in 0.5 s (1 of 5)"]
    found, _told, _slept = outcome(error, retries=0)
    assert (found.met, found.answer, found.error) == (False, None, error)


def test_any_other_error_ends_it() -> None:
    with pytest.raises(PrometheusError, match="bad_data"):
        outcome(answer(1.0), PrometheusError("bad_data: no"), answer(2.0))


@pytest.mark.parametrize("given", [{"retries": -1, "delay": 1}, {"retries": 1, "delay": -1}])
def test_negative_numbers_are_refused(given: dict) -> None:
    ask: Callable[[], Answer] = answer
    with pytest.raises(PrometheusError, match="negative"):
        wait(ask, Condition("ge", 2), tell=print, **given)


def test_a_real_one_changes_its_mind(prometheus: str) -> None:
    client = Client(Connection(prometheus))
    now = float(client.ask(Question("time()")).series[0]["value"])
    found = wait(
        lambda: client.ask(Question("time()")), Condition("ge", now + 0.5), retries=200, delay=0.05, tell=lambda _: None
    )
    assert found.met
    assert found.questions > 1
