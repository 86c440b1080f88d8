# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a change travels over three hosts: siblings, filters, unreachable hosts."""

import re

from .harness import PORT, Fleet, Host, Shelf

ID = "probe-agent@0"


def releases(hosts: list[Host]) -> dict[str, str]:
    return {host.name: host.agent()["release"] for host in hosts}


def test_a_taken_port_is_seen_before_anything_stops_and_a_switched_sibling_goes_back(
    fleet: Fleet, hosts: list[Host]
) -> None:
    fleet.write({"probe-agent": {"instances": 2}}).deploy().ok()
    before = [host.agent(PORT) for host in hosts]
    busy = hosts[1]
    # instance 1 is gone and somebody else has its port; instance 0 is switched before that is found out
    busy.sh("systemctl stop agentfactory-probe-agent@1")
    busy.take_port(PORT + 1)
    try:
        result = fleet.write({"probe-agent": {"instances": 2, "version": "1.1.0"}}).deploy().failed()
        assert re.search(rf"probe-agent@1: .*port {PORT + 1} is taken by a process of user id 0", result.verdict(busy))
        assert "nothing was switched" in result.verdict(busy)
        assert [host.agent(PORT)["release"] for host in hosts] == [said["release"] for said in before]
        assert "undone with its sibling" in "\n".join(result.changes(busy, "agent_service"))
    finally:
        busy.free_port()
    fleet.deploy().ok()
    assert {host.agent(port)["version"] for host in hosts for port in (PORT, PORT + 1)} == {"1.1.0"}
    # instance 0 leaves, and its port passes to instance 1, whose port passes to a new one
    fleet.write({"probe-agent": {"instances": ["1", "2"], "version": "1.1.0"}}).deploy("-e", "confirm_removals=3").ok()
    named = [[host.agent(port)["id"] for port in (PORT, PORT + 1)] for host in hosts]
    assert named == [["probe-agent@1", "probe-agent@2"]] * len(hosts)


def test_agents_and_limit_choose_and_agents_of_a_host_start_together(
    fleet: Fleet, shelf: Shelf, hosts: list[Host]
) -> None:
    shelf.put(name="other-agent", ports={"http": 18090})
    slow = {"config": {"slow_start": 5}, "instances": 2}
    fleet.write({"probe-agent": slow, "other-agent": slow})
    unknown = fleet.deploy("-e", "agents=nobody")
    assert unknown.rc
    assert "the fleet has no such agent" in unknown.output
    one = fleet.deploy("-e", "agents=other-agent", "--limit", hosts[0].name).ok()
    assert set(one.recap) == {hosts[0].name}
    assert [[host.get(port)[0] for port in (PORT, 18090)] for host in hosts] == [[0, 200], [0, 0], [0, 0]]
    first = hosts[0].agent(18090)["pid"]
    fleet.deploy().ok()
    assert hosts[0].agent(18090)["pid"] == first
    for host in hosts[1:]:
        began = {
            agent_id: int(host.show(agent_id)["ExecMainStartTimestampMonotonic"]) / 1e6
            for agent_id in ("probe-agent@0", "probe-agent@1", "other-agent@0", "other-agent@1")
        }
        next_one = min(began["probe-agent@1"], began["other-agent@1"])
        assert max(began["probe-agent@0"], began["other-agent@0"]) < next_one, "two agents start in parallel"
        assert began["probe-agent@1"] - began["probe-agent@0"] > 5, "the instances of one agent start one at a time"


def test_an_undo_starts_again_what_the_run_stopped_and_names_what_it_removed(
    fleet: Fleet, shelf: Shelf, hosts: list[Host]
) -> None:
    two = f"{hosts[0].name},{hosts[1].name}"
    port = {"other-agent": 18090, "third-agent": 18091}
    waves = {"rollout": {"waves": [1, "100%"]}}
    for name, number in port.items():
        shelf.put(name=name, ports={"http": number})
    result = fleet.write({"probe-agent": waves, "other-agent": {}, "third-agent": {}}).deploy("--limit", two).ok()
    canary = re.search(r"Wave 1 of 2: (\S+)$", result.output, re.MULTILINE)
    assert canary
    first, busy = sorted(hosts[:2], key=lambda host: host.name != canary[1])
    busy.sh("systemctl stop agentfactory-probe-agent@0")
    busy.take_port(PORT)
    try:
        fleet.write({"probe-agent": {"version": "1.1.0", **waves}, "other-agent": {"state": "stopped"}}, max_removals=2)
        result = fleet.deploy("--limit", two).failed()
    finally:
        busy.free_port()
    undone = result.instances(first)
    assert {name: item["result"] for name, item in undone.items() if name != "third-agent@0"} == {
        ID: "ok", "other-agent@0": "ok",
    }  # fmt: skip
    assert first.agent()["version"] == "1.0.0"
    assert first.agent(port["other-agent"])["version"] == "1.0.0"
    assert first.show("other-agent@0")["UnitFileState"] == "enabled"
    assert first.get(port["third-agent"])[0] == 0
    assert "third-agent@0: this run removed it, and cannot bring it back" in result.verdict(first)
    assert f"Failed: {first.name}" in result.output
    assert busy.get(port["third-agent"])[0] == 200, "nothing leaves a host where something failed"
    assert busy.agent(port["other-agent"])["version"] == "1.0.0"


def test_an_unreachable_host_counts_as_failed(fleet: Fleet, hosts: list[Host]) -> None:
    fleet.write().deploy().ok()
    before = releases(hosts)
    lost = hosts[2]
    lost.sh(
        "systemctl stop ssh.socket 2>/dev/null; systemctl stop ssh; pkill -KILL -x sshd; pkill -KILL sshd-session; true"
    )
    try:
        rollout = {"waves": ["100%"]}
        refused = fleet.write({"probe-agent": {"version": "1.1.0", "rollout": rollout}}).deploy().failed()
        assert releases(hosts) == before
        assert "Stopped: 1 host failed while staging and max_failures is 0" in refused.output
        assert re.search(rf"^Failed: {lost.name}$", refused.output, re.MULTILINE)
        assert refused.recap[lost.name]["unreachable"] == 1
        borne = (
            fleet.write({"probe-agent": {"version": "1.1.0", "rollout": {**rollout, "max_failures": 1}}})
            .deploy()
            .failed()
        )
        assert [host.agent()["version"] for host in hosts] == ["1.1.0", "1.1.0", "1.0.0"]
        assert re.search(rf"^Failed: {lost.name}$", borne.output, re.MULTILINE)
        table = fleet.run("status").output
        assert re.search(rf"^{lost.name} .*unreachable", table, re.MULTILINE)
        assert re.search(rf"^{hosts[0].name} .*running +healthy", table, re.MULTILINE)
    finally:
        lost.sh("systemctl start ssh")
    late = fleet.deploy().ok()
    assert [late.recap[host.name]["changed"] for host in hosts] == [0, 0, 2]
    assert lost.agent()["version"] == "1.1.0"
