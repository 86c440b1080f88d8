# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is received: an answer in the documented shape, or a PrometheusError."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_answer import (
    NOT_FINITE,
    NoAnswer,
    PrometheusError,
    parse,
    text_of,
)

numbers = st.floats(allow_nan=False, allow_infinity=False)
values = numbers | st.sampled_from(NOT_FINITE)
times = st.integers(0, 2**33) | st.floats(0, 2**33)
labels = st.dictionaries(st.text(min_size=1), st.text(), max_size=4)
samples = st.tuples(times, values)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["status", "data", "resultType", "result", "metric", "value", "values", "error"]), inner
        )
    ),
)


def document(kind: str, result: Any, **more: Any) -> str:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more})


def written(sample: tuple[float, float | str]) -> list[Any]:
    """As the API writes it."""
    time, value = sample
    return [time, value if isinstance(value, str) else repr(value)]


def in_shape(item: dict[str, Any]) -> bool:
    return (
        set(item) - {"samples"} == {"labels", "value", "time"}
        and all(isinstance(value, str) for value in item["labels"].values())
        and isinstance(item["value"], float | str)
        and isinstance(item["time"], float)
    )


@given(st.lists(st.tuples(labels, samples), max_size=4))
def test_a_vector_is_read_as_it_was_written(given: list) -> None:
    text = document("vector", [{"metric": metric, "value": written(sample)} for metric, sample in given])
    answer = parse(text)
    assert answer.series == [{"labels": metric, "time": float(time), "value": value} for metric, (time, value) in given]
    assert json.loads(json.dumps(answer.series, allow_nan=False)) == answer.series


@given(st.lists(st.tuples(labels, st.lists(samples, min_size=1, max_size=4)), max_size=4))
def test_a_matrix_is_read_as_it_was_written(given: list) -> None:
    text = document("matrix", [{"metric": metric, "values": [*map(written, row)]} for metric, row in given])
    assert parse(text).series == [
        {"labels": metric, "time": row[-1][0], "value": row[-1][1], "samples": [[*sample] for sample in row]}
        for metric, row in given
    ]


@given(
    anything,
    st.sampled_from(["vector", "matrix", "scalar", "string"]),
    st.sampled_from(["all", "data", "result", "item", "metric", "value"]),
)
def test_anything_in_any_place_is_an_answer_or_an_error(given: Any, kind: str, place: str) -> None:
    series = [
        {
            "metric": given if place == "metric" else {},
            "value": given if place == "value" else [1, "2"],
            "values": [given],
        }
    ]
    result = given if place == "result" else [given] if place == "item" else series
    whole = {"status": "success", "data": given if place == "data" else {"resultType": kind, "result": result}}
    try:
        answer = parse(json.dumps(given if place == "all" else whole))
    except PrometheusError as error:
        assert str(error)
    else:
        assert all(in_shape(item) for item in answer.series)


@given(st.binary())
def test_any_bytes_are_an_error(given: bytes) -> None:
    with pytest.raises(PrometheusError):
        parse(given)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('"success"', "no status"),
        ('{"status": "success"}', "no data"),
        ('{"status": "success", "data": {}, "warnings": "one"}', "warnings that are no list"),
        (document("table", []), "unknown type"),
        (document("vector", {}), "something else where a list must be"),
        (document("vector", [{"value": [1, "2"]}]), "missing"),
        (document("vector", [{"metric": {"a": 1}, "value": [1, "2"]}]), "labels that are no strings"),
        (document("vector", [{"metric": {}, "value": [1, 2]}]), "a value that is no string"),
        (document("vector", [{"metric": {}, "value": [1, "Infinity"]}]), "a number that is none"),
        (document("vector", [{"metric": {}, "value": [True, "1"]}]), "a time that is no number"),
        (document("vector", [{"metric": {}, "value": [float("nan"), "1"]}]), "a number that is none"),
        (document("vector", [{"metric": {}, "value": [10**400, "1"]}]), "a number that is none"),
        (document("vector", [{"metric": {}, "histogram": [1, {"count": "2"}]}]), "native histogram"),
        (document("matrix", [{"metric": {}, "values": []}]), "a series without samples"),
        (document("string", [1, 2]), "a string that is none"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it_is_said(text: str, words: str) -> None:
    with pytest.raises(NoAnswer, match=words):
        parse(text)


def test_the_apis_own_error_is_passed_on() -> None:
    with pytest.raises(PrometheusError, match=r"^bad_data: no such thing$") as error:
        parse('{"status": "error", "errorType": "bad_data", "error": "no such thing"}')
    assert error.value.kind == "bad_data"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "{}"),
        ({"__name__": "up"}, "up"),
        ({"__name__": "up", "job": "node", "instance": "Küche\n\x1b[1m"}, 'up{instance="Küche??[1m", job="node"}'),
    ],
)
def test_labels_for_people(given: dict[str, str], text: str) -> None:
    assert text_of(given) == text
