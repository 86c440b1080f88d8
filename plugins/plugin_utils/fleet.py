# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""fleet.yml -> what each host is to run, checked in full before any host is touched.

Nothing here knows Ansible's inventory: patterns are resolved by a function, manifests come from a `Catalog`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

from . import _checks as c
from . import fleet_goals, fleet_placement
from .fleet_config import config_problems
from .fleet_fields import FLEET, FleetError, Problems, Rollout, scan, settle_instances
from .fleet_placement import Counted
from .fleet_ports import clash_lines, ports_of

__all__ = ["GROUP", "Declaration", "Fleet", "FleetError", "Select", "group_of", "load"]

Manifest = dict[str, Any]
Select = Callable[[str | list[str]], list[str]]
"""Host names of an Ansible pattern, in inventory order; [] where nothing matches, ValueError where it is no pattern."""


class Manifests(Protocol):
    """Where manifests come from."""

    def find(self, name: str, version: str, source: str | None) -> Manifest:
        """The manifest of one version; ValueError says what there is instead."""


class Declaration(TypedDict):
    """One agent as a host is to run it (an item of `agentfactory_agents`)."""

    name: str
    version: str
    state: str
    instances: list[str]
    ports: dict[str, dict[str, int]]
    config: dict[str, Any]
    resources: dict[str, Any]
    rollout: Rollout
    secrets: list[str]
    token_budget: int | None


@dataclass
class Fleet:
    """A checked fleet. Hosts with equal declarations share the very same list."""

    file: str
    environment: str
    artifacts: str
    max_removals: int
    agents: dict[str, Declaration] = field(default_factory=dict)
    hosts: dict[str, list[str]] = field(default_factory=dict)
    """agent -> the hosts that it runs on"""
    ports: dict[str, dict[str, int]] = field(default_factory=dict)
    """agent -> its base ports by name, as far as its manifest is known"""
    counted: dict[str, Counted] = field(default_factory=dict)
    placed: fleet_placement.Placed = field(default_factory=dict)
    """agent with `count` -> host -> the indexes of its instances there"""
    sources: dict[str, str] = field(default_factory=dict)
    """agent -> the directory of its agent.yml"""
    declared: dict[str, list[Declaration]] = field(default_factory=dict)
    """managed host -> what it runs, possibly []"""
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """managed host -> {agent: {name: value as it was read}}"""
    goals: dict[str, dict[str, Any]] = field(default_factory=dict)
    """agent -> its `load` and `slo`, as far as it has them (see `fleet_goals`)"""
    reliability: dict[str, Any] = field(default_factory=dict)
    plan: str = ""
    """the plan that this fleet was read with, where it was"""
    plan_digest: str = ""
    """what that file held then"""
    behind: list[str] = field(default_factory=list)
    """where placement.yml is behind the fleet, until a plan is carried out"""

    def variables(self) -> dict[str, Any]:
        """The variables that are the same on every host."""
        return {
            "agentfactory_fleet": self.file,
            "agentfactory_environment": self.environment,
            "agentfactory_artifacts": self.artifacts,
            "agentfactory_max_removals": self.max_removals,
            "agentfactory_sources": self.sources,
            "agentfactory_plan": self.plan,
            "agentfactory_plan_digest": self.plan_digest,
            "agentfactory_ids": sorted(
                {
                    f"{agent['name']}@{name}"
                    for agents in self.declared.values()
                    for agent in agents
                    for name in agent["instances"]
                }
            ),
            "agentfactory_portable": sorted(name for name, counted in self.counted.items() if counted.state_portable),
            "agentfactory_versions": {
                name: None if agent["state"] == "absent" else agent["version"] for name, agent in self.agents.items()
            },
        }


in_this_process: dict[str, Any] | None = None
"""`Fleet.variables()` of the fleet that the inventory plugin read in this process."""


GROUP = "agentfactory"
"""The inventory group of all hosts that a fleet manages."""


def group_of(agent: str) -> str:
    """The inventory group of an agent's hosts."""
    return "agent_" + agent.replace("-", "_")


def load(
    data: object,
    *,
    path: str,
    text: str,
    select: Select,
    catalog: Callable[[str], Manifests],
    label: str = "",
    planning: bool = False,
    placed: fleet_placement.Source | None = None,
) -> Fleet:
    """Check a parsed fleet.yml and spread it over the hosts.

    `text` is the file's YAML (for what parsing loses), `catalog` makes the source of manifests from the artifacts'
    place, `label` names the file in messages. With `planning` placement.yml is not read: agents with `count` then run on no host
    yet. With `placed`, that is the placement. Raises FleetError with every problem found.
    """
    problems = Problems(label or path)
    scan(text, problems)
    given = FLEET(data, "", problems)
    broken = {_agent_of(line, problems.file) for line in problems.lines}
    base = os.path.dirname(os.path.abspath(path))
    artifacts = given.get("artifacts") or ""
    place = artifacts if "://" in artifacts else os.path.normpath(os.path.join(base, os.path.expanduser(artifacts)))
    fleet = Fleet(path, given.get("environment", ""), place, given["max_removals"])
    managed = _hosts(given["managed"], "managed", select, problems)
    manifests = catalog(place)
    fleet.reliability = given["reliability"]
    there = placed or _as_placed(given["agents"], path, planning=planning)
    for name, agent in given["agents"].items():
        auto = agent["count"] == fleet_goals.AUTO
        settle_instances(name, agent, there.span(name), problems)
        fleet.goals[name] = {key: agent[key] for key in ("load", "slo") if agent[key] is not None}
        if agent["source"]:
            fleet.sources[name] = os.path.normpath(os.path.join(base, os.path.expanduser(agent["source"])))
        fleet.hosts[name] = _agent_hosts(name, agent, managed, select, problems)
        _check_complete(name, agent, problems)
        if agent["state"] != "absent" and artifacts and agent["version"]:
            manifest = _manifest(name, agent, manifests, fleet.sources.get(name), problems)
        else:
            manifest = None
        if manifest is not None and name not in broken:
            _check_against(name, agent, manifest, problems)
        fleet.ports[name] = {**manifest["ports"], **agent["ports"]} if manifest else {}
        fleet.agents[name] = _declaration(name, agent, manifest, fleet.ports[name])
        if agent["count"] is not None and agent["state"] != "absent" and name not in broken:
            fleet.counted[name] = Counted(
                agent["count"], fleet.hosts[name], agent["placement"], agent["state_portable"], auto
            )
    if fleet.counted and not planning:
        absent = {name for name, agent in given["agents"].items() if agent["state"] == "absent"}
        fleet.placed = fleet_placement.load(
            path, fleet.counted, managed, fleet.agents, broken | absent, problems, fleet.behind, placed
        )
    for name in fleet.counted:
        runs = fleet.placed.get(name, {})
        # of its pattern first; what has state of its own stays on a host that has left the pattern
        fleet.hosts[name] = [host for host in dict.fromkeys([*fleet.hosts[name], *managed]) if runs.get(host)]
    _spread(fleet, managed, {name: agent["secrets"] for name, agent in given["agents"].items()})
    for key, reason in clash_lines(fleet.declared):
        problems.add(key, reason)
    if problems.lines:
        raise FleetError(problems.lines)
    return fleet


def _as_placed(agents: Mapping[str, Any], path: str, *, planning: bool) -> fleet_placement.Source:
    """The placement as it is, unchecked, for the indexes in it."""
    asked = not planning and any(agent["count"] is not None for agent in agents.values())
    return fleet_placement.Source(fleet_placement.read(fleet_placement.beside(path), "")[0] if asked else {}, "")


def _agent_of(line: str, file: str) -> str:
    """The agent that a problem is about: what follows from a broken value is not reported again."""
    key = line.removeprefix(f"{file}: ").split(": ")[0].split(".")
    return key[1] if len(key) > 1 and key[0] == "agents" else ""


def _hosts(pattern: str | list[str], key: str, select: Select, problems: Problems) -> list[str]:
    if not pattern:
        return []
    try:
        found = select(pattern)
    except ValueError as error:
        problems.add(key, f"pattern {pattern!r}: {error}")
        return []
    if not found:
        problems.add(key, f"pattern {pattern!r} matches no host")
    return found


def _agent_hosts(
    name: str,
    agent: Mapping[str, Any],
    managed: list[str],
    select: Select,
    problems: Problems,
) -> list[str]:
    key = f"agents.{name}.hosts"
    if not agent["hosts"]:
        return list(managed) if agent["state"] == "absent" else []
    hosts = _hosts(agent["hosts"], key, select, problems)
    inside = set(managed)
    outside = [host for host in hosts if host not in inside]
    if outside and managed:
        shown = ", ".join(outside[:5]) + (f" and {len(outside) - 5} more" if len(outside) > 5 else "")
        problems.add(key, f"{shown} not in managed")
    return [host for host in hosts if host in inside]


def _check_complete(name: str, agent: Mapping[str, Any], problems: Problems) -> None:
    if agent["state"] == "absent":
        return
    for key in ("version", "hosts"):
        where = f"agents.{name}.{key}"
        if not agent[key] and where not in problems.written:
            problems.add(where, "is missing")


def _manifest(
    name: str,
    agent: Mapping[str, Any],
    manifests: Manifests,
    source: str | None,
    problems: Problems,
) -> Manifest | None:
    try:
        return manifests.find(name, agent["version"], source)
    except ValueError as error:
        for line in str(error).splitlines():
            problems.add(f"agents.{name}", line)
        return None


def _check_against(name: str, agent: Mapping[str, Any], manifest: Manifest, problems: Problems) -> None:
    """What the fleet gives an agent against what its manifest asks for."""
    key = f"agents.{name}"
    for secret in manifest["secrets"]:
        if secret not in agent["secrets"]:
            problems.add(f"{key}.secrets.{secret}", f"is missing: the manifest of {name} {agent['version']} needs it")
    for what in ("secrets", "ports"):
        known = list(manifest[what])
        for given in agent[what]:
            if given not in known:
                hint = c.near(str(given), known) or f"; known are {', '.join(known) or 'none'}"
                problems.add(f"{key}.{what}.{given}", f"is not in the manifest of {name} {agent['version']}{hint}")
    last = len(agent["instances"]) - 1
    for port, base in {**manifest["ports"], **agent["ports"]}.items():
        if base + last > 65535:
            problems.add(f"{key}.ports.{port}", f"{base} + {last} for the last instance is above 65535")
    for where, reason in config_problems(manifest, agent["config"]):
        problems.add(c.join(f"{key}.config", where) if where else f"{key}.config", reason)


def _declaration(
    name: str, agent: Mapping[str, Any], manifest: Manifest | None, ports: Mapping[str, int]
) -> Declaration:
    absent = agent["state"] == "absent"
    limits = {key: value for key, value in agent["resources"].items() if value != "manifest"}
    return {
        "name": name,
        "version": agent["version"],
        "state": agent["state"],
        "instances": [] if absent else agent["instances"],
        "ports": {} if manifest is None else ports_of(ports, agent["instances"]),
        "config": {} if absent else agent["config"],
        "resources": {**(manifest or {}).get("resources", {}), **limits},
        "rollout": agent["rollout"],
        "secrets": [] if absent else sorted(str(secret) for secret in agent["secrets"]),
        "token_budget": agent["token_budget"],
    }


def _spread(fleet: Fleet, managed: list[str], secrets: Mapping[str, Any]) -> None:
    """Give each managed host its agents, in the order of the file."""
    names: dict[str, list[str]] = {host: [] for host in managed}
    for agent, hosts in fleet.hosts.items():
        for host in hosts:
            names[host].append(agent)
    shared: dict[tuple[tuple[str, tuple[int, ...]], ...], tuple[list[Declaration], dict[str, Any]]] = {}
    for host, agents in names.items():
        which = tuple((name, tuple(fleet.placed.get(name, {}).get(host, ()))) for name in agents)
        if which not in shared:
            given = {
                name: secrets[name] for name in agents if secrets[name] and fleet.agents[name]["state"] != "absent"
            }
            shared[which] = ([_on_host(fleet, name, indexes) for name, indexes in which], given)
        fleet.declared[host], fleet.secrets[host] = shared[which]


def _on_host(fleet: Fleet, name: str, indexes: tuple[int, ...]) -> Declaration:
    """A declaration as a host gets it: of an agent with `count`, those of its instances that are there."""
    whole = fleet.agents[name]
    if name not in fleet.counted:
        return whole
    instances = [str(index) for index in indexes]
    return {**whole, "instances": instances, "ports": {i: whole["ports"][i] for i in instances if i in whole["ports"]}}
