# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the HTTP API of a Prometheus answers to a query, read into one shape.

The API's form is that of https://prometheus.io/docs/prometheus/latest/querying/api/ .
"""

import json
import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypedDict

NOT_FINITE = ("NaN", "+Inf", "-Inf")  # as the API writes them: JSON has no numbers for them


class PrometheusError(Exception):
    """A question that got no result. ``kind`` is the API's errorType, empty where the API itself did not answer."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class Unavailable(PrometheusError):
    """There is nobody who answers, now; somebody may later."""


class TimedOut(Unavailable):
    """It did not answer in time."""


class NoAnswer(PrometheusError):
    """What was received is no answer of the API."""


class Series(TypedDict, total=False):
    """``value`` and ``time`` (seconds since 1970) are those of the last sample; ``samples`` are [time, value], of a matrix only."""

    labels: dict[str, str]
    value: float | str
    time: float
    samples: list[list[float | str]]


@dataclass(frozen=True)
class Answer:
    """``type`` is vector, matrix, scalar or string. The last two are one series without labels."""

    type: str
    series: list[Series] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def parse(body: bytes | str) -> Answer:
    """Raises PrometheusError with the API's own words where it says that it failed; NoAnswer where this is not the API."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("it is not JSON") from error
    if not isinstance(document, dict) or document.get("status") not in ("success", "error"):
        raise NoAnswer("it has no status of success or error")
    if document["status"] == "error":
        kind, reason = (str(document.get(name) or "unknown") for name in ("errorType", "error"))
        raise PrometheusError(f"{kind}: {reason}", kind)
    warnings = document.get("warnings") or []
    data = document.get("data")
    if not isinstance(warnings, list) or not isinstance(data, dict):
        raise NoAnswer("it has no data, or warnings that are no list")
    try:
        return Answer(
            data["resultType"], _READERS[data["resultType"]](data["result"]), [str(item) for item in warnings]
        )
    except (KeyError, TypeError, ValueError) as error:
        # in words of our own: those of a server may hold what must not be shown
        reason = str(error) if isinstance(error, _Unreadable) else "a part of it is missing or of an unknown type"
        raise NoAnswer(f"its result cannot be read: {reason}") from error


class _Unreadable(ValueError):
    """With a reason for people."""


def _vector(result: Any) -> list[Series]:
    return [_series(_labels(item), [_sample(item["value"])]) for item in _list(result)]


def _matrix(result: Any) -> list[Series]:
    found = []
    for item in _list(result):
        samples = [_sample(sample) for sample in _list(item["values"])]
        found.append(_series(_labels(item), samples) | Series(samples=[list(sample) for sample in samples]))
    return found


def _scalar(result: Any) -> list[Series]:
    return [_series({}, [_sample(result)])]


def _string(result: Any) -> list[Series]:
    time, value = _list(result)
    if not isinstance(value, str):
        raise _Unreadable("a string that is none")
    return [_series({}, [(_time(time), value)])]


_READERS = {"vector": _vector, "matrix": _matrix, "scalar": _scalar, "string": _string}


def _series(labels: dict[str, str], samples: list[tuple[float, float | str]]) -> Series:
    if not samples:
        raise _Unreadable("a series without samples")
    time, value = samples[-1]
    return Series(labels=labels, time=time, value=value)


def _list(given: Any) -> list[Any]:
    if not isinstance(given, list):
        raise _Unreadable("something else where a list must be")
    return given


def _labels(item: Any) -> dict[str, str]:
    labels = item["metric"]
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise _Unreadable("labels that are no strings")
    if "histogram" in item or "histograms" in item:
        raise _Unreadable("a native histogram; ask for a number of it, as with histogram_quantile or histogram_count")
    return labels


def _sample(given: Any) -> tuple[float, float | str]:
    time, value = _list(given)
    if not isinstance(value, str):
        raise _Unreadable("a value that is no string")
    return _time(time), value if value in NOT_FINITE else _finite(value)


def _time(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise _Unreadable("a time that is no number")
    return _finite(given)


def _finite(given: str | float) -> float:
    with suppress(ValueError, OverflowError):
        if math.isfinite(number := float(given)):
            return number
    raise _Unreadable("a number that is none")


def text_of(labels: dict[str, str]) -> str:
    """As PromQL writes it: ``up{instance="home-1:9100", job="node"}``."""
    pairs = ", ".join(f'{name}="{_printable(value)}"' for name, value in sorted(labels.items()) if name != "__name__")
    name = labels.get("__name__", "")
    return f"{name}{{{pairs}}}" if pairs or not name else name


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
