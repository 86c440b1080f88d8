#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: agent_service
short_description: Start, stop and restart the agents of a host, with proof
description:
  - Switches each instance to its staged release in one atomic step, and proves that the new release runs, answers and stays well.
    What does not prove itself is undone; the release that worked before runs again.
  - The activation runs on the host by itself. If the connection or the controller is lost, it still comes to its end;
    if the host is restarted, the last proven release boots.
  - Agents of a host are activated in parallel, the instances of one agent one at a time.
  - In a rollout (P(agentfactory.core.rollout#lookup)) it does nothing once the budget of failures is spent, and writes how the host fared
    to the run's ledger instead of failing.
version_added: 0.1.0
author:
  - agentfactory contributors (@agentfactory)
requirements:
  - systemd 247 or later and Python 3.9 or later on the host
attributes:
  check_mode:
    description: Says what would be switched.
    support: full
  diff_mode:
    description: Where something has to be staged first, shows what M(agentfactory.core.agent_release) shows.
    support: full
  idempotent:
    description: An instance that runs its release and is healthy is left alone, but for O(state=restarted).
    support: partial
options:
  state:
    description: The state to bring the agents to.
    type: str
    choices:
      started: >-
        They run and are healthy. In a rollout with what was staged; else with the release that they last ran (but see
        O(as_declared)), and declared agents that the host does not have are staged first. A first install that failed is not tried
        again: that is an error before anything is started, unless the variable C(retry) is true.
      stopped: They do not run, and do not start at boot.
      restarted: Those that run, or should, are started anew with their release, which is proven like a new one. What was stopped stays so.
      undone: >-
        What this run switched on the host is taken back, and what it stopped is started again, each proven like a new one. What others
        changed since is theirs and is left alone. What this run removed cannot be brought back, and is a failure.
      retired: >-
        In a rollout, what moves to another host is stopped or removed, as O(leaving) says. It does nothing elsewhere.
    default: started
  leaving:
    description:
      - What O(state=retired) is about. V(first) and V(back) are for a task of the host that something is to start on, which is delegated to
        the host that it leaves (P(agentfactory.core.rollout#lookup) says which). Such a task does not fail; where something has not
        stopped, it is not started elsewhere.
    type: str
    choices:
      first: What must not run twice is stopped before the wave of the host that it moves to.
      back: What was not proven on the host that it moved to, or was taken back there, is stopped there before it starts again where it was.
      last: >-
        What is proven on the host that it moved to is removed; and what was stopped with V(first) and did not come up elsewhere is started
        again, where V(back) has stopped it there.
    default: last
  as_declared:
    description:
      - With O(state=started) outside a rollout, stages what is declared where it is not staged yet, and switches to it.
      - It is a deploy without waves, for plays of your own.
    type: bool
    default: false
  only:
    description:
      - The names of the agents that this is about, or agent ids (C(thermostat@0)) for single instances, as a list or with commas
        between them. Without it, all; in a rollout those of C(-e agents=).
    type: list
    elements: str
seealso:
  - module: agentfactory.core.agent_release
  - module: agentfactory.core.agent_info
"""

EXAMPLES = r"""
- name: Start the agents of this host
  agentfactory.core.agent_service:
    state: started

- name: Deploy to this host, in a play that decides itself which hosts go together
  agentfactory.core.agent_service:
    as_declared: true

- name: Restart one agent
  agentfactory.core.agent_service:
    state: restarted
    only: thermostat
"""

RETURN = r"""
changes:
  description: What was done (or would be), for people.
  type: list
  elements: str
  returned: always
  sample: ["thermostat@0: 1.4.1-5e2c90b7a1f4 -> 1.4.2-90e0c3f9f557 is healthy after 0.8 s"]
missing:
  description: Declared instances that the host did not have.
  type: list
  elements: str
  returned: success
  sample: []
failures:
  description: In a rollout, what failed on this host, one line an instance.
  type: list
  elements: str
  returned: when something failed in a rollout
  sample:
    - >-
      thermostat@1: 1.4.3-77aa01b2c3d4 failed: http port 8081 /healthz: status 503 (wanted 200);
      1.4.2-90e0c3f9f557 runs again and is healthy
instances:
  description: What became of each instance that something was done with.
  type: list
  elements: dict
  returned: when something was done
  contains:
    agent:
      description: The agent's name.
      type: str
    instance:
      description: The instance's name.
      type: str
    action:
      description: What was done, such as V(activate), V(stop) or V(remove).
      type: str
    from:
      description: The release that was proven before.
      type: str
    to:
      description: The release that was switched to.
      type: str
    result:
      description: V(ok), V(failed), V(undone) because a sibling failed, or V(skipped).
      type: str
    message:
      description: What was seen.
      type: str
    gap:
      description: Seconds from the order to switch to the first healthy answer.
      type: float
    evidence:
      description: Of a failure, the check, what it saw, exit status, last probe and last lines of the journal, without secrets.
      type: dict
"""
