# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oldest supported ansible-core and Python of a controller: from source to running, nothing to do, update, roll back."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from . import harness
from .harness import ROOT, Fleet, Host, Lab

OLDEST = ROOT / ".venv-oldest"


@pytest.fixture
def oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fleets run the programs of .venv-oldest."""
    subprocess.run([ROOT / "tools" / "setup", "oldest"], check=True, capture_output=True, text=True)
    said = subprocess.run(
        [OLDEST / "bin" / "ansible-playbook", "--version"], check=True, capture_output=True, text=True
    )
    assert re.search(r"\[core 2\.19\.", said.stdout), said.stdout
    monkeypatch.setattr(harness, "program", lambda name: str(OLDEST / "bin" / name))
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(OLDEST / "collections"))


@pytest.mark.usefixtures("oldest")
def test_deploy_nothing_to_do_update_and_rollback(fleet: Fleet, lab: Lab, hosts: list[Host], tmp_path: Path) -> None:
    path = {"PATH": f"{OLDEST / 'bin'}:{os.environ['PATH']}"}

    def declare(version: str, greeting: str) -> Fleet:
        agent: dict[str, Any] = {
            "version": version, "source": str(fleet.shelf.folder / "sources" / f"probe-agent-{version}"),
            "config": {"greeting": "{{ wanted }}"}, "rollout": {"waves": [1, "100%"]},
        }  # fmt: skip
        fleet.write({"probe-agent": agent}, artifacts=str(tmp_path / "artifacts"))
        (tmp_path / "vars.yml").write_text(f"wanted: {greeting}\n")
        return fleet

    def run(verb: str, *arguments: str) -> harness.Result:
        return fleet.run(verb, "-e", f"@{tmp_path / 'vars.yml'}", *arguments, env=path)

    declare("1.0.0", "hello")
    check = run("deploy", "--check", "--diff").ok()  # nothing is packaged yet
    first = run("deploy", "--diff").ok()
    assert check.changed == first.changed
    assert "Wave 2 of 2" in check.output
    assert "Wave 2 of 2" in first.output
    assert run("deploy").ok().changed == 0
    declare("1.1.0", "good evening")
    run("deploy").ok()
    assert [(said["version"], said["config"]) for said in lab.on_all(Host.agent)] == [
        ("1.1.0", {"greeting": "good evening"})
    ] * len(hosts)
    run("rollback").ok()
    assert [(said["version"], said["config"]) for said in lab.on_all(Host.agent)] == [
        ("1.0.0", {"greeting": "hello"})
    ] * len(hosts)
    declare("1.0.0", "hello")
    assert run("deploy").ok().changed == 0
    assert "as declared" in run("status").ok().output
    run("destroy", "-e", "agents=all", "-e", "purge=true").ok()
    assert lab.on_all(Host.leftovers) == [[]] * len(hosts)
