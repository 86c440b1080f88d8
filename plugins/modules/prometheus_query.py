#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: prometheus_query
short_description: Ask a Prometheus, or wait until it says what you want
description:
  - Asks a Prometheus a PromQL query at one time or over a range, and with O(until) waits for an answer that meets a condition.
  - Runs on the controller; no host is contacted. Use it with C(run_once).
version_added: 0.1.0
author:
  - agentfactory contributors (@agentfactory)
extends_documentation_fragment:
  - agentfactory.core.prometheus
  - agentfactory.core.prometheus.connection
attributes:
  check_mode:
    description: It asks as without, but waits for nothing. An O(until) that is not met is RV(met=false), and no failure.
    support: full
  diff_mode:
    description: There is never anything to compare.
    support: none
  idempotent:
    description: Nothing is ever changed.
    support: full
options:
  query:
    description: The query, in PromQL.
    type: str
    required: true
  until:
    description:
      - Asks again until the answer meets this condition, and fails where it never does. Of a range the last sample of each series counts.
      - While it waits, a Prometheus that nobody can reach counts as "not yet"; any other error is one at once.
    type: dict
    suboptions:
      operator:
        description: How to compare.
        type: str
        required: true
        choices:
          eq: equal to O(until.value)
          ne: not equal to it
          gt: greater
          ge: greater or equal
          lt: less
          le: less or equal
      value:
        description: What to compare with.
        type: float
        required: true
      of:
        description: What is compared.
        type: str
        choices:
          all: Each series, of which there must be at least one. C(NaN) is never equal, greater or less.
          any: At least one series.
          count: The number of series. So C(eq 0) waits until there is none.
        default: all
  retries:
    description: How often to ask again while O(until) is not met.
    type: int
    default: 12
  delay:
    description: Seconds between two questions.
    type: float
    default: 5.0
seealso:
  - plugin: agentfactory.core.prometheus_query
    plugin_type: lookup
    description: The same in a template.
"""

EXAMPLES = r"""
- name: Which targets are down?
  agentfactory.core.prometheus_query:
    url: http://prometheus.example.net:9090
    query: up == 0
  run_once: true
  register: down

- name: Wait for up to two minutes until each thermostat is seen, and is up
  agentfactory.core.prometheus_query:
    query: up{job="thermostat"}
    until: {operator: eq, value: 1}
    retries: 24
    delay: 5
  run_once: true

- name: Wait until no alert of theirs fires any more
  agentfactory.core.prometheus_query:
    query: ALERTS{alertstate="firing", job="thermostat"}
    until: {of: count, operator: eq, value: 0}
  run_once: true

- name: The load of the last hour, over TLS, as a user
  agentfactory.core.prometheus_query:
    url: https://prometheus.example.net
    ca_path: files/authority.pem
    username: operator
    password_file: ~/.config/prometheus-password
    query: node_load1
    start: "{{ now().timestamp() - 3600 }}"
    step: 5m
  run_once: true
"""

RETURN = r"""
query:
  description: The query.
  type: str
  returned: always
  sample: up
result_type:
  description: V(vector), V(matrix), V(scalar) or V(string).
  type: str
  returned: when there was an answer
  sample: vector
series:
  description: The series found. A scalar and a string are one without labels.
  type: list
  elements: dict
  returned: when there was an answer
  sample:
    - {labels: {__name__: up, instance: "home-1:9100", job: node}, value: 1.0, time: 1795453200.0}
    - {labels: {instance: "home-2:9100"}, value: "NaN", time: 1795453200.0}
  contains:
    labels:
      description: Its labels; C(__name__) is its name, where it has one.
      type: dict
    value:
      description: The value of its last sample, a float; C(NaN), C(+Inf) and C(-Inf), and the result of a string, are strings.
      type: raw
    time:
      description: The time of its last sample, seconds since 1970.
      type: float
    samples:
      description: All its samples, each a time and a value.
      type: list
      elements: list
      returned: when RV(result_type) is V(matrix)
      sample: [[1795453140.0, 0.25], [1795453200.0, 0.5]]
met:
  description: Whether O(until) was met.
  type: bool
  returned: when O(until) is given and there was no other error
  sample: true
questions:
  description: How often it was asked.
  type: int
  returned: when it did not fail before
  sample: 3
error_type:
  description: The API's C(errorType), as V(bad_data), V(timeout) or V(execution); V(unauthorized) for status 401 and 403; else empty.
  type: str
  returned: on an error
  sample: bad_data
"""
