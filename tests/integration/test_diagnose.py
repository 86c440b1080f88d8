# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator sees of a fleet of which each agent is not well in another way: diagnose says in which, and why."""

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import Fleet, Host, Result, Shelf, until

SECRET = "the-secret-of-the-leaker"
AGENTS: dict[str, dict[str, Any]] = {
    "well": {},
    "eater": {"config": {"obedient": True}},
    "dier": {"config": {"obedient": True}},
    "squatted": {},
    "robbed": {},
    "leaker": {"config": {"leak_secret": True}, "secrets": {"token": SECRET}},
}
ALONE = {"waves": ["100%"], "max_failures": 3, "rollback": "none"}  # one that fails keeps no other from running
PORTS = {name: 18100 + 10 * number for number, name in enumerate(AGENTS)}
SQUAT = "systemd-run --quiet --collect --unit=squatter python3 -m http.server %d" % PORTS["squatted"]


@pytest.fixture(scope="module")
def ailing(module_fleet: Fleet, shelf: Shelf, hosts: list[Host]) -> Iterator[Fleet]:
    """One well agent, one that never was, and others that have got into trouble since they were deployed."""
    for name in AGENTS:
        shelf.put(name=name, ports={"http": PORTS[name]})
    declared = {name: {**given, "rollout": ALONE} for name, given in AGENTS.items()}
    module_fleet.write(declared).deploy().failed()
    try:
        for host in hosts:
            get_into_trouble(host)
        for host in hosts:
            for name in ("eater", "dier", "squatted"):
                until(lambda h=host, n=name: int(h.show(f"{n}@0")["NRestarts"]) >= 1, f"{host.name}: {name} ended")
        yield module_fleet
    finally:
        for host in hosts:
            host.sh("systemctl stop squatter", check=False)


def get_into_trouble(host: Host) -> None:
    for name, trouble in (("eater", "eat"), ("dier", "die")):
        host.sh(f"umask 022; echo {trouble} > /var/lib/agentfactory/{name}/0/trouble")
    host.sh(f"systemctl stop agentfactory-squatted@0 agentfactory-robbed@0 && {SQUAT}")
    host.sh(f"until ss -Htln | grep -q ':{PORTS['squatted']} '; do sleep 0.1; done")
    host.sh("rm /opt/agentfactory/agents/robbed/0/releases/*/credentials/token")
    host.sh("systemctl start --no-block agentfactory-squatted@0 agentfactory-robbed@0")


@pytest.fixture(scope="module")
def diagnosed(ailing: Fleet) -> Result:
    return ailing.run("diagnose", "-e", f"bundle={ailing.folder / 'bundles'}").ok()


EXPECTED = {
    "well": ("healthy", r"is healthy \(http port 18100 /healthz: status 200\); nothing to do"),
    "eater": ("out-of-memory", r"was killed .* for memory,? .* since .*; its limit is 64\.0 MiB"),
    "squatted": ("port-taken", r"port 18130 \(http\) is taken by uid 0 \(root\), python3 \(pid \d+\)"),
    "robbed": ("secret", "its secret token is missing on this host"),
    "leaker": ("void", r"release 1\.0\.0-[0-9a-f]{12} is void: "),
}


@pytest.mark.parametrize("agent", EXPECTED)
def test_each_trouble_is_named(diagnosed: Result, hosts: list[Host], agent: str) -> None:
    kind, text = EXPECTED[agent]
    for host in hosts:
        (answer,) = diagnosed.of(host, "agent_diagnosis")
        found = [finding for finding in answer["findings"] if finding["about"] == f"{agent}@0"]
        assert found[0]["kind"] == kind, found
        assert re.search(text, found[0]["text"]), found
        assert found[0]["text"] in diagnosed.output
        assert found[0]["next"] or agent == "well"


def test_how_one_that_ends_ended_is_told_with_its_last_words(diagnosed: Result, hosts: list[Host]) -> None:
    for host in hosts:
        (answer,) = diagnosed.of(host, "agent_diagnosis")
        found = next(finding for finding in answer["findings"] if finding["about"] == "dier@0")
        assert found["kind"] in ("crash-loop", "ended")  # as it may just run again
        assert re.search(r"ended with exit status 1.*, (once|\d times) since", found["text"]), found


def test_no_secret_leaves_a_host_and_bundles_are_their_owners(
    ailing: Fleet, diagnosed: Result, hosts: list[Host]
) -> None:
    files = sorted((ailing.folder / "bundles").iterdir())
    assert len(files) == 2 * len(hosts)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    everything = diagnosed.output + json.dumps(diagnosed.results) + "".join(path.read_text() for path in files)
    assert "again on stderr: ********" in everything, "the leaker's words are evidence"
    assert SECRET not in everything
    for host in hosts:
        (path,) = [path for path in files if path.name.startswith(f"{host.name}-") and path.suffix == ".json"]
        document = json.loads(path.read_text())
        robbed = next(item for item in document["instances"] if item["agent_id"] == "robbed@0")
        assert "secret token" in robbed["withheld"]
        assert robbed["journal"] == robbed["journal_before"] == []


def test_the_page_of_the_fleet_shows_it_all(ailing: Fleet, hosts: list[Host], tmp_path: Path) -> None:
    """What a browser makes of such a page is a unit test's; here it is made of what real hosts say."""
    path = tmp_path / "fleet.html"
    url = "agentfactory_prometheus_url=http://127.0.0.1:9"
    checked = ailing.run("status", "-e", "format=html", "-e", f"output={path}", "-e", url, "--check").ok()
    assert f"would write {path}" in checked.output
    assert not path.exists()
    result = ailing.run("status", "-e", "format=html", "-e", f"output={path}", "-e", url).ok()
    assert f"wrote {path}" in result.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (told,) = (item["result"] for item in result.results if item["action"].endswith("fleet_report"))
    assert told["path"] == str(path)
    text = path.read_text()
    assert text.count("<tr ") == len(AGENTS) * (len(hosts) + 1)
    assert "No lines of the last hours: http://127.0.0.1:9: Connection refused." in text
    listed = text[text.index('id="wrong"') : text.index('aria-label="Environment it"')]
    for host in hosts:
        assert re.search(rf"leaker@0</b> <span>on {host.name}: not activated", listed)
        assert not re.search(rf"well@0</b> <span>on {host.name}", listed)
    assert SECRET not in text


def test_a_run_is_one_call_and_changes_nothing(ailing: Fleet, hosts: list[Host], tmp_path: Path) -> None:
    calls = [host.sessions() for host in hosts]
    result = ailing.run(
        "diagnose", "-e", "agents=well", "-e", "format=json", "-e", f"bundle={tmp_path / 'b'}", "--check"
    ).ok()
    assert [host.sessions() - before for host, before in zip(hosts, calls, strict=True)] == [1] * len(hosts)
    assert {counts["changed"] for name, counts in result.recap.items()} <= {0, 1}
    assert not (tmp_path / "b").exists()
    printed = json.loads(result.output[result.output.index("[\n") : result.output.index("\n]") + 2])
    assert {item["name"]: [i["agent_id"] for i in item["instances"]] for item in printed} == {
        host.name: ["well@0"] for host in hosts
    }


def test_a_host_that_never_had_an_agent_and_one_that_is_away(ailing: Fleet, hosts: list[Host], tmp_path: Path) -> None:
    """The silent host is a name that leads nowhere; the other one is asked for an agent that it does not have."""
    away = tmp_path / "hosts.yml"
    away.write_text((ailing.lab.inventory / "hosts.yml").read_text().replace(hosts[0].address, "127.0.0.1:9"))
    other = Fleet(ailing.lab, ailing.shelf, tmp_path, hosts_file=away)
    result = other.write({"probe-agent": {}}).run(
        "diagnose", "-e", "agents=probe-agent", "--limit", f"{hosts[0].name},{hosts[1].name}"
    )
    assert result.rc == 0, result.output
    assert "ERROR cannot be reached" in result.output
    assert "ERROR is not on this host: version 1.0.0 is declared" in result.output
    assert f"agentfactory.core.deploy -e agents=probe-agent --limit {hosts[1].name}" in result.output
