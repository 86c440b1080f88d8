# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's inventory plugin and the rollout lookup in real runs of Ansible's own programs."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .. import ansible_programs

MANIFEST = """
name: thermostat
version: "1.4.2"
command: [thermostat]
ports: {http: 8080}
health: {http: {port: http}}
secrets: [password, token]
"""
HOSTS = """
all:
  vars: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  children:
    homes: {hosts: {"h[1:3]": {room: "room of {{ inventory_hostname }}"}}}
    labs: {hosts: {l1: }}
"""
FLEET = """
plugin: agentfactory.core.fleet
environment: lab
artifacts: ../dist
agents:
  thermostat:
    version: "1.4.2"
    source: ../thermostat
    hosts: homes
    config: {room: "{{ room }}", literal: !unsafe "{{ room }}"}
    secrets:
      password: "{{ vault_password }}"
      token: !vault |
"""
PLAY = """
- hosts: agentfactory
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ {'agents': agentfactory_agents, 'secrets': agentfactory_secrets, 'room': agentfactory_artifacts} }}"
        dest: "{{ lookup('env', 'OUT') }}/{{ inventory_hostname }}.json"
        mode: "0600"
"""


class Project:
    """A directory with an inventory and its agent's source."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("inv/group_vars", "thermostat", "out"):
            (root / name).mkdir(parents=True)
        (root / "pass").write_text("x\n")
        self.write("thermostat/agent.yml", MANIFEST)
        self.write("inv/hosts.yml", HOSTS)
        self.write("inv/group_vars/agentfactory.yml", 'vault_password: "pw of {{ inventory_hostname }}"\n')
        self.write("play.yml", PLAY)
        cipher = self.run("ansible-vault", "encrypt_string", "s3cret").stdout.split("|", 1)[1]
        self.write(
            "inv/fleet.yml", FLEET.rstrip("\n") + "\n" + "".join(f"    {x}\n" for x in cipher.split("\n") if x.strip())
        )

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        more = {"OUT": str(self.root / "out"), "ANSIBLE_VAULT_PASSWORD_FILE": str(self.root / "pass")}
        return ansible_programs.run(self.root, *command, **more)

    def inventory(self, source: str) -> dict[str, Any]:
        found = self.run("ansible-inventory", "-i", source, "--list")
        assert found.returncode == 0, found.stderr
        return dict(json.loads(found.stdout))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.parametrize("source", ["inv/fleet.yml", "inv"])
def test_templates_and_vaulted_values_arrive(project: Project, source: str) -> None:
    done = project.run("ansible-playbook", "-i", source, "play.yml", "--limit", "h2:l1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (project.root / "out").iterdir()) == ["h2.json", "l1.json"]
    seen = json.loads((project.root / "out/h2.json").read_text())
    assert seen["agents"][0]["config"] == {"room": "room of h2", "literal": "{{ room }}"}
    assert seen["secrets"] == {"thermostat": {"password": "pw of h2", "token": "s3cret"}}
    assert json.loads((project.root / "out/l1.json").read_text())["agents"] == []


def test_a_directory_and_a_file_give_the_same(project: Project) -> None:
    alone, directory = project.inventory("inv/fleet.yml"), project.inventory("inv")
    for variables in (*alone["_meta"]["hostvars"].values(), *directory["_meta"]["hostvars"].values()):
        variables.pop("inventory_file", None)
    assert alone == directory
    assert directory["agentfactory"]["hosts"] == ["h1", "h2", "h3", "l1"]
    assert directory["agent_thermostat"]["hosts"] == ["h1", "h2", "h3"]


@pytest.mark.parametrize("source", ["inv/fleet.yml", "inv"])
@pytest.mark.parametrize("old", ["hosts: homes", 'version: "1.4.2"', "environment: lab", 'room: "{{ room }}"'])
def test_a_bad_fleet_ends_the_run(project: Project, source: str, old: str) -> None:
    text = (project.root / "inv/fleet.yml").read_text()
    bad = {"hosts: homes": "hosts: homez", 'version: "1.4.2"': "version: 1.4", "environment: lab": "enviroment: lab"}
    project.write("inv/fleet.yml", text.replace(old, bad.get(old, "1: 2")))
    done = project.run("ansible-playbook", "-i", source, "play.yml")
    assert done.returncode == 4
    assert "nothing was touched" in done.stderr
    assert "  inv/fleet.yml: " in done.stderr
    assert "PLAY" not in done.stdout


@pytest.mark.parametrize(
    ("inventory", "reason"),
    [
        ("inventory: nowhere.yml", "there is no inv/nowhere.yml"),
        ("inventory: fleet.yml", "is a fleet itself"),
        ("inventory: [1]", "must be a file name"),
        ("inventory: group_vars/agentfactory.yml", "matches no host"),
    ],
)
def test_sources_that_cannot_be_used(project: Project, inventory: str, reason: str) -> None:
    text = (project.root / "inv/fleet.yml").read_text()
    project.write("inv/fleet.yml", text + inventory + "\n")
    done = project.run("ansible-inventory", "-i", "inv/fleet.yml", "--list")
    assert done.returncode == 4
    assert reason in done.stderr


def test_a_group_of_the_fleets_name_must_agree(project: Project) -> None:
    project.write("inv/hosts.yml", HOSTS + "    agent_thermostat: {hosts: {l1: }}\n")
    done = project.run("ansible-inventory", "-i", "inv/fleet.yml", "--list")
    assert done.returncode == 4
    assert "the inventory has a group agent_thermostat with a host that is not in it here: l1" in done.stderr


def test_without_a_readable_fleet_the_rollout_refuses(project: Project) -> None:
    """Ansible only warns about YAML that cannot be parsed: no plugin sees it."""
    project.write("inv/fleet.yml", "plugin: [")
    project.write("play.yml", "- {hosts: \"{{ lookup('agentfactory.core.rollout', 'stage') }}\", tasks: []}\n")
    done = project.run("ansible-playbook", "-i", "inv", "play.yml")
    assert done.returncode != 0
    assert "there is no fleet in this inventory" in done.stderr
    assert project.run("ansible-playbook", "-i", "inv", "play.yml", "--syntax-check").returncode == 0
