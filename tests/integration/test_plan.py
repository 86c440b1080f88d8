# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a fleet, carry the plan out, and what a plan is not carried out for."""

import json
import time
from pathlib import Path
from typing import Any

import yaml

from . import faults
from .harness import PORT, Fleet, Host, Load, Result, until

ROOM = {"cpu": 1, "memory": "256M"}
MOST = 3  # on a host
# 25 requests/s of 50 ms are 1.25 erlangs: p95 is below 0.2 s with 3 instances, and not with 2
AGENT: dict[str, Any] = {
    "count": "auto", "load": {"rate": 25, "service_time": 0.05}, "slo": {"below": 0.2}, "resources": {"cpu": 0.33},
    "rollout": {"waves": [1, "100%"]},
}  # fmt: skip
# systemd.journal-fields(7), and systemd's sd-messages.h: begins to start, has started, begins to stop, has stopped
PHASES = {
    "7d4958e842da4a758f6c1cdc7b36dcc5": "starting", "39f53479d3a045ac8e11786248231fbf": "started",
    "de5b426a63be47a7b6ac3eaac82e2f6f": "stopping", "9d1aaa27d60140bd96365438aad20286": "stopped",
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


class Watched:
    """What happened on the hosts while the block ran, by their journals: nothing that was there for a moment only is missed.

    The hosts are containers of this machine, so their clocks are one.
    """

    def __init__(self, planned: Planned) -> None:
        self.planned = planned

    def __enter__(self) -> "Watched":
        self.before, self.began = self.planned.running(), time.time()
        return self

    def __exit__(self, *_error: object) -> None:
        self.events = sorted(event for host in self.planned.hosts for event in self._of(host))

    def _of(self, host: Host) -> list[tuple[int, str, int, str]]:
        """(microseconds, phase, index, host)"""
        asked = " ".join(f"MESSAGE_ID={message}" for message in PHASES)
        said = host.sh(f"journalctl --sync; journalctl -q -o json --since @{self.began:.6f} {asked}")
        entries = [json.loads(line) for line in said.splitlines()]
        mine = [entry for entry in entries if entry.get("UNIT", "").startswith("agentfactory-probe-agent@")]
        return [
            (
                int(entry.get("_SOURCE_REALTIME_TIMESTAMP", entry["__REALTIME_TIMESTAMP"])),
                PHASES[entry["MESSAGE_ID"]],
                int(entry["UNIT"].partition("@")[2].partition(".")[0]),
                host.name,
            )
            for entry in mine
        ]

    def moves(self) -> list[tuple[str, int, str]]:
        """(phase, index, host) of what came and what went, in order."""
        return [event[1:] for event in self.events if event[1] in ("starting", "stopped")]

    def check(self, *, once: bool) -> None:
        """No host ever held more than it has room for, and each instance ran at any time: `once` and nowhere twice, else somewhere."""
        held = {(index, host) for index, there in self.before.items() for host in there}
        up = set(held)
        everybody = {index for index, _host in up}
        for _at, phase, index, host in self.events:
            change = set.add if phase in ("starting", "started") else set.discard
            change(held if phase in ("starting", "stopped") else up, (index, host))
            for name in {name for _index, name in held}:
                there = [number for number, at in held if at == name]
                assert len(there) <= MOST, f"{name} holds {there}: {self.events}"
            if once:
                assert len([at for number, at in held if number == index]) <= 1, f"{index} runs twice: {self.events}"
            else:
                assert {number for number, _at in up} == everybody, f"{index} runs nowhere: {self.events}"


def test_a_plan_is_carried_out_refused_once_the_fleet_moved_and_moves_without_a_gap(
    fleet: Fleet, hosts: list[Host]
) -> None:
    planned = Planned(fleet, hosts)
    planned.declare()
    _first_plan(planned)
    _refused(planned)
    _drained(planned)
    _moved_and_runs_once(planned)
    _moved_without_a_plan(planned)
    _lost_and_back(planned)


def _first_plan(planned: Planned) -> None:
    first = planned.plan().ok()
    assert "3 new on 3 hosts" in first.output
    assert planned.plan().ok().changed == 0, "the same plan again"
    would = planned.deploy("--check").ok()
    assert not (planned.fleet.folder / "placement.yml").exists(), would.output
    with Watched(planned) as watched:
        planned.deploy().ok()
    steps = [(step["index"], step["to"]) for step in json.loads(planned.file.read_text())["steps"]]
    came = [(index, host) for _phase, index, host in watched.moves()]
    assert (came[0], sorted(came)) == (steps[0], sorted(steps)), "the first wave is the first step"
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
    with Watched(planned) as watched, Load(old, PORT + index) as leaving, Load(new, PORT + index) as arriving:
        planned.deploy("-e", "retry=true").ok()
    assert watched.moves() == [("starting", index, new.name), ("stopped", index, old.name)]
    watched.check(once=False)
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


def _moved_and_runs_once(planned: Planned) -> None:
    """What must not run twice has stopped before it starts elsewhere, and starts again where it was if it does not come up."""
    planned.declare(state_portable=True)
    index, old = next((index, host) for index, host in planned.placed().items() if host == planned.hosts[1])
    new = planned.hosts[2]
    planned.plan("-e", f"drain={planned.hosts[0].name},{old.name}").ok()
    new.take_port(PORT + index)
    try:
        with Watched(planned) as watched:
            failed = planned.deploy().failed()
    finally:
        new.free_port()
    assert f"probe-agent@{index} on {old.name}" in failed.output.partition("Runs again where it was: ")[2], (
        failed.output
    )
    assert planned.running()[index] == [old.name]
    assert ("stopped", index, old.name) in watched.moves()
    watched.check(once=True)
    with Watched(planned) as watched:
        planned.deploy("-e", "retry=true").ok()
    moves = watched.moves()
    assert moves.index(("stopped", index, old.name)) < moves.index(("starting", index, new.name))
    watched.check(once=True)
    assert {host.name for host in planned.placed().values()} == {new.name}
    for host in planned.hosts[:2]:
        host.wipe()  # what was removed has left its state, which is nobody's now


def _moved_without_a_plan(planned: Planned) -> None:
    """As where a plan was carried out in part: placement.yml has another place than where something runs."""
    old, new = planned.hosts[2], planned.hosts[0]
    (planned.fleet.folder / "placement.yml").write_text(
        yaml.safe_dump(
            {"plugin": "agentfactory.core.fleet", "agents": {"probe-agent": {new.name: [0], old.name: [1, 2]}}}
        )
    )
    with Watched(planned) as watched:
        planned.fleet.deploy().ok()
    assert watched.moves() == [("stopped", 0, old.name), ("starting", 0, new.name)]
    watched.check(once=True)


def _lost_and_back(planned: Planned) -> None:
    """What ran on a dead host starts elsewhere by a plan that does not need it; once it is back, a deploy leaves nothing there twice."""
    lost = planned.hosts[2]
    indexes = sorted(index for index, host in planned.placed().items() if host == lost)
    faults.podman("kill", lost)
    try:
        planned.plan("-e", f"failed={lost.name}").ok()
        done = planned.deploy().ok()
        assert f"Lost, as the plan has it: {lost.name}" in done.output
        placed = planned.placed()
        assert {index: [host.name] for index, host in placed.items()} == {
            index: there for index, there in planned.running().items() if there
        }
        assert (len(placed), lost in placed.values()) == (3, False)
    finally:
        faults.boot(lost)
    for index in indexes:
        until(lambda index=index: lost.get(PORT + index)[0] == 200, f"{index} boots with its host", 120)  # type: ignore[misc]
    planned.fleet.deploy("--limit", lost.name, "-e", f"confirm_removals={len(indexes)}").ok()
    assert {index: [host.name] for index, host in placed.items()} == {
        index: there for index, there in planned.running().items() if there
    }
    lost.wipe()  # as above
