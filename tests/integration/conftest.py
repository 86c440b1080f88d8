# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests on real hosts: a lab of their own, artifacts, and a fleet that leaves nothing behind.

AGENTFACTORY_LAB=<inventory directory> uses hosts that are there already (each must be this test run's alone; one worker, `-n 0`);
AGENTFACTORY_KEEP_LAB=1 leaves the hosts running for the next time. With `-n 2 --dist loadfile` files run side by side, each
worker on a lab of its own: what they wait for, they wait for together.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import ROOT, Fleet, Host, Lab, Shelf, program

LAB = "it" + os.environ.get("PYTEST_XDIST_WORKER", "")
# Each command that sshd runs is written to the host's journal: that is how the tests count calls.
SSHD = "printf 'LogLevel VERBOSE\\n' > /etc/ssh/sshd_config.d/calls.conf && systemctl reload ssh"


def _lab_playbook(inventory: Path, *arguments: str) -> None:
    command = [program("ansible-playbook"), "playbooks/lab.yml", "-e", f"lab_name={LAB}", "-e", "lab_count=3",
               "-e", f"lab_inventory={inventory}", "-e", "lab_broker=false", *arguments]  # fmt: skip
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three hosts: bullseye, bookworm, trixie."""
    # Not pytest's directory: the path of an SSH control socket may have 100 characters.
    folder = Path(tempfile.mkdtemp(prefix="af-it-"))
    given = os.environ.get("AGENTFACTORY_LAB")
    assert not (given and "PYTEST_XDIST_WORKER" in os.environ), "the hosts of AGENTFACTORY_LAB are for one worker"
    inventory = Path(given).resolve() if given else ROOT / ".cache" / "integration" / LAB
    if not given:
        _lab_playbook(inventory)
    found = Lab(inventory, folder)
    found.on_all(lambda host: host.sh(SSHD))
    found.on_all(Host.wipe)
    yield found
    for socket in folder.glob("*/*"):
        subprocess.run(["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "-"], capture_output=True, check=False)
    shutil.rmtree(folder)
    if not given and not os.environ.get("AGENTFACTORY_KEEP_LAB"):
        _lab_playbook(inventory, "-e", "lab_state=absent")


@pytest.fixture(scope="session")
def hosts(lab: Lab) -> list[Host]:
    return lab.hosts


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """Artifacts, with probe-agent 1.0.0 and 1.1.0 on it from the start."""
    found = Shelf(tmp_path_factory.mktemp("shelf"))
    for version in ("1.0.0", "1.1.0"):
        found.put(version=version)
    return found


def _fleet(lab: Lab, shelf: Shelf, folder: Path) -> Iterator[Fleet]:
    """A fleet; afterwards its agents are destroyed, as an operator would, and nothing may be left of them."""
    yield Fleet(lab, shelf, folder)
    destroyed = Fleet(lab, shelf, folder).write({}).run("destroy", "-e", "agents=all", "-e", "purge=true")
    left = {host.name: what for host, what in zip(lab.hosts, lab.on_all(Host.leftovers), strict=True) if what}
    if destroyed.rc or left:
        lab.on_all(Host.wipe)
    assert not destroyed.rc, destroyed.output
    assert not left, f"destroy left {left}\n{destroyed.output}"


@pytest.fixture
def fleet(lab: Lab, shelf: Shelf, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet of this test's own on clean hosts."""
    yield from _fleet(lab, shelf, tmp_path)


@pytest.fixture(scope="module")
def module_fleet(lab: Lab, shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet that the tests of a file share."""
    yield from _fleet(lab, shelf, tmp_path_factory.mktemp("fleet"))
