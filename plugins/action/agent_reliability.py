# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""agent_reliability: the work is in plugin_utils/reliability; no host is involved."""

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.agentfactory.core.plugins.plugin_utils.declare import DeclarationError, plain
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability import ask, observed
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.answer import ReliabilityError
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.argspec import (
    AGENT_RELIABILITY,
    AGENT_RELIABILITY_RULES,
)


class ActionModule(ActionBase):
    """Work out availability, layout and lifetimes on the controller."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _spec, options = self.validate_argument_spec(argument_spec=AGENT_RELIABILITY, **AGENT_RELIABILITY_RULES)
        result["changed"] = False
        options = plain(options)
        try:
            found = ask.answer(options) if options["zones"] is not None else {}
            if options["observed"]:
                found["forecasts"] = observed.forecasts(options)
        except (ReliabilityError, DeclarationError) as error:
            return result | {"failed": True, "msg": str(error)}
        return result | found | {"msg": "; ".join(ask.sentences(found)), "warnings": list(ask.doubts(found))}
