# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller only: print the fleet as one table or as JSON, or write it as a page of HTML."""

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible_collections.agentfactory.core.plugins.plugin_utils import report
from ansible_collections.agentfactory.core.plugins.plugin_utils.declare import plain
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_action import PrometheusAction
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_argspec import PROMETHEUS, PROMETHEUS_RULES

FLEET_REPORT: dict[str, Any] = {
    "results": {"type": "dict", "required": True},
    "format": {"type": "str", "choices": ["table", "json", "html"], "default": "table"},
    "output": {"type": "path", "default": "fleet-status.html"},
    "prometheus": {
        "type": "dict",
        "options": {**PROMETHEUS, "timeout": {"type": "float", "default": 10.0}},
        **PROMETHEUS_RULES,
    },
}


class ActionModule(PrometheusAction):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = self.begin(tmp, task_vars, FLEET_REPORT)
        options = self.options
        rows = report.rows(plain(options["results"]))
        result["rows"] = rows
        if options["format"] == "html":
            try:
                return result | self._page(rows, options)
            except OSError as error:
                return result | {"failed": True, "msg": f"output: {error.filename}: {error.strerror}"}
        as_json = options["format"] == "json"
        self._display.display(json.dumps(rows, indent=2, sort_keys=True) if as_json else report.table(rows))
        return result

    def _page(self, rows: list[dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
        from ansible_collections.agentfactory.core.plugins.plugin_utils import page, trends

        now, path = time.time(), os.path.abspath(options["output"])
        environment = str(self._templar.template(self.variables.get("agentfactory_environment", "")))
        environments = {str(row.get("environment") or environment) for row in rows if "agent_id" in row}
        given = options["prometheus"] or {}
        connect = {**given, "url": self.url(given)}
        found = trends.find(connect, environments, now, self._loader.path_dwim)
        text = page.render(page.model(rows, now=now, environment=environment, trends=found))
        if not self._task.check_mode:
            page.write(Path(path), text)
        self._display.display(f"{'would write' if self._task.check_mode else 'wrote'} {path}")
        return {"changed": True, "path": path, "note": found.note}
