# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller only: print the fleet as one table, or as JSON."""

import json
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.agentfactory.core.plugins.plugin_utils import report
from ansible_collections.agentfactory.core.plugins.plugin_utils.argspec import FLEET_REPORT
from ansible_collections.agentfactory.core.plugins.plugin_utils.declare import plain


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(argument_spec=dict(FLEET_REPORT))
        rows = report.rows(plain(options["results"]))
        as_json = options["format"] == "json"
        self._display.display(json.dumps(rows, indent=2, sort_keys=True) if as_json else report.table(rows))
        result.update(changed=False, rows=rows)
        return result
