#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: agent_plan
short_description: Plan how many instances a fleet needs, and where
description:
  - Answers from a fleet's C(load) and C(slo) how many instances each agent needs, from its C(reliability) how many make it available
    enough, and from its hosts' room where they run, with as few moves as possible; and writes one plan of that.
  - The plan says what to expect of it, how long it takes, and which single loss of a host or a zone breaks a promise all the same.
  - Nothing is moved. C(deploy -e plan=FILE) carries out exactly this plan, and refuses where the fleet has moved since.
  - Runs on the controller; no host is contacted. Use it with C(run_once).
version_added: 0.1.0
author:
  - agentfactory contributors (@agentfactory)
requirements:
  - requests on the controller, to ask a Prometheus
  - highspy on the controller, where O(proof=true)
attributes:
  check_mode:
    description: Answers as without, and writes nothing.
    support: full
  diff_mode:
    description: The moves are told in any case.
    support: none
  idempotent:
    description: The same question about the same fleet writes the same file, as long as what was measured is the same.
    support: full
options:
  fleet:
    description:
      - The fleet, C(fleet.yml); a relative path is below the current directory.
      - By default that of the inventory, from the variable C(agentfactory_fleet). A fleet without a C(placement.yml) is no
        inventory, so run it with the hosts alone then, as C(-i hosts.yml), and name the fleet here.
      - What hosts have is said by their variables C(agentfactory_capacity), C(agentfactory_reserved) and C(agentfactory_zone), as for
        M(agentfactory.core.agent_placement). They are read from the fleet's C(inventory), from C(group_vars) and C(host_vars) beside it and
        beside the fleet, and from C(-e), whatever inventory the play itself has.
    type: path
  output:
    description:
      - Where the plan goes; a relative path is below the current directory.
      - Where a directory is given as inventory (C(-i inventories/production)), Ansible takes each file in it for hosts, so the plan must
        not be in there.
    type: path
    default: plan.json
  format:
    description: How to print it. With V(html) it is also written as one page with plots, beside the plan.
    type: str
    choices: [table, json, html]
    default: table
  load_factor:
    description: How many times the load that is given or was measured is planned for.
    type: float
    default: 1.0
  drain:
    description: Hosts to be emptied, as a list or with commas between them.
    type: list
    elements: str
  failed:
    description:
      - Hosts that are lost, as a list or with commas between them. What ran there starts elsewhere, as far as the fleet's C(state_portable)
        allows, and the deploy need not reach them.
      - Name only hosts on which nothing runs any more.
    type: list
    elements: str
  lose_zone:
    description: A zone that is taken as lost. Such a plan only answers what would be, and is not carried out.
    type: str
  host_loss:
    description: Whatever host is lost, the others must have room for what it ran; where that cannot be, nothing is written.
    type: bool
    default: false
  one_more:
    description: A host, to be told what another one like it, in its zone, would buy.
    type: str
  window:
    description: The time over which metrics are looked at.
    type: str
    default: 7d
  proof:
    description: Whether the solver HiGHS is asked too; by default where highspy is installed.
    type: bool
  prometheus:
    description:
      - How to ask the Prometheus that knows the agents' C(load.metrics).
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
seealso:
  - module: agentfactory.core.agent_capacity
  - module: agentfactory.core.agent_reliability
  - module: agentfactory.core.agent_placement
"""

EXAMPLES = r"""
- name: Plan for twice the load, with two hosts to be emptied
  agentfactory.core.agent_plan:
    fleet: inventories/production/fleet.yml
    load_factor: 2
    drain: [home-1, home-2]
    format: html
  run_once: true
  register: planned
"""

RETURN = r"""
path:
  description: The plan's file.
  type: str
  returned: when there is a plan
  sample: /srv/plan.json
page:
  description: The plan's page.
  type: str
  returned: with O(format=html)
  sample: /srv/plan.html
plan:
  description: The plan, as it is in the file.
  type: dict
  returned: when there is a plan
  contains:
    counts:
      description: How many instances, of each agent that has a C(count).
      type: dict
      sample: {gateway: 8}
    placement:
      description: Agent, host, indexes of the instances there.
      type: dict
      sample: {gateway: {home-1: [0, 2], home-2: [1]}}
    steps:
      description: What is to be done, in this order; each with its C(kind), C(agent), C(index), C(from), C(to), and as C(text).
      type: list
      elements: dict
      sample: [{kind: move, agent: gateway, index: 2, from: home-1, to: home-3, text: move gateway@2 home-1 -> home-3}]
    waiting:
      description: Steps that need room which only the others free, for the plan after this one.
      type: list
      elements: dict
      sample: []
    fixed:
      description: Instances with state of their own that should leave their host and do not.
      type: list
      elements: str
      sample: []
    problems:
      description: Why there is no such placement. Then nothing is written.
      type: list
      elements: str
      sample: []
    agents:
      description:
        - Each agent with its C(count), how many are C(needed), C(utilisation), C(response) and C(wait) times in seconds,
          the C(loss) of a bounded queue, whether its C(slo) is C(kept), its C(availability) where anything is known of it, the
          C(observed_failures) that this rests on where the fleet does not say, and the C(curve) of times and unavailability over other
          numbers of instances.
      type: list
      elements: dict
      sample: [{name: gateway, count: 8, needed: 5, utilisation: 0.3}]
    hosts:
      description: Each host's use C(before), C(after) and at its C(peak) on the way, from 0 to 1.
      type: list
      elements: dict
      sample: [{name: home-1, zone: a, before: 0.0, after: 0.75, peak: 0.75}]
    losses:
      description: Each host or zone whose loss breaks a promise, and whose.
      type: list
      elements: dict
      sample: [{kind: zone, name: a, breaks: [{agent: gateway, left: 4, why: 4 are left of 5 needed}]}]
    moves:
      description:
        - How many moves and restarts the placement takes (C(found)), how many any other would take at least (C(bound)), the C(gap) between
          them, and the C(method) of the search. None where no agent has a C(count).
      type: dict
      sample: {found: 2, bound: 2, gap: 0, method: search}
    use:
      description:
        - The highest use of a host, from 0 to 1 (C(found)), what any placement with so few moves has at least (C(bound)), and the C(gap)
          between them as a part of that. None where no agent has a C(count).
      type: dict
      sample: {found: 0.571, bound: 0.571, gap: 0.0}
    lost:
      description: The hosts of O(failed), which the deploy need not reach.
      type: list
      elements: str
      sample: []
    one_more:
      description:
        - With O(one_more), what another such host would buy, each without it and with it. C(room) for how many more of each agent, how many
          hosts can be drained (C(drainable)), the loss of how many the others cannot take (C(unsafe)), instances C(without) a place.
      type: dict
      sample: {like: home-1, room: {gateway: [3, 5]}, hosts: [5, 6], drainable: [4, 6], unsafe: [1, 0], without: [0, 0]}
    rollout:
      description: The hosts that change, their waves, and between how many seconds that takes.
      type: dict
      sample: {hosts: [home-1], waves: [1], seconds: {least: 3.0, most: 33.0}}
    what_if:
      description: Why it is not to be carried out.
      type: list
      elements: str
      sample: []
    warnings:
      description: Promises that are not kept, and inputs that are doubtful.
      type: list
      elements: str
      sample: []
    assumptions:
      description: What the answers rest on.
      type: list
      elements: str
      sample: ["gateway: arrivals are Poisson"]
"""
