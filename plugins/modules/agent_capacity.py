#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: agent_capacity
short_description: Answer how many instances agents need
description:
  - Models each agent's requests as a queue, and says how long they wait and take, how many instances an SLO needs, who is full first
    when traffic grows, and when a trend reaches the limit.
  - The numbers are given by hand, or come from a Prometheus. Data that mislead are refused, or named.
  - Runs on the controller; no host is contacted. Use it with C(run_once).
version_added: 0.1.0
author:
  - agentfactory contributors (@agentfactory)
extends_documentation_fragment:
  - agentfactory.core.prometheus.connection
attributes:
  check_mode:
    description: It answers as without.
    support: full
  diff_mode:
    description: There is never anything to compare.
    support: none
  idempotent:
    description: Nothing is ever changed. The same numbers and seed give the same answer.
    support: full
options:
  agents:
    description: The agents, each with its load. Each needs O(agents[].rate) and O(agents[].service_time), or O(agents[].metrics).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The agent's name.
        type: str
        required: true
      rate:
        description:
          - Requests a second at the peak, of all its instances together.
          - By hand, those from outside, without what others call by their O(agents[].calls).
          - With O(agents[].metrics) it replaces what was measured, which is all of them.
        type: float
      service_time:
        description: Seconds of work for one request, without any wait before it. It is not the response time.
        type: float
      metrics:
        description: What the agent's metrics are called in the Prometheus, to have rate and service time from there.
        type: dict
        suboptions:
          requests:
            description: The counter of requests, as C(http_requests_total{agent="planner"}).
            type: str
            required: true
          busy:
            description: The gauge of requests that are worked on at the moment, those that wait not among them.
            type: str
          busy_seconds:
            description:
              - A counter of the seconds that were worked, such as CPU seconds where the work is computing.
              - It is used where there is no O(agents[].metrics.busy).
            type: str
          duration:
            description:
              - The histogram of response times, as C(http_request_duration_seconds{agent="planner"}), without C(_bucket).
              - Where there is no busy gauge, the service time is reckoned back from it, which is worth less.
            type: str
      instances:
        description: How many instances there are. Without it only O(agents[].slo) is answered.
        type: int
      concurrency:
        description: How many requests one instance works on at a time.
        type: int
        default: 1
      dispatch:
        description: How requests come to instances.
        type: str
        choices:
          shared: One queue before all; the first instance that is free takes the next request.
          random: Each instance has a queue of its own, and chance says which one a request goes to.
        default: shared
      queue_limit:
        description: How many can wait in a queue; who finds no room is lost. Without it there is no limit.
        type: int
      arrival_scv:
        description:
          - Squared coefficient of variation of the times between arrivals, V(0) a clock, V(1) Poisson, more for bursts.
          - By default V(1); with O(agents[].metrics), the dispersion of the counts of minutes where that is above 1.5.
        type: float
      service_scv:
        description:
          - Squared coefficient of variation of the service times.
          - By default V(1), and V(0) where O(agents[].service_law=deterministic).
        type: float
      service_law:
        description:
          - The law of the service times.
          - V(auto) is the usual one for the coefficient, which is V(deterministic), V(gamma), V(exponential) or V(hyperexponential).
          - V(lognormal) and V(pareto) are always simulated.
        type: str
        choices: [auto, deterministic, exponential, gamma, hyperexponential, lognormal, pareto]
        default: auto
      burst:
        description: Arrivals that come in bursts, a Poisson process with two rates in turn; always simulated.
        type: dict
        suboptions:
          factor:
            description: The rate in a burst, as a multiple of the mean rate; at most 1 / O(agents[].burst.share).
            type: float
            required: true
          share:
            description: The part of all time that is burst, between 0 and 1.
            type: float
            required: true
          length:
            description: Seconds that a burst lasts on average.
            type: float
            required: true
      batch:
        description:
          - How many requests come at once on average, as when one message makes several; the number is geometric.
          - O(agents[].rate) counts the requests; O(agents[].arrival_scv) and O(agents[].burst) are then about the times at which some come.
        type: float
        default: 1.0
      calls:
        description: How many requests to which other agent one request makes on average, by the other's name.
        type: dict
      zones:
        description: How many of its instances are in which zone, by the zone's name, for O(lose_zone).
        type: dict
      history:
        description:
          - For the trend its rate in the past, each a time (seconds since 1970) and a rate.
          - At least eight, evenly apart, best the peaks of days.
        type: list
        elements: list
      slo:
        description: What is promised.
        type: dict
        suboptions:
          below:
            description: Seconds.
            type: float
            required: true
          measure:
            description: Of what.
            type: str
            choices: [mean, p50, p95, p99]
            default: p95
          of:
            description: Of the whole response, or of the wait before the work alone.
            type: str
            choices: [response, wait]
            default: response
          loss:
            description: The part of the requests that may find no room, below V(1), where O(agents[].queue_limit) bounds the queue.
            type: float
            default: 0.001
  load_factor:
    description: The load that is asked about, as a multiple of the rates.
    type: float
    default: 1.0
  lose:
    description: How many instances are lost, by the agent's name.
    type: dict
  lose_zone:
    description: The zone that is lost, with what O(agents[].zones) says is there.
    type: str
  closed:
    description: A closed fleet, whose agents each work, ask stations and wait for the answers, and begin again.
    type: dict
    suboptions:
      population:
        description: How many agents there are.
        type: int
        required: true
      think_time:
        description: Seconds that one works by itself in a round.
        type: float
        required: true
      stations:
        description: What they ask, such as a gateway.
        type: list
        elements: dict
        required: true
        suboptions:
          name:
            description: The station's name.
            type: str
            required: true
          service_time:
            description: Seconds of work for one visit.
            type: float
            required: true
          servers:
            description: How many it serves at a time.
            type: int
            default: 1
          visits:
            description: How often one agent comes in a round.
            type: float
            default: 1.0
  sensitivity:
    description: Answers also by how many percent the measure of the SLO (or else the response's p95) changes where an input changes by one.
    type: bool
    default: false
  seed:
    description: The seed of simulations.
    type: int
    default: 1
  replications:
    description: How many independent replications a simulation has, at least 2. Its intervals come from them.
    type: int
    default: 10
  window:
    description: How far back to look in the Prometheus, as V(1h), V(7d) or V(2w).
    type: str
    default: 7d
  history:
    description:
      - How far back to look in the Prometheus for the trend of daily peaks, as V(30d).
      - Without it there is none but from O(agents[].history).
    type: str
  time:
    description: The time to ask the Prometheus about, as seconds since 1970 or as V(2026-11-23T17:00:00Z); by default now.
    type: str
seealso:
  - module: agentfactory.core.prometheus_query
"""

EXAMPLES = r"""
- name: How many planners for a p95 below 200 ms at one and a half times the peak?
  agentfactory.core.agent_capacity:
    agents:
      - {name: planner, rate: 40, service_time: 0.06, instances: 4, slo: {below: 0.2}}
    load_factor: 1.5
  run_once: true
  register: capacity

- name: The same, from what was measured in a week
  agentfactory.core.agent_capacity:
    url: https://prometheus.example.net
    agents:
      - name: planner
        instances: 4
        metrics:
          requests: http_requests_total{agent="planner"}
          busy: http_requests_in_progress{agent="planner"}
        slo: {below: 0.2}
    load_factor: 1.5
    window: 7d
    history: 60d
  run_once: true

- name: Who is full first, and how is it without zone a?
  agentfactory.core.agent_capacity:
    agents:
      - {name: planner, rate: 20, service_time: 0.1, instances: 4, zones: {a: 2, b: 2}, calls: {search: 3, memory: 1}}
      - {name: search, rate: 0.1, service_time: 0.05, instances: 6, zones: {a: 3, b: 3}}
      - {name: memory, rate: 5, service_time: 0.02, instances: 2, zones: {a: 1, b: 1}}
    lose_zone: a
  run_once: true
"""

RETURN = r"""
agents:
  description: An answer for each agent, in the order given.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The agent.
      type: str
    refused:
      description: Why its data are no base for an answer. There is nothing else then but the name.
      type: str
      returned: when its data mislead
      sample: "requests: every counter is younger than the window; wait, or take a shorter one"
    rate:
      description: Requests a second that are asked about, from outside and from other agents, with the load factor.
      type: float
    load_factor:
      description: The load factor.
      type: float
    service_time:
      description: Seconds of work for one request.
      type: float
    offered:
      description: The offered load in erlangs, rate times service time.
      type: float
    smallest_stable:
      description: The fewest instances that keep up at all.
      type: int
    instances:
      description: As given.
      type: int
      returned: when they were given
    now:
      description: How it is with the instances given. Not there where they cannot keep up; a note says so.
      returned: when O(agents[].instances) is given and they keep up
      type: dict
      contains: &figures
        offered: {description: Offered load of a queue in erlangs., type: float}
        utilisation: {description: "Of the servers, from 0 to 1.", type: float}
        waits: {description: "The part of the requests that waits at all, from 0 to 1.", type: float}
        queue: {description: How many wait on average., type: float}
        loss: {description: "The part that finds no room, from 0 to 1.", type: float}
        wait:
          description: Seconds before the work begins, C(mean), C(p50), C(p95) and C(p99).
          type: dict
          sample: {mean: 0.05, p50: 0.01, p95: 0.2, p99: 0.35}
        response:
          description: Seconds until the work is done, wait and work, C(mean), C(p50), C(p95) and C(p99).
          type: dict
          sample: {mean: 0.11, p50: 0.08, p95: 0.29, p99: 0.45}
        method: {description: The model that it comes from., type: str}
        confidence: {description: "C(high), C(medium) or C(low) and why; of the method, not of the inputs.", type: str}
        relaxation: {description: Seconds in which the queue forgets its past., type: float}
        settled: {description: False of a simulation too short for its waits to be believed; no SLO counts as kept then., type: bool}
        assumptions: {description: What must be so for the answer to hold., type: list, elements: str}
        intervals:
          description: Of a simulation, 95 % confidence intervals by name, as C(response.p95); else empty.
          type: dict
          sample: {response.p95: [0.281, 0.297]}
    slo:
      description: The SLO.
      type: dict
      returned: when it was given
    slo_met:
      description: Whether RV(agents[].now) keeps it; of a simulation the upper end of the interval counts.
      type: bool
      returned: with RV(agents[].now) and an SLO
    needed:
      description: The smallest number of instances that keeps the SLO. Not there where none does; a note says why.
      returned: when there is an SLO
      type: dict
      contains:
        instances: {description: How many., type: int}
        figures: {description: "How it is then, as RV(agents[].now).", type: dict}
        one_less: {description: "How it is with one less; none where that is not stable.", type: dict}
    largest_rate:
      description: Requests a second up to which the instances given keep the SLO.
      returned: when there is an SLO and instances
      type: float
    headroom:
      description: The same as a multiple of RV(agents[].rate).
      returned: when there is an SLO and instances
      type: float
    after_loss:
      description: How it is without the instances of O(lose) and O(lose_zone).
      returned: when it loses some
      type: dict
      contains:
        lost: {description: How many., type: int}
        left: {description: How many are left., type: int}
        figures: {description: "As RV(agents[].now), where those left keep up.", type: dict}
        reason: {description: Why there are no figures., type: str}
        slo_met: {description: "Whether the SLO is kept, where there is one.", type: bool}
    sensitivity:
      description: Elasticities by input, by how many percent the measure changes where the input changes by one.
      returned: when O(sensitivity) is true and the instances given keep up
      type: dict
      sample: {rate: 3.9, service: 4.9, arrival_scv: 0.38, service_scv: 0.53}
    trend:
      description: When the agent's rate reaches RV(agents[].trend.limit).
      returned: when there is a history and instances, and the SLO is kept at any rate at all
      type: dict
      contains:
        limit: {description: "RV(agents[].largest_rate), or without an SLO the rate that fills the instances.", type: float}
        at: {description: "When the line reaches it, seconds since 1970; none where it does not within three years.", type: float}
        earliest: {description: The earliest time of a 95 % prediction interval., type: float}
        latest: {description: The latest; none where it may be never., type: float}
        growth: {description: Requests a second more for each day., type: float}
        growth_interval: {description: Its 95 % confidence interval., type: list, elements: float}
        rises: {description: Whether it grows beyond doubt. Where not there are no dates., type: bool}
        samples: {description: How many there were., type: int}
        effective: {description: How many independent ones they count as., type: float}
        correlation: {description: Of neighbouring residuals., type: float}
        method: {description: How it was reckoned., type: str}
        assumptions: {description: What must be so for it to hold., type: list, elements: str}
    inputs:
      description: Where the numbers come from.
      type: dict
      contains:
        source: {description: "V(given) or V(prometheus).", type: str}
        window: {description: "The window, of V(prometheus) only.", type: str}
        measured:
          description: What was seen, as C(rate) and C(mean) a second, C(requests), C(service) and C(response_p95) in seconds.
          type: dict
        arrival_scv: {description: What was used., type: float}
        service_scv: {description: What was used., type: float}
        assumed: {description: Inputs that were neither given nor measured., type: list, elements: str}
        confidence: {description: "Of the inputs, V(high), V(medium) or V(low) where they were measured.", type: str}
    notes:
      description: What one should know before believing it.
      type: list
      elements: str
saturation:
  description: Who is full first when all traffic grows alike, and then who, each if those before it were enlarged.
  returned: success
  type: list
  elements: dict
  sample: [{agent: search, factor: 1.19, utilisation: 0.84}, {agent: planner, factor: 2.0, utilisation: 0.5}]
  contains:
    agent: {description: The agent., type: str}
    factor: {description: The multiple of the rates given at which it is full., type: float}
    utilisation: {description: How full it is at the rates given., type: float}
end_to_end:
  description: Mean seconds from a request to its last answer, where calls are made one after another, by the agent that it comes to.
  returned: when there are calls that agree with what was measured, and each agent keeps up
  type: dict
  sample: {planner: 0.51}
closed:
  description: The closed fleet.
  returned: when O(closed) is given
  type: dict
  contains:
    knee: {description: The number of agents from which on the busiest station is the limit., type: float}
    rounds:
      description:
        - Of about ten populations up to that asked for, the throughput (rounds a second) and the response (seconds of a round but for
          the thinking), and by station responses (seconds in a round), lengths (how many are there) and utilisations.
        - By station also C(visits), the seconds of one visit (wait and work) as C(mean), C(p50), C(p95) and C(p99).
      type: list
      elements: dict
    method: {description: How it was reckoned., type: str}
    assumptions: {description: What must be so for it to hold., type: list, elements: str}
lines:
  description: The answers in words, a line each.
  returned: success
  type: list
  elements: str
"""
