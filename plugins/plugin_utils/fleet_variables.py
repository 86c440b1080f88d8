# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts' variables as a plan and the deploy that carries it out both read them: from the fleet's own sources, the `group_vars` and
`host_vars` beside the fleet and beside those, and `-e`. So the same fleet has the same ones, whatever `-i` names."""

import os
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from ansible._internal._datatag._tags import Origin
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.vault import is_encrypted_file
from ansible.template import Templar
from ansible.vars.manager import VariableManager

from .fleet_fields import FleetError

ROOM = ("agentfactory_capacity", "agentfactory_reserved", "agentfactory_zone")
_OF_THE_RUN = {"hostvars", "omit", "vars", "playbook_dir", "inventory_dir", "inventory_file", "environment"}


class Variables:
    """Of the hosts of an inventory, which knows its sources."""

    def __init__(self, loader: Any, hosts: InventoryManager) -> None:
        self._loader, self._hosts = loader, hosts
        self._manager = VariableManager(loader=loader, inventory=hosts)
        self._known: dict[str, dict[str, Any]] = {}

    def raw(self, host: str) -> dict[str, Any]:
        """As they are written."""
        if host not in self._known:
            found = self._manager.get_vars(host=self._hosts.get_host(host), include_hostvars=False)
            self._known[host] = dict(found)
        return self._known[host]

    def room(self, host: str) -> dict[str, Any]:
        """What the host has, what its system needs of that, and its zone, as far as they are given. FleetError names host and variable."""
        raw = self.raw(host)
        templar = Templar(self._loader, variables=raw)
        found = {}
        for name in ROOM:
            if name in raw:
                try:
                    found[name] = templar.template(raw[name])
                except AnsibleError as error:
                    raise FleetError([f"{host}: {name}: {error}"]) from error
        return found

    def behind(self, host: str, value: Any) -> dict[str, Any]:
        """The variables that templates in a value name, and those in them, as they are written: what a change of the value can come
        from without a change of its text. No lookup is run. Of what is vaulted it has no plain text: a string is as it is encrypted,
        and what is in a file that is encrypted as a whole is left out."""
        raw, found, waiting = self.raw(host), {}, [value]
        while waiting:
            for name in _names(waiting.pop()):
                if name in raw and name not in found and name not in _OF_THE_RUN and not name.startswith("ansible_"):
                    found[name] = _veiled(raw[name])
                    waiting.append(raw[name])
        return found


def _veiled(value: Any) -> Any:
    """Without what is in encrypted files, for a digest of it could be guessed from."""
    if isinstance(value, Mapping):
        return {key: _veiled(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_veiled(one) for one in value]
    origin = Origin.get_tag(value)
    return None if origin is not None and origin.path and _encrypted(origin.path) else value


@cache
def _encrypted(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as stream:
        return bool(is_encrypted_file(stream))


def _names(value: Any) -> Iterator[str]:
    """Of variables, in all templates of plain data."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _names(one)
    elif isinstance(value, list):
        for one in value:
            yield from _names(one)
    elif isinstance(value, str) and ("{{" in value or "{%" in value):
        from jinja2 import Environment, TemplateSyntaxError, nodes

        try:
            yield from (node.name for node in Environment(autoescape=True).parse(value).find_all(nodes.Name))
        except TemplateSyntaxError:
            return  # who templates it says so
