#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: agent_release
short_description: Stage releases of agents on a host, beside what runs
description:
  - Brings what a host's agents need to the host, up to a step, without touching anything that runs.
    M(agentfactory.core.agent_service) then switches to it.
  - A call takes all agents that the fleet declares for the host (C(agentfactory_agents)). Each step implies the ones before it.
  - Only files that the host lacks are sent, over Ansible's own connection; each is verified before it is used.
  - Where nothing was packaged for the host's platform, what the fleet has a C(source) of (C(agentfactory_sources)) is packaged for it.
  - Secrets (C(agentfactory_secrets)) go over standard input, and rest on the host encrypted where its systemd can (250 and later).
version_added: 0.1.0
author:
  - agentfactory contributors (@agentfactory)
requirements:
  - systemd 247 or later and Python 3.9 or later on the host
  - nftables on the host, for agents whose C(permissions.outbound) does not allow everything
  - jsonschema (4.18 or later) on the controller, for agents with a schema for their configuration
attributes:
  check_mode:
    description: Says what would be done, also on a host that has never been used. Nothing is left on the host.
    support: full
  diff_mode:
    description: Shows what changes in configuration and unit, and which secrets change, but never a secret.
    support: full
  idempotent:
    description: A host that is as declared costs one call and is left alone.
    support: full
options:
  state:
    description: The step to reach.
    type: str
    choices:
      distributed: The files of the artifacts are in the host's store, verified.
      installed: And the artifacts are unpacked into immutable trees.
      configured: And a release is staged for each instance, with its configuration, secrets and unit.
      absent: >-
        The agents are stopped and removed, and it is proven that nothing is left of them. Their state is kept unless O(purge=true).
    default: configured
  release:
    description:
      - Stages a release that is on the host already instead of the declared one, for a rollback. With O(state=configured) only.
      - A version means its newest good release on each instance; the full name of a release means that one;
        V(previous) means the last good one before the running one.
      - It fails, and nothing changes on this host, unless each instance has it.
    type: str
  only:
    description:
      - The names of the agents that this is about, or agent ids (C(thermostat@0)) for single instances, as a list or with commas
        between them. Without it, all; in a rollout those of C(-e agents=).
    type: list
    elements: str
  purge:
    description: With O(state=absent), removes the agents' own state too, also that of agents which were removed before without it.
    type: bool
    default: false
seealso:
  - module: agentfactory.core.agent_service
  - module: agentfactory.core.agent_package
"""

EXAMPLES = r"""
- name: Stage what the fleet declares for this host
  agentfactory.core.agent_release:
    state: configured

- name: Only bring the files to the hosts, tonight
  agentfactory.core.agent_release:
    state: distributed

- name: Prepare a rollback of one agent
  agentfactory.core.agent_release:
    release: "1.4.1"
    only: thermostat

- name: Remove an agent and its state
  agentfactory.core.agent_release:
    state: absent
    only: thermostat
    purge: true
"""

RETURN = r"""
changes:
  description: What was staged (or would be), for people.
  type: list
  elements: str
  returned: success
  sample: ["thermostat@0: release (1.4.2 is new here)"]
pending:
  description: What M(agentfactory.core.agent_service) will then have to do.
  type: list
  elements: str
  returned: when O(state) is not V(absent)
  sample: ["thermostat@0: activate (1.4.1-5e2c90b7a1f4 -> 1.4.2-90e0c3f9f557)"]
releases:
  description: The release that each instance's declaration makes on this host.
  type: dict
  returned: when O(state) is not V(absent)
  sample: {"thermostat@0": "1.4.2-90e0c3f9f557"}
sent_bytes:
  description: Bytes of files sent to the host, compressed.
  type: int
  returned: when O(state) is not V(absent)
  sample: 48213
received_bytes:
  description: Bytes of files that the host stored.
  type: int
  returned: when O(state) is not V(absent)
  sample: 196608
instances:
  description: What was removed, as M(agentfactory.core.agent_service) returns it.
  type: list
  elements: dict
  returned: when O(state=absent)
  sample: [{"agent": "thermostat", "instance": "0", "action": "remove", "result": "ok"}]
"""
