# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as a file of JSON, and whether what it was made of is still what is there.

The file holds no time: the same question about the same fleet has the same file, as long as what was measured is the same.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

from .. import fleet as _fleet
from ..fleet_fields import FleetError
from ..fleet_placement import Placed, Source

FORMAT = 2
_CLEAR = ("version", "state", "count", "instances", "ports")
_KEYS = {
    "format": int,
    "identity": dict,
    "placement": dict,
    "steps": list,
    "waiting": list,
    "what_if": list,
    "portable": list,
    "host_order": list,
    "lost": list,
}
_MADE_OF = ("environment", "agents", "artifacts", "placement", "reliability", "hosts")
Identity = dict[str, Any]


class Variables(Protocol):
    """Hosts' variables, see `fleet_variables`."""

    def room(self, host: str) -> Mapping[str, Any]: ...
    def behind(self, host: str, value: Any) -> Mapping[str, Any]: ...


def identity(
    fleet: _fleet.Fleet, placed: Placed, contents: Mapping[str, list[str] | None], variables: Variables
) -> Identity:
    """What a plan was made of: each agent's declaration, the content of its artifact (None: it is not packaged), where it runs, how
    reliable things are said to be; and of each host its room, its zone and the variables that configurations name.

    `fleet` was read for planning. Of secrets only the names count, so a new value of one moves nothing.
    """
    agents = {}
    for name, declared in fleet.agents.items():
        counted = fleet.counted.get(name)
        parts: dict[str, Any] = {key: value for key, value in declared.items() if key != "name"}
        parts |= {"hosts": counted.hosts if counted else fleet.hosts[name], **fleet.goals.get(name, {})}
        parts |= {"ports": fleet.ports[name]}
        if counted:
            del parts["instances"]
            parts |= {"count": "auto" if counted.auto else counted.count, "placement": counted.rules}
            parts |= {"state_portable": counted.state_portable}
        agents[name] = {key: value if key in _CLEAR else digest(value) for key, value in parts.items()}
    return {
        "environment": fleet.environment,
        "agents": agents,
        "artifacts": {name: contents[name] for name in agents},
        "placement": {name: there for name, there in placed.items() if name in fleet.counted},
        "reliability": digest(fleet.reliability),
        "hosts": {host: _host(fleet, host, variables) for host in fleet.declared},
    }


def _host(fleet: _fleet.Fleet, host: str, variables: Variables) -> dict[str, Any]:
    there = [name for name, counted in fleet.counted.items() if host in counted.hosts]
    there += [declared["name"] for declared in fleet.declared[host] if declared["name"] not in fleet.counted]
    named: dict[str, Any] = {}
    for name in there:
        named |= variables.behind(host, fleet.agents[name]["config"])
    return dict(variables.room(host)) | ({"variables": {key: digest(named[key]) for key in named}} if named else {})


def contents(fleet: _fleet.Fleet) -> dict[str, list[str] | None]:
    """agent -> the `content` of each image of its artifact; None where it is not packaged."""
    from ..declare import DeclarationError, packaged

    found: dict[str, list[str] | None] = {}
    for name, declared in fleet.agents.items():
        try:
            images = packaged(fleet.artifacts, name, declared["version"]).images if declared["version"] else []
            found[name] = sorted({image.content for image in images})
        except DeclarationError:
            found[name] = None
    return found


def digest(value: object) -> str:
    """Of plain data, and of vaulted strings as they are encrypted."""
    text = json.dumps(value, sort_keys=True, default=lambda other: getattr(other, "_ciphertext", str(type(other))))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def render(plan: Mapping[str, Any]) -> str:
    return json.dumps(plan, indent=2) + "\n"


def load(path: str, label: str) -> dict[str, Any]:
    """A plan that may be carried out. FleetError says why it is none, or may not be."""
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except OSError as error:
        raise FleetError([f"{label}: {error.strerror}"]) from error
    except ValueError as error:
        raise FleetError([f"{label}: is not a plan: {error}"]) from error
    if isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] != FORMAT:
        raise FleetError([f"{label}: is of format {found['format']}, and {FORMAT} is understood: plan again"])
    if not isinstance(found, dict) or not all(isinstance(found.get(key), kind) for key, kind in _KEYS.items()):
        raise FleetError([f"{label}: is not a plan: it lacks one of {', '.join(_KEYS)}"])
    if lacking := [key for key in _MADE_OF if key not in found["identity"]]:
        raise FleetError([f"{label}: is not a plan: its identity lacks {', '.join(lacking)}"])
    if found["what_if"]:
        raise FleetError([f"{label}: says what would be ({', '.join(found['what_if'])}), and is not to be carried out"])
    return found


def source(plan: Mapping[str, Any], label: str) -> Source:
    """Where the fleet is placed once the plan is carried out."""
    there = {name: {i for on in hosts.values() for i in on} for name, hosts in plan["placement"].items()}
    waiting: dict[str, list[int]] = {}
    for step in plan["waiting"]:
        if step["index"] not in there.get(step["agent"], ()):
            waiting.setdefault(step["agent"], []).append(step["index"])
    return Source(plan["placement"], label, waiting)


def moved(plan: Mapping[str, Any], now: Identity, label: str) -> list[str]:
    """What is not as it was when the plan was made, one a line; [] where the plan may be carried out.

    A placement that is the plan's already is no difference: it was carried out, in part or in whole.
    """
    was = plan["identity"]
    found = []
    if was["environment"] != now["environment"]:
        return [f"{label}: is of environment {was['environment']}, and this is {now['environment']}"]
    for name in dict.fromkeys([*was["agents"], *now["agents"]]):
        found += _agent_moved(name, was["agents"].get(name), now["agents"].get(name))
        before, after = was["artifacts"].get(name), now["artifacts"].get(name)
        if name in was["agents"] and name in now["agents"] and before is not None and before != after:
            what = "is not packaged any more" if after is None else "has another content"
            found.append(f"agents.{name}: its artifact {what}")
    if was["reliability"] != now["reliability"]:
        found.append("reliability: has changed since the plan was made")
    for host in dict.fromkeys([*was["hosts"], *now["hosts"]]):
        found += _host_moved(host, was["hosts"].get(host), now["hosts"].get(host))
    if now["placement"] not in (was["placement"], plan["placement"]):
        names = [
            name for name, there in now["placement"].items()
            if there not in (was["placement"].get(name), plan["placement"].get(name))
        ]  # fmt: skip
        found.append(f"placement.yml: {', '.join(names) or 'it'} was placed otherwise since")
    return [f"{label}: {line}; plan again" for line in found]


def _host_moved(host: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[str]:
    if before is None or after is None:
        return [f"hosts: {host} is {'new' if before is None else 'gone'} since the plan was made"]
    names, others = before.get("variables", {}), after.get("variables", {})
    found = [
        f"{host}.{key}: has changed since the plan was made: it was {before.get(key)}, and is {after.get(key)}"
        for key in dict.fromkeys([*before, *after])
        if key != "variables" and before.get(key) != after.get(key)
    ]
    return found + [
        f"{host}.{key}, which a configuration names: has changed since the plan was made"
        for key in dict.fromkeys([*names, *others])
        if names.get(key) != others.get(key)
    ]


def _agent_moved(name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[str]:
    if before is None or after is None:
        return [f"agents.{name}: {'is new' if before is None else 'is gone'} since the plan was made"]
    found = []
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            clear = f": it was {before.get(key)}, and is {after.get(key)}" if key in _CLEAR else ""
            found.append(f"agents.{name}.{key}: has changed since the plan was made{clear}")
    return found
