# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""prometheus_query: the work is in plugin_utils/prometheus.py; no host is involved."""

from typing import Any

from ansible_collections.agentfactory.core.plugins.plugin_utils import prometheus, prometheus_until
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_action import URL, PrometheusAction
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_answer import PrometheusError
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_argspec import (
    PROMETHEUS_QUERY,
    PROMETHEUS_QUERY_RULES,
)


class ActionModule(PrometheusAction):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = self.begin(tmp, task_vars, PROMETHEUS_QUERY, **PROMETHEUS_QUERY_RULES)
        result["query"] = self.options["query"]
        try:
            return result | self._ask(self.options)
        except PrometheusError as error:
            return result | {"failed": True, "msg": str(error), "error_type": error.kind}

    def _ask(self, options: dict[str, Any]) -> dict[str, Any]:
        until = prometheus_until.condition(options["until"])
        # waiting tries again by itself
        client = self.client(options, attempts=1 if until else prometheus.ATTEMPTS)
        if client is None:
            raise PrometheusError(f"url: give it, or define the variable {URL}")
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
