# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many instances each agent needs for its promise, and how it is with any number of them: the capacity's models."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..capacity import answers
from ..capacity.model import Burst, Figures, Slo, Unstable, Workload
from ..capacity.study import Ask, study

_NOT_HERE: dict[str, Any] = {"instances": None, "zones": None, "history": None}
_SLO = {"measure": "p95", "of": "response", "loss": 0.001}


@dataclass
class Demand:
    """Of one agent. `needed`: the fewest that keep the promise. `workload` is None without a load, or where it is `refused`.

    `goal` is the promise in words, `budget` the unavailability that it allows, `notes` what is doubtful.
    """

    name: str
    needed: int = 1
    workload: Workload | None = None
    slo: Slo | None = None
    budget: float | None = None
    refused: str = ""
    basis: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def unknown(self) -> bool:
        """Whether nobody can say if it keeps its promise: its data are refused."""
        return bool(self.refused) and self.workload is None

    @cached_property
    def _known(self) -> dict[int, Figures | None]:
        return {}

    def figures(self, instances: int) -> Figures | None:
        """How it is with so many; None without a load, and where so many cannot keep up."""
        if self.workload is None or instances < 1:
            return None
        if instances not in self._known:
            try:
                self._known[instances] = answers.answer(replace(self.workload, instances=instances))
            except Unstable:
                self._known[instances] = None
        return self._known[instances]

    def why_not(self, instances: int) -> str:
        """Why so many do not keep the promise; empty where they do, or there is none."""
        if instances < 1:
            return "none is left"
        if self.workload is not None:
            figures = self.figures(instances)
            if figures is None:
                return f"{instances} cannot keep up with the load"
            if self.slo and not self.slo.met(figures):
                return _broken(self.slo, figures, instances)
        return f"{instances} are left of {self.needed} needed" if instances < self.needed else ""


def _broken(slo: Slo, figures: Figures, instances: int) -> str:
    if slo.value(figures) > slo.below:
        return f"{slo.name} is {slo.value(figures):.3g} s with {instances}, more than {slo.below:g} s"
    if not figures.settled:
        return f"with {instances} it is too close to saturation for a simulation to settle"
    return f"{figures.loss:.2g} of the requests find no room with {instances}, more than {slo.loss:g}"


def demands(
    goals: Mapping[str, Mapping[str, Any]],
    running: Mapping[str, int],
    *,
    load_factor: float = 1.0,
    window: str = "7d",
    ask: Ask | None = None,
) -> dict[str, Demand]:
    """Of every agent with goals (see `fleet_goals`). `running`: how many run now. CapacityError where the numbers make no sense."""
    found = {name: _promised(name, goal.get("slo") or {}) for name, goal in goals.items()}
    loaded = {name: goal for name, goal in goals.items() if goal.get("load")}
    if not loaded:
        return found
    options = {
        "agents": [_options(name, goal, running.get(name, 0)) for name, goal in loaded.items()],
        "load_factor": load_factor, "lose": None, "lose_zone": None, "closed": None, "sensitivity": False, "seed": 1,
        "replications": 10, "window": window, "history": None, "time": None,
    }  # fmt: skip
    for answer in study(options, ask)["agents"]:
        _take(found[answer["name"]], answer, loaded[answer["name"]]["load"])
    return found


def _promised(name: str, slo: Mapping[str, Any]) -> Demand:
    demand = Demand(name, slo.get("needed") or 1)
    if slo.get("availability") is not None:
        demand.budget = 1 - slo["availability"]
    if slo.get("below") is not None:
        demand.slo = Slo(slo["below"], slo["measure"], slo["of"])
    return demand


def _options(name: str, goal: Mapping[str, Any], running: int) -> dict[str, Any]:
    slo = goal.get("slo") or {}
    wanted = {key: slo.get(key) or default for key, default in _SLO.items()} | {"below": slo.get("below")}
    load = {key: value for key, value in goal["load"].items() if key != "metrics"}
    metrics = goal["load"]["metrics"]
    given = _NOT_HERE | {"name": name, "slo": wanted if slo.get("below") is not None else None, **load}
    return given | {"metrics": metrics, "instances": running if metrics and running else None}


def _take(demand: Demand, answer: Mapping[str, Any], load: Mapping[str, Any]) -> None:
    """What the study found."""
    demand.notes = list(answer.get("notes", ()))
    if "refused" in answer:
        demand.refused = answer["refused"]
        return
    inputs = answer["inputs"]
    demand.workload = Workload(
        answer["rate"], answer["service_time"], 1, load["concurrency"], load["dispatch"] == "shared",
        inputs["arrival_scv"], inputs["service_scv"], load["queue_limit"], load["service_law"],
        Burst(**load["burst"]) if load["burst"] else None, load["batch"],
    )  # fmt: skip
    source = "numbers as given"
    if inputs["source"] == "prometheus":
        source = f"measured over {inputs['window']} in {inputs['measured']['requests']:.0f} requests"
    demand.basis = [
        f"{answer['rate']:.4g} requests/s of {answer['service_time']:.4g} s ({source}, confidence: {inputs['confidence']})"
    ]
    demand.basis += [f"{name} is taken to be 1" for name in inputs["assumed"]]
    demand.basis += ["requests wait without limit: no queue_limit is given"] if load["queue_limit"] is None else []
    if "needed" in answer:
        figures = answer["needed"]["figures"]
        demand.basis += [f"method: {figures['method']}", *figures["assumptions"]]
        demand.needed = max(demand.needed, answer["needed"]["instances"])
    elif demand.slo:
        demand.refused = "no number of instances keeps the SLO"
    else:
        demand.needed = max(demand.needed, answer["smallest_stable"])
