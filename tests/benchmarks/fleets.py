# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets to place, made from a seed: hosts of three sizes in five zones, agents of many sizes, a few of them confined."""

import random
from dataclasses import replace

from ansible_collections.agentfactory.core.plugins.plugin_utils.placement import Agent, Host, Placement, Problem

MIB = 1 << 20
ZONES = ("a", "b", "c", "d", "e")
KINDS = ((4000, 8192), (8000, 32768), (16000, 65536))
CPUS = (50, 100, 250, 500, 750, 1000, 1500)
MEMORIES = (64, 128, 256, 512, 1024, 2048, 4096)


def fleet(hosts: int, instances: int, load: float, seed: int, *, rules: bool = True) -> Problem:
    """Nothing runs yet. `load`: what all instances need of what all hosts have, of the scarcer of cpu and memory.

    `rules`: some agents need a GPU, some are spread, some confined to a third of the hosts, some at most 2 on a host.
    """
    rng = random.Random(seed)
    agents = []
    left = instances
    while left:
        count = min(left, rng.randint(2, max(3, instances // 40)))
        left -= count
        needs = {"cpu": rng.choice(CPUS), "memory": rng.choice(MEMORIES) * MIB}
        agents.append(Agent(f"agent-{len(agents)}", count, needs))
    kinds = [rng.choice(KINDS) for _host in range(hosts)]
    total = {name: sum(agent.needs[name] * agent.count for agent in agents) for name in ("cpu", "memory")}
    scale = max(
        total["cpu"] / (load * sum(cpu for cpu, _memory in kinds)),
        total["memory"] / (load * sum(memory * MIB for _cpu, memory in kinds)),
    )
    made = []
    for number, (cpu, memory) in enumerate(kinds):
        capacity = {"cpu": round(cpu * scale / 10) * 10, "memory": round(memory * scale) * MIB}
        if number % 10 == 0:
            capacity["gpu"] = 4
        made.append(Host(f"host-{number}", capacity, {}, ZONES[number % len(ZONES)]))
    if rules:
        agents = [_ruled(agent, made, rng) for agent in agents]
    return Problem(tuple(made), tuple(agents))


def _ruled(agent: Agent, hosts: list[Host], rng: random.Random) -> Agent:
    kind = rng.random()
    if kind < 0.05 and agent.count <= len(hosts) // 10:
        return replace(agent, needs={**agent.needs, "gpu": 1})
    if kind < 0.25:
        return replace(agent, spread=rng.choice(("even", 2)))
    if kind < 0.35:
        return replace(agent, hosts=tuple(host.name for host in hosts[:: rng.choice((2, 3))]))
    if kind < 0.5 and agent.count <= len(hosts):
        return replace(agent, max_per_host=2)
    return agent


def grown(problem: Problem, seed: int) -> Placement:
    """What a fleet looks like that grew without a plan: each instance on some host that has room and that its rules allow."""
    rng = random.Random(seed)
    used = {host.name: dict.fromkeys(problem.resources, 0) for host in problem.hosts}
    on: dict[tuple[str, str], int] = {}
    zone = {host.name: host.zone for host in problem.hosts}
    rooms = {host.name: {r: host.room(r) for r in problem.resources} for host in problem.hosts}
    found: dict[str, dict[int, str]] = {}
    for agent in sorted(problem.agents, key=lambda agent: (-agent.needs["memory"], agent.name)):
        names = list(agent.hosts or [host.name for host in problem.hosts])
        zones = dict.fromkeys({zone[name] for name in names}, 0)
        found[agent.name] = {}
        for index in range(agent.count):
            least = min(zones.values())
            rng.shuffle(names)
            for name in names:
                fits = all(used[name][r] + n <= rooms[name][r] for r, n in agent.needs.items())
                even = agent.spread == "none" or zones[zone[name]] == least
                if fits and even and on.get((agent.name, name), 0) < (agent.max_per_host or agent.count):
                    for resource, amount in agent.needs.items():
                        used[name][resource] += amount
                    on[agent.name, name] = on.get((agent.name, name), 0) + 1
                    zones[zone[name]] += 1
                    found[agent.name][index] = name
                    break
    return found


def drained(problem: Problem, percent: int, seed: int) -> Problem:
    """The same with that share of the hosts to be emptied."""
    rng = random.Random(seed)
    chosen = set(rng.sample(range(len(problem.hosts)), max(1, len(problem.hosts) * percent // 100)))
    hosts = [replace(host, state="drained") if i in chosen else host for i, host in enumerate(problem.hosts)]
    return replace(problem, hosts=tuple(hosts))
