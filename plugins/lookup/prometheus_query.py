# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup agentfactory.core.prometheus_query: what a Prometheus says, in a template."""

DOCUMENTATION = r"""
name: prometheus_query
short_description: Ask a Prometheus
version_added: 0.1.0
author: agentfactory contributors (@agentfactory)
description:
  - Asks a Prometheus a PromQL query, at one time or over a range.
  - The module of the same name can wait for an answer too.
extends_documentation_fragment:
  - agentfactory.core.prometheus
  - agentfactory.core.prometheus.connection
options:
  _terms:
    description: One query, in PromQL.
    type: list
    elements: str
    required: true
  url:
    description:
      - Where the Prometheus is, as V(https://prometheus.example.net:9090), with a path if it is served under one.
    type: str
    vars:
      - name: agentfactory_prometheus_url
seealso:
  - module: agentfactory.core.prometheus_query
"""

EXAMPLES = r"""
- name: Say which targets are down
  ansible.builtin.debug:
    msg: "{{ lookup('agentfactory.core.prometheus_query', 'up == 0') | map(attribute='labels.instance') }}"
  vars:
    agentfactory_prometheus_url: http://prometheus.example.net:9090

- name: Go on only if the error budget lasts
  ansible.builtin.assert:
    that: (lookup('agentfactory.core.prometheus_query', promql, url=url, token=token) | first).value > 0.1
  vars:
    promql: sum(errors_left) / sum(errors_allowed)
    url: https://prometheus.example.net
    token: "{{ vault_prometheus_token }}"
"""

RETURN = r"""
_raw:
  description:
    - One element, the list of the series; so C(lookup) gives that list, and C(query) a list with it.
    - Each series is a dictionary of C(labels), C(value) and C(time); of a range also C(samples). They are those of the
      module M(agentfactory.core.prometheus_query).
  type: list
  elements: list
  sample: [[{labels: {__name__: up, instance: "home-1:9100", job: node}, value: 1.0, time: 1795453200.0}]]
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

from ansible_collections.agentfactory.core.plugins.plugin_utils import prometheus
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_answer import PrometheusError
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_argspec import (
    PROMETHEUS_QUERY,
    PROMETHEUS_QUERY_RULES,
)


class LookupModule(LookupBase):
    """One question, one list of series."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        if len(terms) != 1:
            raise AnsibleError("give one query")
        self.set_options(var_options=variables, direct=kwargs)
        options = self._options_given() | {"query": terms[0]}
        checked = ArgumentSpecValidator(PROMETHEUS_QUERY, **PROMETHEUS_QUERY_RULES).validate(options)
        if checked.error_messages:
            raise AnsibleError("; ".join(checked.error_messages))
        try:
            connection = prometheus.Connection.of(checked.validated_parameters, self._loader.path_dwim)
            answer = prometheus.Client(connection).ask(prometheus.Question.of(checked.validated_parameters))
        except PrometheusError as error:
            raise AnsibleError(str(error)) from error
        for text in answer.warnings:
            Display().warning(text)
        return [answer.series]  # the one element, so that a list stays a list

    def _options_given(self) -> dict[str, Any]:
        options = {
            name: value for name, value in self.get_options().items() if value is not None and name in PROMETHEUS_QUERY
        }
        if not options.get("url"):
            raise AnsibleError("url: give it, or define the variable agentfactory_prometheus_url")
        # a variable comes as it was written
        return options | {"url": self._templar.template(options["url"])}
