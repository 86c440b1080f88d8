# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet.yml with the inventory sources that its patterns are about, read as the inventory plugin and the planning modules need it."""

import os
from typing import Any

from ansible.errors import AnsibleError
from ansible.inventory.manager import IGNORED, InventoryManager

from . import fleet as _fleet
from .fleet_catalog import Catalog
from .fleet_placement import FILE as PLACEMENT
from .fleet_placement import PLUGIN, Source, beside
from .fleet_placement import read as read_placement

FILES = ("fleet.yml", "fleet.yaml")
_WRITTEN = (PLACEMENT, "plan.json", "plan.html")  # here, from a fleet, and so no source of one


def document(loader: Any, path: str) -> dict[str, Any] | None:
    """What the file holds; None where it is not a fleet's."""
    data = loader.load_from_file(path, cache="none", trusted_as_template=True)
    return data if isinstance(data, dict) and data.get("plugin") == PLUGIN else None


def read(
    loader: Any, path: str, data: dict[str, Any], *, planning: bool = False, placed: Source | None = None
) -> tuple[_fleet.Fleet, InventoryManager]:
    """The fleet of a document, checked, and the hosts that it is about. Raises FleetError."""
    hosts = _sources(loader, data.get("inventory"), path)
    found = _fleet.load(
        data,
        path=path,
        text=_source_text(loader, path),
        select=_selector(hosts),
        catalog=Catalog,
        label=label(path),
        planning=planning,
        placed=placed,
    )
    return found, hosts


def read_for_planning(loader: Any, path: str) -> tuple[_fleet.Fleet, InventoryManager]:
    """The fleet of a file that somebody named, to place or to plan it. FleetError, too, where it is none."""
    data = document(loader, path)
    if data is None:
        raise _fleet.FleetError([f"{label(path)} is not a file of {PLUGIN}"])
    return read(loader, path, data, planning=True)


def read_as_planned(loader: Any, path: str, data: dict[str, Any], plan: str) -> tuple[_fleet.Fleet, InventoryManager]:
    """The same with the counts and the placement of a plan. FleetError, too, where fleet or artifacts moved since it was made."""
    from .fleet_variables import Variables
    from .planning import document

    planned = document.load(plan, label(plan))
    now, hosts = read(loader, path, data, planning=True)
    there, problems = read_placement(beside(path), label(beside(path)))
    identity = document.identity(now, there, document.contents(now), Variables(loader, hosts))
    problems += document.moved(planned, identity, label(plan))
    if problems:
        raise _fleet.FleetError(problems)
    fleet, hosts = read(loader, path, data, placed=document.source(planned, label(plan)))
    fleet.plan, fleet.plan_digest = os.path.abspath(plan), document.digest(planned)
    return fleet, hosts


def label(path: str) -> str:
    """A path as a person would write it."""
    near = os.path.relpath(path)
    return path if near.startswith("..") else near


def _source_text(loader: Any, path: str) -> str:
    """The file as it is (decrypted where it is vaulted), as a plain string: the YAML library takes no tagged ones."""
    return str(loader.get_text_file_contents(path).encode("utf-8", "surrogateescape"), "utf-8", "replace")


def _sources(loader: Any, given: object, path: str) -> InventoryManager:
    """An inventory of its own: patterns see the fleet's sources, whatever else the run was given."""
    base = os.path.dirname(os.path.abspath(path))
    here = label(path)
    named = [given] if isinstance(given, str) else given
    if not named:
        beside = [name for name in sorted(os.listdir(base)) if not IGNORED.search(os.fsencode(name))]
        named = [name for name in beside if name not in (*FILES, *_WRITTEN)]
    problems = []
    if not isinstance(named, list) or not all(isinstance(source, str) for source in named):
        raise _fleet.FleetError([f"{here}: inventory: must be a file name or a list of them"])
    places = [os.path.normpath(os.path.join(base, os.path.expanduser(source))) for source in named]
    manager = InventoryManager(loader=loader, sources=[os.path.abspath(path), *places], parse=False)
    for place in places:
        if not os.path.exists(place):
            problems.append(f"{here}: inventory: there is no {label(place)}")
        elif os.path.basename(place) in FILES and not os.path.isdir(place):
            problems.append(f"{here}: inventory: {label(place)} is a fleet itself")
        elif not manager.parse_source(place):
            problems.append(f"{here}: inventory: {label(place)} cannot be parsed as an inventory source")
    if not named:
        problems.append(f"{here}: inventory: there is no other inventory source beside this file")
    if problems:
        raise _fleet.FleetError(problems)
    manager.reconcile_inventory()
    return manager


def _selector(hosts: InventoryManager) -> _fleet.Select:
    def select(pattern: str | list[str]) -> list[str]:
        try:
            return [host.name for host in hosts.get_hosts(pattern)]
        except AnsibleError as error:
            raise ValueError(str(error)) from error

    return select
