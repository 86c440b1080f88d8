# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of agent_info: ask a host the truth, and say how it differs from what is declared."""

from typing import Any

from ansible_collections.agentfactory.core.plugins.plugin_utils import declare
from ansible_collections.agentfactory.core.plugins.plugin_utils.action import AgentAction
from ansible_collections.agentfactory.core.plugins.plugin_utils.argspec import AGENT_INFO


class ActionModule(AgentAction):
    SPEC = AGENT_INFO

    def work(self) -> dict[str, Any]:
        request = self.request(
            "info", gather=self.options["gather"], verify=self.options["verify"], declared=self._declared()
        )
        # Asking must leave nothing behind, so the host's library goes the way of a check.
        return {"changed": False, **self.remote().call(dict(request, check=True))}

    def environment(self) -> str:
        return str(self._templar.template(self.variables.get("agentfactory_environment", "")))

    def _declared(self) -> dict[str, Any] | None:
        """agent id -> what is declared of it; None where this host is in no fleet."""
        if "agentfactory_agents" not in self.variables or "instances" not in self.options["gather"]:
            return None
        found = {}
        for item in self.declarations():
            try:
                images = declare.packaged(self.artifacts(), item["name"], str(item["version"])).images
            except declare.DeclarationError:
                images = []
            contents = sorted({image.content for image in images})
            for name in item["instances"] if item["state"] != "absent" else []:
                found[f"{item['name']}@{name}"] = {
                    "version": str(item["version"]), "state": str(item["state"]), "contents": contents,
                }  # fmt: skip
        return found
