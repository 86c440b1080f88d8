# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option `observed` of the module agent_reliability: series of a Prometheus and histories of hosts, to one forecast an agent."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..prometheus import moment
from ..prometheus_answer import PrometheusError, Series, text_of
from .answer import ReliabilityError, seconds
from .ask import plain_basis
from .forecast import Forecast, forecast
from .history import Observed, Plan, Samples, Window, changes, observe, samples_of

Labels = tuple[tuple[str, str], ...]
LONGEST_HISTORY = 100  # records that agent_info gives


def forecasts(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """In the order of the agents' names. Instances of which nothing can be said are warnings, unless there are no others."""
    given, confidence = options["observed"], options["confidence"]
    if not 0 < confidence < 1:
        raise ReliabilityError("confidence: must be between 0 and 1, as 0.9")
    horizon = seconds("horizon", options["horizon"])
    age = seconds("age", options["age"]) if options.get("age") else 0.0
    agents, doubts = _observed(given)
    found = []
    for agent, instances in sorted(agents.items()):
        one = forecast(instances, horizon, age=age, confidence=confidence, counted=bool(given.get("restarts")))
        found.append(_plain(agent, one, doubts))
    return found


def _observed(given: Mapping[str, Any]) -> tuple[dict[str, list[Observed]], list[str]]:
    up, wanted, restarts = (_by_labels(name, given.get(name) or ()) for name in ("up", "wanted", "restarts"))
    if not up:
        raise ReliabilityError("observed.up: there is no series: what does the query give in Prometheus?")
    step = seconds("observed.step", given["step"]) if given.get("step") else None
    windows = [_window(f"observed.maintenance[{i}]", one) for i, one in enumerate(given.get("maintenance") or ())]
    agents: dict[str, list[Observed]] = {}
    doubts = []
    for labels, samples in up.items():
        names = dict(labels)
        plan = Plan(tuple(windows), _changes(given.get("history") or {}, names))
        try:
            one = observe(
                _title(names),
                samples,
                wanted=wanted.get(labels, ()),
                restarts=restarts.get(labels, ()),
                plan=plan,
                step=step,
            )
        except ReliabilityError as error:
            doubts.append(f"left out: {error}")
        else:
            agents.setdefault(names.get("agent", ""), []).append(one)
            doubts += _cut(given.get("history") or {}, names, one.window)
    if not agents:
        raise ReliabilityError("observed.up: " + "; ".join(doubts))
    return agents, list(dict.fromkeys(doubts))


def _by_labels(name: str, series: Sequence[Series]) -> dict[Labels, Samples]:
    found: dict[Labels, Samples] = {}
    for one in series:
        labels = {key: value for key, value in one.get("labels", {}).items() if key != "__name__"}
        key = tuple(sorted(labels.items()))
        if key in found:
            raise ReliabilityError(f"observed.{name}: {text_of(labels)} is there twice")
        try:
            found[key] = samples_of(one)
        except (ReliabilityError, TypeError, ValueError) as error:
            raise ReliabilityError(f"observed.{name}: {error}") from error
    return found


def _title(names: Mapping[str, str]) -> str:
    """An instance in a word: ``thermostat@0 on home-1``."""
    if "agent_id" in names:
        return f"{names['agent_id']} on {names.get('host') or names.get('instance', '?')}"
    return text_of(dict(names))


def _changes(history: Mapping[str, Any], names: Mapping[str, str]) -> tuple[float, ...]:
    return changes(history.get(names.get("host", ""), ()), names.get("agent_id", ""))


def _cut(history: Mapping[str, Any], names: Mapping[str, str], window: Window) -> list[str]:
    """The history may not reach back far enough: older changes would be taken for failures."""
    records = history.get(names.get("host", ""))
    if records is None:
        return [
            "no history of changes for host %s: a planned stop of it is known only where the agent was not wanted"
            % names.get("host", "?")
        ]
    if (
        len(records) >= LONGEST_HISTORY
        and min(changes(records, str(records[0].get("agent_id"))), default=0) > window[0]
    ):
        return [f"the history of host {names['host']} begins after the samples do: older changes count as failures"]
    return []


def _window(where: str, given: Mapping[str, Any]) -> Window:
    try:
        begin, end = (float(moment(f"{where}.{name}", str(given[name]))) for name in ("start", "end"))
    except PrometheusError as error:
        raise ReliabilityError(str(error)) from error
    if end <= begin:
        raise ReliabilityError(f"{where}: ends before it begins")
    return begin, end


def _plain(agent: str, one: Forecast, doubts: Sequence[str]) -> dict[str, Any]:
    found = asdict(one)
    for name in ("operation", "mtbf", "mttr", "horizon", "age"):
        found[f"{name}_seconds"] = found.pop(name)
    found["instances"] = [
        {
            "name": seen.name, "failures": seen.failures, "hidden": seen.hidden, "operation_seconds": seen.operation,
            "outages": len(seen.repairs), "planned": seen.planned, "gaps": seen.gaps, "unwatched_seconds": seen.unwatched,
            "age_seconds": seen.age, "step_seconds": seen.step,
        }
        for seen in one.instances
    ]  # fmt: skip
    basis = plain_basis(found["basis"])
    basis["warnings"] += list(doubts)
    return {"agent": agent, **found, "basis": basis}
