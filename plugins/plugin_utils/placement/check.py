# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a placement, and each step towards it, within every rule? By names and from the problem alone: the solver does not use this.

So it is the witness for the solver in tests, and the answer to "what breaks the rules today?".
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .order import Step
from .problem import EVEN_SKEW, Agent, Host, Placement, Problem


@dataclass(frozen=True)
class Violation:
    """A rule ("room", "surge", "hosts", "state", "max_per_host", "spread", "index", "missing"), whom it is about, and what was seen."""

    rule: str
    subject: str
    text: str


def check(problem: Problem, placement: Placement, relaxed: Mapping[str, int] | None = None) -> list[Violation]:
    """Everything that is wrong with a placement; `relaxed` as in the answer that it is from."""
    hosts = {host.name: host for host in problem.hosts}
    found: list[Violation] = []
    for agent in problem.agents:
        found += _indexes(agent, placement.get(agent.name, {}), hosts)
        found += _per_host(agent, placement.get(agent.name, {}), hosts)
        found += _spread(problem, agent, placement.get(agent.name, {}), (relaxed or {}).get(agent.name))
    on: dict[str, Counter[str]] = {}
    for name, there in placement.items():
        for host in there.values():
            on.setdefault(host, Counter())[name] += 1
    for one in problem.hosts:
        found += _room(problem, one, on.get(one.name, Counter()))
    return found


def _indexes(agent: Agent, there: Mapping[int, str], hosts: Mapping[str, Host]) -> list[Violation]:
    found = [Violation("index", f"{agent.name}@{i}", f"of {agent.count}") for i in there if not 0 <= i < agent.count]
    lacking = [index for index in range(agent.count) if index not in there]
    if lacking:
        found.append(Violation("missing", agent.name, f"{len(lacking)} of {agent.count} have no place"))
    for index, name in there.items():
        subject = f"{agent.name}@{index}"
        if name not in hosts:
            found.append(Violation("hosts", subject, f"there is no host {name}"))
        elif agent.hosts is not None and name not in agent.hosts:
            found.append(Violation("hosts", subject, f"may not be on {name}"))
        elif hosts[name].state != "active":
            found.append(Violation("state", subject, f"is on {name}, which is {hosts[name].state}"))
    return found


def _per_host(agent: Agent, there: Mapping[int, str], hosts: Mapping[str, Host]) -> list[Violation]:
    names = list(there.values())
    most = agent.max_per_host
    if most is None:
        return []
    return [
        Violation("max_per_host", agent.name, f"{names.count(name)} are on {name}, and at most {most} may be")
        for name in sorted(set(names))
        if names.count(name) > most
    ]


def _spread(problem: Problem, agent: Agent, there: Mapping[int, str], relaxed: int | None) -> list[Violation]:
    if agent.spread == "none":
        return []
    skew = (relaxed or EVEN_SKEW) if agent.spread == "even" else int(agent.spread)
    usable = [h for h in problem.hosts if h.state == "active" and (agent.hosts is None or h.name in agent.hosts)]
    homes = {host.name: host.zone for host in usable}
    seen = dict.fromkeys(homes.values(), 0)
    for name in there.values():
        if name in homes:
            seen[homes[name]] += 1
    most = agent.max_per_host
    full = {zone for zone, n in seen.items() if most is not None and n >= most * list(homes.values()).count(zone)}
    least = min((count for zone, count in seen.items() if zone not in full), default=None)
    if least is None or max(seen.values()) - least <= skew:
        return []
    shown = ", ".join(f"{zone or '(no zone)'} {count}" for zone, count in sorted(seen.items()))
    return [Violation("spread", agent.name, f"{shown}: {max(seen.values()) - least} apart, and {skew} is allowed")]


def _room(problem: Problem, host: Host, there: Counter[str]) -> list[Violation]:
    used: dict[str, int] = {}
    surge: dict[str, int] = {}
    for agent in problem.agents if there else ():
        for resource, amount in agent.needs.items() if agent.name in there else ():
            used[resource] = used.get(resource, 0) + amount * there[agent.name]
            surge[resource] = max(surge.get(resource, 0), amount if agent.surge else 0)
    if host.state != "active":
        return []
    found = []
    for resource, amount in used.items():
        room = host.room(resource)
        if amount > room:
            found.append(Violation("room", host.name, f"{resource}: {amount} are used of {room}"))
        elif amount + surge[resource] > room:
            text = f"{resource}: {room - amount} are free of {room}, and a rollout needs {surge[resource]}"
            found.append(Violation("surge", host.name, text))
    return found


def check_order(problem: Problem, placement: Placement, steps: Iterable[Step]) -> list[Violation]:
    """Walk the steps from what runs: every source must be true, no host overfilled by a step, and the end be the placement."""
    agents = {agent.name: agent for agent in problem.agents}
    hosts = {host.name: host for host in problem.hosts}
    runs = {(name, i): host for name, there in problem.current.items() for i, host in there.items()}
    there: dict[str, list[str]] = {}
    for (name, _index), host in runs.items():
        if host in hosts and hosts[host].state != "failed":
            there.setdefault(host, []).append(name)
    found: list[Violation] = []
    for number, step in enumerate(steps):
        if runs.get((step.agent, step.index)) != step.source:
            found.append(Violation("order", step.instance, f"step {number}: it is not on {step.source}"))
        stops_first = agents[step.agent].state == "portable" or step.kind == "remove"
        for phase in ("stop", "start") if stops_first else ("start", "stop"):
            if phase == "stop" and step.source in there and step.agent in there[step.source]:
                there[step.source].remove(step.agent)
            elif phase == "start" and step.target is not None:
                there.setdefault(step.target, []).append(step.agent)
                found += _overfilled(agents, hosts[step.target], there[step.target], agents[step.agent], number)
        runs.pop((step.agent, step.index), None)
        if step.target is not None:
            runs[step.agent, step.index] = step.target
    wanted = {(name, i): host for name, placed in placement.items() for i, host in placed.items()}
    found += [Violation("order", f"{n}@{i}", f"ends on {h}") for (n, i), h in runs.items() if wanted.get((n, i)) != h]
    found += [
        Violation("order", f"{n}@{i}", f"never arrives on {h}") for (n, i), h in wanted.items() if (n, i) not in runs
    ]
    return found


def _overfilled(
    agents: Mapping[str, Agent], host: Host, there: list[str], started: Agent, number: int
) -> list[Violation]:
    found = []
    for resource, need in started.needs.items():
        used = sum(agents[name].needs.get(resource, 0) for name in there)
        if need and used > host.room(resource):
            found.append(
                Violation("room", host.name, f"step {number}: {resource}: {used} are used of {host.room(resource)}")
            )
    most = started.max_per_host
    if most is not None and there.count(started.name) > most:
        found.append(
            Violation("max_per_host", host.name, f"step {number}: {there.count(started.name)} of {started.name}")
        )
    if host.state != "active" or (started.hosts is not None and host.name not in started.hosts):
        found.append(Violation("hosts", host.name, f"step {number}: {started.name} may not be started there"))
    return found
