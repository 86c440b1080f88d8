# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run was asked for on its command line, and the fleet that it is about, as far as the variables of a play tell it."""

from collections.abc import Mapping
from typing import Any

from ansible import context
from ansible.errors import AnsibleError

from . import fleet


def only_listing() -> bool:
    """Whether the playbook is only looked at (--syntax-check, --list-hosts and so on), maybe without an inventory."""
    return any(context.CLIARGS.get(key) for key in ("syntax", "listhosts", "listtasks", "listtags"))


def declared(variables: dict[str, Any]) -> Mapping[str, Any] | None:
    """The fleet's variables, which are the same on each host; None where they cannot be known yet.

    A play's `hosts` are templated before any host's variables are there, in the first play even without `hostvars`. So
    the inventory plugin leaves them in this process; where the inventory was made elsewhere (AWX), `hostvars` has them
    later.
    """
    if fleet.in_this_process is not None:
        return {**fleet.in_this_process, **{key: variables[key] for key in fleet.in_this_process if key in variables}}
    if "hostvars" not in variables:
        return None
    hosts = variables["groups"].get(fleet.GROUP)
    found: Mapping[str, Any] = variables["hostvars"].raw_get(hosts[0]) if hosts else {}
    return found


def only(variables: dict[str, Any]) -> list[str] | None:
    """The agents and agent ids of `-e agents=a,b@0`; None for all, also where it says ``all``.

    Also for the option `only` of a task outside a run: a filter (`default(omit)`) would have each host's fork import all of Ansible's.
    """
    given = variables.get("agents")
    if given is None or given == "all":
        return None
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, list):
        raise AnsibleError("-e agents= must be names with commas between them")
    return [str(name).strip() for name in names if str(name).strip()]


def agents(variables: dict[str, Any]) -> set[str] | None:
    """Their names; None for all."""
    chosen = only(variables)
    return None if chosen is None else {name.partition("@")[0] for name in chosen}


def number(variables: dict[str, Any], name: str) -> int | None:
    given = variables.get(name)
    try:
        return None if given is None else int(given)
    except (TypeError, ValueError) as error:
        raise AnsibleError(f"-e {name}= must be a whole number, not {given!r}") from error


def left(variables: dict[str, Any]) -> list[str]:
    """What was asked for by name and is not declared."""
    names, found = only(variables) or [], declared(variables)
    if not found:  # where variables cannot be known yet, groups are
        return [name for name in names if fleet.group_of(name.partition("@")[0]) not in variables["groups"]]
    known = {*found.get("agentfactory_versions", ()), *found.get("agentfactory_ids", ())}
    return [name for name in names if name not in known]
