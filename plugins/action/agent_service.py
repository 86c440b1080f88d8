# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of agent_service: start, stop, restart the agents of a host, or take a run's switch back."""

from typing import Any

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.agentfactory.core.plugins.plugin_utils import silencing
from ansible_collections.agentfactory.core.plugins.plugin_utils.action import AgentAction, as_lines, chosen
from ansible_collections.agentfactory.core.plugins.plugin_utils.argspec import AGENT_SERVICE
from ansible_collections.agentfactory.core.plugins.plugin_utils.ledger import Stop
from ansible_collections.agentfactory.core.plugins.plugin_utils.moves import Moves, orders
from ansible_collections.agentfactory.core.plugins.plugin_utils.remote import RemoteError
from ansible_collections.agentfactory.core.plugins.plugin_utils.service import Service, name


class ActionModule(AgentAction):
    SPEC = AGENT_SERVICE

    def work(self) -> dict[str, Any]:
        state = self.options["state"]
        if state == "undone":
            return self._undo()
        if state == "retired":
            leaving = self.options["leaving"]
            return self._retire() if leaving == "last" else self._stop(leaving)
        if state != "started":
            return Service(self).run(state)
        staged = self.ledger.stage(self.host)
        if staged:
            return self._wave(staged)
        return self._as_declared() if self.options["as_declared"] else self._start()

    def _stop(self, when: str) -> dict[str, Any]:
        """In a rollout, for the host that this task is delegated from: stop here what is to start there and must not run twice.

        How that went is in the ledger, and what is to start there goes by it: the task itself does not fail.
        """
        order = orders(self.ledger, when, self.play_host).get(self.host)
        result: dict[str, Any] = {"changed": False, "changes": []}
        if order is None or order[0] != self.play_host:
            return result
        status = "ok"
        try:
            result = Service(self).run("stopped", only=order[1], fail=False)
            status = "failed" if result.get("failures") else "ok"
        except (RemoteError, AnsibleConnectionFailure) as error:
            status = "failed" if isinstance(error, RemoteError) else "unreachable"
            result = {**result, "failures": str(error).splitlines()}
        told: Stop = {"phase": "stop", "host": self.host, "when": when, "agents": order[1], "status": status}
        self.ledger.append({**told, "messages": result.get("failures", [])})
        return result

    def _retire(self) -> dict[str, Any]:
        """In a rollout: remove what has moved by now, and start again what did not come up where it went. The verdict tells what failed."""
        self.PHASE = "retire"
        moves = Moves.read(self.ledger)
        removals = [] if self.ledger.stopped() else moves.due(self.host, "last")
        back, stuck = moves.returns(self.host)
        result: dict[str, Any] = {"changed": False, "changes": []}
        if removals or back:
            try:
                result = Service(self).run("started", removals=removals, planned=dict.fromkeys(back), fail=False)
            except RemoteError as error:
                result, back = {"changed": True, "changes": [], "failures": str(error).splitlines()}, []
        failures = [f"{agent_id}: may run on {host}, so it is not started here again" for agent_id, host in stuck]
        failures += result.get("failures", [])
        if removals or back or failures:
            bad = [name(step) for step in result.get("instances", []) if step["result"] != "ok"]
            again = [agent_id for agent_id in back if agent_id not in bad]
            self.record("failed" if failures else "ok", back=again, messages=failures or result["changes"])
        return {**result, "failures": failures} if failures else result

    def _start(self) -> dict[str, Any]:
        """Outside a rollout: start what is here. A declared agent of which an instance is not here is staged and started first."""
        declared = [f"{d['name']}@{i}" for d in self.declarations() for i in d["instances"] if d["state"] != "absent"]
        result = Service(self).run("started", declared=declared, retry=self.retry())
        if not result["missing"]:
            return result
        # Only these: an update of the others goes by a rollout.
        agents = {agent_id.partition("@")[0] for agent_id in result["missing"]}
        anew = [agent_id for agent_id in declared if agent_id.partition("@")[0] in agents]
        asked, self.options["only"] = self.options.get("only"), anew
        new = self._as_declared()
        self.options["only"] = asked
        here = Service(self).run("started", but=anew, retry=self.retry())  # and then what was here already
        return {
            "changed": new["changed"] or here["changed"], "changes": new["changes"] + here["changes"], "missing": [],
            "instances": new["instances"] + here.get("instances", []), "diff": new["diff"],
        }  # fmt: skip

    def _as_declared(self) -> dict[str, Any]:
        """Outside a rollout: stage what is declared, and switch to it."""
        answer = self.stage("configured")
        if self._task.check_mode:
            changes = as_lines(answer["staging"] + answer["activation"])
            told = {"changed": bool(changes), "changes": changes}
            return {**told, "missing": [], "instances": [], "diff": answer["diff"]}
        done = Service(self).run("started", as_declared=True, planned=chosen(answer))
        return dict(done, changed=bool(answer["staging"]) or done["changed"], diff=answer["diff"])

    def _wave(self, staged: dict[str, Any]) -> dict[str, Any]:
        """In a rollout: activate if the budget allows, write how it went to the ledger, and never fail the task."""
        self.PHASE = "activate"
        wave = self.ledger.wave_of(self.host)
        reason = self.ledger.stopped(self.host)
        if reason:
            self.record("skipped", switched=False, wave=wave, messages=[reason])
            return {"changed": False, "skipped": True, "skip_reason": reason}
        announcement = self.ledger.announce_wave(self.host)
        if announcement:
            self._display.display(announcement)
        plan = self.ledger.plan()
        if announcement and wave and plan and not self._task.check_mode:  # the first one's was set before
            silencing.renew(self.variables, plan)
        if self._task.check_mode:
            changes = as_lines(staged["plan"]["activation"]) + [f"{i}: remove" for i in staged["removals"]]
            for line in changes:
                self.tell("would " + line)
            self.record("ok", switched=False, wave=wave, messages=changes)
            return {"changed": bool(changes), "changes": changes}
        # without moves nobody else's record is needed, and none is read
        moves = Moves.read(self.ledger) if plan and plan["leaving"] else None
        if moves and (held := list(moves.held_up(self.host))):
            self.record("failed", switched=False, wave=wave, messages=held)
            return {"changed": False, "failures": held}
        removals = moves.due(self.host, "with") if moves else staged["removals"]
        return self._activate(staged, wave, removals, undo_siblings=bool(plan and plan["rollback"] != "none"))

    def _activate(
        self, staged: dict[str, Any], wave: int | None, removals: list[str], *, undo_siblings: bool
    ) -> dict[str, Any]:
        service = Service(self)
        try:
            result = service.run(
                "started", as_declared=True, removals=removals, undo_siblings=undo_siblings, fail=False,
                planned=staged["plan"]["releases"],
            )  # fmt: skip
        except RemoteError as error:
            # The host may have gone on without us: an undo has to ask it.
            self.record("failed", switched=True, wave=wave, messages=str(error).splitlines())
            self.tell(f"FAILED: {error}")
            return {"changed": service.switched, "failures": str(error).splitlines()}
        failures = result.get("failures", [])
        self.record(
            "failed" if failures else "ok", switched=service.switched, wave=wave, messages=failures or result["changes"]
        )
        return result

    def _undo(self) -> dict[str, Any]:
        """Take back what this run switched on this host. What it stopped to start it elsewhere waits until that has ended."""
        self.PHASE = "undo"
        stops = (stop for stop in self.ledger.records("stop", self.host) if stop["when"] == "first")
        moving = [agent_id for stop in stops for agent_id in stop["agents"]]
        result = Service(self).run("undone", but=moving, fail=False)
        failures, took = result.get("failures", []), [item["result"] for item in result.get("instances", [])]
        back = bool(took) and set(took) == {"ok"}
        self.record("failed" if failures else "ok", back=back, messages=failures or result["changes"])
        return result
