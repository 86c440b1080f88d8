# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""agent_plan: the work is in plugin_utils/planning; no host is involved."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.agentfactory.core.plugins.module_utils.files import write_atomic
from ansible_collections.agentfactory.core.plugins.plugin_utils import fleet_inventory, fleet_placement, fleet_problem
from ansible_collections.agentfactory.core.plugins.plugin_utils.argspec import names
from ansible_collections.agentfactory.core.plugins.plugin_utils.fleet import Fleet, FleetError
from ansible_collections.agentfactory.core.plugins.plugin_utils.fleet_catalog import Catalog
from ansible_collections.agentfactory.core.plugins.plugin_utils.fleet_variables import Variables
from ansible_collections.agentfactory.core.plugins.plugin_utils.placement import PlacementError
from ansible_collections.agentfactory.core.plugins.plugin_utils.planning import document, text
from ansible_collections.agentfactory.core.plugins.plugin_utils.planning.argspec import AGENT_PLAN
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_action import PrometheusAction

FLEET = "agentfactory_fleet"


class ActionModule(PrometheusAction):
    """Plan a fleet on the controller, and write the plan."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.model import CapacityError
        from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_answer import PrometheusError
        from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.answer import ReliabilityError

        result = self.begin(tmp, task_vars, AGENT_PLAN)
        try:
            return result | self._plan()
        except (FleetError, PlacementError, CapacityError, PrometheusError, ReliabilityError) as error:
            return result | {"failed": True, "msg": str(error)}
        except OSError as error:
            return result | {"failed": True, "msg": f"{error.filename}: {error.strerror}"}

    def _plan(self) -> dict[str, Any]:
        from ansible_collections.agentfactory.core.plugins.plugin_utils.planning import decide

        fleet, variables = self._fleet()
        path = fleet_placement.beside(fleet.file)
        placed, problems = fleet_placement.read(path, fleet_inventory.label(path))
        if problems:
            raise FleetError(problems)
        rooms = {host: variables.room(host) for host in fleet.declared}
        catalog = Catalog(fleet.artifacts)

        def health(name: str) -> Mapping[str, Any]:
            manifest = catalog.find(name, fleet.agents[name]["version"], fleet.sources.get(name))
            return dict(manifest["health"])

        inputs = decide.Inputs(
            fleet, fleet_problem.described(fleet, rooms),
            {host: str(room.get("agentfactory_zone", "")) for host, room in rooms.items()},
            {name: there for name, there in placed.items() if name in fleet.counted}, health, self._ask(fleet),
        )  # fmt: skip
        asked = decide.Asked(
            self.options["load_factor"], tuple(names(self.options["drain"])), tuple(names(self.options["failed"])),
            self.options["lose_zone"] or "", self.options["host_loss"], self.options["one_more"] or "",
            self.options["window"], self.options["proof"],
        )  # fmt: skip
        plan = decide.decide(inputs, asked)
        contents = document.contents(fleet)
        plan["identity"] = document.identity(fleet, placed, contents, variables)
        plan["warnings"] += [
            f"{name}: is not packaged yet: what its source then holds is deployed" for name, found in contents.items() if found is None
        ]  # fmt: skip
        return self._told(plan)

    def _fleet(self) -> tuple[Fleet, Variables]:
        path = self.options["fleet"] or self._templar.template(self.variables.get(FLEET, ""))
        if not path:
            raise FleetError([f"fleet: give it, or define the variable {FLEET}"])
        path = os.path.abspath(path)
        fleet, hosts = fleet_inventory.read_for_planning(self._loader, path)
        return fleet, Variables(self._loader, hosts)

    def _ask(self, fleet: Fleet) -> Any:
        """Who is asked for metrics; None where none are."""
        from ansible_collections.agentfactory.core.plugins.plugin_utils import prometheus

        watched = not fleet.reliability.get("instance")
        if not any(
            (goal.get("load") or {}).get("metrics") or (watched and (goal.get("slo") or {}).get("availability"))
            for goal in fleet.goals.values()
        ):
            return None
        usual = {name: one.get("default") for name, one in AGENT_PLAN["prometheus"]["options"].items()}
        client = self.client(usual | (self.options["prometheus"] or {}))
        if client is None:
            return None
        return lambda query: client.ask(prometheus.Question(query=query, time=None))

    def _told(self, plan: dict[str, Any]) -> dict[str, Any]:
        as_json = self.options["format"] == "json"
        self._display.display(json.dumps(plan, indent=2) if as_json else text.report(plan))
        path = os.path.abspath(self.options["output"])
        result: dict[str, Any] = {"plan": plan, "path": path}
        if plan["problems"]:
            return result | {"failed": True, "msg": "; ".join(plan["problems"]) + ". Nothing was written"}
        result["changed"] = self._write(Path(path), document.render(plan))
        if self.options["format"] == "html":
            from ansible_collections.agentfactory.core.plugins.plugin_utils.planning import page

            result["page"] = str(Path(path).with_suffix(".html"))
            result["changed"] |= self._write(Path(result["page"]), page.render(plan))
        return result

    def _write(self, path: Path, after: str) -> bool:
        """Whether the file was other than this."""
        changed = not path.exists() or path.read_text(encoding="utf-8") != after
        if changed and not self._task.check_mode:
            write_atomic(path, after.encode(), 0o644)
        word = "is as it was" if not changed else "would be written" if self._task.check_mode else "is written"
        self._display.display(f"{fleet_inventory.label(str(path))} {word}")
        return changed
