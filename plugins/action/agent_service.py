# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of agent_service: start, stop, restart the agents of a host, or take a run's switch back."""

from typing import Any

from ansible_collections.agentfactory.core.plugins.plugin_utils import moves
from ansible_collections.agentfactory.core.plugins.plugin_utils.action import AgentAction, as_lines, chosen
from ansible_collections.agentfactory.core.plugins.plugin_utils.argspec import AGENT_SERVICE
from ansible_collections.agentfactory.core.plugins.plugin_utils.remote import RemoteError
from ansible_collections.agentfactory.core.plugins.plugin_utils.service import Service


class ActionModule(AgentAction):
    SPEC = AGENT_SERVICE

    def work(self) -> dict[str, Any]:
        state = self.options["state"]
        if state == "undone":
            return self._undo()
        if state == "retired":
            return self._retire()
        if state != "started":
            return Service(self).run(state)
        staged = self.ledger.stage(self.host)
        if staged:
            return self._wave(staged)
        return self._as_declared() if self.options["as_declared"] else self._start()

    def _retire(self) -> dict[str, Any]:
        """In a rollout of a plan: remove what leaves this host before anything is activated, or what has moved by now."""
        self.PHASE = "retire"
        removals = self._due(self.options["leaving"])
        if not removals:
            return {"changed": False, "changes": []}
        last = (
            self.options["leaving"] == "last"
        )  # then the verdict tells what failed; before anything is activated it ends the run
        try:
            result = Service(self).run("started", removals=removals, planned={}, fail=not last)
        except RemoteError as error:
            if not last:
                raise
            result = {"changed": True, "failures": str(error).splitlines()}
        failures = result.get("failures", [])
        self.record("failed" if failures else "ok", messages=failures or result["changes"])
        return result

    def _due(self, when: str) -> list[str]:
        """What is to be removed here then, as staging found it and a plan, if there is one, orders it."""
        planned = (self.ledger.begin() or {}).get("planned")
        if not planned:  # then nobody else's record is needed, and none is read
            return (self.ledger.stage(self.host) or {}).get("removals", []) if when == "with" else []
        return moves.due(planned, self.host, when, self.ledger.last("stage"), self.ledger.last("activate"))

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
        if self._task.check_mode:
            changes = as_lines(staged["plan"]["activation"]) + [f"{i}: remove" for i in staged["removals"]]
            for line in changes:
                self.tell("would " + line)
            self.record("ok", switched=False, wave=wave, messages=changes)
            return {"changed": bool(changes), "changes": changes}
        plan = self.ledger.plan()
        return self._activate(staged, wave, bool(plan and plan["rollback"] != "none"))

    def _activate(self, staged: dict[str, Any], wave: int | None, undo_siblings: bool) -> dict[str, Any]:
        service = Service(self)
        try:
            result = service.run(
                "started", as_declared=True, removals=self._due("with"), undo_siblings=undo_siblings, fail=False,
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
        """Take back what this run switched on this host."""
        self.PHASE = "undo"
        result = Service(self).run("undone", fail=False)
        failures, took = result.get("failures", []), [item["result"] for item in result.get("instances", [])]
        back = bool(took) and set(took) == {"ok"}
        self.record("failed" if failures else "ok", back=back, messages=failures or result["changes"])
        return result
