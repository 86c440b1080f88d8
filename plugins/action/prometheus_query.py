# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""prometheus_query: the work is in plugin_utils/prometheus.py; no host is involved."""

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.agentfactory.core.plugins.plugin_utils import prometheus, prometheus_until
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_answer import PrometheusError
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_argspec import (
    PROMETHEUS_QUERY,
    PROMETHEUS_QUERY_RULES,
)

URL = "agentfactory_prometheus_url"


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _spec, options = self.validate_argument_spec(argument_spec=PROMETHEUS_QUERY, **PROMETHEUS_QUERY_RULES)
        options["url"] = options["url"] or self._templar.template((task_vars or {}).get(URL, ""))
        result.update(changed=False, query=options["query"])
        try:
            return result | self._ask(options)
        except PrometheusError as error:
            return result | {"failed": True, "msg": str(error), "error_type": error.kind}

    def _ask(self, options: dict[str, Any]) -> dict[str, Any]:
        if not options["url"]:
            raise PrometheusError(f"url: give it, or define the variable {URL}")
        until = prometheus_until.condition(options["until"])
        connection = prometheus.Connection.of(options, self._loader.path_dwim)
        # waiting tries again by itself
        client = prometheus.Client(connection, attempts=1 if until else prometheus.ATTEMPTS)
        question = prometheus.Question.of(options)
        outcome = prometheus_until.wait(
            lambda: client.ask(question),
            until,
            retries=0 if self._task.check_mode else options["retries"],
            delay=options["delay"],
            tell=lambda line: self._display.display(f"  {options['query']}: {line}"),
        )
        found: dict[str, Any] = {"questions": outcome.questions}
        if outcome.answer:
            found |= {"result_type": outcome.answer.type, "series": outcome.answer.series}
        if outcome.answer and outcome.answer.warnings:
            found["warnings"] = outcome.answer.warnings
        if outcome.error:
            found["error_type"] = outcome.error.kind
        if until:
            found["met"] = outcome.met
            if not outcome.met and not self._task.check_mode:
                found |= {
                    "failed": True,
                    "msg": f"{options['query']} never was {until}, asked {outcome.questions} times: {outcome.seen}",
                }
        return found
