#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: agent_info
short_description: The truth about the agents of a host
description:
  - Asks a host which agents it has, which releases they run, whether they are healthy, what they use,
    and how all that differs from what its fleet declares. Files, units, processes and probes are looked at; nothing is taken
    from a record alone.
  - Changes nothing, and leaves nothing on the host.
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
  gather:
    description: What to ask for.
    type: list
    elements: str
    choices:
      platform: What an artifact has to fit.
      instances: The instances with their releases, health and resources.
      history: The last 100 changes to the agents that this is about.
    default: [platform, instances]
  only:
    description:
      - The names of the agents that this is about, or agent ids (C(thermostat@0)) for single instances, as a list or with commas
        between them. Without it, all; in a rollout those of C(-e agents=).
    type: list
    elements: str
  verify:
    description: Also hashes every file of the trees that run. Without it a file's size and times tell whether it was changed.
    type: bool
    default: false
seealso:
  - module: agentfactory.core.agent_service
"""

EXAMPLES = r"""
- name: Ask for everything, and hash the code
  agentfactory.core.agent_info:
    gather: [platform, instances, history]
    verify: true
  register: agents
"""

RETURN = r"""
platform:
  description: The host's platform.
  type: dict
  returned: when V(platform) is in O(gather)
  sample: {"target": "linux/amd64+glibc2.36+py3.11", "machine": "amd64", "libc": "glibc2.36", "python": "3.11", "systemd": 252}
instances:
  description: Each instance that is here, and each that is declared and is not.
  type: list
  elements: dict
  returned: when V(instances) is in O(gather)
  contains:
    agent_id:
      description: The agent id, C(<agent>@<instance>).
      type: str
    release:
      description: The release that runs, or else the one that would boot.
      type: str
    version:
      description: Its version.
      type: str
    content:
      description: The digest of its code and manifest, which is the same on every host.
      type: str
    environment:
      description: The environment that it belongs to.
      type: str
    state:
      description: V(running), V(proving), V(crash-looping), V(failed), V(stopped), V(not activated) or V(missing).
      type: str
    healthy:
      description: Whether its probes are content now.
      type: bool
    health:
      description: What the last probe saw.
      type: str
    drift:
      description: How it differs from its own record and from its declaration; empty if it does not.
      type: list
      elements: str
    uptime_seconds:
      description: Since it was started.
      type: float
    restarts:
      description: How often systemd has restarted it since then.
      type: int
    cpu_seconds:
      description: CPU time since it was started.
      type: float
    memory_bytes:
      description: Memory that its control group is charged for.
      type: int
    releases:
      description: The releases that are kept, with their status (V(good), V(void) or V(staged)) and the evidence of those that failed.
      type: list
      elements: dict
kept:
  description: Each instance that was removed while its state was kept.
  type: list
  elements: dict
  returned: when V(instances) is in O(gather)
  sample: [{"agent": "thermostat", "instance": "0", "agent_id": "thermostat@0", "environment": "production"}]
lease:
  description: Who holds this host for a run, if anybody does.
  type: dict
  returned: when V(instances) is in O(gather)
history:
  description: Who changed what, when, from, to, and how it ended.
  type: list
  elements: dict
  returned: when V(history) is in O(gather)
"""
