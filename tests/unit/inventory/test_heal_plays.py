# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook heal under the real ansible-playbook: what an alert says is never a template, and a host that answers is not away."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
COLLECTIONS = next(path for path in (Path(sys.prefix) / "collections", ROOT / ".venv" / "collections") if path.exists())
FLEET = """
plugin: agentfactory.core.fleet
inventory: hosts.yml
environment: lab
artifacts: dist
agents: {}
"""


def heal(
    folder: Path, variables: dict[str, Any], connection: dict[str, Any]
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """The run, and the healer's journal."""
    (folder / "fleet.yml").write_text(FLEET)
    interpreter = {"ansible_python_interpreter": sys.executable}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"h1": {**interpreter, **connection}}}}))
    (folder / "given.json").write_text(json.dumps({"healing_directory": str(folder / "healing"), **variables}))
    environment = {
        **os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_FORCE_COLOR": "0",
    }  # fmt: skip
    command = [
        Path(sys.executable).parent / "ansible-playbook",
        "agentfactory.core.heal",
        "-i",
        "fleet.yml",
        "-e",
        "@given.json",
    ]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    journal = folder / "healing" / "healing.jsonl"
    return done, [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


@pytest.mark.parametrize("as_event", [True, False], ids=["event", "command line"])
def test_an_alert_is_no_template(tmp_path: Path, as_event: bool) -> None:
    template = "{{ lookup('pipe', 'touch %s') }}" % (tmp_path / "mark")
    values = {"alert": "AgentDown", "host": "h1", "agent_id": "toy@0", "fingerprint": template}
    if as_event:
        labels = {"alertname": "AgentDown", "host": "h1", "agent_id": "toy@0", template: template}
        event = {"status": "firing", "labels": labels, "fingerprint": template, "meta": {"hosts": template}}
        values = {"ansible_eda": {"event": event}}
    done, journal = heal(tmp_path, values, {"ansible_connection": "local"})
    assert done.returncode != 0
    assert (
        "the alert is refused: fingerprint is not 16 hexadecimal digits. Nothing was done" in done.stdout + done.stderr
    )
    assert [item["outcome"] for item in journal] == ["refused"]
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("connection", "outcome", "action", "reason"),
    [
        ({"ansible_connection": "local"}, "nothing", "", "it answers here: it is its exporters, or the way to them"),
        ({"ansible_connection": "local", "ansible_python_interpreter": "/bin/false"}, "nothing", "",
         "it answers here: it is its exporters, or the way to them"),
        ({"ansible_host": "127.0.0.1", "ansible_port": 1}, "acts", "failover", "it does not answer here either"),
    ],
    ids=["well", "answers with an error", "away"],
)  # fmt: skip
def test_a_host_is_handed_on_only_if_it_does_not_answer_here_either(
    tmp_path: Path, connection: dict[str, Any], outcome: str, action: str, reason: str
) -> None:
    done, journal = heal(tmp_path, {"alert": "HostDown", "host": "h1", "ansible_become": False}, connection)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [(item["outcome"], item["action"], item["reason"]) for item in journal] == [(outcome, action, reason)]
    assert ("No playbook is set to fail over to another host" in done.stdout) == (action == "failover")
