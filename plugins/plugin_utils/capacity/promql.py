# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The questions to a Prometheus that a model's inputs come from, as data: the one place.

Names in braces are replaced: ``requests`` (a counter's selector), ``busy`` (a gauge's: requests that are worked on), ``busy_seconds`` (a
counter's), ``duration`` (a histogram's name) with its ``labels``, ``window``, ``step`` and ``history`` (durations, as 1h and 30d).
"""

from collections.abc import Mapping

from .model import CapacityError

REQUESTS = {
    # The peak of the 5-minute rate, never the mean over the window: queues are made at peaks.
    "peak": "max_over_time(sum(rate({requests}[5m]))[{window}:{step}])",
    "mean": "sum(rate({requests}[{window}]))",
    "requests": "sum(increase({requests}[{window}]))",
    "counters": "count({requests})",
    "counters_before": "count({requests} offset {window})",
    "counters_kept": "count({requests} and {requests} offset {window})",  # the same series: what moved has another
    # by differences: increase() reckons a minute from less than one, and so adds to the variance
    "minutes": "((sum({requests}) - sum({requests} offset 1m)) >= 0)[{window}:1m]",
}
BUSY = {
    # The mean of the sum: a sum of means would count a series in full that was there for a part of the window.
    "busy": "avg_over_time(sum({busy})[{window}:{step}])",
    "busy_peak": "max_over_time(sum({busy})[{window}:{step}])",
    "busy_most": "max_over_time(max({busy})[{window}:{step}])",  # of one instance
}
BUSY_SECONDS = {
    "busy": "sum(rate({busy_seconds}[{window}]))",
    "busy_peak": "max_over_time(sum(rate({busy_seconds}[5m]))[{window}:{step}])",
    "busy_most": "max_over_time(max(rate({busy_seconds}[5m]))[{window}:{step}])",
}
DURATION = {
    "buckets": "sum by (le) (increase({duration}_bucket{labels}[{window}]))",
    "response_sum": "sum(increase({duration}_sum{labels}[{window}]))",
    "response_count": "sum(increase({duration}_count{labels}[{window}]))",
}
HISTORY = {"daily_peaks": "max_over_time(sum(rate({requests}[5m]))[1d:5m])[{history}:1d]"}


def queries(names: Mapping[str, str | None], window: str, history: str | None = None) -> dict[str, str]:
    """The questions for what an agent's metrics are called: ``names`` has requests and some of busy, busy_seconds and duration."""
    given = {name: value for name, value in names.items() if value}
    wanted = dict(REQUESTS)
    if "busy" in given:
        wanted |= BUSY
    elif "busy_seconds" in given:
        wanted |= BUSY_SECONDS
    if "duration" in given:
        wanted |= DURATION
    if history:
        wanted |= HISTORY
    base, brace, labels = given.get("duration", "").partition("{")
    # Prometheus looks at whole minutes of the clock, and a shorter window may have none
    step = "1m" if seconds(window) >= 120 else "1s"
    filled = {
        **given, "duration": base, "labels": brace + labels, "window": window, "step": step, "history": history or "",
    }  # fmt: skip
    return {name: _fill(query, filled) for name, query in wanted.items()}


def _fill(query: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        query = query.replace("{" + name + "}", value)
    return query


def seconds(duration: str) -> float:
    """Of 90s, 5m, 1h, 7d, 2w."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    number, unit = duration[:-1], duration[-1:]
    if unit not in units or not number.isdigit() or int(number) == 0:
        raise CapacityError(f"{duration!r} is no duration such as 90s, 5m, 1h, 7d or 2w")
    return float(int(number) * units[unit])
