# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to happen to each instance of a host: the steps of an activation's intent. Nothing here changes anything."""

from typing import Any, Optional

from . import activator, history, release, removal, truth, turns
from .errors import HostError
from .files import read_known
from .layout import Instance, Layout, meant
from .plan import Now, Want
from .plan import activate as plan_activation
from .systemd import Systemd

Chosen = tuple[str, Optional[str]]
"""The action of a step, and the release that it leads to; ("", None) where there is nothing to do."""
NOTHING: Chosen = ("", None)


def plan(layout: Layout, request: "dict[str, Any]", mine: "list[Instance]", systemd: Systemd) -> "list[dict[str, Any]]":
    """The steps for `mine`, the instances meant, in their turn. In a rollout only for those ``planned``.

    Raises HostError for what is void, or not as this run staged it: nothing is begun then.
    """
    switches = history.of_run(layout, request["who"]["run"]) if request["state"] == "undone" else {}
    states = truth.states(mine, systemd)
    steps, problems = [], _restaged(layout, request)
    for instance in mine:
        leaves = instance.id in request.get("removals", []) or request["state"] == "absent"
        if not leaves and not _asked(instance, request):
            continue
        now = truth.look(instance, states[instance.id], attempts=4)
        action, to = ("remove", None) if leaves else _change(instance, now, request, switches.get(instance.id))
        if action == "activate" and to != now.booted:
            problems += _void(instance, str(to), request)
        if action:
            steps.append(_step(instance, now, action, to, undoing=request["state"] == "undone"))
    if problems:
        raise HostError("\n".join(problems))
    purges = _purges(layout, request) if request["state"] == "absent" and request.get("purge") else []
    return turns.arrange(layout, steps) + purges


def _asked(instance: Instance, request: "dict[str, Any]") -> bool:
    """Whether it is one of the ``planned``, if there are, and none that are seen to already (``but``).

    ``planned`` has agent id -> what staging chose for it, or None where what is here is meant.
    """
    planned = request.get("planned")
    return instance.id not in request.get("but", []) and (planned is None or instance.id in planned)


def _step(instance: Instance, now: Now, action: str, to: Optional[str], *, undoing: bool) -> "dict[str, Any]":
    step = {
        "agent": instance.agent, "instance": instance.name, "action": action, "to": to, "from": now.booted,
        "was_running": bool(now.running or now.enabled), "phase": "planned",
        "back": undoing or bool(read_known(instance.staged).get("back")),
    }  # fmt: skip
    return dict(step, taken_back=now.booted) if undoing and to != now.booted else step


def _change(instance: Instance, now: Now, request: "dict[str, Any]", switch: Optional[history.Switch]) -> Chosen:
    """The step that brings one instance to the state that is asked for."""
    state, rollout = request["state"], request.get("as_declared")
    if state == "undone":
        return _undo(instance, now, switch)
    if state == "restarted":
        stopped = not (now.running or now.enabled)
        # what is to change that is `started`
        return NOTHING if now.booted is None or stopped else ("activate", now.booted)
    staged = read_known(instance.staged)
    to = (staged.get("release") or now.booted) if rollout else (now.booted or staged.get("release"))
    if to is None:
        return NOTHING
    wanted = staged.get("state", "started") if state == "started" and rollout else state
    changes = plan_activation(instance.id, Want(to, "", wanted), now)
    if not changes:
        return NOTHING
    return changes[0].kind, to if changes[0].kind == "activate" else None


def _undo(instance: Instance, now: Now, switch: Optional[history.Switch]) -> Chosen:
    """The way back to what the run found, where what the run made of it is still so."""
    if switch is None or release.proven(instance) != switch.after:  # taken back already, or others were here since
        return NOTHING
    if switch.before == switch.after:  # it was stopped; or it was taken back with its sibling, and runs again
        again = switch.stopped and switch.was_running and not now.running
        return ("activate", switch.before) if again else NOTHING
    return activator.way_back(switch.before, switch.was_running)


def _void(instance: Instance, name: str, request: "dict[str, Any]") -> "list[str]":
    """Why a release that never ran here is not started: one that failed is not tried again by itself."""
    reason = truth.why_void(release.everything(instance).get(name))
    if reason is None or request["state"] != "started" or request.get("as_declared") or request.get("retry"):
        return []  # what is declared was asked for when it was staged
    return [
        "%s: release %s is void: %s. Deploy something else, try it again with -e retry=true, or name the others with -e agents="
        % (instance.id, name, reason)
    ]


def _restaged(layout: Layout, request: "dict[str, Any]") -> "list[str]":
    """What is left alone: its wave came so late that the lease was over, and another run has chosen something else since."""
    problems = []
    for agent_id, mine in (request.get("planned") or {}).items():
        agent, _at, name = agent_id.partition("@")
        now = read_known(Instance(layout, agent, name).staged).get("release", "nothing")
        if mine and now != mine:
            told = "%s: this run staged %s, but another run was here since, and now %s is staged: deploy again"
            problems.append(told % (agent_id, mine, now))
    return problems


def removed_by(layout: Layout, run: str) -> "list[str]":
    """The agent ids that a run removed from this host, and nobody brought back: no undo can."""
    return sorted(agent_id for agent_id, switch in history.of_run(layout, run).items() if switch.after is None)


def _purges(layout: Layout, request: "dict[str, Any]") -> "list[dict[str, Any]]":
    """What was removed before, and kept its state until now."""
    return [
        {"agent": instance.agent, "instance": instance.name, "action": "purge", "to": None, "from": None,
         "was_running": False, "phase": "planned"}
        for instance, environment in removal.kept(layout)
        if environment == request["environment"] and meant(instance.id, request.get("only"))
    ]  # fmt: skip
