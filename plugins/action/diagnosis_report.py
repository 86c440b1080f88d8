# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller only: print diagnoses, and write them as bundles."""

import json
import time
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.agentfactory.core.plugins.plugin_utils import diagnosis_report as report
from ansible_collections.agentfactory.core.plugins.plugin_utils.declare import plain

DIAGNOSIS_REPORT: dict[str, Any] = {
    "results": {"type": "dict", "required": True},
    "format": {"type": "str", "choices": ["text", "json"], "default": "text"},
    "bundle": {"type": "path"},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(argument_spec=dict(DIAGNOSIS_REPORT))
        found = report.documents(plain(options["results"]))
        if options["format"] == "json":
            self._display.display(json.dumps(list(found.values()), indent=2, sort_keys=True))
        else:
            self._display.display(report.everything(found))
        result.update(changed=False, findings={host: document["findings"] for host, document in found.items()})
        if options["bundle"]:
            try:
                result.update(self._bundle(options["bundle"], found))
            except OSError as error:
                result.update(failed=True, msg=f"bundle: {error.filename}: {error.strerror}")
        return result

    def _bundle(self, directory: str, found: dict[str, Any]) -> dict[str, Any]:
        check, now = self._task.check_mode, time.time()
        paths = report.bundle_paths(directory, found, now) if check else report.bundle(directory, found, now)
        for files in paths.values():
            self._display.display(f"{'would write' if check else 'wrote'} {' and '.join(files.values())}")
        return {"changed": bool(paths), "bundles": paths}
