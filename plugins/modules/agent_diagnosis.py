#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: agent_diagnosis
short_description: Why an agent is not healthy, and what to do next
description:
  - Gathers in one call what explains the condition of a host's agents (units and how they ended, probes, releases, journals, limits,
    listeners, secrets, firewall, history, and the host's own basics), and concludes in plain words what is wrong and what to do next.
  - Changes nothing, and leaves nothing on the host. It works on hosts that have no agent too.
  - The secrets of all releases of an instance are struck out of what it wrote before that leaves the host. Where one of them cannot
    be read there, the instance's journal is withheld.
version_added: 0.1.0
author:
  - agentfactory contributors (@agentfactory)
requirements:
  - Python 3.9 or later on the host
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
  only:
    description:
      - The names of the agents that this is about, or agent ids (C(thermostat@0)) for single instances, as a list or with commas
        between them. Without it, all.
    type: list
    elements: str
  lines:
    description: How many last lines to take of the journal of an instance's last run, and of the run before it.
    type: int
    default: 20
seealso:
  - module: agentfactory.core.agent_info
  - module: agentfactory.core.diagnosis_report
"""

EXAMPLES = r"""
- name: Why is the thermostat not healthy?
  agentfactory.core.agent_diagnosis:
    only: [thermostat]
  register: diagnosis

- name: Stop here where an agent was killed for memory
  ansible.builtin.assert:
    that: diagnosis.findings | selectattr('kind', 'eq', 'out-of-memory') | length == 0
"""

RETURN = r"""
findings:
  description: What is wrong, the worst first; what explains other findings comes before them. At least one for each instance.
  type: list
  elements: dict
  returned: success
  sample:
    - severity: error
      about: thermostat@0
      kind: out-of-memory
      text: "was killed by the kernel for memory 3 times since 2026-11-23 17:00:12 UTC; its limit is 128.0 MiB"
      next: raise resources.memory in fleet.yml and deploy, or find what it keeps
  contains:
    severity:
      description: V(error), V(warning) or V(info).
      type: str
    about:
      description: An agent id, or V(host).
      type: str
    kind:
      description:
        - For programs. Of an instance V(missing), V(secret), V(port-taken), V(not-listening), V(out-of-memory), V(cannot-start),
          V(crash-loop), V(ended), V(stopped), V(failed), V(not-activated), V(unhealthy), V(void), V(drift), V(egress-refused),
          V(near-limit-memory),
          V(near-limit-tasks), V(throttled), V(proving), V(starting) or
          V(healthy).
        - Of a host V(disk-full), V(read-only), V(memory), V(pressure-cpu), V(pressure-memory), V(pressure-io), V(clock), V(out-of-memory),
          V(activation), V(interrupted), V(lease) or V(no-agents).
      type: str
    text:
      description: For people.
      type: str
    next:
      description: What to do next; empty where there is nothing to do.
      type: str
instances:
  description:
    - What M(agentfactory.core.agent_info) says of each instance, and what explains it.
    - An instance that is declared and not on the host has only the former.
  type: list
  elements: dict
  returned: success
  contains:
    unit_says:
      description: systemd's view of its unit in a few words.
      type: str
    invocations:
      description: Its last starts, oldest first; when and how each ended, and whether it was told to. Times in seconds since 1970.
      type: list
      elements: dict
    journal:
      description: The last lines of its last run.
      type: list
      elements: str
    journal_before:
      description: The last lines of the run before it.
      type: list
      elements: str
    withheld:
      description: Why the lines are withheld; empty if they are not.
      type: str
    limits:
      description: The resources that it may use.
      type: dict
    usage:
      description: What it uses. What the kernel does not say is null.
      type: dict
    wanted_ports:
      description: The ports that it is to listen on.
      type: dict
    listeners:
      description: Who listens on them, and where else the instance listens.
      type: list
      elements: dict
    secrets:
      description: Of each of its secrets whether it is V(here), V(missing), V(empty) or V(damaged). Never what is in it.
      type: dict
    refused_packets:
      description: Packets that its C(permissions.outbound) refused since its start.
      type: int
    kernel_kills:
      description: When the kernel killed a process of it for memory, where the kernel's log can be read.
      type: list
      elements: dict
    history:
      description: Its last ten changes.
      type: list
      elements: dict
host:
  description: The host's platform, clock, load, memory, pressure and file systems; sizes in bytes.
  type: dict
  returned: success
lease:
  description: Who holds this host for a run, if anybody does.
  type: dict
  returned: success
activation:
  description: The activation that is under way or was cut off, if there is one.
  type: dict
  returned: success
"""
