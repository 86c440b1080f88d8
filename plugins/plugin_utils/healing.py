# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about an alert: who may be believed, what would help, and whether it may be done again so soon. Pure.

What an alert says is outside input. It is read as it came, never as a template; five values are taken of it, each is matched
against a strict pattern or the inventory, and nothing of a value that is refused is repeated.
"""

import calendar
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ._manifest_values import NAME
from .fleet_fields import INSTANCE

REMEDIES = {"AgentDown": "restart", "AgentCrashLoop": "rollback", "HostDown": "failover"}
ACTIONS = (*REMEDIES.values(), "diagnose")
HOUR = 3600

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_AGENT_ID = re.compile(f"{NAME}@{INSTANCE}")
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


class Refused(ValueError):
    """An alert that is not believed. The text says which value and why, and nothing of what it was."""


@dataclass(frozen=True)
class Alert:
    """A firing alert: its name, the host, the agent id (empty where it is about the host), and its fingerprint, if any."""

    name: str
    host: str
    agent_id: str
    fingerprint: str

    @property
    def healer(self) -> str:
        """Who acts, for the histories of hosts: ``healer: AgentDown 0123456789abcdef``."""
        return f"healer: {self.name} {self.fingerprint}".rstrip()

    @property
    def subject(self) -> str:
        return f"{self.agent_id} on {self.host}" if self.agent_id else self.host


@dataclass(frozen=True)
class Limits:
    """How often it may act: on one agent (or host) once in `window` minutes, and on `hosts_per_hour` different hosts."""

    window: int
    hosts_per_hour: int


@dataclass(frozen=True)
class Remedy:
    """What is to be done: one of `ACTIONS`, or nothing (an empty string); and why."""

    action: str
    reason: str


def given(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """The raw values: of the event that a rulebook gives with a playbook, else the variables of the command line.

    Only an event has an environment: who types a command chooses the fleet with its inventory.
    """
    if "ansible_eda" not in variables:
        return {key: variables.get(key, "") for key in ("alert", "host", "agent_id", "fingerprint")}
    eda = variables["ansible_eda"]
    event = eda.get("event") if isinstance(eda, Mapping) else None
    labels = event.get("labels") if isinstance(event, Mapping) else None
    if not isinstance(event, Mapping) or not isinstance(labels, Mapping):
        raise Refused("the event is no alert")
    if event.get("status") != "firing":
        raise Refused("the alert is not firing")
    return {
        "alert": labels.get("alertname", ""), "host": labels.get("host", ""), "agent_id": labels.get("agent_id", ""),
        "fingerprint": event.get("fingerprint", ""), "environment": labels.get("environment", ""),
    }  # fmt: skip


def read(values: Mapping[str, Any], groups: Mapping[str, Sequence[str]], fleet: str) -> Alert:
    """The alert that `values` (see `given`) make. `groups` are the inventory's; `fleet` is the group of its hosts."""
    for key, value in values.items():
        if not isinstance(value, str):
            raise Refused(f"{key} is not a string")
    if values["alert"] not in REMEDIES:
        raise Refused(f"alert is none of {', '.join(REMEDIES)}")
    about_host = REMEDIES[values["alert"]] == "failover"
    if not _HOST.fullmatch(values["host"]):
        raise Refused("host is not a name of a host")
    if not about_host and not _AGENT_ID.fullmatch(values["agent_id"]):
        raise Refused("agent_id is not an agent id, such as thermostat@0")
    if values["fingerprint"] and not _FINGERPRINT.fullmatch(values["fingerprint"]):
        raise Refused("fingerprint is not 16 hexadecimal digits")
    if values["host"] not in groups.get(fleet, ()):
        raise Refused("host is not a host of this fleet")
    return Alert(
        name=str(values["alert"]), host=str(values["host"]), agent_id="" if about_host else str(values["agent_id"]),
        fingerprint=str(values["fingerprint"]),
    )  # fmt: skip


def same_fleet(values: Mapping[str, Any], environment: str) -> None:
    """Refuse an event (see `given`) of another fleet, whose hosts and agents may be called as ours are."""
    if values.get("environment", environment) != environment:
        raise Refused("environment is not that of this fleet")


def declared(alert: Alert, declarations: Sequence[Mapping[str, Any]]) -> None:
    """Refuse what is not declared to run on the alert's host."""
    agent, _at, instance = alert.agent_id.partition("@")
    for item in declarations:
        if item["name"] == agent and instance in item["instances"]:
            if item["state"] != "started":
                raise Refused(f"{alert.subject} is declared {item['state']}")
            return
    raise Refused("agent_id is not declared on that host")


def remedy(
    alert: Alert,
    row: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    previous: str | None,
    since: float,
    refusal: str = "",
) -> Remedy:
    """What helps an agent. `row` is what `info` says of it, `previous` the release that a rollback would choose (None: there is none, as
    the host says in `refusal`); a release activated before `since` (Unix s) is not new any more.
    """
    if row["state"] in ("missing", "not activated"):
        return Remedy("", f"it is {row['state']} here: deploy it")
    if row["state"] == "proving":
        return Remedy("", "an activation is under way")
    if alert.name == "AgentDown":
        if row["state"] == "running" and row["healthy"]:
            return Remedy("", "it is well again")
        if not row["enabled"]:
            return Remedy("", "it was stopped on purpose")
        return Remedy("restart", f"it is {row['state']}")
    if row["state"] == "stopped" and not row["enabled"]:
        return Remedy("", "it was stopped on purpose")
    if row["state"] not in ("crash-looping", "failed") and not row["restarts"]:
        return Remedy("", "it has not been restarted since it was started")
    if previous is None:
        return Remedy("diagnose", refusal or "there is no older good release to go back to")
    why_not = _not_newer(alert.agent_id, row["release"], history, since)
    if why_not:
        return Remedy("diagnose", why_not)
    return Remedy("rollback", f"{row['release']} is newer than {previous}, which was good")


def _not_newer(agent_id: str, running: str, history: Sequence[Mapping[str, Any]], since: float) -> str:
    """Why the running release does not count as newer than the one that it replaced; empty where it does."""
    switches = [
        (record["from"], record["to"], calendar.timegm(time.strptime(record["at"], "%Y-%m-%dT%H:%M:%SZ")))
        for record in history
        if (record.get("agent_id"), record.get("action"), record.get("result")) == (agent_id, "activate", "ok")
        and record["from"] != record["to"]
    ]
    if not switches or switches[-1][1] != running or switches[-1][2] < since:
        return f"{running} has run for long: what changed is something else"
    seen = [to for _from, to, _at in switches]
    before = switches[-1][0]
    if before in seen and seen.index(before) > seen.index(running):
        return f"{running} was gone back to already, from {before}"
    return ""


def throttled(alert: Alert, records: Sequence[Mapping[str, Any]], limits: Limits, now: float) -> str:
    """Why nothing may be done yet; empty where it may. `records` are the healer's own, with ``at`` in Unix s."""
    acted = [record for record in records if record["outcome"] == "acts"]
    for record in reversed(acted):
        same = (record["host"], record["agent_id"]) == (alert.host, alert.agent_id)
        if same and now - record["at"] < limits.window * 60:
            return f"it was healed {max(0, round((now - record['at']) / 60))} minutes ago, and that is done once in {limits.window} minutes"
    hosts = {record["host"] for record in acted if now - record["at"] < HOUR}
    if alert.host not in hosts and len(hosts) >= limits.hosts_per_hour:
        return f"{len(hosts)} hosts were healed in the last hour, and no more than {limits.hosts_per_hour} are: look what ails them all"
    return ""


def record(
    outcome: str, now: float, *, alert: Alert | None = None, action: str = "", reason: str = ""
) -> dict[str, Any]:
    """One line of the healer's journal. `outcome`: acts, nothing, throttled, refused, would (a dry run, a check), or what kept it
    from deciding: unreachable (the alert's host), failed.
    """
    about = asdict(alert) if alert else {"name": "", "host": "", "agent_id": "", "fingerprint": ""}
    return {"at": now, **about, "outcome": outcome, "action": action, "reason": reason}
