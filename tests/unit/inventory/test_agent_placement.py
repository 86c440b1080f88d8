# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""agent_placement in a real run of ansible-playbook, and the fleet that reads what it wrote."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .. import ansible_programs

MANIFEST = """
name: gateway
version: "1.0"
command: [gateway]
ports: {http: 8080}
health: {http: {port: http}}
resources: {cpu: 0.5, memory: 128M}
"""
HOSTS = """
all:
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    cores: 1
    agentfactory_capacity: {cpu: "{{ cores }}", memory: 1G}
  hosts: {h1: {agentfactory_zone: a}, h2: {agentfactory_zone: b}, h3: {agentfactory_zone: c}}
"""
FLEET = """
plugin: agentfactory.core.fleet
environment: lab
artifacts: ../dist
agents:
  gateway: {version: "1.0", source: ../gateway, hosts: all, count: 3}
"""
STEPS = (
    ("check", {}, True), ("written", {}, False), ("checked again", {}, True), ("again", {}, False),
    ("drain", {"drain": ["h2"]}, False), ("loss", {"host_loss": True}, True), ("too many", {"drain": ["h1", "h2"]}, False),
    ("by hand", {"hosts": [{"name": f"h{i}", "capacity": {"cpu": 8, "memory": "8G"}} for i in (1, 2, 3)], "failed": ["h1"]}, True),
    ("unknown", {"drain": ["h9"]}, False),
)  # fmt: skip
"""what it is called, the module's options, check mode"""


class Project:
    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("inv", "gateway"):
            (root / name).mkdir()
        (root / "gateway/agent.yml").write_text(MANIFEST)
        (root / "inv/hosts.yml").write_text(HOSTS)
        (root / "inv/fleet.yml").write_text(FLEET)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return ansible_programs.run(self.root, *command)

    def play(self) -> dict[str, dict[str, Any]]:
        """Every step in one run; the results by name."""
        tasks: list[dict[str, Any]] = []
        for number, (_name, options, check) in enumerate(STEPS):
            module = {"fleet": "inv/fleet.yml", **options}
            tasks.append(
                {"agentfactory.core.agent_placement": module, "check_mode": check, "diff": True,
                 "register": f"step{number}", "ignore_errors": True}
            )  # fmt: skip
        results = "{{ [" + ", ".join(f"step{number}" for number in range(len(STEPS))) + "] | to_json }}"
        tasks.append(
            {"ansible.builtin.copy": {"content": results, "dest": str(self.root / "out.json"), "mode": "0600"}}
        )
        (self.root / "play.yml").write_text(json.dumps([{"hosts": "h1", "gather_facts": False, "tasks": tasks}]))
        done = self.run("ansible-playbook", "-i", "inv/hosts.yml", "play.yml")
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(zip((step[0] for step in STEPS), json.loads((self.root / "out.json").read_text()), strict=True))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("placement"))


@pytest.fixture(scope="module")
def told(project: Project) -> dict[str, dict[str, Any]]:
    return project.play()


def test_check_mode_tells_and_writes_nothing(told: dict[str, dict[str, Any]]) -> None:
    """check, real, check again, real again: the placement of the first is written by the second, and the others find it."""
    first, second = told["check"], told["written"]
    assert [told[name]["changed"] for name in ("check", "written", "checked again", "again")] == [
        True,
        True,
        False,
        False,
    ]
    assert first["placement"] == second["placement"] == {"gateway": {"h1": [0], "h2": [1], "h3": [2]}}
    assert first["diff"] == second["diff"]
    assert (first["diff"]["before"], "diff" in told["again"]) == ("", False)
    assert "    h2: [1]\n" in first["diff"]["after"]
    assert [(step["kind"], step["target"]) for step in second["steps"]] == [("new", "h1"), ("new", "h2"), ("new", "h3")]
    assert told["again"]["report"][0] == "3 instances on 3 hosts: nothing to do"


def test_a_drained_host_is_emptied(project: Project, told: dict[str, dict[str, Any]]) -> None:
    drained = told["drain"]
    assert (drained["moves"]["found"], drained["moves"]["proven"], drained["changed"]) == (1, True, True)
    assert [(step["kind"], step["index"], step["source"]) for step in drained["steps"]] == [("move", 1, "h2")]
    written = yaml.safe_load((project.root / "inv/placement.yml").read_text())["agents"]["gateway"]
    assert written == drained["placement"]["gateway"]
    assert "h2" not in written


def test_what_cannot_be_done_fails_and_says_why(told: dict[str, dict[str, Any]]) -> None:
    short = told["too many"]
    assert short["failed"]
    assert short["unplaced"][0]["resource"] == "cpu"
    assert (short["unplaced"][0]["missing"], short["unplaced"][0]["certain"]) == (500, True)
    assert "no place for 1 of gateway: resource: cpu: 1500 are needed" in short["msg"]
    assert short["msg"].endswith("Nothing was written")
    assert told["unknown"]["msg"] == "drain: h9 is no host of an agent with count"


def test_hosts_described_by_hand(told: dict[str, dict[str, Any]]) -> None:
    assert {step["kind"] for step in told["by hand"]["steps"]} == {"restart"}
    assert not told["loss"]["losses"]


@pytest.mark.parametrize("source", ["inv/fleet.yml", "inv"])
def test_the_fleet_reads_what_was_written(project: Project, told: dict[str, dict[str, Any]], source: str) -> None:
    """Also where the directory is the inventory, placement.yml within it."""
    done = project.run("ansible-inventory", "-i", source, "--list")
    assert (done.returncode, done.stderr) == (0, "")
    hosts = json.loads(done.stdout)["_meta"]["hostvars"]
    seen = {host: [_plain(agent["instances"]) for agent in hosts[host]["agentfactory_agents"]] for host in hosts}
    placed = told["drain"]["placement"]["gateway"]
    assert seen == {host: [[str(i) for i in placed[host]]] if host in placed else [] for host in ("h1", "h2", "h3")}


def _plain(texts: list[Any]) -> list[str]:
    """Without the mark that ansible-inventory puts on what was not in a file."""
    return [text["__ansible_unsafe"] if isinstance(text, dict) else text for text in texts]
