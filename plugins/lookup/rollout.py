# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup agentfactory.core.rollout: the hosts and waves of the plays that make up a rollout."""

DOCUMENTATION = r"""
name: rollout
short_description: Hosts and waves of a rollout
version_added: 0.1.0
author: agentfactory contributors (@agentfactory)
description:
  - Gives the plays of a rollout their C(hosts) and C(serial), from what the run's ledger says of the plays before.
  - It is meant for playbooks such as C(agentfactory.core.deploy) and C(agentfactory.core.rollout), which say how its terms go together.
options:
  _terms:
    description:
      - V(managed) gives the group of the fleet's hosts. It fails where the inventory has no fleet, and where C(-e agents=) names an
        agent that the fleet does not declare; with V(left) after it, that is left to the playbook. Where a playbook that imports this
        one sets the variable C(agentfactory_limit), a list of hosts, it gives those of them that are in the group.
      - V(stage) does the same and begins a run. With V(plan) after it, the plays carry out C(-e plan=FILE); without, a plan is refused.
      - V(package) gives the same group where an artifact is missing that can be packaged from its source, or where the source
        was touched since, else nothing.
      - V(left) gives the names and agent ids of C(-e agents=) that the fleet does not declare (any more).
      - V(only) gives the names of C(-e agents=) as a list; nothing where it is not given, and so all are meant.
      - V(unpackaged) gives what is missing, as a list of C(name), C(version) and C(source).
      - V(hosts) gives the hosts to activate in their order. It is empty where nothing changes, where too many
        agents would be removed, and where too many hosts failed already.
      - V(batches) gives the sizes of the waves.
      - V(moving) gives what V(hosts) gives, where anything moves that must not run twice (C(state_portable)), and nothing elsewhere. The
        play that asks so stops it where it is before it activates; V(hosts) is empty from then on. With V(first) and a host's name it
        learns on which hosts, so that they are each asked by one of the wave.
      - V(retire) gives the hosts that instances leave which run elsewhere by now, and those on which one starts again since it did not
        come up elsewhere; V(back) and the name of such a host, where that is to be stopped before. V(retire) also makes the placement of
        C(-e plan=FILE) that of the fleet, in C(placement.yml), once everything of it is proven.
      - V(undo) gives the hosts to take back.
      - V(failed) gives the hosts that failed, and prints the summary of the run once. That is the end of the run, and what comes after its
        verdict in the same process is no part of it.
      - V(verdict) and a host's name gives what went wrong on it, as text.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Stage
  hosts: "{{ lookup('agentfactory.core.rollout', 'stage') }}"
  gather_facts: false
  become: true
  tasks:
    - name: Stage what is declared, beside what runs
      agentfactory.core.agent_release:
        state: configured

# Its plays activate in waves, undo, and fail where a host has failed: activation itself never fails its task.
- name: Roll out
  ansible.builtin.import_playbook: agentfactory.core.rollout
"""

RETURN = r"""
_raw:
  description: One element, a string or a list, depending on the term.
  type: list
  elements: raw
"""

import os
from collections.abc import Callable
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

from ansible_collections.agentfactory.core.plugins.plugin_utils import (
    asked,
    fleet_placement,
    freshness,
    inherited,
    moves,
    rollout,
    rollout_report,
    run,
    silencing,
)
from ansible_collections.agentfactory.core.plugins.plugin_utils import fleet as _fleet
from ansible_collections.agentfactory.core.plugins.plugin_utils.ledger import SUMMARY, Ledger, LedgerError
from ansible_collections.agentfactory.core.plugins.plugin_utils.moves import Moves

GROUP = _fleet.GROUP


class LookupModule(LookupBase):
    """One method a term; each returns what the template becomes."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        if not terms or terms[0] not in _TERMS:
            raise AnsibleError(f"the first term must be one of {', '.join(_TERMS)}")
        given = dict(variables or {})
        for name in (
            "agents",
            "agentfactory_limit",
            "overwrite",
        ):  # a playbook that imports this one gives them as templates
            if name in given:
                given[name] = self._templar.template(given[name])
        try:
            # the one element, so that a list stays a list
            return [_TERMS[terms[0]](given, *terms[1:])]
        except (LedgerError, run.RunError) as error:
            raise AnsibleError(str(error)) from error


def _managed(variables: dict[str, Any], also: str = "") -> str | list[str]:
    if GROUP not in variables.get("groups", {}) and not asked.only_listing():
        raise AnsibleError(
            "there is no fleet in this inventory: no source with 'plugin: agentfactory.core.fleet' could be read "
            "(a warning above says why, if there is one)"
        )
    for name in [] if asked.only_listing() or also == "left" else asked.left(variables):
        raise AnsibleError(f"-e agents={name}: the fleet has no such agent")
    limit = variables.get("agentfactory_limit")
    return (
        GROUP
        if limit is None or asked.only_listing()
        else [host for host in variables["groups"][GROUP] if host in limit]
    )


def _plan_given(variables: dict[str, Any]) -> dict[str, Any] | None:
    """The plan of `-e plan=FILE`, which the fleet was read with; None without."""
    if not variables.get("plan") or asked.only_listing():
        return None
    from ansible_collections.agentfactory.core.plugins.plugin_utils.planning import document

    path, fleet = str(variables["plan"]), asked.declared(variables) or {}
    if fleet.get("agentfactory_plan") != os.path.abspath(path):
        raise AnsibleError(f"-e plan={path}: the inventory was read without this plan, so it cannot be carried out")
    narrower = (variables.get(name) is not None for name in ("agents", "agentfactory_limit"))
    if context.CLIARGS.get("subset") or any(narrower):
        raise AnsibleError(
            f"-e plan={path}: a plan is of the whole fleet, and goes without --limit, agentfactory_limit and -e agents="
        )
    if boolean(variables.get("overwrite", False), strict=False):
        raise AnsibleError(f"-e plan={path}: overwrite=true would deploy other artifacts than the plan was made of")
    try:
        plan = document.load(path, path)
    except _fleet.FleetError as error:
        raise AnsibleError(str(error)) from error
    if document.digest(plan) != fleet.get("agentfactory_plan_digest"):
        raise AnsibleError(f"-e plan={path}: is another plan than this run began with: somebody has planned since")
    return plan


def _stage(variables: dict[str, Any], carries: str = "") -> str | list[str]:
    managed = _managed(variables)
    if asked.only_listing() or not managed:
        return managed
    if variables.get("plan") and carries != "plan":
        raise AnsibleError(f"-e plan={variables['plan']}: only a deploy carries out a plan")
    plan = _plan_given(variables)
    groups = variables["groups"]
    limited = set(variables.get("ansible_play_hosts_all") or groups[GROUP])
    run.begin()
    Ledger.current().append(
        {
            "phase": "begin",
            "hosts": [host for host in (groups[GROUP] if managed == GROUP else managed) if host in limited],
            "check": bool(variables.get("ansible_check_mode", False)),
            "confirm_removals": asked.number(variables, "confirm_removals"),
            "only": asked.only(variables),
            "planned": moves.leaving(plan["steps"], plan["portable"]) if plan else {},
            "portable": list((asked.declared(variables) or {}).get("agentfactory_portable", [])),
            "lost": plan["lost"] if plan else [],
        }
    )
    if plan:
        Ledger.current().append({"phase": "goal", "placement": plan["placement"], "host_order": plan["host_order"]})
        _readable(variables)
    inherited.prepare(variables)
    return managed


def _readable(variables: dict[str, Any]) -> None:
    """A fleet is read by its placement, also by who wants to see how far its very first plan has come: then nothing is settled yet."""
    path = fleet_placement.beside(str((asked.declared(variables) or {})["agentfactory_fleet"]))
    if not variables.get("ansible_check_mode", False) and not os.path.exists(path):
        fleet_placement.settle(path, {}, [])


def _unpackaged(variables: dict[str, Any]) -> list[dict[str, str]]:
    _managed(variables)
    fleet = asked.declared(variables)
    return [] if fleet is None or asked.only_listing() else freshness.unpackaged(fleet, asked.agents(variables))


def _package(variables: dict[str, Any]) -> str | list[str]:
    _plan_given(variables)
    missing = _unpackaged(variables)
    return GROUP if missing or asked.declared(variables) is None else []


def _plan(variables: dict[str, Any]) -> rollout.Plan:
    ledger = Ledger.current()
    planned = ledger.plan()
    if planned is None:
        fleet = asked.declared(variables) or {}
        planned = ledger.make_plan(
            environment=str(fleet.get("agentfactory_environment", "")),
            max_removals=int(fleet.get("agentfactory_max_removals", 1)),
        )
    return planned


def _hosts(variables: dict[str, Any]) -> list[str]:
    planned = _plan(variables)
    if planned["reason"] or not planned["hosts"]:
        return []
    silencing.begin(variables, planned)
    return planned["hosts"]


def _rest(variables: dict[str, Any]) -> list[str]:
    """In a rollout with moves, nothing where a play has activated already."""
    moves_first = _plan(variables)["leaving"] and any(Ledger.current().records("moving"))
    return [] if moves_first else _hosts(variables)


def _moving(variables: dict[str, Any]) -> list[str]:
    planned, ledger = _plan(variables), Ledger.current()
    if not planned["leaving"] or (ledger.begin() or {}).get("check"):  # in check mode the waves tell it all
        return []
    if not Moves.read(ledger).first(planned["hosts"]):
        return []
    hosts = _hosts(variables)
    ledger.append({"phase": "moving", "hosts": hosts})
    return hosts


def _orders(when: str) -> Callable[[dict[str, Any], str], list[str]]:
    def hosts(_variables: dict[str, Any], host: str) -> list[str]:
        there = moves.orders(Ledger.current(), when, host)
        return [name for name, (asks, _agent_ids) in there.items() if asks == host]

    return hosts


def _retire(variables: dict[str, Any]) -> list[str]:
    planned, ledger = _plan(variables), Ledger.current()
    goal = next(ledger.records("goal"), None)  # and not the plan's file: another one may be there by now
    if (goal is None and not planned["leaving"]) or (ledger.begin() or {}).get("check"):
        return []
    activated = ledger.last("activate")
    if goal and moves.carried_out(planned, rollout.silent(planned, activated), activated):
        path = fleet_placement.beside(str((asked.declared(variables) or {})["agentfactory_fleet"]))
        if fleet_placement.settle(path, goal["placement"], goal["host_order"]):
            Display().display(f"{path} says now where instances run")
    found = Moves.read(ledger)
    back = {host for host, _agent_id, _to in found.returning()}
    over = rollout.stopped(planned, activated)
    hosts = [h for h in [*planned["hosts"], *planned["lost"]] if h in back or (not over and found.due(h, "last"))]
    for host in hosts if ledger.once("retire") else []:  # until it says how it went
        said = "retiring: unreachable, or ended before it could say how"
        ledger.append({"phase": "retire", "host": host, "status": "unreachable", "messages": [said]})
    return hosts


def _batches(variables: dict[str, Any]) -> list[int]:
    return _plan(variables)["batches"]


def _undo(variables: dict[str, Any]) -> list[str]:
    return rollout.undo(_plan(variables), Ledger.current().last("activate"))


def _failed(variables: dict[str, Any]) -> list[str]:
    _plan(variables)
    ledger = Ledger.current()
    story = rollout_report.Story.read(ledger)
    if (story.staged or story.plan["silent"]) and ledger.once(SUMMARY):
        Display().display("\n" + rollout_report.summary(story))
        silencing.lift(variables, _plan(variables))
    return story.failed()


def _verdict(_variables: dict[str, Any], host: str = "") -> str:
    return rollout_report.verdict(rollout_report.Story.read(Ledger.current()), host)


_TERMS: dict[str, Callable[..., Any]] = {
    "managed": _managed,
    "stage": _stage,
    "package": _package,
    "left": asked.left,
    "only": asked.only,
    "unpackaged": _unpackaged,
    "hosts": _rest,
    "batches": _batches,
    "moving": _moving,
    "first": _orders("first"),
    "back": _orders("back"),
    "retire": _retire,
    "undo": _undo,
    "failed": _failed,
    "verdict": _verdict,
}
