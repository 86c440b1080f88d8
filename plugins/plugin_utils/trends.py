# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last hours of every agent of a fleet, from its Prometheus: three questions, however many agents there are."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .prometheus import Client, Connection, Question
from .prometheus_answer import Answer, PrometheusError
from .prometheus_argspec import PROMETHEUS

HOURS, STEP = 6, 900
POINTS = HOURS * 3600 // STEP + 1
# `increase` and `rate` look back one step, so that between two points nothing is left out
QUERIES = {
    "cpu": "sum by (host, agent_id) (rate(agentfactory_agent_cpu_seconds_total{%s}[15m]))",
    "memory": "max by (host, agent_id) (agentfactory_agent_memory_bytes{%s})",
    "restarts": "sum by (host, agent_id) (increase(agentfactory_agent_restarts_total{%s}[15m]))",
}
Values = list[float | None]


@dataclass(frozen=True)
class Trends:
    """(host, agent id) -> kind (of `QUERIES`) -> `POINTS` values, the oldest first. `note`: why there are none, for people."""

    found: dict[tuple[str, str], dict[str, Values]] = field(default_factory=dict)
    note: str = ""

    def of(self, host: str, agent_id: str) -> dict[str, Values]:
        return self.found.get((host, agent_id), {})


def find(options: Mapping[str, Any], environments: Iterable[str], now: float, place: Callable[[str], str]) -> Trends:
    """The trends, or a note why there are none: no status is worth less without them. `options` are those of `PROMETHEUS`."""
    if not options["url"]:
        return Trends(note="agentfactory_prometheus_url is not set.")
    try:
        given = {**{name: spec.get("default") for name, spec in PROMETHEUS.items()}, **options}
        return ask(Client(Connection.of(given, place), attempts=1), environments, now)
    except PrometheusError as error:
        return Trends(note=f"{error}.")
    except ImportError:
        return Trends(note="the Python package requests is not installed here.")


def ask(client: Client, environments: Iterable[str], now: float) -> Trends:
    """The trends up to `now` (Unix s). Raises PrometheusError."""
    start = now - HOURS * 3600
    pattern = "|".join(re.escape(name) for name in sorted(environments))
    chosen = f"environment=~{json.dumps(pattern, ensure_ascii=False)}"
    found: dict[tuple[str, str], dict[str, Values]] = {}
    for kind, query in QUERIES.items():
        answer = client.ask(Question(query % chosen, start=str(start), end=str(now), step=str(STEP)))
        _take(found, kind, answer, start)
    if not found:
        return Trends(
            note="Prometheus has nothing of these agents: are they monitored, and under this environment's name?"
        )
    return Trends(found)


def _take(found: dict[tuple[str, str], dict[str, Values]], kind: str, answer: Answer, start: float) -> None:
    for series in answer.series:
        values: Values = [None] * POINTS
        for when, value in series["samples"]:
            number = round((float(when) - start) / STEP)
            if 0 <= number < POINTS:
                values[number] = float(value)
        labels = series["labels"]
        found.setdefault((labels.get("host", ""), labels.get("agent_id", "")), {})[kind] = values
