# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's pure parts: what a machine needs, where root file systems come from, what a run would do."""

import dataclasses

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils.lab import image, machine
from ansible_collections.agentfactory.core.plugins.module_utils.lab.command import LabError
from ansible_collections.agentfactory.core.plugins.module_utils.lab.plan import (
    Present,
    Wanted,
    container_name,
    make_plan,
)

HYBRID = """tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/devices cgroup rw,relatime,devices 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""
UNIFIED = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0\n"
V1 = ("/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids")


@pytest.mark.parametrize(("mounts", "expected"), [(HYBRID, V1), (UNIFIED, ()), ("", ())])
def test_only_controllers_that_carry_limits_are_bound(mounts, expected):
    assert machine.v1_controllers(mounts) == expected


LAPTOP = machine.Machine(controllers=(), nofile=524288, nproc=127000, may_raise_limits=True)


@pytest.mark.parametrize(
    ("changes", "present", "absent"),
    [
        ({}, [], ["--runtime", "--volume", "--ulimit"]),
        ({"controllers": V1}, ["--runtime=runc", "--volume=/sys/fs/cgroup/pids:/sys/fs/cgroup/pids:rw"], ["--ulimit"]),
        (
            {"may_raise_limits": False, "nofile": 20000, "nproc": 32768},
            ["--ulimit=nofile=1024:20000", "--ulimit=nproc=32768:32768"],
            ["--runtime"],
        ),
        ({"may_raise_limits": False, "nofile": 512}, ["--ulimit=nofile=512:512"], []),
        ({"may_raise_limits": False, "nofile": -1, "nproc": -1}, [], ["--ulimit"]),  # -1: no limit
    ],
)
def test_a_machine_gets_only_the_options_that_it_needs(changes, present, absent):
    options = machine.flags(dataclasses.replace(LAPTOP, **changes))
    assert set(present) <= set(options)
    assert not [option for option in options if option.startswith(tuple(absent) or "never")]


TARGETS = """http://mirror.example/debian/ bookworm main
http://mirror.example/debian/ bookworm main
http://mirror.example/debian/ bookworm contrib
http://mirror.example/debian/ bookworm-updates main
http://mirror.example/debian/ bookworm-backports main
http://mirror.example/security/ bookworm-security main
https://other.example/packages/ nodistro main
"""


def test_sources_are_the_machines_own_mirrors_with_the_release_asked_for():
    assert image.sources("trixie", "bookworm", TARGETS) == [
        "deb http://mirror.example/debian/ trixie main",
        "deb http://mirror.example/debian/ trixie-updates main",
        "deb http://mirror.example/security/ trixie-security main",
    ]


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ("stable", ["deb http://m/ trixie main"]),
        ("oldstable-security", ["deb http://m/ trixie-security main"]),
        ("noble", []),
    ],
)
def test_suites_may_be_named_by_what_they_are(suite, expected):
    assert image.sources("trixie", "bookworm", f"http://m/ {suite} main\n") == expected


def test_how_apt_fetches_is_taken_over_and_nothing_else():
    dump = """APT::Architecture "amd64";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::https::CAInfo "";
Acquire::https::Verify-Peer "true";
Acquire::Check-Valid-Until "false";
Acquire::Languages:: "none";
DPkg::Post-Invoke:: "true";
"""
    assert image.fetch_options(dump) == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::https::Verify-Peer "true";',
        'Acquire::Check-Valid-Until "false";',
    ]


def test_an_image_is_named_by_what_it_is_made_of():
    one = image.tag("trixie", image.all_packages(["b", "a"]))
    assert one == image.tag("trixie", image.all_packages(["a", "b", "python3"]))
    assert one != image.tag("trixie", image.all_packages([]))
    assert one != image.tag("bookworm", image.all_packages(["a", "b"]))


def wanted(name, **changes):
    return Wanted(name=name, container=name, release="trixie", image="i", **changes)


def there(host, address, state="running"):
    return Present(container=host.container, state=state, spec=host.spec, address=address)


A, B, C = wanted("a"), wanted("b"), wanted("c")
NEW_A = wanted("a", flags=("--new",))


@pytest.mark.parametrize(
    ("hosts", "present", "remove", "create", "start", "addresses"),
    [
        ([A, B], [], (), (A, B), (), {"a": "10.9.0.11", "b": "10.9.0.12"}),
        ([A], [there(A, "10.9.0.11")], (), (), (), {"a": "10.9.0.11"}),
        ([A], [there(A, "10.9.0.11", "exited")], (), (), ("a",), {"a": "10.9.0.11"}),
        ([A], [there(A, "10.9.0.11", "created")], (), (), ("a",), {"a": "10.9.0.11"}),
        ([A], [there(A, "10.9.0.11"), there(B, "10.9.0.12")], ("b",), (), (), {"a": "10.9.0.11"}),
        # Another one takes a free address; a host that is made anew keeps its own.
        ([B, C], [there(B, "10.9.0.12")], (), (C,), (), {"b": "10.9.0.12", "c": "10.9.0.11"}),
        ([NEW_A], [there(A, "10.9.0.44")], ("a",), (NEW_A,), (), {"a": "10.9.0.44"}),
    ],
)
def test_plan(hosts, present, remove, create, start, addresses):
    plan = make_plan(hosts, present, "10.9.0.0/24")
    assert (plan.remove, plan.create, plan.start, plan.addresses) == (remove, create, start, addresses)
    assert plan.changed == bool(remove or create or start)


def test_a_plan_without_a_network_knows_no_addresses():
    assert make_plan([A], [], None).addresses == {"a": ""}


def test_a_full_network_is_an_error():
    with pytest.raises(LabError, match=r"no address is left in 10.9.0.0/28"):
        make_plan([wanted(f"h{number}") for number in range(5)], [], "10.9.0.0/28")


@pytest.mark.parametrize(("host", "expected"), [("lab-1", "lab-1"), ("home", "lab-home"), ("lab1", "lab-lab1")])
def test_containers_begin_with_the_labs_name(host, expected):
    assert container_name("lab", host) == expected
