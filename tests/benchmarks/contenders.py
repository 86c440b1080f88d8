# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is compared: what each needs beforehand, and the command that each is for a case."""

import json
import shlex
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import job
import yaml
from jinja2 import Environment, StrictUndefined
from measure import BenchError, Command, Host

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / ".venv/collections"))
PORTS = {"bench-raw": 21000, "bench-role": 22000, "bench-pyinfra": 23000, "ours": 24000}


@dataclass(frozen=True)
class Case:
    """How many agents a host, and of which version."""

    name: str
    agents: int
    version: str
    changes: bool

    @property
    def fleet(self) -> str:
        return f"{self.agents}-{self.version}"


CASES = {
    case.name: case
    for case in (
        Case("deploy", 1, "old", True), Case("noop", 1, "old", False), Case("update", 1, "new", True),
        Case("five", 5, "old", True), Case("five-noop", 5, "old", False),
    )
}  # fmt: skip


class Site:
    """The lab's hosts and the directory with all that was prepared."""

    def __init__(self, work: Path, hosts: list[Host], variables: dict[str, Any]) -> None:
        self.work, self.hosts, self.variables = work, hosts, variables
        self.inventory = work / "lab" / "hosts.yml"
        self.known_hosts = work / "lab" / "known_hosts.txt"

    def agents(self, by: str, case: Case) -> list[dict[str, Any]]:
        version = job.VERSIONS[case.version]
        return [{"name": f"a{n}", "version": version, "port": PORTS[by] + n} for n in range(1, case.agents + 1)]

    # -- beforehand -----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        for case in CASES.values():
            for agent in self.agents("ours", case):
                source = self.work / "src" / f"{agent['name']}-{agent['version']}"
                if not source.exists():
                    job.archive(job.write(self.work / "src", agent["name"], agent["port"], agent["version"]))
        for case in CASES.values():
            if case.changes:
                self._fleet(case, self.work / f"fleet-{case.fleet}" / "fleet.yml", "../lab/hosts.yml")
                self._raw(case)
                self._play(case)
                self._pyinfra(case)

    def _fleet(self, case: Case, path: Path, inventory: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        agents = {
            agent["name"]: {
                "version": agent["version"], "hosts": "all", "source": f"../src/{agent['name']}-{agent['version']}",
                "secrets": {"token": job.SECRET}, "rollout": {"waves": ["100%"]},
            }
            for agent in self.agents("ours", case)
        }  # fmt: skip
        path.write_text(json.dumps({
            "plugin": "agentfactory.core.fleet", "inventory": inventory, "environment": "bench", "artifacts": "../artifacts",
            "agents": agents,
        }, indent=1))  # fmt: skip
        run(["ansible-playbook", "agentfactory.core.package", "-i", str(path)])

    def grow(self, names: int) -> Path:
        """A fleet of many names for the hosts there are, each with SSH connections of its own."""
        place = self.work / f"fleet-of-{names}"
        place.mkdir(exist_ok=True)
        hosts = {}
        for number in range(names):
            host = self.hosts[number % len(self.hosts)]
            name = host.name if number < len(self.hosts) else f"{host.name}-{number}"
            hosts[name] = {"ansible_host": host.address, "ansible_control_path": f"%(directory)s/{number}"}
        (place / "hosts.yml").write_text(json.dumps({"all": {"vars": self.variables, "hosts": hosts}}))
        self._fleet(CASES["noop"], place / "fleet.yml", "hosts.yml")
        return place / "fleet.yml"

    def sandbox(self) -> str:
        from ansible_collections.agentfactory.core.plugins.module_utils import unit

        return unit.SANDBOX

    def _raw(self, case: Case) -> None:
        templates = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
        place = self.work / f"raw-{case.fleet}"
        place.mkdir(exist_ok=True)
        agents = self.agents("bench-raw", case)
        for agent in agents:
            for kind, name in (("config", "config.json.j2"), ("service", "unit.service.j2")):
                text = (HERE / "role" / "templates" / name).read_text()
                values = {"agent": agent, "by": "bench-raw", "sandbox": self.sandbox()}
                (place / f"{agent['name']}.{kind}").write_text(templates.from_string(text).render(values))
            (place / f"{agent['name']}.token").write_text(job.SECRET)
        (place / "agents").write_text("".join(f"{a['name']} {a['version']} {a['port']}\n" for a in agents))
        with tarfile.open(place / "all.tar.gz", "w:gz", compresslevel=6) as tar:
            for path in [HERE / "install.sh", HERE / "health.sh", *(p for p in place.iterdir() if p.suffix != ".gz")]:
                tar.add(path, path.name)
            for agent in agents:
                tar.add(
                    self.work / "src" / f"{agent['name']}-{agent['version']}", f"{agent['name']}-{agent['version']}"
                )

    def _play(self, case: Case) -> None:
        common = {
            "by": "bench-role",
            "archives": str(self.work / "src"),
            "secret": job.SECRET,
            "sandbox": self.sandbox(),
        }
        roles = [{"role": str(HERE / "role"), "vars": {"agent": agent}} for agent in self.agents("bench-role", case)]
        play = {
            "name": "The job",
            "hosts": "all",
            "gather_facts": False,
            "become": True,
            "vars": common,
            "roles": roles,
        }
        (self.work / f"role-{case.fleet}.yml").write_text(json.dumps([play], indent=1))

    def _pyinfra(self, case: Case) -> None:
        data = {
            "agents": self.agents("bench-pyinfra", case), "by": "bench-pyinfra", "archives": str(self.work / "src"),
            "secret": job.SECRET, "sandbox": self.sandbox(), "templates": str(HERE / "role" / "templates"),
            "health": (HERE / "health.sh").read_text(), "ssh_user": "root", "ssh_key": self.variables["ansible_ssh_private_key_file"],
            "ssh_known_hosts_file": str(self.known_hosts), "ssh_strict_host_key_checking": "yes",
        }  # fmt: skip
        hosts = [(host.address, data) for host in self.hosts]
        (self.work / f"pyinfra_{case.agents}_{case.version}.py").write_text(f"hosts = {hosts!r}\n")

    # -- the commands ---------------------------------------------------------------------------------------------

    def ping(self, _case: Case) -> Command:
        return Command(["ansible-playbook", "-i", str(self.inventory), str(HERE / "ping.yml")])

    def raw(self, case: Case) -> Command:
        options = ["-i", self.variables["ansible_ssh_private_key_file"], "-o", f"UserKnownHostsFile={self.known_hosts}"]
        what = ["deploy", str(self.work / f"raw-{case.fleet}" / "all.tar.gz")]
        if not case.changes:
            what = ["check", " ".join(str(agent["port"]) for agent in self.agents("bench-raw", case))]
        addresses = [host.address for host in self.hosts]
        return Command(
            ["bash", str(HERE / "raw.sh"), *what, *addresses],
            {"SSH_OPTIONS": shlex.join([*options, "-o", "BatchMode=yes"])},
        )

    def role(self, case: Case) -> Command:
        return Command(["ansible-playbook", "-i", str(self.inventory), str(self.work / f"role-{case.fleet}.yml")])

    def pyinfra(self, case: Case) -> Command:
        inventory = self.work / f"pyinfra_{case.agents}_{case.version}.py"
        program = str(ROOT / ".venv-bench" / "bin" / "pyinfra")
        return Command([program, "-y", "--parallel", "10", str(inventory), str(HERE / "pyinfra_deploy.py")])

    def ours(self, case: Case) -> Command:
        return deploy(self.work / f"fleet-{case.fleet}" / "fleet.yml")

    def contenders(self) -> dict[str, Any]:
        return {"ping": self.ping, "raw": self.raw, "role": self.role, "pyinfra": self.pyinfra, "ours": self.ours}


def deploy(fleet: Path, *more: str) -> Command:
    return Command(["ansible-playbook", "agentfactory.core.deploy", "-i", str(fleet), *more])


def run(argv: list[str]) -> str:
    """The output of a command that is not measured."""
    done = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def inventory_of(work: Path) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """The lab's hosts as {name, address, container}, and their common variables."""
    (lab,) = yaml.safe_load((work / "lab" / "hosts.yml").read_text()).values()
    found = [
        {"name": name, "address": values["ansible_host"], "container": values["lab_container"]}
        for group in lab["children"].values()
        for name, values in group["hosts"].items()
    ]
    return found, lab["vars"]
