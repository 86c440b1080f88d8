# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory plugin agentfactory.core.fleet: reads fleet.yml, checks it in full, and tells each host what it runs."""

DOCUMENTATION = r"""
name: fleet
short_description: Which agents run where
version_added: 0.1.0
author: agentfactory contributors (@agentfactory)
description:
  - Reads C(fleet.yml), the declaration of which agents run on which hosts, at which version, with what configuration.
  - Loads the other inventory sources itself, so C(-i fleet.yml) alone is enough.
    It works as well in a directory of sources.
  - Checks everything before any host is touched. Where anything is wrong, all of it is reported and the run ends with
    exit code 4, whatever the configuration says about inventories that cannot be parsed.
  - Makes the group C(agentfactory) of all managed hosts and a group C(agent_<name>) of each agent's hosts.
  - Each managed host gets C(agentfactory_agents), which may be empty, and C(agentfactory_secrets).
  - Templates, vaulted strings and C(!unsafe) work in C(config) and C(secrets), whose values are passed on untouched.
options:
  plugin:
    description: Marks the file as a fleet.
    type: str
    required: true
    choices: [agentfactory.core.fleet]
  inventory:
    description:
      - The inventory sources with the hosts, relative to this file.
      - By default all the other sources beside this file.
    type: list
    elements: path
  environment:
    description: What the fleet is called; only releases of this environment are changed or removed on a host.
    type: str
    required: true
  managed:
    description: Pattern of every host that this fleet owns, also of those without agents.
    type: raw
    default: all
  artifacts:
    description: Directory of packaged agents, relative to this file.
    type: str
    required: true
  max_removals:
    description: How many agents may be removed in one run without C(-e confirm_removals=N), counted on each host.
    type: int
    default: 1
  agents:
    description:
      - The agents by name.
      - Each has C(version), C(hosts) (a pattern), and where wanted C(instances), C(config), C(secrets), C(ports),
        C(resources), C(state), C(rollout), C(source) and C(token_budget).
      - C(count), in place of C(instances), is how many run on all these hosts together; C(placement.yml) beside this file, which
        M(agentfactory.core.agent_placement) writes, says where. Where that is behind the fleet, a warning says so, and what is placed
        holds.
      - With C(-e plan=FILE) the placement of that plan holds in place of C(placement.yml). Where the fleet or its artifacts have moved
        since the plan was made, the run ends before any host is touched.
      - C(load) and C(slo), and C(reliability) beside C(agents), are what M(agentfactory.core.agent_plan) plans by.
    type: dict
    default: {}
  reliability:
    description: How often a C(zone), a C(host) and an C(instance) are down, each as C(mtbf) with C(mttr), or as C(unavailability).
    type: dict
    default: {}
"""

EXAMPLES = r"""
# inventories/production/fleet.yml
plugin: agentfactory.core.fleet
inventory: hosts.yml
environment: production
artifacts: ../../dist
agents:
  thermostat:
    version: "1.4.2"
    hosts: homes
    instances: 2
    config: {set_point: 21}
    secrets: {mqtt_password: "{{ vault_mqtt_password }}"}
    rollout: {waves: [1, 25%, 100%], max_failures: 0, rollback: fleet}
"""

import os
import traceback
from typing import Any, NoReturn

from ansible.errors import AnsibleParserError, ExitCode
from ansible.inventory.manager import InventoryManager
from ansible.plugins.inventory import BaseInventoryPlugin

from ansible_collections.agentfactory.core.plugins.plugin_utils import fleet as _fleet
from ansible_collections.agentfactory.core.plugins.plugin_utils.fleet_inventory import (
    FILES,
    document,
    label,
    read,
    read_as_planned,
)
from ansible_collections.agentfactory.core.plugins.plugin_utils.fleet_placement import FILE as PLACEMENT

GROUP = _fleet.GROUP


class InventoryModule(BaseInventoryPlugin):
    """A thin layer: sources and groups are Ansible's, the fleet is plugin_utils.fleet's."""

    NAME = "agentfactory.core.fleet"

    def verify_file(self, path: str) -> bool:
        return os.path.basename(path) in (*FILES, PLACEMENT) and super().verify_file(path)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache=cache)
        if os.path.basename(path) == PLACEMENT:
            return  # where a directory is the inventory; the fleet beside it has read it
        data = document(loader, path)
        if data is None:
            raise AnsibleParserError(f"{path} is not a file of {self.NAME}")
        try:
            plan = (self._vars or {}).get("plan")
            fleet, hosts = read_as_planned(loader, path, data, str(plan)) if plan else read(loader, path, data)
            self._check_groups(hosts, fleet)
            _copy(hosts, inventory)
            _declare(inventory, fleet)
            for line in fleet.behind:
                self.display.warning(line)
        except _fleet.FleetError as error:
            self._stop(error.problems, error)
        except Exception as error:
            self._stop([f"{label(path)}: {type(error).__name__}: {error}"], error)

    def _stop(self, problems: list[str], cause: Exception) -> NoReturn:
        """End the run. Any exception would become a warning, and the playbook would run on hosts without agents."""
        many = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
        self.display.vvv("".join(traceback.format_exception(cause)))
        lines = [f"The fleet is not valid, nothing was touched ({many}):", *problems]
        self.display.error("\n  ".join(lines), wrap_text=False)
        raise SystemExit(int(ExitCode.PARSER_ERROR)) from cause

    def _check_groups(self, hosts: InventoryManager, fleet: _fleet.Fleet) -> None:
        """The groups that the fleet makes must not hold other hosts already."""
        wanted = {GROUP: ("managed", set(fleet.declared))}
        wanted |= {_fleet.group_of(name): (f"agents.{name}.hosts", set(there)) for name, there in fleet.hosts.items()}
        problems = [
            f"{label(fleet.file)}: {key}: the inventory has a group {group} with a host that is not in it here: {host.name}"
            for group, (key, there) in wanted.items()
            if group in hosts.groups
            for host in hosts.groups[group].get_hosts()
            if host.name not in there
        ]
        for groups in (self.inventory.groups, hosts.groups):
            other = groups[GROUP].vars.get("agentfactory_fleet") if GROUP in groups else None
            if other is not None and other != fleet.file:
                problems.append(f"{label(fleet.file)}: another fleet is in this inventory already: {label(other)}")
        if problems:
            raise _fleet.FleetError(problems)


def _copy(source: InventoryManager, target: Any) -> None:
    """Put groups, hosts and their variables into the run's inventory, values untouched."""
    for group in source.groups.values():
        target.add_group(group.name)
        into = target.groups[group.name]
        into.set_priority(group.priority)
        for key, value in group.vars.items():
            into.set_variable(key, value)
    for name, host in source.hosts.items():
        target.add_host(name)
        into = target.hosts[name]
        for key, value in host.vars.items():
            into.set_variable(key, value)
    for group in source.groups.values():
        for child in group.child_groups:
            target.add_child(group.name, child.name)
        for host in group.hosts:
            target.add_child(group.name, host.name)


def _declare(inventory: Any, fleet: _fleet.Fleet) -> None:
    """The fleet as groups and variables.

    Variables are set on the objects: through the inventory's own setter each value would be copied for each host.
    """
    inventory.add_group(GROUP)
    _fleet.in_this_process = fleet.variables()
    for key, value in _fleet.in_this_process.items():
        inventory.groups[GROUP].set_variable(key, value)
    for host, declared in fleet.declared.items():
        inventory.add_child(GROUP, host)
        inventory.hosts[host].vars["agentfactory_agents"] = declared
        inventory.hosts[host].vars["agentfactory_secrets"] = fleet.secrets[host]
    for name, hosts in fleet.hosts.items():
        group = inventory.add_group(_fleet.group_of(name))
        for host in hosts:
            inventory.add_child(group, host)
