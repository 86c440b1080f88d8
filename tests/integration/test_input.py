# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong declarations are refused before anything is changed, by file, key and reason; and who may deploy, and how."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from .harness import ENVIRONMENT, Fleet, Host, Lab, Shelf

# All but the host's copy of the library, which a host that was asked keeps.
STATE = r"""
find /opt /etc/systemd /etc/passwd /var/lib -printf '%p %m %u %T@ %s\n' |
    grep -vE '^(/opt|/opt/agentfactory|/opt/agentfactory/lib[^ ]*|/var/lib/systemd[^ ]*) ' | sort
ls -A /tmp /root
"""

# What is wrong with agent probe-agent; what is said of it; whether a host has to be asked to know it.
WRONG: dict[str, tuple[dict[str, Any], str, bool]] = {
    "configuration of a wrong type": ({"config": {"greeting": 5}}, r"agents\.probe-agent\.config\W+greeting.*string", False),
    "unknown configuration": ({"config": {"greting": "x"}}, r"agents\.probe-agent\.config.*greting", False),
    "only wrong once templated": ({"config": {"greeting": "{{ 2 + 3 }}"}}, r"agents\.probe-agent\.config\W+greeting.*string", True),
    "missing secret": ({"secrets": {}}, r"agents\.probe-agent\.secrets.*token", False),
    "empty once templated": ({"secrets": {"token": "{{ '' }}"}}, r"agents\.probe-agent\.secrets\.token: is empty", True),
    "undefined variable": ({"config": {"greeting": "{{ nobody }}"}}, r"nobody.* is undefined", True),
    "unknown key": ({"instance": 2}, r"agents\.probe-agent\.instance", False),
    "unquoted version": ({"version": 1.0}, r"agents\.probe-agent\.version.*quote it", False),
    "version that was never packaged": ({"version": "9.9.9"}, r"probe-agent.*9\.9\.9", False),
    "pattern without a host": ({"hosts": "nowhere"}, r"agents\.probe-agent\.hosts.*nowhere", False),
    "no package for these hosts": ({"version": "3.2.0"}, r"probe-agent 3\.2\.0 is not packaged for this host.*arm64", True),
}  # fmt: skip


@pytest.fixture(scope="module")
def odd_versions(shelf: Shelf) -> None:
    shelf.put(version="3.2.0", platforms=("linux/arm64+glibc2.36+py3.11",))
    shelf.put(version="3.3.0", runtime={"python": ">=3.12"}, platforms=("linux/amd64+glibc2.41+py3.13",))


@pytest.mark.usefixtures("odd_versions")
def test_wrong_declarations_touch_no_host(fleet: Fleet, lab: Lab) -> None:
    before = lab.on_all(lambda host: host.sh(STATE))
    missed = []
    for case, (declared, reason, asks) in WRONG.items():
        calls = lab.on_all(Host.sessions)
        result = fleet.write({"probe-agent": declared}).deploy()
        told = re.sub(r"\s+", " ", result.output)
        if result.rc == 0 or result.changed or not re.search(reason, told):
            missed.append(f"{case}: exit {result.rc}, no {reason!r} in\n{result.output}")
        if not asks and lab.on_all(Host.sessions) != calls:
            missed.append(f"{case}: hosts were called")
        if not asks and "fleet.yml" not in told:
            missed.append(f"{case}: the file is not named in\n{result.output}")
    assert not missed, "\n\n".join(missed)
    assert lab.on_all(lambda host: host.sh(STATE)) == before


@pytest.mark.usefixtures("odd_versions")
def test_hosts_that_cannot_run_it_say_so_and_it_runs_nowhere(fleet: Fleet, hosts: list[Host]) -> None:
    result = fleet.write({"probe-agent": {"version": "3.3.0"}}).deploy().failed()
    assert "probe-agent 3.3.0 needs Python >=3.12; this host has 3.9" in result.verdict(hosts[0])
    assert "probe-agent 3.3.0 needs Python >=3.12; this host has 3.11" in result.verdict(hosts[1])
    assert "Stopped: 2 hosts failed while staging and max_failures is 0" in result.output
    assert [host.get()[0] for host in hosts] == [0, 0, 0]
    assert [host.leftovers() for host in hosts[:2]] == [[], []], "and leave no trace"
    assert fleet.run("status").ok().output.count("not activated") == 1, "the host that could run it was only staged"


def test_two_agents_on_one_port_are_refused(fleet: Fleet, lab: Lab) -> None:
    fleet.shelf.put(name="other-agent", ports={"http": 18090})
    calls = lab.on_all(Host.sessions)
    clash = fleet.write({"probe-agent": {"instances": 2}, "other-agent": {"ports": {"http": 18081}}}).deploy()
    assert clash.rc == 4
    assert "18081" in clash.output
    assert lab.on_all(Host.sessions) == calls


def test_an_operator_with_sudo_deploys_with_the_default_interpreter(
    fleet: Fleet, lab: Lab, hosts: list[Host], tmp_path: Path
) -> None:
    inventory = yaml.safe_load((lab.inventory / "hosts.yml").read_text())
    (group,) = inventory.values()
    del group["vars"]["ansible_python_interpreter"]
    group["vars"]["ansible_user"] = "operator"
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    fleet.hosts_file = tmp_path / "hosts.yml"
    home = lab.on_all(lambda host: host.sh("ls -A ~operator /tmp"))
    check = fleet.write().deploy("--check", "--diff").ok()
    assert check.changed
    deployed = fleet.deploy().ok()
    assert deployed.changed == 2 * len(hosts)
    assert [host.agent()["environment"] for host in hosts] == [ENVIRONMENT] * 3
    for host in hosts:
        assert host.sh("find /opt/agentfactory ! -user root") == ""
        assert host.history()[-1]["who"]["user"]
    before = lab.on_all(Host.sessions)
    assert fleet.deploy().ok().changed == 0
    assert [now - then for now, then in zip(lab.on_all(Host.sessions), before, strict=True)] == [1, 1, 1]
    fleet.run("restart").ok()
    fleet.write({}).run("destroy", "-e", "agents=all", "-e", "purge=true").ok()
    assert lab.on_all(Host.leftovers) == [[]] * 3
    assert lab.on_all(lambda host: host.sh("ls -A ~operator /tmp")) == home
