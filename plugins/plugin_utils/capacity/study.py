# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of agent_capacity to its result: inputs by hand or from a Prometheus, the network, and each agent's answers."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..prometheus_answer import Answer
from . import answers, closed, closed_visits, given, inputs, networks, promql, tell, trend
from .given import Options
from .model import Burst, CapacityError, Figures, Slo, Unstable, Workload
from .simulation import Effort

Ask = Callable[[str], Answer]


@dataclass(frozen=True)
class Inputs:
    """An agent's numbers. ``rate``: from outside where it was given by hand (``measured`` is None), else all that was measured."""

    options: Options
    rate: float
    service: float
    arrival_scv: float
    measured: inputs.Observed | None
    history: tuple[tuple[float, float], ...]

    @property
    def name(self) -> str:
        return str(self.options["name"])


def study(options: Options, ask: Ask | None = None) -> dict[str, Any]:
    """The result of the module, without what Ansible adds. Raises CapacityError for options that make no sense.

    An agent whose data mislead is ``refused``, with the reason, and gets no numbers; so does one whose rate hangs on it.
    """
    options = given.checked(options)
    known, refused = _known(options, ask)
    calls = {agent["name"]: agent["calls"] for agent in options["agents"]}
    _refuse_called(options, calls, known, refused)
    by_hand = {name: found.rate for name, found in known.items() if not found.measured}
    measured = {name: found.rate for name, found in known.items() if found.measured}
    calls = {name: to for name, to in calls.items() if name in known}
    calls = {name: {other: times for other, times in to.items() if other not in refused} for name, to in calls.items()}
    total = networks.rates(by_hand, calls, measured)
    factor = options["load_factor"]
    effort = Effort(options["seed"], options["replications"])
    found = [
        _agent(known[agent["name"]], total[agent["name"]], factor, options, effort)
        if agent["name"] in known
        else {"name": agent["name"], "refused": refused[agent["name"]]}
        for agent in options["agents"]
    ]
    result: dict[str, Any] = {"agents": found, "saturation": _saturation(known, total)}
    if any(calls.values()):
        result |= _end_to_end({agent["name"]: agent for agent in found if agent["name"] in known}, total, calls)
    if options["closed"]:
        result["closed"] = _closed(options["closed"])
    result["lines"] = tell.lines(result)
    return result


def _known(options: Options, ask: Ask | None) -> tuple[dict[str, Inputs], dict[str, str]]:
    names = [agent["name"] for agent in options["agents"]]
    for name in {name for name in names if names.count(name) > 1}:
        raise CapacityError(f"agents: {name} is there twice")
    known, refused = {}, {}
    for agent in options["agents"]:
        try:
            known[agent["name"]] = _inputs(agent, options, ask)
        except inputs.Refused as error:
            refused[agent["name"]] = str(error)
        except CapacityError as error:
            raise CapacityError(f"{agent['name']}: {error}") from error
    return known, refused


def _inputs(agent: Options, options: Options, ask: Ask | None) -> Inputs:
    history = tuple(agent["history"])
    if not agent["metrics"]:
        if agent["rate"] is None or agent["service_time"] is None:
            raise CapacityError("give rate and service_time, or metrics")
        scv = 1.0 if agent["arrival_scv"] is None else agent["arrival_scv"]
        return Inputs(agent, agent["rate"], agent["service_time"], scv, None, history)
    if ask is None:
        raise CapacityError("metrics: there is no Prometheus to ask: give url")
    window = promql.seconds(options["window"])
    wanted = promql.queries(agent["metrics"], options["window"], options["history"])
    answered = {name: ask(query) for name, query in wanted.items()}
    seen = inputs.observed(answered, window, agent["instances"], agent["concurrency"])
    if "daily_peaks" in answered and answered["daily_peaks"].series:
        samples = answered["daily_peaks"].series[0]["samples"]
        history = history or tuple((float(at), float(value)) for at, value in samples)
    scv = agent["arrival_scv"]
    if scv is None:
        scv = seen.dispersion if seen.dispersion and seen.dispersion > inputs.BURSTY else 1.0
    service = seen.service if agent["service_time"] is None else agent["service_time"]
    return Inputs(agent, seen.rate if agent["rate"] is None else agent["rate"], service, scv, seen, history)


def _refuse_called(
    options: Options, calls: Mapping[str, Mapping[str, float]], known: dict[str, Inputs], refused: dict[str, str]
) -> None:
    """Whose rate by hand is from outside only, and who is called by one whose rate nobody knows, has no rate either."""
    names = {agent["name"] for agent in options["agents"]}
    for caller, to in calls.items():
        for name in to:
            if name not in names:
                raise CapacityError(f"{caller}: calls: there is no agent {name}")
    waiting = list(refused)
    while waiting:
        caller = waiting.pop()
        for name in calls[caller]:
            if name in known and not known[name].measured:
                refused[name] = f"{caller} calls it, whose rate is not known"
                del known[name]
                waiting.append(name)


def _agent(found: Inputs, total: float, factor: float, options: Options, effort: Effort) -> dict[str, Any]:
    agent = found.options
    try:
        workload = _workload(found, total * factor)
        slo = Slo(**agent["slo"]) if agent["slo"] else None
        return _answers(found, workload, slo, factor, options, effort)
    except CapacityError as error:
        raise CapacityError(f"{found.name}: {error}") from error


def _workload(found: Inputs, rate: float) -> Workload:
    agent = found.options
    return Workload(
        rate=rate,
        service=found.service,
        instances=agent["instances"] or 1,
        concurrency=agent["concurrency"],
        shared=agent["dispatch"] == "shared",
        arrival_scv=found.arrival_scv,
        service_scv=_service_scv(agent),
        room=agent["queue_limit"],
        law=agent["service_law"],
        burst=Burst(**agent["burst"]) if agent["burst"] else None,
        batch=agent["batch"],
    )


def _service_scv(agent: Options) -> float:
    if agent["service_scv"] is not None:
        return float(agent["service_scv"])
    return 0.0 if agent["service_law"] == "deterministic" else 1.0


def _answers(
    found: Inputs, workload: Workload, slo: Slo | None, factor: float, options: Options, effort: Effort
) -> dict[str, Any]:
    agent = found.options
    notes = list(found.measured.notes) if found.measured else []
    result: dict[str, Any] = {
        "name": found.name,
        "load_factor": factor,
        "rate": workload.rate,
        "service_time": workload.service,
        "offered": workload.rate * workload.service,
        "smallest_stable": workload.smallest_stable,
    }
    if agent["instances"]:
        result["instances"] = workload.instances
        result |= _now(workload, slo, found, notes, effort)
        lost = _lost(agent, options)
        if lost:
            result["after_loss"] = _after_loss(workload, lost, slo, effort)
        if options["sensitivity"] and workload.queue().stable:
            result["sensitivity"] = _sensitivity(workload, slo, effort)
    if slo:
        result["slo"] = asdict(slo)
        result |= _needed(workload, slo, found, notes, effort)
        if agent["instances"]:
            largest = answers.largest_rate(workload, slo, effort)
            result["largest_rate"] = largest
            result["headroom"] = largest / workload.rate
    limit = result.get("largest_rate", workload.instances * workload.concurrency / workload.service)
    if found.history and agent["instances"] and limit > 0:
        result["trend"] = asdict(trend.saturates(found.history, limit)) | {"limit": limit}
    return result | {"inputs": _described(found, workload, options), "notes": notes}


def _now(workload: Workload, slo: Slo | None, found: Inputs, notes: list[str], effort: Effort) -> dict[str, Any]:
    try:
        figures = answers.answer(workload, effort)
    except Unstable as error:
        notes.append(str(error))
        return {}
    _claim(figures, found, notes)
    return {"now": figures_of(figures)} | ({"slo_met": slo.met(figures)} if slo else {})


def _needed(workload: Workload, slo: Slo, found: Inputs, notes: list[str], effort: Effort) -> dict[str, Any]:
    try:
        sizing = answers.size(workload, slo, effort)
    except CapacityError as error:
        notes.append(str(error))
        return {}
    _claim(sizing.figures, found, notes)
    one_less = figures_of(sizing.one_less) if sizing.one_less else None
    return {"needed": {"instances": sizing.instances, "figures": figures_of(sizing.figures), "one_less": one_less}}


def _claim(figures: Figures, found: Inputs, notes: list[str]) -> None:
    claim = inputs.steady(figures, found.measured.window) if found.measured else ""
    if claim and claim not in notes:
        notes.append(claim)


def _lost(agent: Options, options: Options) -> int:
    zone = options["lose_zone"]
    if zone and agent["zones"] and sum(agent["zones"].values()) != agent["instances"]:
        raise CapacityError(f"zones: {sum(agent['zones'].values())} instances, but instances says {agent['instances']}")
    return int(options["lose"].get(agent["name"], 0)) + int(agent["zones"].get(zone, 0))


def _after_loss(workload: Workload, lost: int, slo: Slo | None, effort: Effort) -> dict[str, Any]:
    left = answers.without(workload, lost, effort)
    found: dict[str, Any] = {"lost": lost, "left": left.left}
    if not left.figures:
        return found | {"reason": left.reason} | ({"slo_met": False} if slo else {})
    return found | {"figures": figures_of(left.figures)} | ({"slo_met": slo.met(left.figures)} if slo else {})


def _sensitivity(workload: Workload, slo: Slo | None, effort: Effort) -> dict[str, float]:
    return answers.sensitivity(workload, slo.of if slo else "response", slo.measure if slo else "p95", effort)


def _end_to_end(
    agents: Mapping[str, dict[str, Any]], total: Mapping[str, float], calls: networks.Calls
) -> dict[str, Any]:
    """Nothing where one does not keep up, or where the calls do not agree with what was measured, which its notes say then."""
    outside = networks.from_outside(total, calls)
    beyond = {name: -rate for name, rate in outside.items() if -rate > 0.05 * total[name]}
    for name, missing in beyond.items():
        agents[name]["notes"].append(
            f"the others call it {total[name] + missing:.4g} times a second, but it got {total[name]:.4g}: either calls is wrong,"
            " or their peaks were not at the same time; there is no end_to_end"
        )
    if beyond or not all(agent.get("now") for agent in agents.values()):
        return {}
    times = {name: agent["now"]["response"]["mean"] for name, agent in agents.items()}
    through = networks.end_to_end(outside, calls, times)
    return {"end_to_end": {name: seconds for name, seconds in through.items() if calls[name]}}


def _described(found: Inputs, workload: Workload, options: Options) -> dict[str, Any]:
    """Where the numbers come from, and how much they are worth."""
    shared: dict[str, Any] = {"arrival_scv": workload.arrival_scv, "service_scv": workload.service_scv}
    said = found.options
    guessed = [name for name in ("service_scv",) if said[name] is None and said["service_law"] == "auto"]
    if said["arrival_scv"] is None and workload.arrival_scv == 1 and not workload.burst:
        guessed.append("arrival_scv")
    shared |= {"assumed": sorted(guessed)}
    if not found.measured:
        return shared | {"source": "given", "confidence": "as good as the numbers given"}
    seen = asdict(found.measured)
    del seen["notes"]
    return shared | {
        "source": "prometheus",
        "window": options["window"],
        "measured": seen,
        "confidence": seen["confidence"],
    }


def _saturation(known: Mapping[str, Inputs], total: Mapping[str, float]) -> list[dict[str, Any]]:
    used = {
        name: total[name] * found.service / (found.options["instances"] * found.options["concurrency"])
        for name, found in known.items()
        if found.options["instances"]
    }
    return [asdict(limit) for limit in networks.saturation(used)]


def _closed(options: Options) -> dict[str, Any]:
    stations = [
        closed.Station(str(s["name"]), s["service_time"], s["servers"], s["visits"]) for s in options["stations"]
    ]
    think, population = options["think_time"], options["population"]
    rounds = closed.closed(stations, think, population)
    shown = sorted({1, population, *(max(1, population * part // 10) for part in range(1, 10))})
    return {
        "method": "closed network, exact mean value analysis; percentiles by the arrival theorem, exact",
        "assumptions": [
            "service and think times are exponential",
            "each agent waits for its answer before it goes on",
            "percentiles are of one visit: those of a whole round depend on the order of its visits, which is not known",
        ],
        "knee": closed.knee(stations, think),
        "rounds": [
            asdict(rounds[n - 1]) | {"visits": {name: asdict(times) for name, times in found.items()}}
            for n, found in zip(shown, closed_visits.visits(stations, think, shown), strict=True)
        ],
    }


def figures_of(figures: Figures) -> dict[str, Any]:
    """As plain data: tuples as lists."""
    found = asdict(replace(figures, intervals=dict(figures.intervals)))
    return found | {
        "assumptions": list(figures.assumptions),
        "intervals": {name: list(ends) for name, ends in figures.intervals.items()},
    }
