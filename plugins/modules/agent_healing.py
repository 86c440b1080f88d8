#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: agent_healing
short_description: Decide what to do about an alert
description:
  - Decides what helps the agent, or the host, that an alert is about, and whether it may be done now. It does nothing of it. That is
    the work of the plays of the playbook C(agentfactory.core.heal), which find the decision in the variable C(agentfactory_healing).
  - The alert is taken from the variables C(alert), C(host), C(agent_id) and C(fingerprint), or from the event that a rulebook gives.
    These are outside input, and are read raw, never as templates. What does not match strict patterns, or is not declared in the
    fleet, is refused. So is an event whose label C(environment) is not that of the fleet.
  - An agent that is down is restarted. One that crashes again and again is diagnosed, and is rolled back if the release that runs is
    newer than the good one before it. A host that is down is asked, and is handed to a failover if it does not answer here either.
  - Each decision is kept in C(healing.jsonl) in O(directory), and so is that an alert was refused, or that the host could not be
    asked. The limits go by it.
version_added: 0.1.0
author:
  - agentfactory contributors (@agentfactory)
requirements:
  - Python 3.9 or later on the host
attributes:
  check_mode:
    description: The decision is the same; it is kept as one that was only tried, and does not count for the limits.
    support: full
  diff_mode:
    description: There is never anything to compare.
    support: none
  idempotent:
    description: What was done is not done again within O(window).
    support: partial
options:
  window:
    description: For how many minutes nothing more is done about the same agent, or the same host that is down.
    type: int
    default: 60
  hosts_per_hour:
    description: On how many different hosts something is done within an hour.
    type: int
    default: 3
  newer_hours:
    description: For how many hours after its activation a release counts as newer. One that has run for longer is not rolled back.
    type: int
    default: 24
  directory:
    description: Where the decisions are kept on the controller. It is made where it is missing, for its owner only.
    type: path
    default: ~/.local/state/agentfactory/healing
  dry_run:
    description: Whether only to say and to keep what would be done.
    type: bool
    default: false
seealso:
  - module: agentfactory.core.agent_diagnosis
  - module: agentfactory.core.agent_service
  - plugin: agentfactory.core.healing
    plugin_type: lookup
"""

EXAMPLES = r"""
# In a play whose hosts are "{{ lookup('agentfactory.core.healing', 'host') }}"
- name: Decide what to do about the alert, at most once a day for each agent
  agentfactory.core.agent_healing:
    window: 1440
  register: agentfactory_healing
"""

RETURN = r"""
action:
  description: What the plays that follow are to do, V(restart), V(rollback), V(diagnose) or V(failover). Empty for nothing.
  type: str
  returned: success
remedy:
  description: What would help, whether or not it may be done now.
  type: str
  returned: success
outcome:
  description: V(acts), V(nothing) where nothing is to be done, V(throttled), or V(would) in check mode and with O(dry_run).
  type: str
  returned: success
reason:
  description: Why.
  type: str
  returned: success
  sample: 1.5.0-9b0e7a51c3d2 is newer than 1.4.2-3f1c0a77e5d2, which was good
name:
  description: The alert's name.
  type: str
  returned: success
host:
  description: The alert's host.
  type: str
  returned: success
agent_id:
  description: The alert's agent id; empty where it is about the host.
  type: str
  returned: success
fingerprint:
  description: The alert's fingerprint, if it has one.
  type: str
  returned: success
at:
  description: When it was decided, in seconds since 1970.
  type: float
  returned: success
"""
