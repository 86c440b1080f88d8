# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""agent_capacity: the work is in plugin_utils/capacity; no host is involved."""

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.agentfactory.core.plugins.plugin_utils import prometheus
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.argspec import AGENT_CAPACITY
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.model import CapacityError
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.study import Ask, study
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_answer import PrometheusError
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_argspec import PROMETHEUS_RULES

URL = "agentfactory_prometheus_url"


class ActionModule(ActionBase):
    """Answer on the controller how many instances agents need."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _spec, options = self.validate_argument_spec(argument_spec=AGENT_CAPACITY, **PROMETHEUS_RULES)
        options["url"] = options["url"] or self._templar.template((task_vars or {}).get(URL, ""))
        result["changed"] = False
        try:
            found = study(options, self._ask(options))
        except (CapacityError, PrometheusError) as error:
            return result | {"failed": True, "msg": str(error)}
        refused = [f"{agent['name']}: refused: {agent['refused']}" for agent in found["agents"] if "refused" in agent]
        return result | found | ({"warnings": refused} if refused else {})

    def _ask(self, options: dict[str, Any]) -> Ask | None:
        if not options["url"] or not any(agent["metrics"] for agent in options["agents"]):
            return None
        client = prometheus.Client(prometheus.Connection.of(options, self._loader.path_dwim))
        return lambda query: client.ask(prometheus.Question(query=query, time=options["time"]))
