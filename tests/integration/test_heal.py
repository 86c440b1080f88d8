# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Healing on real hosts: the rulebook, run by the real ansible-rulebook, gets posts in the form of Alertmanager's webhook
(version 4), written here, and acts, or does not. The real Alertmanager posts to it in the demo.
"""

import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..unit import ports
from . import faults
from .harness import PORT, ROOT, Fleet, Host, Shelf, until

TOKEN = "token-of-the-test"
LOOPER, LONER = 18200, 18210
FINGERPRINT = {"AgentDown": "00000000000000d0", "AgentCrashLoop": "00000000000000c1", "HostDown": "00000000000000b2"}
HOOK = """
- name: Fail over
  hosts: "{{ failed_hosts | default([]) }}"
  gather_facts: false
  tasks:
    - name: Note for whom this was called
      ansible.builtin.copy:
        content: "{{ failed_hosts | join(' ') }}"
        dest: "%s"
        mode: "0600"
      delegate_to: localhost
"""


def alert(name: str, host: str, agent_id: str = "", environment: str = "it", **changes: Any) -> dict[str, Any]:
    """One alert of Alertmanager's webhook, version 4."""
    labels = {"alertname": name, "environment": environment, "host": host, "severity": "page"}
    if agent_id:
        labels |= {"agent": agent_id.partition("@")[0], "agent_id": agent_id}
    return {
        "status": "firing", "labels": labels, "annotations": {"summary": f"{agent_id or host} is not well"},
        "startsAt": "2026-11-24T12:00:00.000Z", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://monitor:9090/graph", "fingerprint": FINGERPRINT.get(name, "00000000000000e0"), **changes,
    }  # fmt: skip


class Healer:
    """A rulebook that listens, and its journal. Its programs are those of `tools/setup eda`, as of `make integration`."""

    def __init__(self, fleet: Fleet, folder: Path, port: int, **variables: Any) -> None:
        self.folder, self.port = folder, port
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        given = {
            "healing_port": port, "healing_certfile": str(folder / "cert.pem"), "healing_keyfile": str(folder / "key.pem"),
            "healing_directory": str(folder / "journal"), **variables,
        }  # fmt: skip
        (folder / "healing.yml").write_text(yaml.safe_dump(given))
        self.fleet = fleet
        self.begin()

    def begin(self) -> None:
        """Start the rulebook; it listens when this returns."""
        programs = ROOT / ".venv-eda" / "bin"
        environment = {
            **os.environ, "HEALING_TOKEN": TOKEN, "PATH": f"{programs}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0",
            # Connections of its own: those of the deploys go on waiting for half a minute for a host that is away.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.fleet.lab.folder / "healer"),
        }  # fmt: skip
        with open(self.folder / "log.txt", "ab") as log:
            self.process = subprocess.Popen(
                [programs / "ansible-rulebook", "--rulebook", "agentfactory.core.heal", "--inventory", self.fleet.file,
                 "--vars", self.folder / "healing.yml", "--env-vars", "HEALING_TOKEN"],
                cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            until(self._listens, "the rulebook listens")
        except BaseException:
            self.end()
            raise

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log()
        return self.post_raw(b"{}", token=None) == 401

    def post_raw(self, body: bytes, token: str | None = TOKEN) -> int:
        """The status of a request; 0 where nobody answers."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}/", data=body, headers=headers)
        try:
            context = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def post(self, *alerts: Any, **more: Any) -> int:
        document = {
            "version": "4",
            "status": "firing",
            "receiver": "healer",
            "groupLabels": {},
            "alerts": list(alerts),
            **more,
        }
        return self.post_raw(json.dumps(document).encode())

    def journal(self) -> list[dict[str, Any]]:
        path = self.folder / "journal" / "healing.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def decided(self, count: int) -> dict[str, Any]:
        """The last of `count` decisions, once there are as many."""
        until(lambda: len(self.journal()) >= count or self.process.poll() is not None, f"{count} decisions")
        assert len(self.journal()) == count, self.log()
        return self.journal()[-1]

    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


@pytest.fixture(scope="module")
def sick(module_fleet: Fleet, shelf: Shelf, hosts: list[Host]) -> Fleet:
    """On the first host a looper, which crashes since its update, and a loner, which has but one release and crashes too."""
    first, second = hosts[0].name, hosts[1].name
    for name, port in (("looper", LOOPER), ("loner", LONER)):
        shelf.put(name=name, ports={"http": port})
    shelf.put(name="looper", version="1.1.0", ports={"http": LOOPER})
    agents: dict[str, dict[str, Any]] = {
        "probe-agent": {"hosts": f"{first},{second}", "instances": 2},
        "looper": {"hosts": first}, "loner": {"hosts": first, "config": {"obedient": True}},
    }  # fmt: skip
    module_fleet.write(agents).deploy().ok()
    agents["looper"] |= {"version": "1.1.0", "config": {"obedient": True}}
    module_fleet.write(agents).deploy().ok()
    for name in ("looper", "loner"):
        hosts[0].sh(f"umask 022; echo die > /var/lib/agentfactory/{name}/0/trouble")
    for name in ("looper", "loner"):
        until(lambda n=name: int(hosts[0].show(f"{n}@0")["NRestarts"]) >= 1, f"{name} crashes")
    return module_fleet


@pytest.fixture(scope="module")
def healer(sick: Fleet, hosts: list[Host], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Healer]:
    folder = tmp_path_factory.mktemp("healer")
    hook = folder / "hook.yml"
    hook.write_text(HOOK % (folder / "failed-over"))
    made = Healer(sick, folder, ports.free(), healing_failover=str(hook), healing_hosts_per_hour=2)
    try:
        yield made
    finally:
        made.end()


def running(host: Host, port: int) -> str:
    """The version that answers; empty where nothing does."""
    status, said = host.get(port)
    return str(said["version"]) if status == 200 else ""


def by_healer(host: Host) -> list[tuple[str, str, str, str]]:
    """What the host remembers of the healer: agent id, from, to, who."""
    return [
        (item["agent_id"], item["from"].partition("-")[0], item["to"].partition("-")[0], item["who"]["user"])
        for item in host.history()
        if item["who"]["user"].startswith("healer")
    ]


def test_an_agent_that_is_down_is_restarted_once(healer: Healer, hosts: list[Host]) -> None:
    host, other = hosts[0], hosts[0].agent()["pid"]
    expected = [("probe-agent@1", "1.0.0", "1.0.0", "healer: AgentDown 00000000000000d0")]
    host.sh("systemctl stop agentfactory-probe-agent@1")
    assert healer.post(alert("AgentDown", host.name, "probe-agent@1")) == 200
    until(lambda: by_healer(host) == expected, "the host remembers the healer")
    assert host.agent(PORT + 1)["id"] == "probe-agent@1"
    assert host.agent()["pid"] == other, "its other instance was left alone"
    host.sh("systemctl stop agentfactory-probe-agent@1")
    assert healer.post(alert("AgentDown", host.name, "probe-agent@1")) == 200
    again = healer.decided(2)
    assert (again["outcome"], again["action"]) == ("throttled", "restart"), again
    assert by_healer(host) == expected


def test_a_release_that_crashes_again_and_again_is_diagnosed_and_rolled_back(healer: Healer, hosts: list[Host]) -> None:
    assert healer.post(alert("AgentCrashLoop", hosts[0].name, "looper@0")) == 200
    until(lambda: running(hosts[0], LOOPER) == "1.0.0", "the release before it runs")
    assert ("looper@0", "1.1.0", "1.0.0", "healer: AgentCrashLoop 00000000000000c1") in until(
        lambda: by_healer(hosts[0])[1:], "the host remembers it"
    )
    (bundle,) = (healer.folder / "journal" / "bundles").glob("*.json")
    (found,) = json.loads(bundle.read_text())["instances"]
    assert found["agent_id"] == "looper@0"
    assert found["version"] == "1.1.0"


def test_the_only_release_is_diagnosed_and_stays(healer: Healer, hosts: list[Host]) -> None:
    bundles, before = healer.folder / "journal" / "bundles", by_healer(hosts[0])
    assert healer.post(alert("AgentCrashLoop", hosts[0].name, "loner@0")) == 200
    decided = healer.decided(4)
    assert (decided["outcome"], decided["action"]) == ("acts", "diagnose"), decided
    until(lambda: len(list(bundles.glob("*.json"))) == 2, "its bundle")
    assert by_healer(hosts[0]) == before


def test_a_host_that_answers_is_not_handed_on(healer: Healer, hosts: list[Host]) -> None:
    assert healer.post(alert("HostDown", hosts[0].name)) == 200
    decided = healer.decided(5)
    assert (decided["host"], decided["outcome"], decided["action"]) == (hosts[0].name, "nothing", ""), decided
    assert not (healer.folder / "failed-over").exists()


def test_a_host_that_is_down_is_handed_on_and_not_more_hosts_than_allowed(healer: Healer, hosts: list[Host]) -> None:
    """Also a rulebook that is started anew knows what was done: to which agents, and on how many hosts."""
    called, away = healer.folder / "failed-over", hosts[1:3]
    try:
        for host in away:
            faults.podman("kill", host)
        assert healer.post(alert("AgentDown", away[0].name, "probe-agent@0"), alert("HostDown", away[0].name)) == 200
        until(called.exists, "the hook is called")
        healer.decided(7)
        healer.end()
        healer.begin()
        assert healer.post(alert("HostDown", away[1].name), alert("AgentDown", hosts[0].name, "probe-agent@1")) == 200
        healer.decided(9)
    finally:
        for host in away:
            faults.boot(host)
    until(lambda: hosts[1].get()[0] == 200, "its agent boots")
    assert [(one["host"], one["outcome"], one["action"]) for one in healer.journal()[5:]] == [
        (hosts[1].name, "unreachable", ""), (hosts[1].name, "acts", "failover"),
        (hosts[2].name, "throttled", "failover"), (hosts[0].name, "throttled", "restart"),
    ]  # fmt: skip
    assert called.read_text() == hosts[1].name


@pytest.mark.parametrize("token", [None, "wrong", TOKEN + "x"])
def test_without_the_token_nobody_is_heard(healer: Healer, hosts: list[Host], token: str | None) -> None:
    body = json.dumps({"alerts": [alert("AgentDown", hosts[0].name, "probe-agent@1")]}).encode()
    assert healer.post_raw(body, token=token) == 401


def test_what_an_alert_says_is_outside_input(healer: Healer, hosts: list[Host], tmp_path: Path) -> None:
    """Every one of them is sent; the last is refused in its turn, so all before it were dealt with."""
    before, host, mark = by_healer(hosts[0]), hosts[0].name, tmp_path / "mark"
    template = "{{ lookup('pipe', 'touch %s') }}" % mark
    decided = len(healer.journal())
    for body in (
        b"",
        b"[]",
        b'"text"',
        b"{",
        b'{"alerts": 7}',
        b'{"alerts": ["text", null, [7]]}',
        b'{"alerts": {"status": "firing"}}',
    ):
        healer.post_raw(body)
    assert healer.post(alert("AgentDown", host, "probe-agent@1", padding="x" * (1 << 20))) == 413
    assert healer.post(
        alert("AgentDown", host, "probe-agent@1", status="resolved"), alert("AgentDown", host, labels="text"),
        alert("AgentDown", host, labels=[template]), alert("AgentDown", host, labels={"alertname": ["AgentDown"]}),
        alert("AgentUnhealthy", host, "probe-agent@1"),
    ) == 200  # fmt: skip
    refused = [
        alert("AgentDown", template, "probe-agent@1", annotations={"summary": template}, meta={"hosts": template}),
        alert("AgentDown", host, f"probe-agent@1; touch {mark}\n", **{template: template}),
        alert("AgentDown", host, "probe-agent@1", fingerprint=template),
        alert("AgentDown", host, "x" * 250_000, meta={"hosts": "all"}),
        alert("HostDown", host, labels={"alertname": "HostDown", "host": [host]}),
        alert("AgentDown", "nowhere", "probe-agent@1"),
        alert("AgentDown", host, "probe-agent@1", environment="production"),
        alert("AgentDown", host, "ghost@0"),
    ]
    assert healer.post(*refused) == 200
    assert healer.decided(decided + len(refused))["reason"] == "agent_id is not declared on that host"
    assert {item["outcome"] for item in healer.journal()[decided:]} == {"refused"}
    assert "the alert is refused: fingerprint is not 16 hexadecimal digits" in healer.log()
    assert not mark.exists()
    assert by_healer(hosts[0]) == before
    assert healer.process.poll() is None


@pytest.mark.parametrize("dry", [("--check",), ("-e", "healing_dry_run=true")], ids=["check", "dry run"])
def test_a_dry_run_says_what_it_would_do(
    healer: Healer, sick: Fleet, hosts: list[Host], tmp_path: Path, dry: tuple[str, ...]
) -> None:
    host, before = hosts[0], hosts[0].history()
    given = ("alert=AgentDown", f"host={host.name}", "agent_id=probe-agent@1", f"healing_directory={tmp_path}")
    result = sick.run("heal", *(part for value in given for part in ("-e", value)), *dry).ok()
    assert "AgentDown of probe-agent@1 on " + host.name + ": would restart: it is stopped" in result.output
    assert host.history() == before
    assert host.show("probe-agent@1")["ActiveState"] == "inactive"
    (kept,) = (json.loads(line) for line in (tmp_path / "healing.jsonl").read_text().splitlines())
    assert kept["outcome"] == "would"
