#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: agent_placement
short_description: Decide on which hosts the instances of agents run
description:
  - Places the instances of a fleet's agents that have a C(count) on the hosts of their patterns, by cpu, memory and other resources,
    at most so many on a host, spread over zones, and writes C(placement.yml) beside C(fleet.yml), which the fleet reads.
  - What runs stays where it is as far as that is possible. First everything is placed, then as few instances as possible move,
    then the highest use of any host is made as low as possible. A placement that is within all rules is left alone.
  - Says how far the answer can be from the best one, and in which order to move so that no host is overfilled on the way.
  - Nothing is moved. That is done by the next deploy.
  - Runs on the controller; no host is contacted. Use it with C(run_once).
version_added: 0.1.0
author:
  - agentfactory contributors (@agentfactory)
requirements:
  - highspy on the controller, where O(proof=true)
attributes:
  check_mode:
    description: Answers as without, and writes nothing.
    support: full
  diff_mode:
    description: Shows the difference of C(placement.yml), a line for each agent on a host.
    support: full
  idempotent:
    description: Nothing moves where what C(placement.yml) says is within all rules.
    support: full
options:
  fleet:
    description:
      - The fleet, C(fleet.yml). A relative path begins at the playbook.
      - By default that of the inventory, from the variable C(agentfactory_fleet). A fleet whose C(placement.yml) is missing or does not
        fit any more is no inventory, so run it with the hosts alone then, as C(-i hosts.yml), and name the fleet here.
    type: path
  hosts:
    description:
      - What hosts have.
      - A host that is not in this list is described by its variables C(agentfactory_capacity), C(agentfactory_reserved) and
        C(agentfactory_zone).
    type: list
    elements: dict
    suboptions:
      name:
        description: Its name in the inventory.
        type: str
        required: true
      capacity:
        description:
          - What it has in all. C(cpu) in cores, as V(4) or V(0.5); C(memory) in bytes or as V(8G); anything else in whole pieces.
        type: dict
        required: true
      reserved:
        description: What the system itself needs of that, in the same form.
        type: dict
        default: {}
      zone:
        description: What it fails together with, as a room, a site or a power supply.
        type: str
        default: ""
  drain:
    description: Hosts that are to be emptied.
    type: list
    elements: str
  failed:
    description: Hosts that are lost. Their instances are started elsewhere.
    type: list
    elements: str
  host_loss:
    description:
      - Whether so much must stay free that the others have room for the instances of any one host that is lost.
      - It is tried for each host, by room, patterns and C(max_per_host); the spread over zones may wait until the host is back.
    type: bool
    default: false
  proof:
    description:
      - Whether the solver HiGHS looks for a better answer, and for the proof that there is none.
      - By default it does where the Python package highspy is installed.
    type: bool
seealso:
  - plugin: agentfactory.core.fleet
    plugin_type: inventory
    description: It reads what is written here.
"""

EXAMPLES = r"""
- name: Place what the fleet declares; the hosts' variables say what they have
  agentfactory.core.agent_placement:
    fleet: inventories/production/fleet.yml
  run_once: true
  register: placed

- name: Show the answer, with its bounds and the order of the moves
  ansible.builtin.debug:
    msg: "{{ placed.report }}"
  run_once: true

- name: What would it take to empty two hosts? (with --check nothing is written)
  agentfactory.core.agent_placement:
    drain: [home-1, home-2]
    host_loss: true
  check_mode: true
  run_once: true

- name: Describe the hosts by hand
  agentfactory.core.agent_placement:
    fleet: inventories/production/fleet.yml
    hosts:
      - {name: home-1, zone: north, capacity: {cpu: 4, memory: 8G, gpu: 1}, reserved: {cpu: 0.5, memory: 1G}}
      - {name: home-2, zone: south, capacity: {cpu: 4, memory: 8G}}
  run_once: true
"""

RETURN = r"""
path:
  description: The file that holds the placement.
  type: str
  returned: when there is an answer
  sample: /srv/inventories/production/placement.yml
placement:
  description: Agent, host, indexes of the instances there.
  type: dict
  returned: when there is an answer
  sample: {thermostat: {home-1: [0, 2], home-2: [1]}}
steps:
  description: What is to be done, in an order in which no host is ever overfilled.
  type: list
  elements: dict
  returned: when there is an answer
  contains:
    kind:
      description: V(remove), V(restart) (its host failed), V(move), V(hop) (to a place in between) or V(new).
      type: str
      sample: move
    agent:
      description: The agent.
      type: str
      sample: thermostat
    index:
      description: The instance's index.
      type: int
      sample: 2
    source:
      description: The host that it leaves; null where it is new.
      type: str
      sample: home-3
    target:
      description: The host that it goes to; null where it is removed.
      type: str
      sample: home-1
deadlocked:
  description: Steps for which no order was found, in the form of RV(steps).
  type: list
  elements: dict
  returned: when there is an answer
moves:
  description: How many running instances change their host.
  type: dict
  returned: when there is an answer
  sample: {found: 2, bound: 2, hops: 0, proven: true}
  contains:
    found:
      description: Their number.
      type: int
    bound:
      description: No placement needs fewer.
      type: int
    hops:
      description: Moves beyond that, to places in between.
      type: int
    proven:
      description: Whether RV(moves.found) is RV(moves.bound).
      type: bool
max_utilisation:
  description: The highest use of any resource of any host, in percent of what instances may have.
  type: dict
  returned: when there is an answer
  sample: {found: 71.25, bound: 70.4}
  contains:
    found:
      description: The highest use.
      type: float
    bound:
      description: No placement with so few moves has a lower one.
      type: float
hosts_in_use:
  description: The hosts that hold an instance.
  type: dict
  returned: when there is an answer
  sample: {found: 4, bound: 3}
  contains:
    found:
      description: Their number.
      type: int
    bound:
      description: Fewer cannot hold everything.
      type: int
unplaced:
  description: Agents with instances that have no place. If there are any, the module fails and nothing is written.
  type: list
  elements: dict
  returned: when there is an answer
  contains:
    agent:
      description: The agent.
      type: str
    indexes:
      description: Of which instances.
      type: list
      elements: int
    reason:
      description: V(rule), V(resource), or V(fragmentation) where there is room, but in pieces that are too small.
      type: str
    rule:
      description: V(hosts), V(max_per_host) or V(spread); else empty.
      type: str
    resource:
      description: The resource that is short; else empty.
      type: str
    missing:
      description: How much of it, in millicores, bytes or pieces; of a rule how many instances.
      type: int
    needed:
      description: What one instance needs.
      type: dict
    biggest:
      description: The biggest free piece of each resource.
      type: dict
    certain:
      description: Whether it is certain that not all can be placed; else none was found.
      type: bool
    text:
      description: All that in a sentence.
      type: str
stuck:
  description: Instances that should leave their host and have state that does not move. If there are any, the module fails.
  type: list
  elements: str
  returned: when there is an answer
  sample: [recorder@1]
losses:
  description: Hosts whose loss the others have no room for, with O(host_loss). If there are any, the module fails.
  type: list
  elements: dict
  returned: when there is an answer
  sample: [{host: home-1, homeless: {thermostat: 2}}]
relaxed:
  description: Agents that could not be spread evenly, and by how many instances their zones may differ now.
  type: dict
  returned: when there is an answer
  sample: {thermostat: 2}
method:
  description: How the answer was found.
  type: str
  returned: when there is an answer
  sample: search, and HiGHS
assumptions:
  description: What was assumed for want of a declaration.
  type: list
  elements: str
  returned: when there is an answer
  sample: ["thermostat says nothing of cpu: counted as 0"]
report:
  description: The whole answer for people, as lines.
  type: list
  elements: str
  returned: when there is an answer
"""
