# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of three hosts in three zones, read for planning."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.agentfactory.core.plugins.plugin_utils import fleet, fleet_placement, manifest
from ansible_collections.agentfactory.core.plugins.plugin_utils.fleet_problem import Given
from ansible_collections.agentfactory.core.plugins.plugin_utils.planning.decide import Asked, Inputs, decide

HOSTS = {"h1": "a", "h2": "b", "h3": "c"}
HEAD = """
plugin: agentfactory.core.fleet
environment: lab
artifacts: dist
reliability: {zone: {mtbf: 180d, mttr: 2h}, host: {mtbf: 60d, mttr: 4h}, instance: {mtbf: 10d, mttr: 2m}}
agents:
"""
GATEWAY = {
    "version": "1.0", "hosts": "all", "count": "auto", "load": {"rate": 40, "service_time": 0.06}, "slo": {"below": 0.2},
}  # fmt: skip
Read = Callable[..., fleet.Fleet]
Plan = Callable[..., dict[str, Any]]


class _Catalog:
    def __init__(self, place: str) -> None:
        self.place = place

    def find(self, name: str, version: str, source: str | None) -> dict[str, Any]:
        given = {"name": name, "version": "1.0", "command": [name], "ports": {"http": 8080}, "resources": {"cpu": 0.5}}
        return manifest.normalise({**given, "health": {"http": {"port": "http"}, "bake": 3}}, file="agent.yml")


def _select(pattern: str | list[str]) -> list[str]:
    return list(HOSTS) if pattern == "all" else str(pattern).split(",")


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a fleet of these agents; with `placed` as a deploy would, else for planning."""

    def read_it(
        agents: Mapping[str, Any] | None = None,
        *,
        placed: fleet_placement.Placed | None = None,
        source: fleet_placement.Source | None = None,
        **keys: Any,
    ) -> fleet.Fleet:
        data = {**yaml.safe_load(HEAD), "agents": agents or {"gateway": GATEWAY}, **keys}
        source = source or (None if placed is None else fleet_placement.Source(placed, "plan.json"))
        return fleet.load(
            data, path=str(tmp_path / "fleet.yml"), text=yaml.safe_dump(data), select=_select,
            catalog=_Catalog, label="fleet.yml", planning=source is None, placed=source,
        )  # fmt: skip

    return read_it


@pytest.fixture
def plan(read: Read) -> Plan:
    """Plan a fleet of these agents; `cpu` is what each host has, `keys` are the fleet's other ones."""

    def plan_it(
        agents: Mapping[str, Any] | None = None,
        placed: fleet_placement.Placed | None = None,
        *,
        cpu: float = 4,
        keys: Mapping[str, Any] | None = None,
        **asked: Any,
    ) -> dict[str, Any]:
        given = {host: Given({"cpu": cpu, "memory": "8G"}, zone=zone) for host, zone in HOSTS.items()}
        inputs = Inputs(
            read(agents, **(keys or {})), given, HOSTS, placed or {}, lambda _name: {"bake": 3, "start_timeout": 20}
        )
        return decide(inputs, Asked(proof=False, **asked))

    return plan_it
