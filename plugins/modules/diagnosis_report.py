#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: diagnosis_report
short_description: Print diagnoses, and keep them as files
description:
  - Prints what M(agentfactory.core.agent_diagnosis) returned of each host, the worst first, as text or as JSON;
    and writes it to files where O(bundle) is given.
  - Runs on the controller; no host is contacted. Use it with C(run_once).
version_added: 0.1.0
author:
  - agentfactory contributors (@agentfactory)
attributes:
  check_mode:
    description: It prints the same, but writes no file.
    support: full
  diff_mode:
    description: There is never anything to compare.
    support: none
  idempotent:
    description: Each call with O(bundle) writes new files.
    support: partial
options:
  results:
    description: Each host's name, and what M(agentfactory.core.agent_diagnosis) returned of it (also a failure).
    type: dict
    required: true
  format:
    description: How to print it.
    type: str
    choices: [text, json]
    default: text
  bundle:
    description:
      - A directory on the controller; it is made where it is missing. Two files are written for each host, named for the host
        and the time in UTC, C(<host>-<time>.json) and C(<host>-<time>.txt). Only their owner can read them.
    type: path
seealso:
  - module: agentfactory.core.agent_diagnosis
"""

EXAMPLES = r"""
- name: Gather
  agentfactory.core.agent_diagnosis:
  register: diagnosis
  ignore_errors: true

- name: Print it, and keep it
  agentfactory.core.diagnosis_report:
    results: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'diagnosis'))) }}"
    bundle: /var/tmp/diagnoses
  run_once: true
"""

RETURN = r"""
findings:
  description: Each host's findings, as RV(agentfactory.core.agent_diagnosis#module:findings).
  type: dict
  returned: always
  sample: {"home-1": [{"severity": "info", "about": "thermostat@0", "kind": "healthy", "text": "is healthy; nothing to do", "next": ""}]}
bundles:
  description: The files of each host.
  type: dict
  returned: when O(bundle) is given
  sample: {"home-1": {"json": "/var/tmp/diagnoses/home-1-20261123T170012Z.json", "text": "/var/tmp/diagnoses/home-1-20261123T170012Z.txt"}}
"""
