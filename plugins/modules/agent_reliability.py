#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: agent_reliability
short_description: How available a fleet is, how many instances a target takes, and how likely an agent fails
description:
  - Of O(zones) works out how available at least O(needed) of an agent's instances are, where they share hosts and zones, and what
    contributes most to what is missing. With O(size) also the smallest number of instances that reaches O(target), and where they go.
  - Of O(observed) works out how long an agent runs until it fails, and how likely it does within O(horizon), always with an interval.
  - Each answer says in its C(basis) by which method it was found, what it assumes, what it rests on and what makes it doubtful.
  - Runs on the controller; no host is contacted. Use it with C(run_once).
version_added: 0.1.0
author:
  - agentfactory contributors (@agentfactory)
attributes:
  check_mode:
    description: It does the same as without.
    support: full
  diff_mode:
    description: There is never anything to compare.
    support: none
  idempotent:
    description: Nothing is ever changed.
    support: full
options:
  needed:
    description: How many instances must be up at a time for the agent to serve.
    type: int
  zones:
    description:
      - The failure domains. A zone that is down takes its hosts down, a host its instances. Needs O(needed).
      - Names of zones, hosts and instances are all different.
    type: list
    elements: dict
    suboptions:
      name:
        description: The zone's name.
        type: str
        required: true
      availability:
        description: The share of time in which the zone is up, 0 to 1. Above 0.999999999 give the unavailability.
        type: float
      unavailability:
        description: The share of time in which the zone is down.
        type: float
      mtbf:
        description: The mean time up between failures, as V(30d), V(4h), V(15m) or seconds. Needs the mean time to repair.
        type: str
      mttr:
        description: The mean time to repair.
        type: str
      hosts:
        description: The hosts in it.
        type: list
        elements: dict
        required: true
        suboptions:
          name:
            description: The host's name.
            type: str
            required: true
          availability:
            description: The share of time in which the host is up, 0 to 1. Above 0.999999999 give the unavailability.
            type: float
          unavailability:
            description: The share of time in which the host is down.
            type: float
          mtbf:
            description: The mean time up between failures, as V(30d), V(4h), V(15m) or seconds. Needs the mean time to repair.
            type: str
          mttr:
            description: The mean time to repair.
            type: str
          instances:
            description: How many instances are on it. They are called V(host/0), V(host/1), and so on.
            type: int
          room:
            description: How many instances it has room for. O(size) needs it of each host.
            type: int
          members:
            description: Its instances one by one, where they are not alike; instead of O(zones[].hosts[].instances).
            type: list
            elements: dict
            suboptions:
              name:
                description: The instance's name.
                type: str
                required: true
              availability:
                description: The share of time in which the instance is up, 0 to 1. Above 0.999999999 give the unavailability.
                type: float
              unavailability:
                description: The share of time in which the instance is down.
                type: float
              mtbf:
                description: The mean time up between failures, as V(30d), V(4h), V(15m) or seconds. Needs the mean time to repair.
                type: str
              mttr:
                description: The mean time to repair.
                type: str
  zone:
    description: How reliable each zone is that does not say otherwise. What says nothing never fails, and the answer lists it so.
    type: dict
    suboptions:
      availability:
        description: The share of time in which it is up, 0 to 1. Above 0.999999999 give the unavailability.
        type: float
      unavailability:
        description: The share of time in which it is down.
        type: float
      mtbf:
        description: The mean time up between failures, as V(30d), V(4h), V(15m) or seconds. Needs the mean time to repair.
        type: str
      mttr:
        description: The mean time to repair.
        type: str
  host:
    description: How reliable each host is that does not say otherwise. What says nothing never fails, and the answer lists it so.
    type: dict
    suboptions:
      availability:
        description: The share of time in which it is up, 0 to 1. Above 0.999999999 give the unavailability.
        type: float
      unavailability:
        description: The share of time in which it is down.
        type: float
      mtbf:
        description: The mean time up between failures, as V(30d), V(4h), V(15m) or seconds. Needs the mean time to repair.
        type: str
      mttr:
        description: The mean time to repair.
        type: str
  instance:
    description: How reliable each instance is that does not say otherwise. What says nothing never fails, and the answer lists it so.
    type: dict
    suboptions:
      availability:
        description: The share of time in which it is up, 0 to 1. Above 0.999999999 give the unavailability.
        type: float
      unavailability:
        description: The share of time in which it is down.
        type: float
      mtbf:
        description: The mean time up between failures, as V(30d), V(4h), V(15m) or seconds. Needs the mean time to repair.
        type: str
      mttr:
        description: The mean time to repair.
        type: str
  crews:
    description: Where not everything can be repaired at once.
    type: dict
    suboptions:
      level:
        description: What is repaired.
        type: str
        choices: [zone, host, instance]
        default: host
      number:
        description: How many of them are in repair at a time.
        type: int
        required: true
  lost:
    description: What if these zones, hosts or instances were down.
    type: list
    elements: str
  target:
    description: The availability that is promised, such as V(0.999). What is left of 1 is the error budget.
    type: float
  size:
    description: Whether to look for the smallest number of instances that reaches O(target), and for what one more host would bring.
    type: bool
    default: false
  observed:
    description: What was seen of an agent. Series are as M(agentfactory.core.prometheus_query) returns those of a range.
    type: dict
    suboptions:
      up:
        description: Series of C(agentfactory_agent_up), or of C(up). One forecast is made for each label C(agent).
        type: list
        elements: dict
        required: true
      wanted:
        description: Series of C(agentfactory_agent_wanted), over the same range. A stop of what is not wanted is no failure.
        type: list
        elements: dict
      restarts:
        description: Series of C(agentfactory_agent_restarts_total). They tell of restarts that fit between two samples.
        type: list
        elements: dict
      history:
        description:
          - For each host, by its label C(host), the changes that the factory made there.
          - They are what M(agentfactory.core.agent_info) gathers as C(history).
        type: dict
      maintenance:
        description: Times in which stops were meant.
        type: list
        elements: dict
        suboptions:
          start:
            description: Seconds since 1970, or a time as V(2026-11-23T17:00:00Z).
            type: str
            required: true
          end:
            description: The same.
            type: str
            required: true
      step:
        description: The distance between two samples. By default what it mostly is.
        type: str
  horizon:
    description: How far to look ahead.
    type: str
    default: 7d
  age:
    description:
      - For how long the instance in question has been running. It matters where the rate of failures depends on it.
      - Without it the answer is that of a new instance, and a warning says how old those are that run, where it matters.
    type: str
  confidence:
    description: Of all intervals, two-sided; one-sided where there was no failure.
    type: float
    default: 0.9
seealso:
  - module: agentfactory.core.prometheus_query
  - module: agentfactory.core.agent_info
notes:
  - The formulas, with their sources and worked examples, are in the guide C(docs/reliability.md).
"""

EXAMPLES = r"""
- name: How available are three instances over two zones, if one is enough?
  agentfactory.core.agent_reliability:
    needed: 1
    zone: {mtbf: 180d, mttr: 2h}
    host: {mtbf: 60d, mttr: 4h}
    instance: {mtbf: 10d, mttr: 2m}
    zones:
      - {name: a, hosts: [{name: a1, instances: 1}, {name: a2, instances: 1}]}
      - {name: b, hosts: [{name: b1, instances: 1}]}
    target: 0.999
  run_once: true

- name: How many are needed for 99.99 %, and where, if one host can be repaired at a time?
  agentfactory.core.agent_reliability:
    needed: 2
    host: {mtbf: 60d, mttr: 4h}
    zone: {unavailability: 0.0001}
    zones:
      - {name: a, hosts: [{name: a1, room: 2}, {name: a2, room: 2}]}
      - {name: b, hosts: [{name: b1, room: 2}, {name: b2, room: 2}]}
    crews: {level: host, number: 1}
    target: 0.9999
    size: true
  run_once: true

- name: Ask for what was seen of the thermostats in 30 days
  agentfactory.core.prometheus_query:
    query: '{__name__=~"agentfactory_agent_(up|wanted|restarts_total)", agent="thermostat"}'
    start: "{{ now().timestamp() - 30 * 86400 }}"
    step: 5m
  run_once: true
  register: seen

- name: How likely does one fail within a week?
  agentfactory.core.agent_reliability:
    observed:
      up: "{{ seen.series | selectattr('labels.__name__', 'eq', 'agentfactory_agent_up') }}"
      wanted: "{{ seen.series | selectattr('labels.__name__', 'eq', 'agentfactory_agent_wanted') }}"
      restarts: "{{ seen.series | selectattr('labels.__name__', 'eq', 'agentfactory_agent_restarts_total') }}"
    horizon: 7d
  run_once: true
"""

RETURN = r"""
msg:
  description: What was found, in a sentence an answer; or what was wrong.
  type: str
  returned: always
  sample: "1 of 3 up: unavailable 1.59e-06 of the time, 0.0686 minutes a month"
availability:
  description: Of the instances that O(zones) has.
  type: dict
  returned: when O(zones) has instances
  contains:
    needed:
      description: How many are needed.
      type: int
    instances:
      description: How many there are.
      type: int
    availability:
      description: The share of time, in the long run, in which enough are up.
      type: float
    unavailability:
      description: The share in which they are not. It has all its digits, where 1 less the availability would not.
      type: float
      sample: 1.5879456846063729e-06
    nines:
      description: The negative decimal logarithm of the unavailability. None where that is 0.
      type: float
      sample: 5.799
    minutes_per_month:
      description: Minutes in 30 days in which too few are up.
      type: float
      sample: 0.0686
    budget_share:
      description: The unavailability as a share of what O(target) allows; above 1 it is missed. None without a target.
      type: float
      sample: 0.00159
    outages_per_year:
      description: How often too few are up, in 365.25 days. None where not all has times, or with O(crews).
      type: float
    outage_minutes:
      description: How many minutes such an outage lasts in the mean. None where RV(availability.outages_per_year) is.
      type: float
    if_independent:
      description: The unavailability that a model would claim in which instances share nothing. None with O(crews).
      type: float
    contributors:
      description: Zones, hosts and instances, the 20 that matter most; what matters most first.
      type: list
      elements: dict
      contains:
        kind:
          description: V(zone), V(host) or V(instance).
          type: str
        name:
          description: Its name.
          type: str
        unavailability:
          description: The share of time in which it is down itself.
          type: float
        birnbaum:
          description: The probability that it decides, that is that the others make the difference depend on it.
          type: float
        criticality:
          description: The share of the unavailability that would be gone if it never failed. Shares overlap.
          type: float
    basis: &basis
      description: What the answer rests on.
      type: dict
      contains:
        method:
          description: How it was found.
          type: str
        assumptions:
          description: What it takes for granted.
          type: list
          elements: str
        warnings:
          description: What makes it doubtful. They are shown as warnings too.
          type: list
          elements: str
        window_seconds:
          description: From the first sample to the last. None where none were looked at.
          type: float
        samples:
          description: How many samples were looked at.
          type: int
        confidence:
          description: Of the intervals. None where there are none.
          type: float
sizing:
  description: The smallest number of instances that reaches O(target), in its best layout.
  type: dict
  returned: when O(size) is true
  contains:
    instances: &instances
      description: How many.
      type: int
    layout: &layout
      description: How many on which host.
      type: list
      elements: dict
      sample: [{zone: a, host: a1, instances: 1}, {zone: b, host: b1, instances: 1}]
    unavailability: &unavailability
      description: The share of time in which too few are up.
      type: float
    nines: &nines
      description: Its negative decimal logarithm. None where it is 0.
      type: float
    minutes_per_month: &minutes
      description: Minutes in 30 days.
      type: float
    budget_share:
      description: The unavailability as a share of what O(target) allows.
      type: float
    reached:
      description: Whether the target is. If not, this is the best that there is room for.
      type: bool
    proven: &proven
      description: Whether all layouts were tried, so that no other is better, and no smaller number does.
      type: bool
    best_of_present:
      description: The best layout of as many instances as O(zones) has now. None where it has none.
      type: dict
      contains:
        instances: *instances
        layout: *layout
        unavailability: *unavailability
        nines: *nines
        minutes_per_month: *minutes
        proven: *proven
    one_more_host:
      description: For each zone, what a host more there brings, compared with RV(sizing.best_of_present), or with the layout found where
        there are no instances yet. Empty with O(crews).
      type: list
      elements: dict
      contains:
        zone:
          description: Where it is added.
          type: str
        same: &gain
          description: With as many instances, in their best layout.
          type: dict
          contains:
            instances: *instances
            unavailability: *unavailability
            nines: *nines
            minutes_per_month: *minutes
        one_more: *gain
    basis: *basis
forecasts:
  description: Of each agent that O(observed) has series of.
  type: list
  elements: dict
  returned: when O(observed) is given
  contains:
    agent:
      description: The label C(agent), empty where there is none.
      type: str
    summary:
      description: The forecast in a sentence.
      type: str
    failures:
      description: How many failures it all rests on.
      type: int
    operation_seconds:
      description: For how long the instances were seen running, together.
      type: float
    availability:
      description: The share of time that they were up, planned stops left out.
      type: float
    mtbf_seconds: &interval
      description: The mean time between failures in seconds, by a constant rate. With no failure there is a lower bound only.
      type: dict
      contains:
        estimate:
          description: The estimate; None where there is none.
          type: float
        low:
          description: The lower bound.
          type: float
        high:
          description: The upper bound; None where there is none.
          type: float
    mttr_seconds:
      description: The mean time to repair, in seconds, with its bounds. None where there was no outage.
      type: dict
    trend:
      description: Whether failures become more or less frequent, by Laplace's test and that of MIL-HDBK-189, with their probabilities.
      type: dict
      contains:
        direction:
          description: V(none), V(improving), V(worsening), or V(unknown) with fewer than 4 failures.
          type: str
        failures:
          description: How many failures were looked at.
          type: int
        laplace:
          description: Laplace's statistic; above 0 they become more frequent.
          type: float
        laplace_p:
          description: The probability to see as much without a trend.
          type: float
        military:
          description: The statistic of MIL-HDBK-189.
          type: float
        military_p:
          description: The probability to see as much without a trend.
          type: float
        shape:
          description: The shape of a power law with its bounds; below 1 they become rarer.
          type: dict
    weibull:
      description: The fit of a Weibull distribution; None with fewer than 3 failures of lives seen from their start.
      type: dict
      contains:
        shape:
          description: With its bounds; above 1 the rate grows with age.
          type: dict
        scale:
          description: Seconds until 63.2 % have failed.
          type: float
        mean:
          description: The mean life in seconds.
          type: float
        failures:
          description: The failures that it rests on.
          type: int
        lives:
          description: The lives that it rests on, those without a failure too.
          type: int
        log_likelihood:
          description: How well it fits.
          type: float
        confidence:
          description: Of the bounds.
          type: float
    model:
      description: By which RV(forecasts[].fails) is; V(weibull) only where its shape is not 1.
      type: str
    horizon_seconds:
      description: How far it looks ahead.
      type: float
    age_seconds:
      description: For how long the instance has been running.
      type: float
    fails:
      description: The probability that an instance of this age fails within the horizon, with its bounds.
      type: dict
    instances:
      description: What was seen of each one.
      type: list
      elements: dict
      contains:
        name:
          description: Agent id and host.
          type: str
        failures:
          description: How often it failed.
          type: int
        hidden:
          description: How many of these only the counter of restarts tells.
          type: int
        outages:
          description: How many outages were seen.
          type: int
        planned:
          description: How many stops were meant.
          type: int
        operation_seconds:
          description: For how long it was seen running.
          type: float
        gaps:
          description: How often samples are missing.
          type: int
        unwatched_seconds:
          description: For how long.
          type: float
        age_seconds:
          description: For how long it has been running at the end. None where it is down, or that is not known.
          type: float
        step_seconds:
          description: The distance between samples.
          type: float
    basis: *basis
"""
