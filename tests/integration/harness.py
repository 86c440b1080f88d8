# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests on real hosts are written with: hosts, a shelf of artifacts, fleets, runs of playbooks, load."""

import http.client
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ansible_collections.agentfactory.core.plugins.plugin_utils import package as _package

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent.parent
AGENTS = ROOT / "tests" / "fixtures" / "agents"
PLATFORMS = ("linux/amd64+glibc2.31+py3.9", "linux/amd64+glibc2.36+py3.11", "linux/amd64+glibc2.41+py3.13")
ENVIRONMENT = "it"
PORT = 18080
"""of probe-agent; its instance n has PORT + n"""

# Everything of the factory on a host, one line each: what `destroy -e purge=true` must leave nothing of.
LEFTOVERS = r"""
systemctl list-units --all --plain --no-legend 'agentfactory-*' | awk '{print "unit " $1}'
ls -d /etc/systemd/system/agentfactory-* /etc/systemd/system/*.wants/agentfactory-* \
      /run/systemd/system/agentfactory-* /run/systemd/system.control/agentfactory-* \
      /opt/agentfactory /run/agentfactory /var/lib/agentfactory 2>/dev/null
getent passwd | awk -F: '/^af-/ {print "user " $1}'
getent group | awk -F: '/^af-/ {print "group " $1}'
nft list tables 2>/dev/null | grep agentfactory
ls -d /sys/fs/cgroup/*/agentfactory*.slice /sys/fs/cgroup/agentfactory*.slice 2>/dev/null
ss -Htlnp | awk '$4 ~ /:1[89][0-9][0-9][0-9]$/ {print "listener " $4 " " $6}'
true
"""
# The hard way, for hosts that a failed test has left in any condition.
WIPE = r"""
systemctl stop 'agentfactory-*' 2>/dev/null
systemctl kill -s KILL 'agentfactory-*' 2>/dev/null
rm -rf /etc/systemd/system/agentfactory-* /etc/systemd/system/*.wants/agentfactory-* /run/systemd/system/agentfactory-* \
       /run/systemd/system.control/agentfactory-* /opt/agentfactory /run/agentfactory /var/lib/agentfactory
systemctl daemon-reload
systemctl stop 'agentfactory-*' 2>/dev/null
systemctl reset-failed 'agentfactory-*' 2>/dev/null
for user in $(getent passwd | awk -F: '/^af-/ {print $1}'); do pkill -KILL -u "$user"; userdel "$user"; done
for group in $(getent group | awk -F: '/^af-/ {print $1}'); do groupdel "$group"; done
nft delete table inet agentfactory 2>/dev/null
true
"""


def until(look: Callable[[], T], what: str, seconds: float = 300) -> T:
    """The first true thing that `look` returns; fails the test when there is none in time.

    The deadline is for what never comes. It says nothing of how long anything takes: the machine may be very busy.
    """
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return seen


def program(name: str) -> str:
    """A program of the environment that runs the tests."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


# -- hosts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Host:
    """A lab host. `sh` goes in by podman, so it works without SSH and is not seen by sshd."""

    name: str
    address: str
    container: str
    release: str

    def sh(self, script: str, *, check: bool = True, data: str = "") -> str:
        """Run a shell script as root; its output. With `check`, a failure fails the test."""
        command = ["podman", "exec", "-i", self.container, "sh", "-c", script]
        done = subprocess.run(
            command, check=False, input=data, capture_output=True, text=True, errors="replace", timeout=300
        )
        assert not check or done.returncode == 0, f"{self.name}: {script!r}: exit {done.returncode}: {done.stderr}"
        return done.stdout.strip()

    def get(self, port: int = PORT, path: str = "/", timeout: float = 20) -> tuple[int, Any]:
        """Status and JSON of an HTTP request from this machine; (0, reason) where there is no answer."""
        try:
            with urllib.request.urlopen(f"http://{self.address}:{port}{path}", timeout=timeout) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, None
        except (OSError, ValueError, http.client.HTTPException) as error:
            return 0, str(error)

    def agent(self, port: int = PORT) -> dict[str, Any]:
        """What probe-agent says of itself."""
        status, said = self.get(port)
        assert status == 200, f"{self.name}:{port}: {status} {said}"
        return dict(said)

    def take_port(self, port: int) -> None:
        """Have a process of somebody else listen there, until `free_port`."""
        self.sh(f"systemd-run --quiet --collect --unit=foreign python3 -m http.server {port}")
        until(lambda: f":{port}" in self.sh("ss -Htln"), f"somebody else listens on port {port}")

    def free_port(self) -> None:
        self.sh("systemctl stop foreign", check=False)

    def show(self, agent_id: str) -> dict[str, str]:
        """All properties of an instance's unit."""
        lines = self.sh(f"systemctl show agentfactory-{agent_id}.service").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def releases(self, agent_id: str) -> set[str]:
        """The names of the releases that are kept of an instance."""
        return set(self.sh(f"ls /opt/agentfactory/agents/{agent_id.replace('@', '/')}/releases", check=False).split())

    def sessions(self) -> int:
        """How many commands sshd has run so far: each is one call of the controller."""
        return int(self.sh("journalctl -q -o cat -u ssh | grep -c 'Starting session: command'", check=False) or 0)

    def history(self) -> list[dict[str, Any]]:
        lines = self.sh("cat /var/lib/agentfactory/.factory/history.jsonl", check=False).splitlines()
        return [json.loads(line) for line in lines]

    def leftovers(self) -> list[str]:
        return self.sh(LEFTOVERS).splitlines()

    def wipe(self) -> None:
        self.sh(WIPE)


@dataclass
class Lab:
    """The hosts, and where their inventory is. `folder` is for short-lived files (its path must stay short)."""

    inventory: Path
    folder: Path

    @cached_property
    def _listed(self) -> dict[str, Any]:
        command = [program("ansible-inventory"), "-i", str(self.inventory / "hosts.yml"), "--list"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        return dict(json.loads(done.stdout))

    @cached_property
    def hosts(self) -> list[Host]:
        """In the order of Debian's releases."""
        found = []
        for name, values in self._listed["_meta"]["hostvars"].items():
            groups = (
                group.rpartition("_")[2] for group, value in self._listed.items() if name in value.get("hosts", [])
            )
            release = next(group for group in groups if group in ("bullseye", "bookworm", "trixie"))
            found.append(Host(name, values["ansible_host"], values["lab_container"], release))
        return sorted(found, key=lambda host: (["bullseye", "bookworm", "trixie"].index(host.release), host.name))

    def on_all(self, work: Callable[[Host], T]) -> list[T]:
        """The same on all hosts at once; results in their order."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            return list(pool.map(work, self.hosts))


# -- artifacts --------------------------------------------------------------------------------------------------------


@dataclass
class Shelf:
    """Packaged agents in a directory. What was packaged once is not packaged again."""

    folder: Path

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def put(
        self, agent: str = "probe-agent", version: str = "1.0.0", *, name: str = "",
        platforms: tuple[str, ...] = PLATFORMS, **changes: Any,
    ) -> str:  # fmt: skip
        """Package a copy of a fixture agent under this name and version; returns the version.

        `changes` go into its agent.yml, mappings one level deep: ``health={"bake": 1}``.
        By default it bakes for a second, and may take its time to start: the machine may be busy.
        All tests share the shelf: asking for something else under a version that is on it is an error.
        """
        name = name or agent
        packaged = self.artifacts / name / "packaged" / version
        asked = json.dumps([agent, platforms, changes])
        if packaged.exists():
            assert packaged.read_text() == asked, f"{name} {version} is on the shelf already, made from something else"
            return version
        source = self.folder / "sources" / f"{name}-{version}"
        shutil.copytree(AGENTS / agent, source)
        manifest = yaml.safe_load((source / "agent.yml").read_text())
        for key, value in {**changes, "health": {"bake": 1, "start_timeout": 60, **changes.get("health", {})}}.items():
            manifest[key] = {**manifest.get(key, {}), **value} if isinstance(value, dict) else value
        manifest.update(name=name, version=version)
        (source / "agent.yml").write_text(yaml.safe_dump(manifest))
        (source / "VERSION").write_text(version + "\n")  # each version has a tree of its own
        _package.package(_package.Request(str(source), str(self.artifacts), platforms=platforms))
        packaged.parent.mkdir(exist_ok=True)
        packaged.write_text(asked)
        return version


# -- fleets and runs --------------------------------------------------------------------------------------------------


@dataclass
class Result:
    """One run of a playbook. `results` are the recorded task results, `recap` the counts of each host."""

    rc: int
    output: str
    seconds: float
    results: list[dict[str, Any]] = field(default_factory=list)
    recap: dict[str, dict[str, int]] = field(default_factory=dict)

    def ok(self) -> "Result":
        """Itself, if the run went well."""
        assert self.rc == 0, self.output
        return self

    def failed(self) -> "Result":
        """Itself, if the run failed as runs do: 2 for failed hosts, 4 for unreachable ones or an inventory that is wrong."""
        assert self.rc in (2, 4), f"exit {self.rc}\n{self.output}"
        return self

    @property
    def changed(self) -> int:
        """Changed tasks on all hosts."""
        return sum(counts["changed"] for counts in self.recap.values())

    def of(self, host: Host | str, action: str = "") -> Iterator[dict[str, Any]]:
        """The results on a host of an action (`agent_release` ...), oldest first."""
        name = host if isinstance(host, str) else host.name
        for item in self.results:
            if item["host"] == name and item["action"].endswith(action):
                yield item["result"]

    def changes(self, host: Host | str, action: str = "") -> list[str]:
        """The lines of `changes` on a host."""
        return [line for result in self.of(host, action) for line in result.get("changes", [])]

    def instances(self, host: Host | str) -> dict[str, dict[str, Any]]:
        """What agent_service says of each instance it switched (the last word on each), by agent id."""
        found = {}
        for result in self.of(host, "agent_service"):
            for item in result.get("instances", []):
                found[f"{item['agent']}@{item['instance']}"] = item
        return found

    def verdict(self, host: Host | str) -> str:
        """The message with which the run failed on a host."""
        return "\n".join(str(result["msg"]) for result in self.of(host) if result.get("failed"))


@dataclass
class Fleet:
    """A fleet.yml of its own, and runs of playbooks on it."""

    lab: Lab
    shelf: Shelf
    folder: Path
    hosts_file: Path | None = None

    @property
    def file(self) -> Path:
        return self.folder / "fleet.yml"

    def write(self, agents: Mapping[str, Mapping[str, Any]] | None = None, **keys: Any) -> "Fleet":
        """Declare agents. Where nothing else is said: version 1.0.0 on all hosts, with a token, all hosts in one wave."""
        declared = {}
        for name, given in (agents if agents is not None else {"probe-agent": {}}).items():
            usual = {
                "version": "1.0.0",
                "hosts": "all",
                "secrets": {"token": "a-token"},
                "rollout": {"waves": ["100%"]},
            }
            declared[name] = {**usual, **given}
            if declared[name].get("state") == "absent":
                declared[name].pop("secrets")
        document = {
            "plugin": "agentfactory.core.fleet", "inventory": str(self.hosts_file or self.lab.inventory / "hosts.yml"),
            "environment": ENVIRONMENT, "artifacts": str(self.shelf.artifacts), "agents": declared, **keys,
        }  # fmt: skip
        self.file.write_text(yaml.safe_dump(document, sort_keys=False))
        return self

    def start(
        self, verb: str | Path, *arguments: str, env: Mapping[str, str] | None = None, inventory: Path | None = None
    ) -> "Run":
        """Begin a run of the playbook agentfactory.core.<verb>, or of a file; for what must happen in its midst.

        `inventory`: other than the fleet.
        """
        record = self.folder / f"results-{time.monotonic_ns()}.jsonl"
        record.touch()
        environment = {
            **os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", "RECORD_RESULTS": str(record),
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback_plugins"), "ANSIBLE_CALLBACKS_ENABLED": "record",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.lab.folder / "cp"), "ANSIBLE_LOG_PATH": str(self.folder / "ansible.log"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **(env or {}),
        }  # fmt: skip
        command = [
            program("ansible-playbook"),
            str(verb) if isinstance(verb, Path) else f"agentfactory.core.{verb}",
            "-i",
            str(inventory or self.file),
            *arguments,
        ]
        output = open(record.with_suffix(".txt"), "wb")  # noqa: SIM115
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        output.close()
        return Run(process, record, time.monotonic())

    def run(self, verb: str | Path, *arguments: str, **more: Any) -> Result:
        """Run a playbook to its end."""
        return self.start(verb, *arguments, **more).end()

    def deploy(self, *arguments: str, **more: Any) -> Result:
        return self.run("deploy", *arguments, **more)


@dataclass
class Run:
    """A playbook that is running."""

    process: "subprocess.Popen[bytes]"
    record: Path
    began: float

    def output(self) -> str:
        return self.record.with_suffix(".txt").read_text()

    def says(self, text: str, seconds: float = 240) -> None:
        """Wait until it has printed `text`."""

        def look() -> bool:
            return text in self.output() or self.process.poll() is not None

        until(look, f"{text!r} in the output", seconds)
        assert text in self.output(), self.output()

    def end(self, seconds: float = 900) -> Result:
        """Wait for its end."""
        try:
            rc = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"no end after {seconds} s:\n{self.output()}") from None
        result = Result(rc, self.output(), time.monotonic() - self.began)
        for line in self.record.read_text().splitlines():
            document = json.loads(line)
            if "recap" in document:
                result.recap = document["recap"]
            else:
                result.results.append(document)
        return result


def evidence(fleet: Fleet, host: Host, agent_id: str) -> dict[str, Any]:
    """Why the newest void release of an instance failed, as `status` tells it."""
    for result in fleet.run("status").ok().of(host, "agent_info"):
        row = next(item for item in result["instances"] if item["agent_id"] == agent_id)
        void = [release for release in row["releases"] if release["status"] == "void"]
        return {**void[-1]["evidence"], "release": void[-1]["release"]}
    raise AssertionError("no status")


# -- load -------------------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """One request: when it began and ended (s, monotonic), whether it was served, and by which release."""

    began: float
    ended: float
    served: bool
    release: str | None
    problem: str = ""


class Load:
    """Sequential requests to one port until the block ends, at most `limit`: each begins when the one before is over."""

    def __init__(self, host: Host, port: int, *, limit: int = 20000, pause: float = 0.01) -> None:
        self.host, self.port, self.limit, self.pause = host, port, limit, pause
        self.answers: list[Answer] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while len(self.answers) < self.limit and not self._stop.is_set():
            began = time.monotonic()
            status, said = self.host.get(self.port, timeout=60)  # slow on a busy machine is not lost
            release = said.get("release") if isinstance(said, dict) else None
            problem = "" if status == 200 else f"{status} {said}"
            self.answers.append(Answer(began, time.monotonic(), status == 200, release, problem))
            self._stop.wait(self.pause)

    @property
    def lost(self) -> list[Answer]:
        return [answer for answer in self.answers if not answer.served]

    @property
    def gap(self) -> float:
        """The longest time between two answers, in seconds."""
        times = [answer.ended for answer in self.answers if answer.served]
        return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)

    @property
    def releases(self) -> list[str]:
        """The releases that answered, in order, each named once in a row."""
        found: list[str] = []
        for answer in self.answers:
            if answer.release and found[-1:] != [answer.release]:
                found.append(answer.release)
        return found
