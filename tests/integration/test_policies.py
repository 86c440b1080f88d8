# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failure on one of three hosts does to the others: waves, the budget of failures, undo."""

import re
from typing import Any

import pytest

from .harness import Fleet, Host, Result

ID = "probe-agent@0"


def order(result: Result) -> list[str]:
    """The hosts in the order of the waves, as the run announced them."""
    return [
        name for line in re.findall(r"^Wave \d+ of \d+: (.+)$", result.output, re.MULTILINE) for name in line.split()
    ]


def releases(hosts: list[Host]) -> dict[str, str]:
    return {host.name: host.agent()["release"] for host in hosts}


@pytest.fixture(scope="module")
def deployed(module_fleet: Fleet) -> tuple[Fleet, list[str]]:
    """An agent on all hosts, deployed host by host; the fleet, and the order of the hosts."""
    module_fleet.write({"probe-agent": {"rollout": {"waves": [1, 2, 3]}}})
    result = module_fleet.deploy().ok()
    assert re.findall(r"^Wave (\d) of 3", result.output, re.MULTILINE) == ["1", "2", "3"]
    return module_fleet, order(result)


# rollout of the change, and what happens to the first, second (which fails) and third host
POLICIES: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "host by host, nothing undone": ({"waves": [1, 2, 3], "rollback": "none"}, ("new", "old", "not tried")),
    "canary first, its wave undone": ({"waves": [1, "100%"], "rollback": "wave"}, ("new", "old", "undone")),
    "canary first, all undone": ({"waves": [1, "100%"], "rollback": "fleet"}, ("undone", "old", "undone")),
    "one failure is bearable": ({"waves": [1, 2, 3], "max_failures": 1}, ("new", "old", "new")),
}


@pytest.mark.parametrize("case", POLICIES)
def test_a_failure_on_one_host_does_to_the_others_what_the_policy_says(
    deployed: tuple[Fleet, list[str]], hosts: list[Host], case: str
) -> None:
    fleet, names = deployed
    rollout, expected = POLICIES[case]
    before = releases(hosts)
    bad = names[1]
    config = {"greeting": case, "crash": f"{{{{ inventory_hostname == '{bad}' }}}}"}
    result = fleet.write({"probe-agent": {"config": config, "rollout": rollout}}).deploy()
    after = releases(hosts)
    assert result.rc == 2, result.output
    for name, fate in zip(names, expected, strict=True):
        assert (after[name] != before[name]) == (fate == "new"), (name, fate)
        activations = [line for line in result.changes(name, "agent_service") if line.startswith(ID)]
        assert len(activations) == {"new": 1, "old": 1, "not tried": 0, "undone": 2}[fate], activations
    # the verdict: the host that failed, why, and nothing about the others
    assert f"{ID}: 1.0.0-" in result.verdict(bad)
    assert "RuntimeError: crash" in result.verdict(bad)
    assert [name for name in names if result.verdict(name)] == [bad]
    stopped = "Stopped: 1 host failed so far and max_failures is 0" in result.output
    assert stopped == ("max_failures" not in rollout)
    undone = [name for name, fate in zip(names, expected, strict=True) if fate == "undone"]
    told = re.search(rf"^Undone \(rollback: {rollout.get('rollback')}\): (.+)$", result.output, re.MULTILINE)
    assert sorted(told[1].split() if told else []) == sorted(undone)
