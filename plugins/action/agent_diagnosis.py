# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of agent_diagnosis: gather on the host in one call, and conclude here."""

import time
from typing import Any

from ansible_collections.agentfactory.core.plugins.plugin_utils import findings
from ansible_collections.agentfactory.core.plugins.plugin_utils.action import AskingAction
from ansible_collections.agentfactory.core.plugins.plugin_utils.argspec import ONLY

AGENT_DIAGNOSIS: dict[str, Any] = {
    "only": ONLY,
    "lines": {"type": "int", "default": 20},
}


class ActionModule(AskingAction):
    SPEC = AGENT_DIAGNOSIS

    def work(self) -> dict[str, Any]:
        asked = time.time()
        facts = self.ask("diagnose", lines=self.options["lines"], declared=self.declared())
        # Its clock was read at some time in between: how long the call took is not what it differs by.
        now = min(max(facts["host"]["time"], asked), time.time())
        return {"changed": False, **facts, "findings": findings.conclude(facts, self.host, now)}
