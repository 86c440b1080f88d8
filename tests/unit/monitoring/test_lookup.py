# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup monitoring and an inventory: which fleet it is, and what it says where there is none."""

from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader

OF_FLEET = {"agentfactory_environment": "lab", "agentfactory_artifacts": "/nowhere", "agentfactory_agents": []}


def look_up(*terms: str, hosts: dict[str, dict[str, Any]] | None = None, **options: Any) -> Any:
    groups = {"all": list(hosts or {}), **({} if hosts is None else {"agentfactory": list(hosts)})}
    lookup = lookup_loader.get("agentfactory.core.monitoring")
    (found,) = lookup.run(list(terms), variables={"groups": groups, "hostvars": hosts or {}}, **options)
    return found


@pytest.mark.parametrize("term", ["agents", "expected", "environment", "hosts"])
@pytest.mark.parametrize("hosts", [None, {"h1": {"ansible_host": "192.0.2.1"}}])
def test_no_fleet_is_told(term: str, hosts: dict[str, dict[str, Any]] | None) -> None:
    with pytest.raises(AnsibleError, match=r"there is no fleet in this inventory: no source with 'plugin: agentf"):
        look_up(term, hosts=hosts, port=9100)


@pytest.mark.parametrize("terms", [(), ("agent",), ("agents", "expected")])
def test_a_wrong_term_is_told(terms: tuple[str, ...]) -> None:
    with pytest.raises(AnsibleError, match="give one term of hosts, agents, expected"):
        look_up(*terms, hosts={"h1": OF_FLEET})


def test_which_exporter_must_be_said() -> None:
    with pytest.raises(AnsibleError, match="port: is missing"):
        look_up("hosts", hosts={"h1": OF_FLEET})


@pytest.mark.parametrize(("hosts", "environment"), [({"h1": OF_FLEET, "h2": OF_FLEET}, "lab"), ({}, "")])
def test_a_fleet_has_its_own_name_and_targets(hosts: dict[str, dict[str, Any]], environment: str) -> None:
    assert look_up("environment", hosts=hosts) == environment
    assert look_up("agents", hosts=hosts) == look_up("agents", hosts=hosts, port=None) == []
    targets = look_up("hosts", hosts=hosts, port=9100)
    assert targets == [
        {"targets": [f"{host}:9100"], "labels": {"host": host, "environment": environment}} for host in hosts
    ]
