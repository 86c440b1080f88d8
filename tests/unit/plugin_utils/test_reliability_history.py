# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From samples to lives. Samples are drawn: ``1`` up, ``0`` down, ``.`` none, ``n`` no number, one each 10 s from second 0."""

import math
import random
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability import observed
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.answer import ReliabilityError
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.forecast import forecast
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.history import (
    Observed,
    Plan,
    changes,
    observe,
)
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.lifetimes import Life

STEP = 10.0


def drawn(text: str) -> list[tuple[float, float | None]]:
    return [
        (STEP * i, {"n": None}.get(mark, 0.0) if mark in "0n" else float(mark))
        for i, mark in enumerate(text)
        if mark != "."
    ]


def seen(text: str, *, wanted: str = "", restarts: str = "", plan: Plan | None = None) -> Observed:
    return observe("x", drawn(text), wanted=drawn(wanted), restarts=drawn(restarts), plan=plan)


def life(text: str) -> Life:
    """``25!`` failed after 25 s; ``25`` did not; ``~25`` was not seen from its start."""
    return Life(float(text.strip("~!")), text.endswith("!"), whole=not text.startswith("~"))


@pytest.mark.parametrize(
    ("up", "lives", "outages", "gaps"),
    [
        ("11111", "~40", "", 0),
        ("00000", "", "40", 0),
        ("11001", "~15! 5", "20+", 0),
        ("111001100", "~25! 20!", "20+ 15", 0),  # the last outage goes on
        ("001111", "35", "15+", 0),  # when it went down is not known, so it is no failure; the next life is whole
        ("111...111", "~20 ~20", "", 1),  # what happened in between is not known: no failure
        ("111...000111", "~20 25", "25+", 1),  # nor when it went down
        ("110...0111", "~15! 25", "5 5+", 1),  # how long in between, neither
        ("111nn1", "~20 ~0", "", 1),
        ("1101011", "~15! 10! 15", "10+ 10+", 0),
    ],
)
def test_lives_and_outages(up: str, lives: str, outages: str, gaps: int) -> None:
    found = seen(up)
    assert found.lives == [life(text) for text in lives.split()]
    assert [f"{repair.seconds:g}{'+' * repair.done}" for repair in found.repairs] == outages.split()
    assert found.gaps == gaps
    assert found.failures == lives.count("!")


@pytest.mark.parametrize(
    ("given", "lives", "planned"),
    [
        ({"wanted": "1100111"}, "~15 25", 1),
        ({"plan": Plan(windows=((20, 30),))}, "~15 25", 1),
        ({"plan": Plan(changes=(25,))}, "~15 25", 1),
        ({"plan": Plan(changes=(290,))}, "~15 25", 1),  # a release is recorded once it is proven
        ({"plan": Plan(changes=(400,))}, "~15! 25", 0),
        ({"plan": Plan(changes=(5,))}, "~5 10! 25", 1),
    ],
)
def test_a_stop_that_is_meant_is_no_failure(given: dict[str, Any], lives: str, planned: int) -> None:
    found = seen("1100111", **given)
    assert found.lives == [life(text) for text in lives.split()]
    assert found.planned == planned
    assert found.failures + planned == 1 or given["plan"].changes == (5,)


@pytest.mark.parametrize(
    "given",
    [
        {"plan": Plan(changes=(395,))},  # somebody restarted it
        {"plan": Plan(changes=(420,))},  # or released it anew, which was recorded once it was proven
        {"plan": Plan(windows=((350, 500),))},
        {"wanted": "1" * 33 + "0" * 7 + "11"},
    ],
)
def test_an_outage_is_a_failure_whatever_ends_it(given: dict[str, Any]) -> None:
    found = seen("11" + "0" * 38 + "11", **given)
    assert found.lives == [life("~15!"), life("15")]
    assert (found.planned, [repair.seconds for repair in found.repairs]) == (0, [380])


def test_a_change_between_two_samples_begins_a_new_life() -> None:
    found = seen("111111", plan=Plan(changes=(22,)))
    assert found.lives == [life("~22"), life("28")]
    assert (found.planned, found.failures, found.age) == (1, 0, 28)


@pytest.mark.parametrize(
    ("up", "restarts", "lives", "hidden"),
    [
        ("11111", "00111", "~15! 25", 1),
        ("1111", "0022", "~13.33! 3.33! 13.33", 2),  # two in one step: evenly
        ("11011", "00111", "~15! 15", 0),  # seen as an outage: one failure, not two
        ("110001", "002234", "~15! 5", 0),  # a crash loop is one failure
        ("11111", "33311", "~25! 15", 1),  # the unit was started anew, and restarted once since
        ("11111", "33300", "~40", 0),
    ],
)
def test_a_restart_between_two_samples_is_seen_by_its_counter(up: str, restarts: str, lives: str, hidden: int) -> None:
    found = seen(up, restarts=restarts)
    assert [(round(one.seconds, 2), one.failed) for one in found.lives] == [
        (one.seconds, one.failed) for one in map(life, lives.split())
    ]
    assert found.hidden == hidden


def test_restarts_in_the_proof_of_a_release_are_its_own() -> None:
    """They belong to the change, which is recorded when it ends."""
    found = seen("11111", restarts="00111", plan=Plan(changes=(35,)))
    assert (found.failures, found.planned) == (0, 2)


def test_time_is_conserved() -> None:
    """Operation, outages, gaps and planned stops make up the window; whatever the samples are."""
    rng = random.Random(5)
    for _history in range(200):
        text = "1" + "".join(rng.choice("1111100.") for _sample in range(30)) + "1"
        found = seen(text, restarts="".join(str(min(9, i // 7)) for i in range(32)))
        spells = found.operation + math.fsum(repair.seconds for repair in found.repairs) + found.unwatched
        assert spells <= found.window[1] - found.window[0] + 1e-9
        assert all(one.seconds >= 0 for one in found.lives)
        assert found.failed_at == sorted(found.failed_at)
        assert found.failures == sum(one.failed for one in found.lives)
        if "." not in text:
            assert spells == pytest.approx(found.window[1] - found.window[0])


@pytest.mark.parametrize(
    ("up", "why"),
    [
        ("1", "1 samples are no history"),
        ("nnn", "0 samples are no history"),
        ("1121", "a value of 2 is neither 0 nor 1: ask for the series itself, not for a mean or a sum"),
    ],
)
def test_samples_that_say_nothing(up: str, why: str) -> None:
    with pytest.raises(ReliabilityError, match=f"x: {why}"):
        seen(up)


def test_changes_are_those_of_the_instance() -> None:
    """Records as `agent_info` gives them. What a reboot cut short was not meant."""
    record = {"at": "1970-01-01T00:01:40Z", "agent_id": "a@0", "action": "activate", "result": "ok"}
    others = [
        record | {"agent_id": "b@0"},
        record | {"result": "interrupted by a reboot"},
        record | {"at": "1970-01-01T00:00:30Z"},
    ]
    assert changes([record, *others], "a@0") == (30, 100)
    with pytest.raises(ReliabilityError, match="history: a record of a@0 has no time"):
        changes([{"agent_id": "a@0"}], "a@0")


# -- a forecast ---------------------------------------------------------------------------------------------------------


def simulated(seed: int, shape: float, count: int = 4, lives: int = 8) -> list[Observed]:
    """Instances whose lives are of a Weibull distribution with scale 40,000 s, sampled each 10 s, down for 100 s each time."""
    rng, found = random.Random(seed), []
    for index in range(count):
        samples, time = [(0.0, 0.0)], STEP
        for _life in range(lives):
            end = time + rng.weibullvariate(40_000, shape)
            while time < end:
                samples.append((time, 1.0))
                time += STEP
            samples += [(time + STEP * i, 0.0) for i in range(10)]
            time += 100
        found.append(observe(f"i{index}", samples))
    return found


@pytest.mark.parametrize(("shape", "model"), [(1.0, "exponential"), (3.0, "weibull")])
def test_a_forecast_finds_what_it_was_made_of(shape: float, model: str) -> None:
    found = forecast(simulated(1, shape), 20_000, age=30_000)
    assert found.model == model
    truth = -math.expm1((30 / 40) ** shape - (50 / 40) ** shape)
    assert found.fails.low <= truth <= found.fails.high
    assert found.weibull.shape.low <= shape <= found.weibull.shape.high
    assert found.mtbf.low <= 40_000 * math.gamma(1 + 1 / shape) <= found.mtbf.high
    assert found.mttr.estimate == pytest.approx(
        (28 * 100 + 4 * (95 + 5)) / 32
    )  # of four each began down; the last outage goes on
    assert (found.failures, found.basis.confidence) == (32, 0.9)


@pytest.mark.parametrize(("shape", "age", "named"), [(1.0, 0.0, False), (3.0, 0.0, True), (3.0, 30_000.0, False)])
def test_an_age_that_is_not_given_is_named_where_it_matters(shape: float, age: float, named: bool) -> None:
    old = observe("old", [(0.0, 0.0)] + [(STEP * i, 1.0) for i in range(1, 2001)])
    doubts = forecast([*simulated(1, shape), old], 20_000, age=age).basis.warnings
    assert named == any("those that run are up to 5.55 h old: give their age" in doubt for doubt in doubts)


def warnings(*histories: str, horizon: float = 10, **given: Any) -> str:
    return "; ".join(forecast([seen(text) for text in histories], horizon, **given).basis.warnings)


@pytest.mark.parametrize(
    ("histories", "given", "doubt"),
    [
        (["1111"], {}, "no failure was seen: there are bounds, no estimates"),
        (["1101", "1011"], {}, "it rests on 2 failures: the bounds of the mean time are a factor of 17.7 apart"),
        (["1101"], {"counted": False}, "without the counter of restarts"),
        (["1101"], {"horizon": 1000}, "the horizon is longer than the window of 30 s"),
        (["11....1101"], {}, "56% of the time was not watched"),
        (["1101"], {}, "most outages are as short as the step of 10 s"),
        (["1" * 200 + "01" * 8], {}, "failures become more frequent"),
        (["01" * 8 + "1" * 200], {}, "failures become rarer"),
        (["1" * 50 + "01" * 10, "1" * 70], {}, "the instances are not alike: x had 10 of 10 failures"),
    ],
)
def test_what_misleads_is_named(histories: list[str], given: dict[str, Any], doubt: str) -> None:
    assert doubt in warnings(*histories, **given)


def test_no_operation_is_an_error() -> None:
    with pytest.raises(ReliabilityError, match="nothing was up"):
        forecast([seen("0000")], 10)


# -- as a Prometheus answers -----------------------------------------------------------------------------------------


def series(text: str, name: str = "agentfactory_agent_up", **labels: str) -> dict[str, Any]:
    everything = {"__name__": name, "agent": "thermostat", "agent_id": "thermostat@0", "host": "home-1"} | labels
    samples = [[time, "NaN" if value is None else value] for time, value in drawn(text)]
    return {"labels": everything, "samples": samples}


def asked(**given: Any) -> list[dict[str, Any]]:
    return observed.forecasts({"observed": given, "horizon": "10s", "confidence": 0.9})


def test_series_histories_and_maintenance_are_put_together() -> None:
    record = {"at": "1970-01-01T00:00:25Z", "agent_id": "thermostat@0", "action": "stop", "result": "ok"}
    found = asked(
        up=[
            series("1100111"),
            series("1100111", host="home-2"),
            series("11011", agent="robot", agent_id="robot@0", host="home-2"),
        ],
        restarts=[series("0000111", "agentfactory_agent_restarts_total", host="home-2")],
        history={"home-1": [record], "home-2": []},
        maintenance=[{"start": "1000", "end": "1970-01-01T01:00:00Z"}],
    )
    assert [one["agent"] for one in found] == ["robot", "thermostat"]
    thermostat = {one["name"]: one for one in found[1]["instances"]}
    assert thermostat["thermostat@0 on home-1"]["planned"] == 1
    assert thermostat["thermostat@0 on home-1"]["failures"] == 0
    assert thermostat["thermostat@0 on home-2"]["failures"] == 1
    assert found[1]["failures"] == 1
    assert found[1]["basis"]["samples"] == 14
    assert found[1]["basis"]["window_seconds"] == 60


def test_what_is_unknown_of_changes_is_named() -> None:
    old = {"at": "1970-01-01T00:00:25Z", "agent_id": "thermostat@0", "action": "stop", "result": "ok"}
    assert "no history of changes for host home-1" in str(asked(up=[series("1111")])[0]["basis"]["warnings"])
    cut = asked(up=[series("1111")], history={"home-1": [old] * 100})
    assert "the history of host home-1 begins after the samples do" in str(cut[0]["basis"]["warnings"])
    left = asked(up=[series("1111"), series("1", host="home-2")], history={"home-1": [], "home-2": []})
    assert left[0]["basis"]["warnings"][-1] == "left out: thermostat@0 on home-2: 1 samples are no history"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"up": []}, r"observed.up: there is no series"),
        ({"up": [series("1")]}, r"observed.up: left out: thermostat@0 on home-1: 1 samples are no history"),
        ({"up": [series("11"), series("11")]}, r"observed.up: \{.*home-1.*\} is there twice"),
        ({"up": [{"labels": {}, "value": 1.0}]}, r"observed.up: \{\}: has no samples: ask for a range"),
        ({"up": [{"labels": {}, "samples": [[0, "one"]]}]}, r"observed.up: could not convert"),
        (
            {"up": [series("11")], "maintenance": [{"start": "5", "end": "5"}]},
            r"observed.maintenance\[0\]: ends before it begins",
        ),
        (
            {"up": [series("11")], "maintenance": [{"start": "soon", "end": "5"}]},
            r"observed.maintenance\[0\].start: 'soon' is neither",
        ),
        ({"up": [series("11")], "step": "never"}, r"observed.step: 'never' is no duration"),
    ],
)
def test_what_cannot_be_read_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ReliabilityError, match=why):
        asked(**given)
