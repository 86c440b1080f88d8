# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""agent_placement: the work is in plugin_utils/placement; no host is involved."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.agentfactory.core.plugins.module_utils.files import write_atomic
from ansible_collections.agentfactory.core.plugins.plugin_utils import fleet_inventory, fleet_placement, placement
from ansible_collections.agentfactory.core.plugins.plugin_utils.fleet import Fleet, FleetError
from ansible_collections.agentfactory.core.plugins.plugin_utils.fleet_problem import Given, described, problem
from ansible_collections.agentfactory.core.plugins.plugin_utils.placement import text
from ansible_collections.agentfactory.core.plugins.plugin_utils.placement.argspec import AGENT_PLACEMENT

FLEET = "agentfactory_fleet"


class ActionModule(ActionBase):
    """Place a fleet's agents with `count`, and write placement.yml."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _spec, options = self.validate_argument_spec(argument_spec=AGENT_PLACEMENT)
        try:
            return result | self._place(options, task_vars or {})
        except (FleetError, placement.PlacementError) as error:
            return result | {"failed": True, "msg": str(error)}
        except OSError as error:
            return result | {"failed": True, "msg": f"{error.filename}: {error.strerror}"}

    def _place(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        fleet = self._fleet(options["fleet"] or self._templar.template(variables.get(FLEET, "")))
        path = fleet_placement.beside(fleet.file)
        placed, problems = fleet_placement.read(path, fleet_inventory.label(path))
        if problems:
            raise FleetError(problems)
        question = problem(
            fleet,
            _given(options["hosts"] or [], fleet, variables.get("hostvars", {})),
            fleet_placement.current(placed, fleet.counted),
            drain=options["drain"] or (),
            failed=options["failed"] or (),
            host_loss=options["host_loss"],
        )
        answer = placement.solve(question, proof=options["proof"])
        result = told(answer) | {"path": path, "changed": False}
        if not answer.possible:
            return result | {"failed": True, "msg": "; ".join(text.problems(answer)) + ". Nothing was written"}
        return result | self._write(path, fleet_placement.render(answer.placement, list(fleet.declared)))

    def _fleet(self, path: str) -> Fleet:
        if not path:
            raise FleetError([f"fleet: give it, or define the variable {FLEET}"])
        path = self._loader.path_dwim(path)
        fleet, _hosts = fleet_inventory.read_for_planning(self._loader, path)
        if not fleet.counted:
            raise FleetError([f"{fleet_inventory.label(path)}: there is no agent with count: nothing is to be placed"])
        return fleet

    def _write(self, path: str, after: str) -> dict[str, Any]:
        file = Path(path)
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        result: dict[str, Any] = {"changed": before != after}
        if before != after and self._task.diff:
            result["diff"] = {"before_header": path, "after_header": path, "before": before, "after": after}
        if before != after and not self._task.check_mode:
            write_atomic(file, after.encode(), 0o644)
        return result


def _given(options: list[dict[str, Any]], fleet: Fleet, hostvars: Mapping[str, Any]) -> dict[str, Given]:
    """The hosts as the task describes them, else as their variables do."""
    found = described(fleet, hostvars)
    for item in options:
        found[item["name"]] = Given(item["capacity"], item["reserved"], item["zone"])
    return found


def told(answer: placement.Answer) -> dict[str, Any]:
    """An answer as return values."""
    by_host: dict[str, dict[str, list[int]]] = {}
    for name, there in answer.placement.items():
        by_host[name] = {}
        for index, host in sorted(there.items()):
            by_host[name].setdefault(host, []).append(index)
    return {
        "placement": by_host,
        "steps": [asdict(step) for step in answer.order.steps],
        "deadlocked": [asdict(step) for step in answer.order.deadlocked],
        "moves": {
            "found": answer.moves,
            "bound": answer.bounds.moves,
            "hops": answer.order.hops,
            "proven": answer.proven,
        },
        "max_utilisation": {"found": answer.max_utilisation / 10_000, "bound": answer.bounds.max_utilisation / 10_000},
        "hosts_in_use": {"found": answer.hosts, "bound": answer.bounds.hosts},
        "unplaced": [asdict(short) | {"indexes": list(short.indexes)} for short in answer.without],
        "stuck": answer.stuck,
        "losses": [asdict(loss) for loss in answer.losses],
        "relaxed": answer.relaxed,
        "method": answer.method,
        "assumptions": answer.assumptions,
        "report": text.lines(answer),
    }
