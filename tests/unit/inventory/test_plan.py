# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbook plan in real runs, and the fleet that is read with a plan or refused with it; no host is contacted."""

import json
import subprocess
from pathlib import Path

import pytest

from .. import ansible_programs, prometheus_server

MANIFEST = """
name: gateway
version: "1.0"
command: [gateway]
ports: {http: 8080}
health: {http: {port: http}, start_timeout: 20, bake: 3}
resources: {cpu: 0.5, memory: 128M}
"""
HOSTS = """
all:
  vars: {agentfactory_capacity: {cpu: "{{ cores }}", memory: 1G}, cores: 2}
  hosts: {h1: {agentfactory_zone: a}, h2: {agentfactory_zone: b}, h3: {agentfactory_zone: c}}
"""
FLEET = """
plugin: agentfactory.core.fleet
environment: lab
artifacts: ../dist
agents:
  gateway:
    version: "1.0"
    source: ../gateway
    hosts: all
    count: auto
    config: {}
    load: {rate: 40, service_time: 0.06}
    slo: {below: 0.2}
"""


class Project:
    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("inv", "gateway"):
            (root / name).mkdir()
        (root / "gateway/agent.yml").write_text(MANIFEST)
        (root / "inv/hosts.yml").write_text(HOSTS)
        self.fleet = root / "inv/fleet.yml"
        self.fleet.write_text(FLEET)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return ansible_programs.run(self.root, *command)

    def plan(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ("ansible-playbook", "agentfactory.core.plan", "-i", "inv/hosts.yml", "-e", "fleet=inv/fleet.yml")
        return self.run(*command, *arguments)

    def inventory(self, *arguments: str, source: str = "inv/fleet.yml") -> subprocess.CompletedProcess[str]:
        return self.run("ansible-inventory", "-i", source, "--list", *arguments)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("plan"))


def test_a_plan_is_written_once_and_read_by_the_fleet(project: Project) -> None:
    file, page = project.root / "plan.json", project.root / "plan.html"
    dry = project.plan("--check")
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert "plan.json would be written" in dry.stdout
    assert not file.exists()
    made = project.plan("-e", "format=html")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "gateway  5 (auto)  5" in made.stdout
    assert page.read_text().startswith("<!doctype html>")
    again = project.plan("-e", "format=html")
    assert "plan.json is as it was" in again.stdout
    assert "changed=0" in again.stdout
    assert not (project.root / "inv/placement.yml").exists(), "a plan moves nothing"

    without = project.inventory()
    assert without.returncode == 4
    assert "run the plan first" in without.stderr
    with_it = project.inventory("-e", "plan=plan.json", source="inv")
    assert "WARNING" not in with_it.stderr, "the plan is in no directory of hosts"
    hostvars = json.loads(with_it.stdout)["_meta"]["hostvars"]
    runs = {
        name: [int(i["__ansible_unsafe"]) for i in v["agentfactory_agents"][0]["instances"]]
        for name, v in hostvars.items()
    }
    assert runs == json.loads(file.read_text())["placement"]["gateway"]


def test_a_fleet_that_moved_is_refused_before_anything_is_done(project: Project) -> None:
    if not (project.root / "plan.json").exists():
        assert project.plan().returncode == 0
    project.fleet.write_text(FLEET.replace("config: {}", "config: {x: 1}").replace("rate: 40", "rate: 50"))
    refused = project.run("ansible-playbook", "agentfactory.core.deploy", "-i", "inv/fleet.yml", "-e", "plan=plan.json")
    project.fleet.write_text(FLEET)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "nothing was touched (2 problems)" in refused.stderr
    for key in ("config", "load"):
        assert f"plan.json: agents.gateway.{key}: has changed since the plan was made; plan again" in refused.stderr


def test_what_hosts_are_given_is_part_of_a_plan(project: Project) -> None:
    """Wherever it is given: a plan is made with the hosts' file, and carried out with the fleet's, beside which it may be."""
    variables, hosts = project.root / "inv/group_vars/all.yml", project.root / "inv/hosts.yml"
    variables.parent.mkdir()
    variables.write_text("point: 1\n")
    project.fleet.write_text(FLEET.replace("config: {}", "config: {x: '{{ of_all }}'}"))
    named = HOSTS.replace("cores: 2", "cores: 2, of_all: '{{ point }}'")
    hosts.write_text(named)
    try:
        made = project.plan("-e", "output=inv/plan.json", "-e", "format=html")
        assert made.returncode == 0, made.stdout + made.stderr
        assert project.inventory("-e", "plan=inv/plan.json").returncode == 0
        hosts.write_text(named.replace("zone: c", "zone: b"))
        variables.write_text("point: 2\nagentfactory_reserved: {cpu: 0.1}\n")
        refused = project.inventory("-e", "plan=inv/plan.json")
        assert refused.returncode == 4
        for what, more in (
            ("h3.agentfactory_zone", ": it was c, and is b"),
            ("h1.agentfactory_reserved", ": it was None, and is {'cpu': 0.1}"),
            ("h2.point, which a configuration names", ""),
        ):
            assert f"inv/plan.json: {what}: has changed since the plan was made{more}; plan again" in refused.stderr
    finally:
        variables.unlink()
        hosts.write_text(HOSTS)
        project.fleet.write_text(FLEET)
        (project.root / "inv/plan.json").unlink()
        (project.root / "inv/plan.html").unlink()


def test_questions_that_cannot_be_answered(project: Project) -> None:
    for arguments, reason in (
        (("-e", "drain=h9"), "drain: h9 is no host of the fleet"),
        (("-e", "lose_zone=z"), "lose_zone: no host is in zone z; zones are a, b, c"),
        (("-e", "cores=0.5"), "no place for 2 of gateway"),
    ):
        failed = project.plan("-e", f"output={project.root}/none.json", *arguments)
        assert failed.returncode == 2, failed.stdout
        assert reason in failed.stdout + failed.stderr
        assert not (project.root / "none.json").exists()


def test_from_a_prometheus_without_data_nothing_is_recommended(project: Project, tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text("global: {}\n")
    measured = "load: {metrics: {requests: http_requests_total, busy: http_requests_in_progress}}"
    project.fleet.write_text(FLEET.replace("load: {rate: 40, service_time: 0.06}", measured))
    with prometheus_server.running(tmp_path) as address:
        refused = project.plan("-e", f"agentfactory_prometheus_url=http://{address}")
    nobody = project.plan()
    project.fleet.write_text(FLEET)
    for answer, reason in (
        (refused, "count: auto: requests: no data"),
        (nobody, "there is no Prometheus to ask: give url"),
    ):
        assert answer.returncode == 2, answer.stdout
        assert reason in answer.stdout + answer.stderr
