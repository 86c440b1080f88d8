# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of agent_info: ask a host the truth, and say how it differs from what is declared."""

from typing import Any

from ansible_collections.agentfactory.core.plugins.plugin_utils.action import AskingAction
from ansible_collections.agentfactory.core.plugins.plugin_utils.argspec import AGENT_INFO


class ActionModule(AskingAction):
    SPEC = AGENT_INFO

    def work(self) -> dict[str, Any]:
        gather = self.options["gather"]
        declared = self.declared() if "instances" in gather else None
        return {
            "changed": False,
            **self.ask("info", gather=gather, verify=self.options["verify"], declared=declared),
        }
