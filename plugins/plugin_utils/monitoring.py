# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What monitoring needs to know of a fleet: whom Prometheus scrapes, and the exporter's program."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..module_utils import relay
from . import remote, run
from .declare import packaged

Target = dict[str, Any]
"""One group of ``file_sd_config``: ``{"targets": ["host:port"], "labels": {...}}``"""

MAIN = "import sys\nfrom agentfactory_host.exporter import main\nmain(sys.argv + [%r])\n"


@dataclass(frozen=True)
class Member:
    """A host of the fleet: its name, where to reach it, its declarations, and whether (or until when) it is in maintenance."""

    name: str
    address: str
    environment: str
    agents: list[Mapping[str, Any]]
    maintenance: Any = None

    @classmethod
    def of(cls, name: str, variables: Mapping[str, Any]) -> "Member":
        address = variables.get("agentfactory_monitoring_address") or variables.get("ansible_host") or name
        environment = str(variables.get("agentfactory_environment", ""))
        agents = list(variables.get("agentfactory_agents", []))
        return cls(name, str(address), environment, agents, variables.get("agentfactory_maintenance"))

    def at(self, port: int) -> str:
        return f"[{self.address}]:{port}" if ":" in self.address else f"{self.address}:{port}"

    @property
    def labels(self) -> dict[str, str]:
        return {"host": self.name, "environment": self.environment}

    def instances(self, state: str = "started") -> Iterable[tuple[Mapping[str, Any], str]]:
        """Every instance that is declared to be in a state, with its agent's declaration."""
        return [(a, str(i)) for a in self.agents if a["state"] == state for i in a["instances"]]


def hosts(members: Iterable[Member], port: int) -> list[Target]:
    """The exporter on that port of every host."""
    return [{"targets": [member.at(port)], "labels": member.labels} for member in members]


def agents(members: Iterable[Member], artifacts: str, relay_port: int | None = None) -> list[Target]:
    """The metrics of the agents themselves, where their manifests say that they have some.

    With `relay_port`, that of the exporter on each host, it is asked for them; their series have the same labels.
    """
    found = []
    for member in members:
        for agent, instance in member.instances():
            manifest = packaged(artifacts, agent["name"], str(agent["version"])).manifest
            metrics = manifest["metrics"]
            if not metrics:
                continue
            ports = agent["ports"].get(instance, {})
            labels = {**member.labels, "agent": agent["name"], "agent_id": f"{agent['name']}@{instance}"}
            labels["__metrics_path__"] = metrics["path"]
            target = member.at(int(ports[metrics["port"]]))
            if relay_port is not None:
                labels |= {"instance": target, "__metrics_path__": relay.PATH % labels["agent_id"]}
                target = member.at(relay_port)
            found.append({"targets": [target], "labels": labels})
    return found


def exporter(version: str) -> str:
    """The path of the exporter's program, a zip archive that Python runs: the same bytes for the same code."""
    _digest, sources = remote.library_sources()
    files = {f"agentfactory_host/{name}": text for name, text in json.loads(sources).items()}
    files["__main__.py"] = MAIN % version
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, files[name])
    data = stream.getvalue()
    path = os.path.join(run.directory(), f"exporter-{hashlib.sha256(data).hexdigest()[:16]}.pyz")
    if not os.path.exists(path):
        with open(f"{path}.{os.getpid()}", "wb") as file:
            file.write(data)
        os.replace(f"{path}.{os.getpid()}", path)
    return path
