# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""agent_package as a playbook uses it: check, real, check again, real again."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TARGET = "linux/amd64+glibc2.36+py3.11"
AGENT = {
    "agent.yml": 'name: demo\nversion: "1.0"\ncommand: [bin/demo]\nhealth: {notify: true}\n',
    "bin/demo": "#!/usr/bin/env python3\n",
    "demo.py": "",
}


def play(directory: Path, *arguments: str, **options: Any) -> dict[str, Any]:
    """Run one task in a play; returns its result."""
    task = {"agentfactory.core.agent_package": {"source": "agent", "artifacts": "dist", **options}}
    playbook = [{"hosts": "nowhere.invalid", "gather_facts": False, "tasks": [task]}]
    (directory / "play.yml").write_text(json.dumps(playbook), encoding="utf-8")
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "nowhere.invalid,", "play.yml", *arguments]
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default", "ANSIBLE_FORCE_COLOR": "0"}
    environment |= {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "0"}
    done = subprocess.run([*command, "-v"], cwd=directory, env=environment, capture_output=True, text=True, check=False)
    shown = done.stdout.split("=> ", 1)
    assert len(shown) == 2, done.stdout + done.stderr
    return dict(json.JSONDecoder().raw_decode(shown[1].lstrip())[0])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for path, text in AGENT.items():
        (tmp_path / "agent" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "agent" / path).write_text(text, encoding="utf-8")
    return tmp_path


def test_four_ways(directory: Path) -> None:
    """No host is contacted: the one in the inventory does not exist."""
    planned = play(directory, "--check", platforms=[TARGET])
    assert not (directory / "dist").exists()
    done = play(directory, platforms=[TARGET])
    again = play(directory, "--check", platforms=[TARGET])
    once_more = play(directory, platforms=[TARGET])
    assert [run["changed"] for run in (planned, done, again, once_more)] == [True, True, False, False]
    assert len({run["digest"] for run in (planned, done, again, once_more)}) == 1
    assert done["targets"][0]["target"] == TARGET
    assert done["artifact"] == f"{directory}/dist/demo:1.0"
    assert "warnings" not in done


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "no target: give platforms="),
        ({"platforms": "amd64"}, "platforms: 'amd64' is not a target"),
        ({"source": "missing", "platforms": TARGET}, "cannot be read: No such file"),
        (
            {"artifacts": "https://registry.example.org/x", "platforms": TARGET},
            "is a URL; packaging writes to a directory",
        ),
        ({"artifacts": "agent/demo.py", "platforms": TARGET}, "Not a directory"),
        ({"platfroms": TARGET}, "platfroms. Supported parameters include"),
    ],
)
def test_errors(directory: Path, options: dict[str, Any], problem: str) -> None:
    failed = play(directory, **options)
    assert failed.get("failed", True)
    assert problem in failed["msg"]
    assert not (directory / "dist").exists()
