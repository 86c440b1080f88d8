# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL at every checkpoint of the host's library: the last proven release runs and boots; the next deploy converges.

Three checkpoints a deploy, each on another host. A killed activation goes on by itself in the same run.
"""

import itertools
from collections.abc import Iterator

import pytest

from . import faults
from .faults import AGENT, ALL_AT_ONCE
from .harness import PORT, Fleet, Host, Lab, Shelf, until

CHECKPOINTS = faults.checkpoints()
REMOVING = [name for name in CHECKPOINTS if name.startswith("remove.")]
UNDOING = ["activate.undoing", "activate.taking-back"]
SIMPLE = ["activate.changed"]
REPAIRING = ["stage.marked"]
STAGING = [name for name in CHECKPOINTS if not name.startswith(("activate.", "remove.")) and name not in REPAIRING]
ACTIVATING = [name for name in CHECKPOINTS if name.startswith("activate.") and name not in UNDOING + SIMPLE]
IN_THE_CALL = {*STAGING, "activate.intent"}
"""These kill the call itself, so the run fails on that host; the others kill the activator, and systemd starts it again."""
_versions = itertools.count(1)


def batches(names: list[str], turn: int) -> list[tuple[str, ...]]:
    """Three names each, one a host; `turn` moves each name to another host."""
    filled = names + names[: -len(names) % 3]
    groups = [filled[at : at + 3] for at in range(0, len(filled), 3)]
    return [tuple(group[turn:] + group[:turn]) for group in groups]


@pytest.fixture(autouse=True)
def nothing_armed(lab: Lab) -> Iterator[None]:
    yield
    lab.on_all(faults.disarm)


def new_version(shelf: Shelf) -> str:
    return shelf.put(version=f"9.0.{next(_versions)}")


def declare(fleet: Fleet, version: str, **more: object) -> None:
    fleet.write({AGENT: {"version": version, "rollout": ALL_AT_ONCE, **more}})


def deploy_with(fleet: Fleet, names: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """A deploy during which each host's library dies at its checkpoint; what was so at that moment, by host."""
    hosts = dict(zip(fleet.lab.hosts, names, strict=True))
    fleet.lab.on_all(lambda host: faults.arm(host, hosts[host]))
    run = fleet.start("deploy")
    seen: dict[str, dict[str, str]] = {}

    def died() -> bool:
        seen.update((host.name, now) for host in hosts if host.name not in seen and (now := faults.dead(host)))
        return len(seen) == len(hosts) or run.process.poll() is not None

    until(died, f"{names} are hit")
    result = run.end()
    assert not [host.name for host in hosts if faults.armed(host)], f"never reached: {names}\n{result.output}"
    seen.update((host.name, faults.look(host)) for host in hosts if host.name not in seen)
    for host, name in hosts.items():
        assert ("gave no answer" in result.verdict(host)) == (name in IN_THE_CALL), f"{name}\n{result.output}"
    assert result.rc == (2 if IN_THE_CALL & set(names) else 0), result.output
    return seen


def is_safe(fleet: Fleet, seen: dict[str, dict[str, str]], names: tuple[str, ...]) -> None:
    """What a reboot at that moment would have led to, and what runs now."""
    for host, name in zip(fleet.lab.hosts, names, strict=True):
        now = seen[host.name]
        assert faults.boots_proven(now), f"{name}: {now}"
        if now["boots"]:
            faults.runs_what_boots(host)


@pytest.mark.parametrize("names", batches(STAGING + ACTIVATING, 0), ids=" ".join)
def test_killed_during_an_update(module_fleet, shelf, names):
    if not any(faults.look(host)["boots"] for host in module_fleet.lab.hosts):
        declare(module_fleet, "1.0.0")
        module_fleet.deploy().ok()
    module_fleet.lab.on_all(lambda host: faults.linger(host, 2))
    version = new_version(shelf)
    declare(module_fleet, version)
    before = {host.name: faults.look(host)["boots"] for host in module_fleet.lab.hosts}
    seen = deploy_with(module_fleet, names)
    is_safe(module_fleet, seen, names)
    for host in module_fleet.lab.hosts:
        assert seen[host.name]["boots"], "an update never leaves a host without a release to boot"
        assert seen[host.name]["enabled"], "nor one that does not start at boot"
        assert faults.answers(host) == before[host.name] or host.agent()["version"] == version
    faults.converges(module_fleet, version)


@pytest.mark.parametrize("names", batches(STAGING + ACTIVATING, 1), ids=" ".join)
def test_killed_during_the_first_install(module_fleet, shelf, names):
    module_fleet.lab.on_all(Host.wipe)
    module_fleet.lab.on_all(lambda host: faults.linger(host, 1))
    declare(module_fleet, "1.1.0")
    is_safe(module_fleet, deploy_with(module_fleet, names), names)
    faults.converges(module_fleet, "1.1.0")


def test_killed_before_a_small_change_is_written_down(module_fleet):
    """What is not enabled is enabled, and what is not confined is: the process that runs is left alone."""
    declare(module_fleet, "1.1.0")
    module_fleet.deploy().ok()
    before = module_fleet.lab.on_all(lambda host: host.agent()["pid"])
    disable = "rm /etc/systemd/system/multi-user.target.wants/agentfactory-*"
    for host, script in zip(
        module_fleet.lab.hosts, (disable, "nft delete table inet agentfactory", disable), strict=True
    ):
        host.sh(script)
        faults.arm(host, *SIMPLE)
    module_fleet.deploy().ok()
    assert not any(module_fleet.lab.on_all(faults.armed))
    for host in module_fleet.lab.hosts:
        faults.runs_what_boots(host)
        assert faults.look(host)["enabled"]
        assert "chain af-" in host.sh("nft list table inet agentfactory")
    assert module_fleet.lab.on_all(lambda host: host.agent()["pid"]) == before


def test_killed_during_the_preflight(module_fleet, shelf):
    """The new release's own check is at work when the activator dies: the old one runs on, and the check is waited for again."""
    declare(module_fleet, "1.1.0")
    module_fleet.deploy().ok()
    before = module_fleet.lab.on_all(faults.answers)
    declare(module_fleet, shelf.put(version="9.1.0", health={"preflight": faults.HELD, "start_timeout": 120}))
    module_fleet.lab.on_all(faults.hold)
    run = module_fleet.start("deploy")
    for host in module_fleet.lab.hosts:
        until(lambda host=host: faults.held(host), f"the preflight on {host.name}")
        host.sh("systemctl kill --signal=KILL agentfactory-activation")
        until(lambda host=host: faults.starts_of_the_activator(host) > 1, f"another activator on {host.name}")
    assert module_fleet.lab.on_all(faults.answers) == before
    module_fleet.lab.on_all(faults.let_go)
    run.end().ok()
    for host in module_fleet.lab.hosts:
        assert host.agent()["version"] == "9.1.0"
        faults.runs_what_boots(host)
        assert host.sh("ls -d /run/systemd/system/agentfactory-*.service", check=False) == "", (
            "nothing of the check is left"
        )


def test_killed_while_undoing(module_fleet, shelf):
    """The release that failed is void on every host, the one before it runs; all in one run."""
    declare(module_fleet, "1.1.0")
    module_fleet.deploy().ok()
    before = module_fleet.lab.on_all(faults.answers)
    declare(module_fleet, "1.0.0", config={"crash": True})
    module_fleet.lab.on_all(lambda host: faults.arm(host, "activate.undoing"))
    result = module_fleet.deploy().failed()
    assert not any(module_fleet.lab.on_all(faults.armed)), result.output
    assert module_fleet.lab.on_all(faults.answers) == before
    module_fleet.lab.on_all(faults.runs_what_boots)
    for host in module_fleet.lab.hosts:
        assert "runs again and is healthy" in result.verdict(host), result.output
    declare(module_fleet, "1.1.0")
    faults.converges(module_fleet, "1.1.0")


def test_killed_while_repairing(module_fleet):
    """What runs of damaged code is started again, although the run that began the repair is dead."""
    declare(module_fleet, "1.1.0")
    module_fleet.deploy().ok()
    before = module_fleet.lab.on_all(lambda host: host.agent()["pid"])
    module_fleet.lab.on_all(
        lambda host: host.sh("echo '# more' >> $(ls -d /opt/agentfactory/trees/*/bin/probe-agent | head -1)")
    )
    module_fleet.lab.on_all(lambda host: faults.arm(host, "stage.marked"))
    module_fleet.deploy().failed()
    assert not any(module_fleet.lab.on_all(faults.armed))
    assert module_fleet.lab.on_all(lambda host: host.agent()["pid"]) == before
    faults.converges(module_fleet, "1.1.0")
    after = module_fleet.lab.on_all(lambda host: host.agent()["pid"])
    assert not set(before) & set(after), "what was started from damaged code still runs"


@pytest.mark.parametrize("names", batches(REMOVING, 0) + batches(REMOVING, 1), ids=" ".join)
def test_killed_during_a_removal(module_fleet, names):
    declare(module_fleet, "1.1.0")
    module_fleet.deploy().ok()
    hosts = dict(zip(module_fleet.lab.hosts, names, strict=True))
    module_fleet.lab.on_all(lambda host: faults.arm(host, hosts[host]))
    module_fleet.run("destroy", "-e", f"agents={AGENT}", "-e", "purge=true").ok()
    assert not any(module_fleet.lab.on_all(faults.armed))
    assert module_fleet.lab.on_all(lambda host: [x for x in host.leftovers() if x != "/run/agentfactory"]) == [
        [],
        [],
        [],
    ]


REBOOTED = [
    ("activate.switching", "activate.proof-unit", "activate.started"),
    ("activate.proven", "activate.committing", "activate.committed"),
]


@pytest.mark.parametrize("names", REBOOTED, ids=" ".join)
def test_power_cut_at_a_checkpoint(module_fleet, shelf, names):
    """What would boot is not only what the files say: cut the power there, and boot."""
    declare(module_fleet, "1.1.0")
    module_fleet.deploy().ok()
    old = dict(zip(module_fleet.lab.hosts, module_fleet.lab.on_all(faults.answers), strict=True))
    version = new_version(shelf)
    declare(module_fleet, version)
    hosts = dict(zip(module_fleet.lab.hosts, names, strict=True))
    module_fleet.lab.on_all(lambda host: faults.linger(host, 600))
    module_fleet.lab.on_all(lambda host: faults.arm(host, hosts[host]))
    run = module_fleet.start("deploy")
    module_fleet.lab.on_all(lambda host: until(lambda: faults.dead(host), f"{hosts[host]} on {host.name}"))
    module_fleet.lab.on_all(faults.power_cut)
    result = run.end().failed()
    for host, name in hosts.items():
        # The runs end as they find the host: gone, or back from a restart.
        assert "unreachable" in result.output or "restarted" in result.verdict(host), result.output
        until(lambda host=host: host.get()[0] == 200, f"{host.name} answers after the reboot")
        if name == "activate.committed":
            assert host.agent()["version"] == version
        else:
            assert faults.answers(host) == old[host]
        assert faults.look(host)["boots"] == faults.answers(host)
    faults.converges(module_fleet, version)
    for host in module_fleet.lab.hosts:
        assert faults.answers(host) in faults.look(host)["good"].split()
    # Whatever was interrupted, the way back is there.
    module_fleet.run("rollback").ok()
    for host in module_fleet.lab.hosts:
        assert faults.answers(host) == old[host]


def test_killed_and_power_cut_on_the_way_back_of_a_sibling(module_fleet, shelf):
    """The second of two instances fails. On one host the activator is killed as it takes the first back, the other loses its power."""
    killed, cut = module_fleet.lab.hosts[:2]
    more = {"instances": 2, "rollout": {**ALL_AT_ONCE, "rollback": "wave"}}
    limit = ("--limit", f"{killed.name},{cut.name}")
    declare(module_fleet, "1.1.0", **more)
    module_fleet.deploy(*limit).ok()
    old = faults.answers(killed)
    faults.linger(cut, 600)
    for host in (killed, cut):
        host.sh(f"systemctl stop agentfactory-{AGENT}@1")
        host.take_port(PORT + 1)
        faults.arm(host, "activate.taking-back")
    declare(module_fleet, new_version(shelf), **more)
    try:
        run = module_fleet.start("deploy", *limit)
        until(lambda: faults.dead(cut), f"the way back on {cut.name}")
        faults.power_cut(cut)
        result = run.end().failed()
    finally:
        for host in (killed, cut):
            host.free_port()
    assert not faults.armed(killed), result.output
    assert "undone with its sibling" in result.verdict(killed), result.output
    assert faults.answers(killed) == old
    until(lambda: cut.get()[0] == 200, f"{cut.name} answers after the reboot")
    faults.runs_what_boots(killed)
    faults.runs_what_boots(cut)
    version = new_version(shelf)
    declare(module_fleet, version, **more)
    module_fleet.deploy(*limit).ok()
    assert {host.agent(port)["version"] for host in (killed, cut) for port in (PORT, PORT + 1)} == {version}
