# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a fleet, carry the plan out, and what a plan is not carried out for."""

import json
from pathlib import Path
from typing import Any

import yaml

from . import faults
from .harness import PORT, Fleet, Host, Load, Result, until

ROOM = {"cpu": 1, "memory": "256M"}
# 25 requests/s of 50 ms are 1.25 erlangs: p95 is below 0.2 s with 3 instances, and not with 2
AGENT: dict[str, Any] = {
    "count": "auto", "load": {"rate": 25, "service_time": 0.05}, "slo": {"below": 0.2}, "resources": {"cpu": 0.25},
}  # fmt: skip


class Planned:
    """A fleet of its own hosts' file, in which hosts say what they have, and its plans."""

    def __init__(self, fleet: Fleet, hosts: list[Host]) -> None:
        self.fleet, self.hosts = fleet, hosts
        self.inventory = fleet.folder / "hosts"
        self.inventory.mkdir()
        room = {host.name: {"agentfactory_capacity": ROOM, "agentfactory_zone": host.release} for host in hosts}
        (self.inventory / "room.yml").write_text(yaml.safe_dump({"all": {"hosts": room}}))
        (self.inventory / "lab.yml").symlink_to(fleet.lab.inventory / "hosts.yml")
        (self.inventory / "group_vars").symlink_to(fleet.lab.inventory / "group_vars")

    @property
    def file(self) -> Path:
        return self.fleet.folder / "plan.json"

    def declare(self, **changes: Any) -> None:
        self.fleet.write({"probe-agent": {**AGENT, **changes}}, inventory=str(self.inventory))

    def plan(self, *arguments: str) -> Result:
        where = ("-e", f"fleet={self.fleet.file}", "-e", f"output={self.file}")
        return self.fleet.run("plan", *where, *arguments, inventory=self.inventory)

    def deploy(self, *arguments: str) -> Result:
        return self.fleet.deploy("-e", f"plan={self.file}", *arguments)

    def placed(self) -> dict[int, Host]:
        """index -> host, as placement.yml has it."""
        there = yaml.safe_load((self.fleet.folder / "placement.yml").read_text())["agents"]["probe-agent"]
        by_name = {host.name: host for host in self.hosts}
        return {index: by_name[name] for name, indexes in there.items() for index in indexes}

    def running(self) -> dict[int, list[str]]:
        """index -> the hosts on which it answers."""
        return {index: [h.name for h in self.hosts if h.get(PORT + index)[0] == 200] for index in range(5)}


def test_a_plan_is_carried_out_refused_once_the_fleet_moved_and_moves_without_a_gap(
    fleet: Fleet, hosts: list[Host]
) -> None:
    planned = Planned(fleet, hosts)
    planned.declare()
    _first_plan(planned)
    _refused(planned)
    _drained(planned)
    _moved_with_its_state(planned)
    _lost_and_back(planned)


def _first_plan(planned: Planned) -> None:
    first = planned.plan().ok()
    assert "3 new on 3 hosts" in first.output
    assert planned.plan().ok().changed == 0, "the same plan again"
    would = planned.deploy("--check").ok()
    assert not (planned.fleet.folder / "placement.yml").exists(), would.output
    planned.deploy().ok()
    assert {index: [host.name] for index, host in planned.placed().items()} == {
        index: there for index, there in planned.running().items() if there
    }
    assert {host.name for host in planned.placed().values()} == {host.name for host in planned.hosts}
    assert planned.fleet.run("status").ok().output.count("healthy") == 3
    assert "Nothing to do" in planned.fleet.deploy().ok().output, "the placement is the fleet's now"
    assert "Nothing to do" in planned.deploy().ok().output, "and the plan is carried out"


def _refused(planned: Planned) -> None:
    before = planned.hosts[0].sessions()
    planned.declare(config={"greeting": "good day"})
    refused = planned.deploy()
    assert refused.rc == 4, refused.output
    assert "agents.probe-agent.config: has changed since the plan was made; plan again" in refused.output
    planned.declare()
    limited = planned.deploy("--limit", planned.hosts[0].name)
    assert limited.rc
    assert "goes without --limit" in limited.output
    assert planned.hosts[0].sessions() == before, "no host was touched"
    what_if = planned.plan("-e", "lose_zone=trixie", "-e", f"output={planned.fleet.folder / 'what-if.json'}").ok()
    assert "restart" in what_if.output
    assert planned.fleet.deploy("-e", f"plan={planned.fleet.folder / 'what-if.json'}").rc == 4


def _drained(planned: Planned) -> None:
    index, old = next((index, host) for index, host in planned.placed().items() if host == planned.hosts[0])
    steady = next(number for number in planned.placed() if number != index)
    kept = planned.placed()[steady].agent(PORT + steady)["pid"]
    planned.plan("-e", f"drain={old.name}").ok()
    step = json.loads(planned.file.read_text())["steps"][0]
    new = next(host for host in planned.hosts if host.name == step["to"])
    _failed(planned, index, old, new)
    with Load(old, PORT + index) as leaving, Load(new, PORT + index) as arriving:
        planned.deploy("-e", "retry=true").ok()
    last_old = max(answer.ended for answer in leaving.answers if answer.served)
    first_new = min(answer.ended for answer in arriving.answers if answer.served)
    assert first_new < last_old, "it answers at its new place before it leaves the old one"
    assert planned.running()[index] == [new.name]
    assert old.sh("systemctl list-units --plain --no-legend 'agentfactory-probe-agent@*'") == ""
    assert planned.placed()[steady].agent(PORT + steady)["pid"] == kept, "nobody else was touched"
    again = planned.plan("-e", f"drain={old.name}").ok()
    assert "Nothing to do" in again.output
    assert "Nothing to do" in planned.deploy().ok().output


def _failed(planned: Planned, index: int, old: Host, new: Host) -> None:
    """Nothing leaves its host for one where it does not come up, and the fleet is placed as it was."""
    port, before = PORT + index, planned.placed()
    new.take_port(port)
    try:
        refused = planned.deploy().failed()
        assert f"port {port} is taken" in refused.output
        assert old.agent(port)["instance"] == str(index)
        assert planned.placed() == before
    finally:
        new.free_port()


def _moved_with_its_state(planned: Planned) -> None:
    """What must not run twice is gone from its old place before it starts at the new one."""
    planned.declare(state_portable=True)
    index, old = next((index, host) for index, host in planned.placed().items() if host == planned.hosts[1])
    planned.plan("-e", f"drain={planned.hosts[0].name},{old.name}").ok()
    with Load(old, PORT + index) as leaving, Load(planned.hosts[2], PORT + index) as arriving:
        planned.deploy().ok()
    assert max(a.ended for a in leaving.answers if a.served) < min(a.ended for a in arriving.answers if a.served)
    assert {host.name for host in planned.placed().values()} == {planned.hosts[2].name}
    for host in planned.hosts[:2]:
        host.wipe()  # what was removed has left its state, which is nobody's now


def _lost_and_back(planned: Planned) -> None:
    """What ran on a dead host starts elsewhere by a plan that does not need it; once it is back, a deploy leaves nothing there twice."""
    (lost,) = {host.name: host for host in planned.placed().values()}.values()
    indexes = sorted(planned.placed())
    faults.podman("kill", lost)
    try:
        planned.plan("-e", f"failed={lost.name}").ok()
        done = planned.deploy().ok()
        assert f"Lost, as the plan has it: {lost.name}" in done.output
        placed = planned.placed()
        assert {index: [host.name] for index, host in placed.items()} == {
            index: there for index, there in planned.running().items() if there
        }
        assert (sorted(placed), lost in placed.values()) == (indexes, False)
    finally:
        faults.boot(lost)
    for index in indexes:
        until(lambda index=index: lost.get(PORT + index)[0] == 200, f"{index} boots with its host", 120)  # type: ignore[misc]
    planned.fleet.deploy("--limit", lost.name, "-e", f"confirm_removals={len(indexes)}").ok()
    assert {index: [host.name] for index, host in placed.items()} == {
        index: there for index, there in planned.running().items() if there
    }
    lost.wipe()  # as above: the state that what ran there has left
