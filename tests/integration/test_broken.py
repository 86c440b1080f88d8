# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken updates under load: undone, with evidence, while the other instance serves."""

import re
from contextlib import ExitStack
from typing import Any

import pytest

from .harness import PORT, Fleet, Host, Load, Shelf, evidence

ID = "probe-agent@0"


@pytest.fixture(scope="module")
def serving(module_fleet: Fleet, shelf: Shelf) -> Fleet:
    """Two instances on each host, of a version that has to stay well for five seconds."""
    shelf.put(version="2.0.0", health={"bake": 5})
    shelf.put(version="2.0.1", health={"bake": 5, "start_timeout": 12})
    module_fleet.write({"probe-agent": {"version": "2.0.0", "instances": 2}}).deploy().ok()
    return module_fleet


BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    # what its configuration makes it do, which check sees it, what is seen
    "never healthy": (
        {"never_healthy": True},
        "http port 18080 /healthz",
        r"status 503 \(wanted 200\).*not healthy within 12 s",
    ),
    "dies after three seconds": ({"die_after": 3}, "process", r"the main process ended: .*exit status 1"),
    "wrong port": (
        {"wrong_port": True},
        "http port 18080 /healthz",
        r"nothing listens on port 18080 \(not healthy within 12 s\)",
    ),
    "impostor": ({"impostor": True}, "proof", r"release impostor-000000000000, not 2\.0\.1-[0-9a-f]{12}"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_update_is_undone_and_the_other_instance_serves_throughout(
    serving: Fleet, hosts: list[Host], case: str
) -> None:
    config, check, seen = BROKEN[case]
    before = {(host.name, port): host.agent(port) for host in hosts for port in (PORT, PORT + 1)}
    serving.write({"probe-agent": {"version": "2.0.1", "instances": 2, "config": config}})
    with ExitStack() as stack:
        loads = {
            key: stack.enter_context(Load(host, key[1])) for key in before for host in hosts if host.name == key[0]
        }
        result = serving.deploy()
    result.failed()
    for host in hosts:
        first, second = loads[host.name, PORT], loads[host.name, PORT + 1]
        assert second.lost == [], "the other instance lost requests"
        assert second.releases == [before[host.name, PORT + 1]["release"]]
        assert host.agent(PORT + 1)["pid"] == before[host.name, PORT + 1]["pid"]
        print(
            f"{host.name}, {case}: {len(second.answers)} requests to the other instance, none lost; its own gap {first.gap:.2f} s"
        )
        # the previous release runs and is healthy
        old = before[host.name, PORT]["release"]
        assert host.agent(PORT)["release"] == old
        assert host.show(ID)["NRestarts"] == "0"
        # the message: which instance, which check, what was seen, what is now
        message = result.verdict(host)
        assert re.search(rf"{ID}: 2\.0\.1-[0-9a-f]{{12}} failed: {re.escape(check)}: .*{seen}", message), message
        assert f"{old} runs again and is healthy" in message
        others = [line for line in result.changes(host, "agent_service") if line.startswith("probe-agent@1")]
        assert len(others) == 1
        assert "not attempted: another instance failed" in others[0]
    for host in hosts:
        why = evidence(serving, host, ID)
        assert re.search(seen, why["seen"])
        assert why["release"] in result.verdict(host)
        assert why["last_probe"]
        assert any("listening" in line for line in why["journal"])
        if case == "dies after three seconds":
            assert why["exit_status"] == "1"
            assert any("dying" in line for line in why["journal"])
