# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of agent_healing: ask the host how the agent is, and decide what to do about an alert."""

import time
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.agentfactory.core.plugins.plugin_utils import fleet, healing, healing_journal
from ansible_collections.agentfactory.core.plugins.plugin_utils.action import AskingAction
from ansible_collections.agentfactory.core.plugins.plugin_utils.declare import DeclarationError
from ansible_collections.agentfactory.core.plugins.plugin_utils.remote import RemoteError

AGENT_HEALING: dict[str, Any] = {
    "window": {"type": "int", "default": 60},
    "hosts_per_hour": {"type": "int", "default": 3},
    "newer_hours": {"type": "int", "default": 24},
    "directory": {"type": "path", "default": healing_journal.DEFAULT},
    "dry_run": {"type": "bool", "default": False},
}


class ActionModule(AskingAction):
    SPEC = AGENT_HEALING

    def work(self) -> dict[str, Any]:
        alert = None
        try:
            alert = self._alert()
            remedy = self._remedy(alert) if alert.agent_id else self._host_remedy()
        except healing.Refused as refusal:
            self._note("refused", str(refusal))
            raise RemoteError(f"the alert is refused: {refusal}. Nothing was done") from refusal
        except AnsibleConnectionFailure:
            self._note("unreachable", "its host does not answer here", alert)
            raise
        except (RemoteError, DeclarationError) as error:
            self._note("failed", str(error), alert)
            raise
        return self._decide(alert, remedy)

    def _keep(self, decide: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> dict[str, Any]:
        try:
            return healing_journal.Journal(self.options["directory"]).append(decide)
        except healing_journal.JournalError as error:
            raise RemoteError(str(error)) from error

    def _note(self, outcome: str, reason: str, alert: healing.Alert | None = None) -> None:
        self._keep(lambda _records: healing.record(outcome, time.time(), alert=alert, reason=reason))

    def _alert(self) -> healing.Alert:
        values = healing.given(self.variables)
        alert = healing.read(values, self.variables["groups"], fleet.GROUP)
        healing.same_fleet(values, self.environment())
        if alert.agent_id:
            healing.declared(alert, self.declarations())
            self.options["only"] = [alert.agent_id]
        return alert

    def _decide(self, alert: healing.Alert, remedy: healing.Remedy) -> dict[str, Any]:
        limits = healing.Limits(self.options["window"], self.options["hosts_per_hour"])
        dry = self._task.check_mode or self.options["dry_run"]

        def decide(records: list[dict[str, Any]]) -> dict[str, Any]:
            now, outcome, reason = time.time(), "would" if dry else "acts", remedy.reason
            if not remedy.action:
                outcome = "nothing"
            elif why := healing.throttled(alert, records, limits, now):
                outcome, reason = "throttled", why
            return healing.record(outcome, now, alert=alert, action=remedy.action, reason=reason)

        made = self._keep(decide)
        self.tell(told(alert, made))
        acts = made["outcome"] == "acts" or (made["outcome"] == "would" and not self.options["dry_run"])
        return {"changed": False, **made, "action": made["action"] if acts else "", "remedy": remedy.action}

    def _host_remedy(self) -> healing.Remedy:
        """Its alert tells only that Prometheus does not hear its exporters: who answers here is not away."""
        try:
            self.ask("info", gather=["platform"], verify=False)
        except AnsibleConnectionFailure:
            return healing.Remedy("failover", "it does not answer here either")
        except RemoteError:
            pass  # this too is an answer
        return healing.Remedy("", "it answers here: it is its exporters, or the way to them")

    def _remedy(self, alert: healing.Alert) -> healing.Remedy:
        facts = self.ask("info", gather=["instances", "history"], verify=False, declared=self.declared())
        row = next(item for item in facts["instances"] if item["agent_id"] == alert.agent_id)
        previous, refusal = None, ""
        if healing.REMEDIES[alert.name] == "rollback" and row["release"]:
            try:
                previous = self.ask("select", release="previous")["releases"].get(alert.agent_id)
            except RemoteError as error:
                refusal = str(error)  # there is none, or it cannot be gone back to now
        since = time.time() - self.options["newer_hours"] * healing.HOUR
        return healing.remedy(alert, row, facts["history"], previous, since, refusal)


def told(alert: healing.Alert, made: dict[str, Any]) -> str:
    """One line for people."""
    outcomes = {
        "acts": f"{made['action']}:",
        "would": f"would {made['action']}:",
        "nothing": "nothing to do:",
        "throttled": "not yet:",
    }
    return f"{alert.name} of {alert.subject}: {outcomes[made['outcome']]} {made['reason']}"
