# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""agent_capacity: the work is in plugin_utils/capacity; no host is involved."""

from typing import Any

from ansible_collections.agentfactory.core.plugins.plugin_utils import prometheus
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.argspec import AGENT_CAPACITY
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.model import CapacityError
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.study import Ask, study
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_action import PrometheusAction
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_answer import PrometheusError
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_argspec import PROMETHEUS_RULES


class ActionModule(PrometheusAction):
    """Answer on the controller how many instances agents need."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = self.begin(tmp, task_vars, AGENT_CAPACITY, **PROMETHEUS_RULES)
        try:
            found = study(self.options, self._ask())
        except (CapacityError, PrometheusError) as error:
            return result | {"failed": True, "msg": str(error)}
        refused = [f"{agent['name']}: refused: {agent['refused']}" for agent in found["agents"] if "refused" in agent]
        return result | found | ({"warnings": refused} if refused else {})

    def _ask(self) -> Ask | None:
        needed = any(agent["metrics"] for agent in self.options["agents"])
        client = self.client(self.options) if needed else None
        if client is None:
            return None
        return lambda query: client.ask(prometheus.Question(query=query, time=self.options["time"]))
