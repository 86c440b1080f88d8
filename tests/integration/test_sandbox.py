# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox as it is seen from inside, on each Debian release: what an agent tries to do that its manifest does not allow."""

import json
import re
from typing import Any

import pytest

from .harness import PORT, Fleet, Host, Shelf

ESCAPE = 18180
OWN = "/var/lib/agentfactory/escape-agent/0"
SIBLING = "/var/lib/agentfactory/escape-agent/1"
OF_SIBLING = [SIBLING, *(f"/opt/agentfactory/agents/escape-agent/1/current/{name}" for name in
              ("config.json", "credentials/token", "release.json"))]  # fmt: skip
"""What belongs to the other instance of the same agent."""
SSH = 22


def targets(host: Host, hosts: list[Host]) -> dict[str, Any]:
    """What the escape-agent of a host tries to reach: everything of the other agent there, and other hosts."""
    releases = "/opt/agentfactory/agents/probe-agent/0/releases"
    name = host.agent()["release"]
    unit = "agentfactory-probe-agent@0.service"
    shown = f"/run/agentfactory/{unit}/credentials" if host.release == "bullseye" else f"/run/credentials/{unit}"
    others = [
        f"{releases}/{name}/config.json",
        f"{releases}/{name}/credentials/token",
        f"{releases}/{name}/release.json",
        "/var/lib/agentfactory/probe-agent/0",
        "/var/lib/agentfactory/.factory/history.jsonl",
        "/etc/ssh/ssh_host_ed25519_key",
    ]
    pid = int(host.show("probe-agent@0")["MainPID"])
    for path in others:
        host.sh(f"test -e {path}")
    # what a unit sees as its credentials is in the namespace of that unit only
    host.sh(f"test -s /proc/{pid}/root{shown}/token || test -s {shown}/token")
    neighbour, stranger = (one for one in hosts if one is not host)
    return {
        "read": [*others, *OF_SIBLING, shown, f"/proc/{pid}/root{shown}/token"],
        "pid": pid,
        "allowed": {"host": neighbour.address, "port": SSH},
        "forbidden": [{"host": stranger.address, "port": SSH}, {"host": stranger.address, "port": PORT},
                      *({"host": "127.0.0.1", "port": port} for port in (SSH, PORT, ESCAPE + 1))],
    }  # fmt: skip


@pytest.fixture(scope="module")
def victims(module_fleet: Fleet, hosts: list[Host]) -> Fleet:
    """On each host an agent with a secret, which others try to get at."""
    module_fleet.write().deploy().ok()
    return module_fleet


def deploy(fleet: Fleet, hosts: list[Host], version: str, **allow: Any) -> dict[str, dict[str, Any]]:
    """Deploy two instances of escape-agent beside the victim; what they were set on, by host name."""
    aims = {host.name: targets(host, hosts) for host in hosts}
    mine = "aims[inventory_hostname]"
    config = {
        "read_paths": f"{{{{ {mine}.read }}}}", "ptrace_pid": f"{{{{ {mine}.pid }}}}", "forbidden": f"{{{{ {mine}.forbidden }}}}",
        "write_paths": [OWN, SIBLING, "/var/lib/agentfactory/probe-agent/0", "/usr/local/bin", "/etc/systemd/system", "/home"],
        **allow,
    }  # fmt: skip
    fleet.write({"probe-agent": {}, "escape-agent": {"version": version, "instances": 2, "config": config}})
    fleet.deploy("-e", json.dumps({"aims": aims})).ok()
    for host in hosts:
        host.sh(" && ".join(f"test -e {path}" for path in OF_SIBLING))
    return aims


def attempts(host: Host, only: str = "") -> dict[str, dict[str, Any]]:
    status, report = host.get(ESCAPE, "/attempts" + (f"?only={only}" if only else ""), timeout=180)
    assert status == 200, report
    for name, attempt in report.items():
        print(f"{host.release} {name}: {'denied' if attempt['denied'] else 'ALLOWED'}: {attempt['detail'][:120]}")
    return dict(report)


def test_nothing_that_the_manifest_does_not_allow_is_possible(victims: Fleet, shelf: Shelf, hosts: list[Host]) -> None:
    shelf.put("escape-agent")
    aims = deploy(victims, hosts, "1.0.0")
    pids = [host.agent()["pid"] for host in hosts]
    wrong = []
    for host in hosts:
        report = attempts(host)
        expected = ["mount", "ptrace:other", "ptrace:child", "namespace:user", "raw_socket:icmp", "raw_socket:packet", "setuid",
                    "capabilities", "proc:others", "proc:environ", "write_execute", "fork_bomb", "memory", "read:/etc/shadow",
                    "write:/etc", "write:/opt", "write:/var/lib/agentfactory", "write:/var/lib/agentfactory/probe-agent/0",
                    f"write:{SIBLING}",
                    *(f"read:{path}" for path in aims[host.name]["read"]),
                    *(f"connect:{at['host']}:{at['port']}" for at in aims[host.name]["forbidden"])]  # fmt: skip
        assert set(expected) <= set(report)
        allowed = {name for name, attempt in report.items() if not attempt["denied"]}
        if allowed != {f"write:{OWN}"}:
            wrong.append(
                f"{host.release}: "
                + "; ".join(f"{name}: {report[name]['detail']}" for name in allowed ^ {f"write:{OWN}"})
            )
        slow = {n: a["seconds"] for n, a in report.items() if n.startswith("connect:") and a["seconds"] > 4}
        assert not slow, "egress is refused at once, not dropped"
    assert not wrong, "\n".join(wrong)
    assert [host.agent()["pid"] for host in hosts] == pids, "the other agent noticed nothing"
    for host in hosts:
        assert (
            int(host.sh("nft list table inet agentfactory | grep -Eo 'packets [0-9]+' | awk '{n += $2} END {print n}'"))
            > 0
        )


def test_what_the_manifest_allows_is_possible_and_no_more(victims: Fleet, shelf: Shelf, hosts: list[Host]) -> None:
    neighbours = [f"{host.address}/32" for host in hosts[:2]]
    shelf.put("escape-agent", "1.1.0", permissions={"outbound": neighbours, "jit": True})
    config = {"allowed": [{"host": host.address, "port": SSH} for host in hosts[:2]],
              "forbidden": [{"host": hosts[2].address, "port": SSH}]}  # fmt: skip
    deploy(victims, hosts, "1.1.0", **config)
    for host in hosts:
        report = attempts(host, "allowed,connect,write_execute,mount")
        denied = {name for name, attempt in report.items() if attempt["denied"]}
        assert denied == {"mount", f"connect:{hosts[2].address}:{SSH}"}


def test_while_a_preflight_runs_it_and_what_runs_reach_what_either_may(
    victims: Fleet, shelf: Shelf, hosts: list[Host]
) -> None:
    host, old, new = hosts[0], hosts[1].address, hosts[2].address
    reach = "import socket, sys; [socket.create_connection((to, 22), 20).close() for to in sys.argv[1:]]"
    everywhere = ["0.0.0.0/0", "::/0"]
    aims = {"allowed": [{"host": at, "port": SSH} for at in (old, new)]}
    for version, outbound, tried, denied in (
        ("1.2.0", [f"{old}/32"], [old], {new}),
        ("1.3.0", [f"{new}/32"], [old, new], {old}),
        ("1.4.0", everywhere, [old, new], set()),
    ):
        preflight = {"preflight": ["/usr/bin/python3", "-c", reach, *tried]}
        shelf.put("escape-agent", version, permissions={"outbound": outbound}, health=preflight)
        victims.write({"probe-agent": {}, "escape-agent": {"version": version, "config": aims}})
        victims.deploy("--limit", host.name).ok()
        report = attempts(host, "allowed")
        assert {name for name, attempt in report.items() if attempt["denied"]} == {
            f"allowed:{at}:{SSH}" for at in denied
        }


def test_units_score_at_most_two(victims: Fleet, hosts: list[Host]) -> None:
    """systemd's own view of the unit of an agent that asks for no permission."""
    for host in hosts:
        said = host.sh("systemd-analyze --no-pager security agentfactory-probe-agent@0.service", check=False)
        score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
        assert score, said
        print(f"{host.release}: {score[1]}")
        assert float(score[1]) <= 2.0, said
