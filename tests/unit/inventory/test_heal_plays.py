# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook heal under the real ansible-playbook: what an alert says is never a template, and of this fleet; a host that answers is
not away; and each run, also one that cannot ask the host, is in the journal, by which the next one goes.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .. import ansible_programs

FLEET = """
plugin: agentfactory.core.fleet
inventory: hosts.yml
environment: lab
artifacts: dist
agents:
  toy: {version: "1", source: toy, hosts: all}
"""
MANIFEST = 'name: toy\nversion: "1"\ncommand: [toy]\nhealth: {notify: true}\n'
LOCAL = {"ansible_connection": "local"}
AWAY = {"ansible_host": "127.0.0.1", "ansible_port": 1}
ERRS = {**LOCAL, "ansible_python_interpreter": "/bin/false"}


def heal(
    folder: Path, variables: dict[str, Any], connection: dict[str, Any]
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """The run, and the healer's journal."""
    (folder / "fleet.yml").write_text(FLEET)
    (folder / "toy").mkdir(exist_ok=True)
    (folder / "toy/agent.yml").write_text(MANIFEST)
    interpreter = {"ansible_python_interpreter": sys.executable}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"h1": {**interpreter, **connection}}}}))
    (folder / "given.json").write_text(json.dumps({"healing_directory": str(folder / "healing"), **variables}))
    command = ("ansible-playbook", "agentfactory.core.heal", "-i", "fleet.yml", "-e", "@given.json")
    done = ansible_programs.run(folder, *command)
    journal = folder / "healing" / "healing.jsonl"
    return done, [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


def event(labels: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The variables that a rulebook gives."""
    usual = {"alertname": "AgentDown", "host": "h1", "agent_id": "toy@0", "environment": "lab"}
    return {"ansible_eda": {"event": {"status": "firing", "labels": {**usual, **(labels or {})}, **more}}}


@pytest.mark.parametrize("as_event", [True, False], ids=["event", "command line"])
def test_an_alert_is_no_template(tmp_path: Path, as_event: bool) -> None:
    template = "{{ lookup('pipe', 'touch %s') }}" % (tmp_path / "mark")
    values = {"alert": "AgentDown", "host": "h1", "agent_id": "toy@0", "fingerprint": template}
    if as_event:
        values = event(fingerprint=template, meta={"hosts": template}, labels={template: template})
    done, journal = heal(tmp_path, values, LOCAL)
    assert done.returncode != 0
    assert (
        "the alert is refused: fingerprint is not 16 hexadecimal digits. Nothing was done" in done.stdout + done.stderr
    )
    assert [item["outcome"] for item in journal] == ["refused"]
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("connection", "outcome", "action", "reason"),
    [
        (LOCAL, "nothing", "", "it answers here: it is its exporters, or the way to them"),
        (ERRS, "nothing", "", "it answers here: it is its exporters, or the way to them"),
        (AWAY, "acts", "failover", "it does not answer here either"),
    ],
    ids=["well", "answers with an error", "away"],
)
def test_a_host_is_handed_on_only_if_it_does_not_answer_here_either(
    tmp_path: Path, connection: dict[str, Any], outcome: str, action: str, reason: str
) -> None:
    done, journal = heal(tmp_path, {"alert": "HostDown", "host": "h1", "ansible_become": False}, connection)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [(item["outcome"], item["action"], item["reason"]) for item in journal] == [(outcome, action, reason)]
    assert ("No playbook is set to fail over to another host" in done.stdout) == (action == "failover")


@pytest.mark.parametrize("labels", [{"environment": "production"}, {"environment": ""}, {"environment": "{{ 'lab' }}"}])
def test_an_alert_of_another_fleet_is_refused(tmp_path: Path, labels: dict[str, str]) -> None:
    """Its hosts and agents may be called as ours are."""
    done, (kept,) = heal(tmp_path, event(labels), LOCAL)
    assert done.returncode != 0
    assert (kept["outcome"], kept["reason"]) == ("refused", "environment is not that of this fleet")


@pytest.mark.parametrize(
    ("connection", "outcome", "code", "reason"),
    [(AWAY, "unreachable", 4, "its host does not answer here"), (ERRS, "failed", 2, "no answer")],
    ids=["away", "answers with an error"],
)
def test_an_agent_whose_host_cannot_be_asked_is_in_the_journal(
    tmp_path: Path, connection: dict[str, Any], outcome: str, code: int, reason: str
) -> None:
    done, (kept,) = heal(tmp_path, event(), {**connection, "ansible_become": False})
    assert done.returncode == code, done.stdout + done.stderr
    assert (kept["name"], kept["host"], kept["agent_id"]) == ("AgentDown", "h1", "toy@0")
    assert (kept["outcome"], kept["action"]) == (outcome, "")
    assert reason in kept["reason"]


def test_another_run_goes_by_the_journal_of_the_one_before(tmp_path: Path) -> None:
    given = event({"alertname": "HostDown", "agent_id": ""}) | {"ansible_become": False}
    heal(tmp_path, given, AWAY)
    done, journal = heal(tmp_path, given, AWAY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [item["outcome"] for item in journal] == ["acts", "throttled"]
    assert "No playbook is set to fail over" not in done.stdout
