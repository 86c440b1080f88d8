# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that lose their power or reboot, and connections that break: the proof ends well by itself or not at all."""

from collections.abc import Iterator

import pytest

from . import faults
from .faults import AGENT, AGENT_ID, ALL_AT_ONCE
from .harness import Fleet, Host, Lab, until

CUT = "nft 'add table inet cut; add chain inet cut in { type filter hook input priority 0; }; add rule inet cut in tcp dport 22 drop'"
HASTY = (
    "-o ControlMaster=auto -o ControlPersist=60 -o ServerAliveInterval=1 -o ServerAliveCountMax=2 -o ConnectTimeout=5"
)


@pytest.fixture(autouse=True)
def reachable(lab: Lab) -> Iterator[None]:
    yield
    lab.on_all(lambda host: host.sh("nft delete table inet cut", check=False))


def declare(fleet: Fleet, version: str, **more: object) -> None:
    fleet.write({AGENT: {"version": version, "rollout": ALL_AT_ONCE, **more}})


def test_power_cut_during_the_proof(fleet, shelf):
    """Each host loses its power as soon as it bakes: when the others do depends on how busy they are."""
    declare(fleet, "1.0.0")
    fleet.deploy().ok()
    before = fleet.lab.on_all(faults.answers)
    shelf.put(version="2.2.0", health={"bake": 8})
    declare(fleet, "2.2.0")
    run = fleet.start("deploy")

    def cut_while_it_bakes(host: Host) -> None:
        until(lambda: faults.in_proof(host), f"{host.name} bakes")
        faults.power_cut(host)

    fleet.lab.on_all(cut_while_it_bakes)
    result = run.end().failed()
    for host, was in zip(fleet.lab.hosts, before, strict=True):
        assert "unreachable" in result.output or "restarted" in result.verdict(host), result.output
        until(lambda host=host: host.get()[0] == 200, f"{host.name} answers after the power cut")
        assert faults.answers(host) == was
        faults.runs_what_boots(host)
    faults.converges(fleet, "2.2.0")


def test_reboots_at_rest_bring_everything_back(fleet):
    """One host loses its power, the others reboot in order: the agents, their health and their rules are there again."""
    declare(fleet, "1.0.0")
    fleet.deploy().ok()
    before = fleet.lab.on_all(faults.answers)
    fleet.lab.on_all(lambda host: faults.power_cut(host) if host is fleet.lab.hosts[0] else reboot(host))
    fleet.lab.on_all(lambda host: until(lambda: host.get()[0] == 200, f"{host.name} answers after the reboot"))
    assert fleet.lab.on_all(faults.answers) == before
    for host in fleet.lab.hosts:
        user = host.show(AGENT_ID)["User"]
        assert f"jump {user}" in host.sh("nft list table inet agentfactory")
    status = fleet.run("status").ok()
    for host in fleet.lab.hosts:
        (found,) = (item for result in status.of(host, "agent_info") for item in result["instances"])
        assert (found["state"], found["healthy"], found["drift"]) == ("running", True, [])
    again = fleet.deploy().ok()
    assert again.changed == 0, again.output


def reboot(host: Host) -> None:
    faults.podman("stop", host)
    faults.boot(host)


def test_the_connection_breaks_during_the_proof(fleet, shelf):
    """On two hosts the activation commits, on the third it undoes: without the controller, and nothing blocks the next run."""
    good, dropped, bad = fleet.lab.hosts
    never = {"never_healthy": "{{ inventory_hostname == '%s' }}" % bad.name}
    control = {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(fleet.lab.folder / "hasty")}
    declare(fleet, "1.0.0")
    fleet.deploy().ok()
    before = faults.answers(bad)
    shelf.put(version="2.1.0", health={"bake": 8, "start_timeout": 8})
    declare(fleet, "2.1.0", config=never)
    run = fleet.start("deploy", "-e", f"ansible_ssh_args='{HASTY}'", env=control)
    for host in (good, dropped):
        until(lambda host=host: faults.in_proof(host), f"{host.name} bakes")
    until(lambda: bad.sh(f"ls {faults.PROOF}", check=False), "the bad release is started")
    good.sh("pkill -KILL -f 'sshd.*root@notty'", check=False)
    dropped.sh(CUT)
    bad.sh(CUT)
    result = run.end().failed()
    assert "unreachable" in result.output.lower()
    fleet.lab.on_all(lambda host: until(lambda: faults.look(host)["done"] == "true", f"{host.name} comes to an end"))
    assert [good.agent()["version"], dropped.agent()["version"]] == ["2.1.0", "2.1.0"]
    assert faults.answers(bad) == before
    fleet.lab.on_all(faults.runs_what_boots)
    fleet.lab.on_all(lambda host: host.sh("nft delete table inet cut", check=False))
    # What was undone is void with its reason, and a new declaration goes through.
    refused = fleet.deploy().failed()
    assert "is void" in refused.verdict(bad), refused.output
    assert not refused.verdict(good) + refused.verdict(dropped), refused.output
    declare(fleet, "2.1.0")
    faults.converges(fleet, "2.1.0")


def test_a_run_that_lost_its_host_says_what_to_do(fleet):
    """A host that is away while the others go on: counted, named, and caught up by the next run."""
    declare(fleet, "1.0.0")
    fleet.deploy().ok()
    away = fleet.lab.hosts[1]
    faults.podman("kill", away)
    declare(fleet, "1.1.0")
    result = fleet.deploy("-e", f"ansible_ssh_args='{HASTY}'").failed()
    assert away.name in result.output
    faults.boot(away)
    until(lambda: away.get()[0] == 200, "its agent boots")
    assert away.agent()["version"] == "1.0.0"
    faults.converges(fleet, "1.1.0")
