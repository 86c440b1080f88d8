# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Healing: which alerts are believed, what helps, how often it may be done, and the journal that remembers it."""

import json
import stat
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.action.agent_healing import AGENT_HEALING
from ansible_collections.agentfactory.core.plugins.plugin_utils import healing, healing_journal

ROOT = Path(__file__).resolve().parents[3]
GROUPS = {"agentfactory": ["h1", "h2"], "all": ["h1", "h2", "elsewhere"]}
DOWN = {"alert": "AgentDown", "host": "h1", "agent_id": "a@0", "fingerprint": "0123456789abcdef"}
EVENT = {**DOWN, "environment": "lab"}
ALERT = healing.Alert("AgentDown", "h1", "a@0", "0123456789abcdef")
LOOP = healing.Alert("AgentCrashLoop", "h1", "a@0", "")
LIMITS = healing.Limits(window=60, hosts_per_hour=2)
NOW = 1_800_000_000.0
ROW = {"state": "stopped", "healthy": False, "enabled": True, "release": "2-b", "restarts": 5}


def read(**changes: Any) -> healing.Alert:
    values = {**DOWN, **changes}
    alert = healing.read(values, GROUPS, "agentfactory")
    healing.same_fleet(values, "lab")
    return alert


@pytest.mark.parametrize(
    ("changes", "alert"),
    [
        ({}, ALERT),
        ({"environment": "lab"}, ALERT),
        ({"fingerprint": ""}, healing.Alert("AgentDown", "h1", "a@0", "")),
        ({"alert": "HostDown", "host": "h2"}, healing.Alert("HostDown", "h2", "", "0123456789abcdef")),
    ],
)
def test_an_alert_is_read(changes: dict[str, Any], alert: healing.Alert) -> None:
    assert read(**changes) == alert


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"alert": "AgentUnhealthy"}, "alert is none of AgentDown, AgentCrashLoop, HostDown"),
        ({"alert": ["AgentDown"]}, "alert is not a string"),
        ({"host": "elsewhere"}, "host is not a host of this fleet"),
        ({"host": "h1\n"}, "host is not a name of a host"),
        ({"host": "h1:h2"}, "host is not a name of a host"),
        ({"host": "all"}, "host is not a host of this fleet"),
        ({"host": "{{ x }}"}, "host is not a name of a host"),
        ({"host": "@/etc/passwd"}, "host is not a name of a host"),
        ({"host": 7}, "host is not a string"),
        ({"agent_id": ""}, "agent_id is not an agent id, such as thermostat@0"),
        ({"agent_id": "a"}, "agent_id is not an agent id, such as thermostat@0"),
        ({"agent_id": "a@0\n"}, "agent_id is not an agent id, such as thermostat@0"),
        ({"agent_id": "a@0,b@0"}, "agent_id is not an agent id, such as thermostat@0"),
        ({"agent_id": "a@0;reboot"}, "agent_id is not an agent id, such as thermostat@0"),
        ({"agent_id": {"a": 0}}, "agent_id is not a string"),
        ({"fingerprint": "0123456789ABCDEF"}, "fingerprint is not 16 hexadecimal digits"),
        ({"fingerprint": None}, "fingerprint is not a string"),
        ({"environment": "production"}, "environment is not that of this fleet"),
        ({"environment": ""}, "environment is not that of this fleet"),
        ({"environment": "lab\n"}, "environment is not that of this fleet"),
        ({"environment": ["lab"]}, "environment is not a string"),
        ({"environment": "lab", "host": "elsewhere"}, "host is not a host of this fleet"),
    ],
)
def test_an_alert_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(healing.Refused) as refusal:
        read(**changes)
    assert str(refusal.value) == why


@given(
    st.fixed_dictionaries(
        {key: st.one_of(st.just(good), st.text(), st.integers(), st.none()) for key, good in EVENT.items()}
    )
)
def test_what_is_believed_is_what_the_inventory_has(values: dict[str, Any]) -> None:
    try:
        alert = read(**values)
    except healing.Refused as refusal:
        outside = [v for v in values.values() if isinstance(v, str) and len(v) > 3 and v not in DOWN.values()]
        assert not any(
            value in str(refusal) for value in outside if value not in "fingerprint agent_id host alert environment"
        )
    else:
        assert alert.host in GROUPS["agentfactory"]
        assert values["environment"] == "lab"


@pytest.mark.parametrize(
    ("event", "values"),
    [
        ({"status": "firing", "labels": {"alertname": "HostDown", "host": "h1", "x": 1}, "fingerprint": "f", "meta": {}},
         {"alert": "HostDown", "host": "h1", "agent_id": "", "fingerprint": "f", "environment": ""}),
        ({"status": "firing", "labels": {"alertname": "AgentDown", "environment": "lab", "host": "h1", "agent_id": "a@0"}},
         {"alert": "AgentDown", "host": "h1", "agent_id": "a@0", "fingerprint": "", "environment": "lab"}),
        ({"status": "resolved", "labels": {}}, "the alert is not firing"),
        ({"labels": {}}, "the alert is not firing"),
        ({"status": "firing", "labels": "text"}, "the event is no alert"),
        ("text", "the event is no alert"),
        (None, "the event is no alert"),
    ],
)  # fmt: skip
def test_an_event_is_taken_for_the_alert_and_the_command_line_is_not_asked(event: Any, values: Any) -> None:
    variables = {**DOWN, "ansible_eda": {"event": event}}
    if isinstance(values, str):
        with pytest.raises(healing.Refused, match=values):
            healing.given(variables)
    else:
        assert healing.given(variables) == values


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ([{"name": "a", "instances": ["0", "1"], "state": "started"}], None),
        ([{"name": "a", "instances": ["0"], "state": "stopped"}], "a@0 on h1 is declared stopped"),
        ([{"name": "a", "instances": ["1"], "state": "started"}], "agent_id is not declared on that host"),
        ([{"name": "b", "instances": ["0"], "state": "started"}], "agent_id is not declared on that host"),
        ([], "agent_id is not declared on that host"),
    ],
)
def test_only_what_is_declared_to_run_is_healed(declared: list[dict[str, Any]], why: str | None) -> None:
    if why is None:
        healing.declared(ALERT, declared)
        return
    with pytest.raises(healing.Refused, match=why):
        healing.declared(ALERT, declared)


def switch(
    before: str | None, after: str, agent_id: str = "a@0", result: str = "ok", hours: float = 1
) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - hours * 3600))
    return {"at": at, "agent_id": agent_id, "action": "activate", "from": before, "to": after, "result": result}


UPDATED = [switch(None, "1-a"), switch("1-a", "2-b")]


@pytest.mark.parametrize(
    ("alert", "row", "history", "previous", "action", "reason"),
    [
        (ALERT, {}, [], None, "restart", "it is stopped"),
        (ALERT, {"state": "failed"}, [], None, "restart", "it is failed"),
        (ALERT, {"state": "running"}, [], None, "restart", "it is running"),
        (ALERT, {"state": "running", "healthy": True}, [], None, "", "it is well again"),
        (ALERT, {"enabled": False}, [], None, "", "it was stopped on purpose"),
        (ALERT, {"state": "missing"}, [], None, "", "it is missing here: deploy it"),
        (ALERT, {"state": "proving"}, [], None, "", "an activation is under way"),
        (LOOP, {"state": "not activated", "release": None}, [], None, "", "it is not activated here: deploy it"),
        (LOOP, {"state": "running", "restarts": 0}, UPDATED, "1-a", "", "it has not been restarted since it was started"),
        (LOOP, {"state": "crash-looping", "restarts": 0}, UPDATED, "1-a", "rollback", "2-b is newer than 1-a, which was good"),
        (LOOP, {}, UPDATED, "1-a", "rollback", "2-b is newer than 1-a, which was good"),
        (LOOP, {"state": "running", "healthy": True}, UPDATED, "1-a", "rollback", "2-b is newer than 1-a, which was good"),
        (LOOP, {}, [*UPDATED, switch("2-b", "2-b")], "1-a", "rollback", "2-b is newer than 1-a, which was good"),
        (LOOP, {}, [*UPDATED, switch("2-b", "3-c", result="undone")], "1-a", "rollback", "2-b is newer than 1-a, which was good"),
        (LOOP, {}, [*UPDATED, switch("1-z", "1-y", "b@0")], "1-a", "rollback", "2-b is newer than 1-a, which was good"),
        (LOOP, {"enabled": False}, UPDATED, "1-a", "", "it was stopped on purpose"),
        (LOOP, {"enabled": False, "state": "crash-looping"}, UPDATED, "1-a", "rollback", "2-b is newer than 1-a, which was good"),
        (LOOP, {}, [switch(None, "2-b")], None, "diagnose", "there is no older good release to go back to"),
        (LOOP, {}, [], "1-a", "diagnose", "2-b has run for long: what changed is something else"),
        (LOOP, {}, [switch("1-a", "2-b", hours=24)], "1-a", "rollback", "2-b is newer than 1-a, which was good"),
        (LOOP, {}, [switch("1-a", "2-b", hours=24.1)], "1-a", "diagnose", "2-b has run for long: what changed is something else"),
        (LOOP, {}, [switch("1-a", "2-b", hours=24.1), switch("2-b", "2-b")], "1-a",
         "diagnose", "2-b has run for long: what changed is something else"),
        (LOOP, {}, [*UPDATED, switch("2-b", "1-a"), switch("1-a", "2-b", hours=24.1)], "1-a",
         "diagnose", "2-b has run for long: what changed is something else"),
        (LOOP, {}, [switch(None, "1-a"), switch("1-a", "2-b"), switch("2-b", "3-c"), switch("3-c", "2-b")], "1-a",
         "diagnose", "2-b was gone back to already, from 3-c"),
        (LOOP, {}, [*UPDATED, switch("2-b", "1-a"), switch("1-a", "2-b")], "1-a", "rollback", "2-b is newer than 1-a, which was good"),
    ],
)  # fmt: skip
def test_what_helps(
    alert: healing.Alert, row: dict[str, Any], history: list[Any], previous: str | None, action: str, reason: str
) -> None:
    assert healing.remedy(alert, {**ROW, **row}, history, previous, NOW - 24 * 3600) == healing.Remedy(action, reason)


def test_why_a_release_cannot_be_gone_back_to_is_what_the_host_says() -> None:
    refusal = "a@0: release 1-a is damaged on this host"
    assert healing.remedy(LOOP, ROW, UPDATED, None, NOW - 24 * 3600, refusal) == healing.Remedy("diagnose", refusal)


def acted(minutes: float, host: str = "h1", agent_id: str = "a@0", outcome: str = "acts") -> dict[str, Any]:
    return {"at": NOW - minutes * 60, "host": host, "agent_id": agent_id, "outcome": outcome}


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([], ""),
        ([acted(59)], "it was healed 59 minutes ago, and that is done once in 60 minutes"),
        ([acted(60)], ""),
        ([acted(5, agent_id="a@1")], ""),
        ([acted(5, host="h2")], ""),
        ([acted(5, outcome="would"), acted(5, outcome="throttled"), acted(5, outcome="refused")], ""),
        ([acted(5, "x"), acted(59, "y")],
         "2 hosts were healed in the last hour, and no more than 2 are: look what ails them all"),
        ([acted(5, "x"), acted(5, "x", "b@0"), acted(60, "y")], ""),
        ([acted(5, "x"), acted(5, "h1", "b@0")], ""),
    ],
)  # fmt: skip
def test_limits(records: list[dict[str, Any]], why: str) -> None:
    assert healing.throttled(ALERT, records, LIMITS, NOW) == why


def test_the_journal_remembers_and_is_its_owners(tmp_path: Path) -> None:
    journal = healing_journal.Journal(str(tmp_path / "new" / "healing"))
    seen: list[list[dict[str, Any]]] = []

    def decide(records: list[dict[str, Any]]) -> dict[str, Any]:
        seen.append(records)
        return healing.record("acts", NOW + len(records), alert=ALERT, action="restart", reason="it is down")

    first = journal.append(decide)
    with open(journal.path, "ab") as stream:
        stream.write(b'{"at": 1, "cut of')
    second = journal.append(decide)
    assert seen == [[], [first]]
    assert [line for line in Path(journal.path).read_text().splitlines() if line.endswith("}")] == [
        json.dumps(item, sort_keys=True) for item in (first, second)
    ]
    assert stat.S_IMODE(Path(journal.path).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(journal.directory).stat().st_mode) == 0o700


def test_without_a_journal_nothing_is_healed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(healing_journal.JournalError, match="without it nothing is healed"):
        healing_journal.Journal(str(tmp_path / "file")).append(lambda _records: pytest.fail("decided nevertheless"))


def test_the_rulebook_heals_what_is_known_with_the_same_limits() -> None:
    (ruleset,) = yaml.safe_load((ROOT / "extensions/eda/rulebooks/heal.yml").read_text())
    (rule,) = ruleset["rules"]
    assert all(f'"{name}"' in rule["condition"] for name in healing.REMEDIES)
    given = rule["action"]["run_playbook"]["extra_vars"]
    for option, spec in AGENT_HEALING.items():
        default = spec["default"]
        shown = f"'{default}'" if isinstance(default, str) else str(default).lower()
        assert given[f"healing_{option}"] == f"{{{{ healing_{option} | default({shown}) }}}}"
