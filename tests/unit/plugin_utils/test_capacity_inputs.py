# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a Prometheus to the model's inputs: a real one, and answers that mislead."""

import math
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.agentfactory.core.plugins.plugin_utils import prometheus as client
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity import inputs, promql
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.argspec import AGENT_CAPACITY
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.model import CapacityError, Queue
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.queues import mmc
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.study import Ask, study
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_answer import Answer, Series
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_argspec import PROMETHEUS_RULES

END = "1790007200"  # of the load in conftest.py
REQUESTS = 'agent_requests_total{agent="planner"}'
BUSY = 'agent_busy{agent="planner"}'


def options(**given: Any) -> dict[str, Any]:
    """As the action has them."""
    checked = ArgumentSpecValidator(AGENT_CAPACITY, **PROMETHEUS_RULES).validate(given)
    assert not checked.error_messages
    return dict(checked.validated_parameters)


@pytest.fixture
def ask(prometheus: str) -> Ask:
    asker = client.Client(client.Connection(prometheus))
    return lambda query: asker.ask(client.Question(query=query, time=END))


def agent(name: str, **metrics: str) -> dict[str, Any]:
    return {"name": name, "instances": 2, "metrics": metrics, "slo": {"below": 0.3}}


@pytest.mark.parametrize("busy", [{"busy": BUSY}, {"busy_seconds": 'agent_busy_seconds_total{agent="planner"}'}])
def test_the_peak_and_the_work_of_a_real_prometheus(ask: Ask, busy: dict[str, str]) -> None:
    found = study(options(agents=[agent("planner", requests=REQUESTS, **busy)], window="1h", load_factor=1.5), ask)
    (planner,) = found["agents"]
    assert planner["rate"] == pytest.approx(1.5 * 20, rel=0.01)  # the peak of both, not their mean
    assert planner["service_time"] == pytest.approx(0.06, rel=0.02)
    assert planner["inputs"]["measured"]["mean"] == pytest.approx(11.67, rel=0.02)
    assert planner["inputs"]["measured"]["requests"] == pytest.approx(42_000, rel=0.02)
    assert (planner["inputs"]["source"], planner["inputs"]["window"]) == ("prometheus", "1h")
    assert planner["inputs"]["assumed"] == ["arrival_scv", "service_scv"]
    assert planner["needed"]["instances"] == 3


def test_what_moved_is_not_busy_twice(ask: Ask) -> None:
    """Within a tenth: no sample marks where the old series ends, and Prometheus goes on with its last for five minutes."""
    moved = agent("moved", requests='agent_requests_total{agent="moved"}', busy='agent_busy{agent="moved"}')
    (found,) = study(options(agents=[moved], window="1h"), ask)["agents"]
    assert found["service_time"] == pytest.approx(0.06, rel=0.1)
    assert found["inputs"]["confidence"] == "medium"
    assert "1 of 1 counters are younger than the window" in found["notes"][0]


@pytest.mark.parametrize(("times", "agrees"), [(1, True), (2, False)])
def test_calls_that_do_not_agree_with_what_was_measured_end_nothing(ask: Ask, times: int, agrees: bool) -> None:
    """Peaks of different moments are enough for it. Both agents are answered, only what hangs on the calls is not."""
    agents = [
        agent("planner", requests=REQUESTS, busy=BUSY) | {"calls": {"moved": times / 2}},
        agent("moved", requests='agent_requests_total{agent="moved"}', busy='agent_busy{agent="moved"}'),
    ]
    found = study(options(agents=agents, window="1h"), ask)
    assert all("now" in one for one in found["agents"])
    assert ("end_to_end" in found) == agrees
    said = "the others call it 20 times a second, but it got 10: "
    assert any(note.startswith(said) for note in found["agents"][1]["notes"]) != agrees


def test_response_times_are_no_service_times(ask: Ask) -> None:
    metrics = {"requests": REQUESTS, "duration": 'agent_duration_seconds{agent="planner"}'}
    (planner,) = study(options(agents=[agent("planner", **metrics)], window="1h"), ask)["agents"]
    assert planner["inputs"]["measured"]["response_mean"] == pytest.approx(0.08, rel=0.02)
    back = mmc(Queue(planner["inputs"]["measured"]["mean"], planner["service_time"], 2))
    assert back.response.mean == pytest.approx(planner["inputs"]["measured"]["response_mean"])
    assert planner["service_time"] < 0.075
    assert planner["inputs"]["confidence"] == "low"
    assert planner["inputs"]["measured"]["response_p95"] == math.inf
    assert any("in the +Inf bucket: more than 0.5 s" in note for note in planner["notes"])


def test_what_misleads_is_refused_and_the_others_are_answered(ask: Ask) -> None:
    agents = [
        agent("young", requests='agent_requests_total{agent="young"}', busy=BUSY),
        agent("quiet", requests='agent_requests_total{agent="quiet"}', busy=BUSY),
        agent("nobody", requests='agent_requests_total{agent="nobody"}', busy=BUSY),
        agent("strange", requests=REQUESTS, busy='room_temperature{room="cellar"}'),
        agent("nothing", requests=REQUESTS),
        agent("planner", requests=REQUESTS, busy=BUSY) | {"calls": {"nobody": 1}},
    ]
    found = study(options(agents=agents, window="1h"), ask)
    refused = {item["name"]: item.get("refused", "") for item in found["agents"]}
    for name, reason in {
        "young": "every counter is younger than the window",
        "quiet": "12 in the window; at least 100 are needed",
        "nobody": "requests: no data",
        "strange": "busy: no data",
        "nothing": "give it, or a gauge of busy requests",
        "planner": "",
    }.items():
        assert reason in refused[name], name
        assert bool(refused[name]) == bool(reason), name
    assert [set(item) for item in found["agents"][:5]] == [{"name", "refused"}] * 5
    assert [limit["agent"] for limit in found["saturation"]] == ["planner"]


def test_who_is_called_at_an_unknown_rate_has_none(ask: Ask) -> None:
    agents = [
        agent("nobody", requests="nobody_requests_total", busy=BUSY) | {"calls": {"search": 2}},
        {"name": "search", "rate": 1, "service_time": 0.1, "calls": {"memory": 1}},
        {"name": "memory", "rate": 1, "service_time": 0.1},
    ]
    found = study(options(agents=agents), ask)["agents"]
    assert [item["refused"] for item in found][1:] == [
        "nobody calls it, whose rate is not known",
        "search calls it, whose rate is not known",
    ]


def vector(*values: float | str) -> Answer:
    return Answer("vector", [Series(labels={}, time=0.0, value=value) for value in values])


GOOD = {
    "peak": vector(20.0), "mean": vector(10.0), "requests": vector(36_000.0), "counters": vector(2.0),
    "counters_before": vector(2.0), "counters_kept": vector(2.0), "minutes": vector(), "busy": vector(0.6), "busy_peak": vector(2.0),
    "busy_most": vector(1.0),
}  # fmt: skip


def histogram(*buckets: tuple[str, float | str]) -> dict[str, Answer]:
    series = [Series(labels={"le": bound}, time=0.0, value=value) for bound, value in buckets]
    return {"buckets": Answer("vector", series), "response_sum": vector(1000.0), "response_count": vector(10_000.0)}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"busy_peak": vector(6.0)},  # it had six instances in the window
        {"busy_peak": vector(4.0), "busy_most": vector(4.0)},  # one series, of all
    ],
)
def test_good_data_have_no_notes(given: dict[str, Answer]) -> None:
    found = inputs.observed({**GOOD, **given}, 3600, 4)
    assert (found.service, found.source, found.confidence, found.notes) == (pytest.approx(0.06), "busy", "high", ())


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"requests": vector()}, "requests: no data"),
        ({"requests": vector("NaN")}, "requests: NaN, which is no number to plan with"),
        ({"requests": vector("+Inf")}, r"requests: \+Inf"),
        ({"requests": vector(1.0, 2.0)}, "2 series where one number is needed"),
        ({"requests": vector(37.0)}, "37 in the window; at least 100"),
        ({"counters_before": vector()}, "younger than the window"),
        ({"peak": vector(0.0)}, "their rate is 0"),
        ({"busy": vector(0.0)}, "is it the right gauge"),
        ({"busy": vector("NaN")}, "busy: NaN"),
        (
            {"busy_peak": vector(9.0), "busy_most": vector(5.0)},
            "more than the 4 that can be .* it counts those that wait",
        ),
        (histogram(("0.1", 5.0)), "no histogram"),
        (histogram(("0.1", "NaN"), ("+Inf", 5.0)), "no histogram"),
        (histogram(("+Inf", 5.0)) | {"response_count": vector(5.0)}, "duration: 5 requests"),
    ],
)
def test_answers_that_mislead_are_refused(bad: dict[str, Answer], reason: str) -> None:
    with pytest.raises(inputs.Refused, match=reason):
        inputs.observed({**GOOD, **bad}, 3600, 4)


def minutes(*counts: float) -> Answer:
    samples: list[list[float | str]] = [[60.0 * i, count] for i, count in enumerate(counts)]
    return Answer("matrix", [Series(labels={}, time=0.0, value=0.0, samples=samples)])


@pytest.mark.parametrize(
    ("odd", "note", "confidence"),
    [
        ({"requests": vector(400.0)}, "only 400 requests in the window", "low"),
        ({"counters_kept": vector(1.0)}, "1 of 2 counters are younger than the window", "medium"),
        ({"counters_kept": vector()}, "2 of 2 counters are younger than the window", "medium"),
        ({"peak": vector(60.0)}, "the peak is 6.0 times the mean", "medium"),
        ({"minutes": minutes(*[100.0, 300.0] * 20)}, "arrivals are bursty", "medium"),
        (histogram(("0.1", 10.0), ("+Inf", 100.0)), "in the +Inf bucket: more than 0.1 s", "medium"),
    ],
)
def test_what_is_odd_is_named(odd: dict[str, Answer], note: str, confidence: str) -> None:
    found = inputs.observed({**GOOD, **odd}, 3600, 4)
    assert note in " ".join(found.notes)
    assert found.confidence == confidence


@pytest.mark.parametrize(
    ("counts", "dispersion"),
    [
        ([100.0] * 40, 0.0),
        ([100.0, 120.0] * 20, 400 / 220 / 0.76),
        ([float(i) for i in range(100, 140)], 0.5 / 119.5 / 0.76),
        ([100.0] * 20 + [200.0] * 20, 0.0),
        ([5.0] * 9, None),
    ],
)
def test_dispersion_of_minutes(counts: list[float], dispersion: float | None) -> None:
    """A slow rise is no burst: its variance by mean would be 1.1. Nor is a step."""
    assert inputs.dispersed(minutes(*counts)) == (dispersion if dispersion is None else pytest.approx(dispersion))


def test_percentile_of_a_histogram() -> None:
    buckets = [(0.1, 50.0), (0.2, 90.0), (math.inf, 100.0)]
    assert inputs.bucket_percentile(buckets, 0.5) == pytest.approx(0.1)
    assert inputs.bucket_percentile(buckets, 0.7) == pytest.approx(0.15)
    assert inputs.bucket_percentile(buckets, 0.95) == math.inf


def test_service_time_back_from_the_response() -> None:
    for rate, service, servers in ((10.0, 0.09, 1), (30.0, 0.1, 4), (1.0, 0.1, 50)):
        response = mmc(Queue(rate, service, servers)).response.mean
        assert inputs.service_from_response(response, rate, servers) == pytest.approx(service, rel=1e-6)


def test_a_queue_that_remembers_longer_than_half_the_window() -> None:
    figures = mmc(Queue(0.99, 1.0))
    assert figures.relaxation > 20_000
    assert "its steady state is a claim" in inputs.steady(figures, 3600)
    assert inputs.steady(figures, 7 * 86400) == ""


def test_unstable_load_is_answered_with_the_smallest_stable_count() -> None:
    agents = [{"name": "a", "rate": 50, "service_time": 0.1, "instances": 3, "slo": {"below": 1}}]
    (found,) = study(options(agents=agents))["agents"]
    assert "now" not in found
    assert found["smallest_stable"] == 6
    assert found["notes"] == ["unstable: 5 erlangs are offered to 3 at once; 6 instances are the fewest that keep up"]
    assert found["headroom"] < 0.6


def test_a_promise_that_is_never_kept_has_no_date() -> None:
    history = [[day * 86400, 5 + day] for day in range(10)]
    (found,) = study(options(agents=[GIVEN | {"rate": 1, "slo": {"below": 0.01}, "history": history}]))["agents"]
    assert found["largest_rate"] == 0
    assert "trend" not in found


GIVEN = {"name": "a", "rate": 1, "service_time": 1, "instances": 4}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"agents": [{"name": "a", "rate": 1}]}, "a: give rate and service_time, or metrics"),
        ({"agents": [{"name": "a", "metrics": {"requests": "x"}}]}, "a: metrics: there is no Prometheus to ask"),
        ({"agents": [{"name": "a", "rate": 1, "service_time": 1}] * 2}, "agents: a is there twice"),
        ({"agents": [{"name": "a", "rate": 1, "service_time": 1, "calls": {"b": 1}}]}, "a: calls: there is no agent b"),
        ({"agents": [{"name": "a", "rate": 0, "service_time": 1}]}, "a: rate: 0.0 is not a number above 0"),
        ({"agents": [{"name": "a", "rate": 1, "service_time": 1, "slo": {"below": 0}}]}, "a: slo"),
        ({"agents": [GIVEN], "lose": {"b": 1}}, "lose: there is no agent b"),
        ({"agents": [GIVEN], "lose": {"a": -2}}, "lose: a: -2 is not a number of at least 0"),
        ({"agents": [GIVEN], "lose": {"a": 1.5}}, "lose: a: 1.5 is not a whole number"),
        ({"agents": [GIVEN | {"zones": {"x": 2}}], "lose_zone": "y"}, "lose_zone: no agent has a zone y"),
        ({"agents": [GIVEN | {"zones": {"x": "two"}}]}, "a: zones: x: 'two' is not a number"),
        ({"agents": [GIVEN | {"calls": {"a": "often"}}]}, "a: calls: a: 'often' is not a number"),
        ({"agents": [GIVEN | {"history": [[1]]}]}, r"a: history: \[1\] is not a time and a rate"),
        ({"agents": [GIVEN | {"history": [[1, "x"]]}]}, "a: history: 'x' is not a number"),
        ({"agents": [GIVEN | {"slo": {"below": 1, "loss": 1}}]}, "a: slo: a loss of at least 0 and below 1"),
        ({"agents": [GIVEN], "replications": 1}, "replications: 1; an interval needs at least 2"),
        ({"agents": [], "window": "1x"}, ""),
    ],
)
def test_options_that_make_no_sense(given: dict[str, Any], reason: str) -> None:
    if not reason:
        with pytest.raises(CapacityError, match="'1x' is no duration"):
            promql.seconds("1x")
        return
    with pytest.raises(CapacityError, match=reason):
        study(options(**given))


def test_zones_that_do_not_add_up() -> None:
    agents = [{"name": "a", "rate": 1, "service_time": 0.1, "instances": 3, "zones": {"x": 1, "y": 1}}]
    with pytest.raises(CapacityError, match="a: zones: 2 instances, but instances says 3"):
        study(options(agents=agents, lose_zone="x"))


@pytest.mark.parametrize(("window", "step"), [("40s", "1s"), ("90s", "1s"), ("2m", "1m"), ("7d", "1m")])
def test_a_window_without_a_whole_minute_of_the_clock_is_looked_at_finely(window: str, step: str) -> None:
    asked = promql.queries({"requests": "made", "busy": "now"}, window)
    assert asked["peak"] == f"max_over_time(sum(rate(made[5m]))[{window}:{step}])"
    assert asked["busy"] == f"avg_over_time(sum(now)[{window}:{step}])"
    assert asked["busy_peak"] == f"max_over_time(sum(now)[{window}:{step}])"
