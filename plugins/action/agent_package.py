# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""agent_package: the work is in plugin_utils/package.py; no host is involved."""

import time
from dataclasses import asdict
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.agentfactory.core.plugins.plugin_utils import freshness, preview, run
from ansible_collections.agentfactory.core.plugins.plugin_utils.argspec import AGENT_PACKAGE
from ansible_collections.agentfactory.core.plugins.plugin_utils.artifact import ArtifactError
from ansible_collections.agentfactory.core.plugins.plugin_utils.manifest import ManifestError
from ansible_collections.agentfactory.core.plugins.plugin_utils.package import Request, package
from ansible_collections.agentfactory.core.plugins.plugin_utils.tree import PackageError


class ActionModule(ActionBase):
    """Package an agent on the controller."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _spec, options = self.validate_argument_spec(argument_spec=AGENT_PACKAGE)
        began = time.time()
        try:
            done = package(
                Request(
                    file=self._loader.path_dwim(options["source"]),
                    artifacts=self._place(options["artifacts"]),
                    platforms=options["platforms"] or (),
                    default_platforms=options["default_platforms"] or (),
                    overwrite=options["overwrite"],
                    upgrade_lock=options["upgrade_lock"],
                    check=bool(self._task.check_mode),
                    diff=bool(self._task.diff),
                    preview=preview.make() if self._task.check_mode else "",
                )
            )
            if not self._task.check_mode:
                freshness.packaged_since(self._place(options["artifacts"]), done.name, began)
        except (ManifestError, PackageError, ArtifactError, run.RunError) as error:
            return result | {"failed": True, "msg": str(error)}
        except OSError as error:
            return result | {"failed": True, "msg": f"{error.filename or options['artifacts']}: {error.strerror}"}
        result.update(asdict(done))
        for optional in ("diff", "warnings"):
            if not result[optional]:
                del result[optional]
        return result

    def _place(self, artifacts: str) -> str:
        if "://" in artifacts:
            raise PackageError(f"artifacts: {artifacts} is a URL; packaging writes to a directory")
        return str(self._loader.path_dwim(artifacts))
