# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Full disks, damaged transfers, and files that somebody changed on a host: told, repaired, never run."""

import random
import shutil
from collections.abc import Iterator

import pytest
import yaml

from ansible_collections.agentfactory.core.plugins.plugin_utils import package

from . import faults
from .faults import AGENT, ALL_AT_ONCE, HOME, UNIT
from .harness import AGENTS, PLATFORMS, Fleet, Host, Lab, Shelf, until

BIG = "5.0.0"
SSH = """#!/usr/bin/env python3
import os, subprocess, sys
data = sys.stdin.buffer.read()
if len(data) > 100_000:  # only a transfer of files is that long
    data = {damage}
sys.exit(subprocess.run(["ssh", *sys.argv[1:]], input=data).returncode)
"""
RELEASE = f"$(readlink -f {HOME}/current)"
TREE = f'/opt/agentfactory/trees/$(grep -o \'"tree":"[0-9a-f]*\' {RELEASE}/release.json | tail -c 65)'
DAMAGE = {
    "code": f"echo '# more' >> {TREE}/bin/probe-agent",
    "seal": f"truncate -s 50 {TREE}.json",
    "foreign file": f"chmod u+w {TREE}/bin && touch {TREE}/bin/more",
    "unit": f"echo 'Environment=FORGED=1' >> {UNIT}",
    "empty unit": f"truncate -s 0 {UNIT}",
    "staged unit": f"echo '# more' >> {RELEASE}/unit",
    "secret": f"printf xxxx > {RELEASE}/credentials/token",
    "lost secret": f"rm {RELEASE}/credentials/token",
    "configuration": f'printf \'{{"greeting":"forged"}}\' | tee {RELEASE}/config.json >/dev/null',
    "release": f"truncate -s 40 {RELEASE}/release.json",
    "user": "userdel -f $(awk -F: '$5==\"probe-agent@0\" {print $1}' /etc/passwd)",
    "egress rules": f"truncate -s 0 {RELEASE}/egress.nft",
}
STATE = "/var/lib/agentfactory"
# Same size, same time: only hashes tell.
UNSEEN = [
    f"""cd {TREE}/bin && t=$(stat -c %y probe-agent) && sed -i 's/An agent for tests/My agent for tests/' probe-agent &&
        touch -d "$t" probe-agent""",
    f"sed -i 's/hello/olleh/' {RELEASE}/config.json {RELEASE}/credentials/config.json 2>/dev/null; true",
    f"sed -i 's/^UMask=0077/UMask=0000/' {RELEASE}/unit",
]


@pytest.fixture(scope="module")
def big(shelf: Shelf) -> str:
    """A version with 200 kB that cannot be compressed."""
    source = shelf.folder / "sources" / "big"
    shutil.copytree(AGENTS / AGENT, source)
    manifest = yaml.safe_load((source / "agent.yml").read_text())
    manifest.update(version=BIG, health={**manifest["health"], "bake": 1})
    (source / "agent.yml").write_text(yaml.safe_dump(manifest))
    (source / "ballast.bin").write_bytes(random.Random(1).randbytes(200_000))
    package.package(package.Request(str(source), str(shelf.artifacts), platforms=PLATFORMS))
    return BIG


@pytest.fixture
def small_opt(lab: Lab) -> Iterator[None]:
    """A file system of 100 kB on /opt: not even the host's library fits."""
    lab.on_all(lambda host: host.sh("mount -t tmpfs -o size=100k tmpfs /opt"))
    yield
    lab.on_all(lambda host: host.sh("umount -l /opt"))


def declare(fleet: Fleet, version: str, **more: object) -> None:
    fleet.write({AGENT: {"version": version, "rollout": ALL_AT_ONCE, **more}})


def nothing_half_there(fleet: Fleet) -> None:
    for host in fleet.lab.hosts:
        assert host.sh("find /opt/agentfactory -name '.new-*' -o -name '.*.tmp'", check=False) == ""


def damage_the_records(host: Host) -> None:
    files = f"$(find {STATE} {HOME} -name activation.json -o -name staged.json -o -name verdict.json)"
    host.sh(f"for file in {files} {faults.LEASE}; do echo '{{' > $file; done")


def test_a_full_disk(small_opt, fleet, big):
    """First without room for anything, then with room for what runs but not for its update."""
    declare(fleet, "1.0.0")
    result = fleet.deploy().failed()
    for host in fleet.lab.hosts:
        assert "No space left on device" in result.verdict(host), result.output
    nothing_half_there(fleet)
    fleet.lab.on_all(lambda host: host.sh("mount -o remount,size=2m /opt"))
    faults.converges(fleet, "1.0.0")

    fleet.lab.on_all(lambda host: host.sh("dd if=/dev/zero of=/opt/ballast bs=4k 2>/dev/null", check=False))
    before = fleet.lab.on_all(lambda host: host.agent()["pid"])
    declare(fleet, big)
    result = fleet.deploy().failed()
    for host in fleet.lab.hosts:
        assert "No space left on device" in result.verdict(host), result.output
        assert "below /opt" in result.verdict(host), "how much is free is told"
    nothing_half_there(fleet)
    assert fleet.lab.on_all(lambda host: host.agent()["pid"]) == before
    fleet.lab.on_all(lambda host: host.sh("rm /opt/ballast"))
    fleet.lab.on_all(damage_the_records)  # as a disk that failed might: they are written anew
    faults.converges(fleet, big)


FILLER = """#!/bin/sh
dd if=/dev/zero of=ballast bs=4k count=1000 2>/dev/null
exec "${0%/*}/probe-agent"
"""


@pytest.fixture(scope="module")
def filler(shelf: Shelf) -> str:
    """A version that writes 4 MB as it starts, after a preflight that can be held."""
    source = shelf.folder / "sources" / "filler"
    shutil.copytree(AGENTS / AGENT, source)
    manifest = yaml.safe_load((source / "agent.yml").read_text())
    health = {**manifest["health"], "bake": 1, "start_timeout": 120, "preflight": faults.HELD}
    manifest.update(version="6.0.0", command=["bin/filler"], health=health)
    (source / "agent.yml").write_text(yaml.safe_dump(manifest))
    (source / "bin" / "filler").write_text(FILLER)
    (source / "bin" / "filler").chmod(0o755)
    package.package(package.Request(str(source), str(shelf.artifacts), platforms=PLATFORMS))
    return "6.0.0"


SMALL = f"cp -a {STATE} /srv/state && mount -t tmpfs -o size=3m,mode=755 tmpfs {STATE} && cp -a /srv/state/. {STATE} && rm -r /srv/state"
READ_ONLY = "mount --bind {0} {0} && mount -o remount,bind,ro {0}"


def test_a_disk_on_which_nothing_can_be_written_in_the_midst_of_an_activation(module_fleet, filler):
    """One host has no room in /var once the new release runs, one cannot commit to /etc, and one cannot write down what it committed."""
    full, uncommitted, unjudged = module_fleet.lab.hosts
    declare(module_fleet, "1.1.0")
    module_fleet.deploy().ok()
    before = dict(zip(module_fleet.lab.hosts, module_fleet.lab.on_all(faults.answers), strict=True))
    declare(module_fleet, filler)
    full.sh(SMALL)
    for host in (uncommitted, unjudged):
        faults.hold(host)
    try:
        run = module_fleet.start("deploy")
        for host in (uncommitted, unjudged):
            until(lambda host=host: faults.held(host), f"the preflight on {host.name}")
        uncommitted.sh(READ_ONLY.format("/etc/systemd/system"))
        new = unjudged.sh(f"ls -d {HOME}/releases/{filler}-*")
        unjudged.sh(READ_ONLY.format(new))
        for host in (uncommitted, unjudged):
            faults.let_go(host)
        until(
            lambda: faults.starts_of_the_activator(unjudged) > 2,
            "the activator tries to write down what it has committed",
        )
        seen, pid = faults.look(unjudged), unjudged.agent()["pid"]
        assert (seen["boots"], seen["phase"], seen["done"]) == (new.rpartition("/")[2], "committing", "false")
        unjudged.sh(f"umount {new}")
        result = run.end().failed()
        assert unjudged.agent()["pid"] == pid, "what was committed is left alone"
        faults.runs_what_boots(unjudged)
        for host, told in ((full, "No space left on device"), (uncommitted, "Read-only file system")):
            assert told in result.verdict(host), result.output
            assert "runs again and is healthy" in result.verdict(host), result.output
            assert faults.answers(host) == before[host]
            faults.runs_what_boots(host)
            assert host.history()[-1]["result"] == "undone"
    finally:
        for host, path in (
            (full, STATE),
            (uncommitted, "/etc/systemd/system"),
            (unjudged, f"{HOME}/releases/{filler}-*"),
        ):
            host.sh(f"umount -l {path}", check=False)
    module_fleet.deploy().ok()
    module_fleet.lab.on_all(faults.runs_what_boots)
    assert {host.agent()["version"] for host in module_fleet.lab.hosts} == {filler}


@pytest.mark.parametrize(
    ("damage", "told"),
    [("data[:-50_000]", "ended early"), ("data[:-50_000] + bytes([data[-50_000] ^ 1]) + data[-49_999:]", "damaged")],
    ids=["cut off", "a bit flipped"],
)
def test_a_damaged_transfer(module_fleet, big, tmp_path, damage, told):
    declare(module_fleet, "1.0.0")
    module_fleet.deploy().ok()
    before = module_fleet.lab.on_all(lambda host: host.agent()["pid"])
    wrapper = tmp_path / "ssh"
    wrapper.write_text(SSH.format(damage=damage))
    wrapper.chmod(0o755)
    declare(module_fleet, big)
    result = module_fleet.deploy(env={"ANSIBLE_SSH_EXECUTABLE": str(wrapper)}).failed()
    for host in module_fleet.lab.hosts:
        assert told in result.verdict(host), result.output
        assert "unexpected" not in result.verdict(host), result.output
    nothing_half_there(module_fleet)
    assert module_fleet.lab.on_all(lambda host: host.agent()["pid"]) == before


def batches(names: list[str]) -> list[tuple[str, ...]]:
    return [tuple(names[at : at + 3]) for at in range(0, len(names), 3)]


@pytest.mark.parametrize("names", batches(list(DAMAGE)), ids=", ".join)
def test_what_was_changed_on_a_host_is_repaired_and_started_again(module_fleet, names):
    declare(module_fleet, "1.1.0")
    module_fleet.deploy().ok()
    hosts = dict(zip(module_fleet.lab.hosts, names, strict=True))
    before = {host: host.agent() for host in hosts}
    module_fleet.lab.on_all(lambda host: host.sh(DAMAGE[hosts[host]]))
    status = module_fleet.run("status").ok()
    for host, name in hosts.items():
        (found,) = (item for result in status.of(host, "agent_info") for item in result["instances"])
        assert found["drift"], f"{name}: {found}"
    faults.converges(module_fleet, "1.1.0")
    for host, name in hosts.items():
        now = host.agent()
        assert now.pop("pid") != before[host].pop("pid"), f"{name}: what was started before the repair still runs"
        assert now == before[host], name
        assert host.sh(f"cat {UNIT}") == host.sh(f"cat {RELEASE}/unit")


def test_damage_that_only_hashes_see_is_refused_at_activation(module_fleet):
    """A restart of damaged code, configuration or unit does not happen; what runs goes on; the next deploy repairs it."""
    declare(module_fleet, "1.1.0")
    module_fleet.deploy().ok()
    before = module_fleet.lab.on_all(lambda host: host.agent()["pid"])
    for host, script in zip(module_fleet.lab.hosts, UNSEEN, strict=True):
        host.sh(script)
    for host, told in zip(
        module_fleet.lab.hosts, ("not what was distributed", "was changed", "was changed"), strict=True
    ):
        result = module_fleet.run(
            "restart", "--limit", host.name
        ).failed()  # it goes host by host, up to the first failure
        assert told in result.verdict(host), result.output
    assert module_fleet.lab.on_all(lambda host: host.agent()["pid"]) == before
    faults.converges(module_fleet, "1.1.0")
    after = module_fleet.lab.on_all(lambda host: host.agent())
    assert not {now["pid"] for now in after} & set(before)
    assert [now["config"]["greeting"] for now in after] == ["hello"] * 3
