# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of agent_release: stage releases on a host, select an older one, or remove agents."""

from typing import Any

from ansible_collections.agentfactory.core.plugins.plugin_utils.action import AgentAction, as_lines, chosen, in_short
from ansible_collections.agentfactory.core.plugins.plugin_utils.argspec import AGENT_RELEASE
from ansible_collections.agentfactory.core.plugins.plugin_utils.service import Service


class ActionModule(AgentAction):
    SPEC = AGENT_RELEASE
    PHASE = "stage"

    def work(self) -> dict[str, Any]:
        if self.options["state"] == "absent":
            return Service(self).run("absent", purge=self.options["purge"])
        if self.options.get("release"):
            answer = self.remote().call(self.request("select", release=self.options["release"]))
        else:
            answer = self.stage(self.options["state"])
        self._to_ledger(answer)
        lines = as_lines(answer["staging"])
        for line in in_short(answer["staging"]):
            self.tell(("would stage " if self._task.check_mode else "staged ") + line)
        return {
            "changed": bool(answer["staging"]),
            "changes": lines,
            "pending": as_lines(answer["activation"])
            + [f"{agent_id}: remove (is not declared)" for agent_id in answer["removals"]],
            "releases": answer["releases"],
            "sent_bytes": answer.get("sent", 0),
            "received_bytes": answer.get("received", 0),
            "diff": answer["diff"],
        }

    def _to_ledger(self, answer: dict[str, Any]) -> None:
        if not self.ledger.run_id or self.options["state"] != "configured":
            return
        removals = answer["removals"]
        changing = sorted({item["subject"].split("@")[0] for item in answer["activation"]})
        rollouts = {item["name"]: dict(item["rollout"]) for item in self.declarations() if item["name"] in changing}
        if self.options.get("release"):  # a rollback needs its target on every host, or nothing happens
            rollouts = {name: rollout | {"max_failures": 0} for name, rollout in rollouts.items()}
        self.record(
            "pending" if changing or removals else "unchanged", agents=changing, rollouts=rollouts, removals=removals,
            plan={"activation": answer["activation"], "releases": chosen(answer)},
            hosts_total=len(self.variables.get("ansible_play_hosts_all", [])),
        )  # fmt: skip
