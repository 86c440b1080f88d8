# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""First installs that fail leave nothing running; the gap of an update with a single instance."""

import json
import re
from contextlib import ExitStack
from typing import Any

from .harness import PORT, Fleet, Host, Lab, Load, Result, Shelf, evidence

ID = "probe-agent@0"
SECRET = "heron-under-the-11-bridges"
FAILURES = {
    "crasher": "exit status 1",
    "leaker": "exit status 1",
    "too-slow": r"nothing listens on port 18100 \(not healthy within 12 s\)",
}


def test_the_gap_of_a_single_instance_is_measured(fleet: Fleet, hosts: list[Host]) -> None:
    fleet.write().deploy().ok()
    steps: dict[str, dict[str, Any]] = {
        "good update": {"version": "1.1.0"},
        "broken update": {"version": "1.1.0", "config": {"crash": True}},
    }  # fmt: skip
    for case, declared in steps.items():
        before = {host.name: host.agent()["release"] for host in hosts}
        fleet.write({"probe-agent": declared})
        with ExitStack() as stack:
            loads = {host.name: stack.enter_context(Load(host, PORT)) for host in hosts}
            result = fleet.deploy()
        for host in hosts:
            load, told = loads[host.name], result.instances(host)[ID]
            after = host.agent()["release"]
            if case == "good update":
                result.ok()
                assert load.releases == [before[host.name], after] == [told["from"], told["to"]]
                assert told["gap"] > 0
            else:
                result.failed()
                assert load.releases == [before[host.name]] == [after]
            lost = len(load.lost)
            print(
                f"{host.name}, {case}: gap {load.gap:.2f} s (told: {told['gap']}), {lost} of {len(load.answers)} requests lost"
            )


def first_installs(shelf: Shelf) -> dict[str, dict[str, Any]]:
    """Agents that fail in different ways when they are installed first, and one that takes its time but is well."""
    cases = {
        "crasher": ({"crash": True}, 60),
        "leaker": ({"leak_secret": True}, 60),
        "too-slow": ({"slow_start": 60}, 12),
        "slow": ({"slow_start": 2}, 60),
    }
    declared: dict[str, dict[str, Any]] = {}
    for number, (name, (config, start_timeout)) in enumerate(cases.items()):
        shelf.put(name=name, ports={"http": PORT + 10 * number}, health={"bake": 1, "start_timeout": start_timeout})
        rollout = {"waves": ["100%"], "rollback": "none"}
        declared[name] = {"config": config, "secrets": {"token": SECRET}, "rollout": rollout}
    return declared


def assert_not_in(secret: str, result: Result, fleet: Fleet, lab: Lab) -> None:
    """Not in what is printed, returned, logged, or kept on hosts as evidence and history (the agent's own journal aside)."""
    assert secret not in result.output
    assert secret not in json.dumps(result.results)
    assert secret not in (fleet.folder / "ansible.log").read_text()
    kept = "cat /opt/agentfactory/agents/*/*/releases/*/verdict.json; find /var/lib/agentfactory/.factory -type f -exec cat {} +"
    for text in lab.on_all(lambda host: host.sh(kept)):
        assert secret not in text
        assert "leaker@0" in text


def test_a_first_install_that_fails_leaves_nothing_running(
    fleet: Fleet, shelf: Shelf, lab: Lab, hosts: list[Host]
) -> None:
    declared = first_installs(shelf)
    fleet.write(declared)
    result = fleet.deploy("-vvvv", "--diff").failed()
    assert_not_in(SECRET, result, fleet, lab)
    for host in hosts:
        message = result.verdict(host)
        for agent, seen in FAILURES.items():
            assert re.search(
                rf"^{agent}@0: 1\.0\.0-[0-9a-f]{{12}} failed: .*{seen}.*; nothing runs$", message, re.MULTILINE
            ), message
        assert "RuntimeError: crash: asked for by the configuration" in message
        assert "slow@0" not in message.replace("too-slow@0", "")
        assert "********" in message, "the secret that the agent printed is struck out"
        assert host.get(PORT + 30)[1]["id"] == "slow@0"
        units = host.sh("systemctl list-units --all --plain --no-legend 'agentfactory-*.service'")
        assert [line.split()[0] for line in units.splitlines()] == ["agentfactory-slow@0.service"]
        assert host.sh("ls /etc/systemd/system | grep '^agentfactory-'") == "agentfactory-slow@0.service"
        assert (
            host.sh("ls /etc/systemd/system/multi-user.target.wants | grep '^agentfactory-'")
            == "agentfactory-slow@0.service"
        )
    why = evidence(fleet, hosts[0], "leaker@0")
    assert any("my secret token is ********" in line for line in why["journal"])

    # the same again is refused before anything is touched, unless it is asked for
    refused = fleet.deploy("-e", "agents=crasher").failed()
    assert refused.changed == 0
    for host in hosts:
        assert re.search(r"crasher@0: release 1\.0\.0-\w+ is void: .*retry=true", refused.verdict(host))
    again = fleet.deploy("-e", "agents=crasher", "-e", "retry=true").failed()
    assert all("RuntimeError: crash" in again.verdict(host) for host in hosts)
    # and what is mended is installed (but for the one that has little time: the machine may be busy)
    for agent in declared.values():
        agent["config"] = {}
    fleet.write(declared).deploy("-e", "agents=crasher,leaker,slow").ok()
    assert all(host.get(PORT + 10 * number)[0] == 200 for host in hosts for number in (0, 1, 3))
