#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: fleet_report
short_description: Show the fleet as one table or one page
description:
  - Prints what M(agentfactory.core.agent_info) returned of each host as one table, or as JSON; or writes it as one page of HTML.
  - The page is one file that loads nothing, opens from disk, and shows what is wrong first. With a Prometheus it draws CPU, memory
    and restarts of the last hours. What agents say is escaped in it.
  - Runs on the controller; no host is contacted. Use it with C(run_once).
version_added: 0.1.0
author:
  - agentfactory contributors (@agentfactory)
attributes:
  check_mode:
    description: The same as without, but no page is written.
    support: full
  diff_mode:
    description: There is never anything to compare.
    support: none
  idempotent:
    description: Nothing is ever changed, but that each page is a new one, with its time in it.
    support: partial
options:
  results:
    description: Each host's name, and what M(agentfactory.core.agent_info) returned of it (also a failure).
    type: dict
    required: true
  format:
    description: How to print it.
    type: str
    choices: [table, json, html]
    default: table
  output:
    description:
      - Where the page goes, with O(format=html); a relative path is below the current directory.
      - It is its owner's alone. A page that is there already is replaced at once and keeps its permissions.
    type: path
    default: fleet-status.html
  prometheus:
    description:
      - How to ask the Prometheus that knows the agents, with O(format=html). Three questions are asked, however large the fleet is.
      - Where it cannot be asked the page says why, and has no lines; that is no failure.
      - The options are those of M(agentfactory.core.prometheus_query).
    type: dict
    suboptions:
      url:
        description: Where it is. By default the variable C(agentfactory_prometheus_url); without that nobody is asked.
        type: str
      timeout:
        description: Seconds for one answer.
        type: float
        default: 10.0
      validate_certs:
        description: Whether the server must prove who it is.
        type: bool
        default: true
      ca_path:
        description: The authorities to trust, instead of the machine's.
        type: str
      client_cert:
        description: The PEM file of a client certificate to show.
        type: str
      client_key:
        description: The PEM file of its key.
        type: str
      username:
        description: For basic authentication.
        type: str
      password:
        description: The password.
        type: str
      password_file:
        description: A file on the controller that holds the password.
        type: str
      token:
        description: A bearer token, instead of a user's name.
        type: str
      token_file:
        description: A file on the controller that holds the bearer token.
        type: str
requirements:
  - requests on the controller, to ask a Prometheus
seealso:
  - module: agentfactory.core.agent_info
  - module: agentfactory.core.diagnosis_report
"""

EXAMPLES = r"""
- name: Show one table
  agentfactory.core.fleet_report:
    results: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'agents'))) }}"
  run_once: true

- name: Write a page for a web server
  agentfactory.core.fleet_report:
    results: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'agents'))) }}"
    format: html
    output: /srv/www/fleet.html
    prometheus:
      url: https://prometheus.example.net
      username: operator
      password_file: ~/.config/prometheus-password
  run_once: true
"""

RETURN = r"""
rows:
  description: The table's rows, one an instance; times in seconds, sizes in bytes.
  type: list
  elements: dict
  returned: always
  sample: [{"host": "lab-1", "agent_id": "thermostat@0", "release": "1.4.2-90e0c3f9f557", "state": "running", "healthy": true}]
path:
  description: The page's path, absolute.
  type: str
  returned: with O(format=html)
  sample: /home/ada/fleet/fleet-status.html
note:
  description: Why the page has no lines of the last hours; empty where it has.
  type: str
  returned: with O(format=html)
  sample: agentfactory_prometheus_url is not set.
"""
