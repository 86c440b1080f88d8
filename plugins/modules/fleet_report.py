#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: fleet_report
short_description: Print the fleet as one table
description:
  - Prints what M(agentfactory.core.agent_info) returned of each host as one table, or as JSON.
  - Runs on the controller; no host is contacted. Use it with C(run_once).
version_added: 0.1.0
author:
  - agentfactory contributors (@agentfactory)
attributes:
  check_mode:
    description: The same as without.
    support: full
  diff_mode:
    description: There is never anything to compare.
    support: none
  idempotent:
    description: Nothing is ever changed.
    support: full
options:
  results:
    description: Each host's name, and what M(agentfactory.core.agent_info) returned of it (also a failure).
    type: dict
    required: true
  format:
    description: How to print it.
    type: str
    choices: [table, json]
    default: table
seealso:
  - module: agentfactory.core.agent_info
"""

EXAMPLES = r"""
- name: Show one table
  agentfactory.core.fleet_report:
    results: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'agents'))) }}"
  run_once: true
"""

RETURN = r"""
rows:
  description: The table's rows, one an instance; times in seconds, sizes in bytes.
  type: list
  elements: dict
  returned: always
  sample: [{"host": "lab-1", "agent_id": "thermostat@0", "release": "1.4.2-90e0c3f9f557", "state": "running", "healthy": true}]
"""
