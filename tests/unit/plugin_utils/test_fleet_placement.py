# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agents with `count`: what placement.yml gives each host, every mistake in it, and a fleet as a question to the placement."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils import (
    fleet,
    fleet_placement,
    fleet_problem,
    manifest,
    placement,
)

HOSTS = ["h1", "h2", "h3", "x1"]
MANIFEST = manifest.normalise(
    {
        "name": "gateway",
        "version": "1.0",
        "command": ["gateway"],
        "health": {"notify": True},
        "ports": {"http": 8080},
        "resources": {"cpu": 0.5, "memory": "128M"},
    },
    file="agent.yml",
)
FLEET = """
plugin: agentfactory.core.fleet
environment: lab
artifacts: dist
agents:
  gateway: {version: "1.0", hosts: homes, count: 3, resources: {memory: 256M}, placement: {max_per_host: 2, resources: {gpu: 1}}}
  plain: {version: "1.0", hosts: all, instances: 2}
"""
GOOD = "plugin: agentfactory.core.fleet\nagents:\n  gateway: {h1: [0, 2], h3: [1]}\n"


class _Catalog:
    def __init__(self, place: str) -> None:
        self.place = place

    def find(self, name: str, version: str, source: str | None) -> dict[str, Any]:
        return {**MANIFEST, "name": name, "ports": MANIFEST["ports"] if name == "gateway" else {}}


def _select(pattern: str | list[str]) -> list[str]:
    return HOSTS if pattern == "all" else HOSTS[:3]


def load(directory: Path, placed: str | None = GOOD, text: str = FLEET, *, planning: bool = False) -> fleet.Fleet:
    if placed is not None:
        (directory / "placement.yml").write_text(placed)
    return fleet.load(
        yaml.safe_load(text),
        path=str(directory / "fleet.yml"),
        text=text,
        select=_select,
        catalog=_Catalog,
        label="inv/fleet.yml",
        planning=planning,
    )


def test_each_host_gets_its_instances(tmp_path: Path) -> None:
    found = load(tmp_path)
    seen = {host: declared[0] for host, declared in found.declared.items() if declared[0]["name"] == "gateway"}
    assert {host: (item["instances"], item["ports"]) for host, item in seen.items()} == {
        "h1": (["0", "2"], {"0": {"http": 8080}, "2": {"http": 8082}}),
        "h3": (["1"], {"1": {"http": 8081}}),
    }
    assert found.hosts == {"gateway": ["h1", "h3"], "plain": HOSTS}
    assert [item["name"] for item in found.declared["h2"]] == ["plain"]
    assert found.declared["h2"] is found.declared["x1"]


@pytest.mark.parametrize(
    ("placed", "expected"),
    [
        (None, "inv/fleet.yml: agents.gateway.count: there is no inv/placement.yml that says where: run the plan first"),
        ("[", "inv/placement.yml: line 1, column 2: "),
        ("plugin: x\n", "inv/placement.yml: plugin: must be one of agentfactory.core.fleet, not 'x'"),
        ("{h1: [0, 2], h3: [1], h9: []}", "agents.gateway.h9: there is no such host in the fleet; run the plan again"),
        ("{h1: [0, 2], h2: [1, 2]}", "agents.gateway.h2: index 2 is on h1 already; run the plan again"),
        ("{h1: [0, 0, 1, 2]}", "agents.gateway.h1: index 0 is on h1 already; run the plan again"),
        ("{h1: [0, -1]}", "agents.gateway.h1[1]: must be from 0"),
        ("{h1: [a]}", "agents.gateway.h1[0]: must be a whole number"),
        ("{h1: 0}", "agents.gateway.h1: must be a list"),
        ("{h1: [0]}\n  gateway: {h1: [1, 2]}", "line 4, column 3: the key 'gateway' is given twice"),
    ],
)  # fmt: skip
def test_each_mistake_names_file_and_key(tmp_path: Path, placed: str | None, expected: str) -> None:
    if placed and placed.startswith("{"):
        placed = "plugin: agentfactory.core.fleet\nagents:\n  gateway: " + placed + "\n"
    if not expected.startswith("inv/"):
        expected = f"inv/placement.yml: {expected}"
    with pytest.raises(fleet.FleetError) as caught:
        load(tmp_path, placed)
    assert any(line.startswith(expected) for line in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    ("placed", "expected"),
    [
        ("{h1: [0, 2], x1: [1]}", "agents.gateway.x1: is not in the agent's hosts; run the plan again"),
        ("{h1: [0, 2]}", "agents.gateway: index 1 of 3 missing; run the plan again"),
        ("{h1: []}", "agents.gateway: indexes 0, 1, 2 of 3 missing; run the plan again"),
        ("{h1: [0, 1, 2, 3]}", "agents.gateway.h1: index 3: there are 3, 0 to 2; run the plan again"),
        ("{h1: [0, 1, 2]}\n  gatway: {h1: [0]}", "agents.gatway: the fleet has no such agent (did you mean 'gateway'?); "),
        ("{h1: [0, 1, 2]}\n  plain: {h1: [0]}", "agents.plain: the agent has no count in the fleet; run the plan again"),
        ("{}\n  other: {}", "agents.gateway: indexes 0, 1, 2 of 3 missing; run the plan again"),
    ],
)  # fmt: skip
def test_a_placement_that_is_behind_the_fleet_is_read_and_told(tmp_path: Path, placed: str, expected: str) -> None:
    """As it is from the moment at which somebody changes a count or a pattern until a plan is carried out, or half of it."""
    there = "plugin: agentfactory.core.fleet\nagents:\n  gateway: " + placed + "\n"
    found = load(tmp_path, there)
    assert any(line.startswith(f"inv/placement.yml: {expected}") for line in found.behind), found.behind
    declared = {host: found.declared[host][0] for host in found.hosts["gateway"]}
    given_ = yaml.safe_load(there)["agents"]["gateway"]
    assert {host: [int(index) for index in item["instances"]] for host, item in declared.items()} == {
        host: indexes for host, indexes in given_.items() if indexes
    }
    for item in declared.values():
        assert item["ports"] == {index: {"http": 8080 + int(index)} for index in item["instances"]}


def test_an_agent_that_is_not_placed_yet_is_told(tmp_path: Path) -> None:
    found = load(tmp_path, "plugin: agentfactory.core.fleet\nagents: {}\n")
    assert found.behind == ["inv/placement.yml: agents.gateway: is not placed yet; run the plan again"]
    assert [item["name"] for item in found.declared["h1"]] == ["plain"]


def test_what_has_state_of_its_own_stays_outside_of_its_pattern(tmp_path: Path) -> None:
    placed = "plugin: agentfactory.core.fleet\nagents:\n  gateway: {h1: [0, 2], x1: [1]}\n"
    found = load(tmp_path, placed, FLEET.replace("count: 3", "count: 3, state_portable: false"))
    assert found.hosts["gateway"] == ["h1", "x1"]
    assert found.declared["x1"][0]["instances"] == ["1"]


def test_without_count_nobody_looks_for_a_placement(tmp_path: Path) -> None:
    load(
        tmp_path,
        "this is not a placement",
        text=FLEET.replace("count: 3", "instances: 3").partition(", placement")[0] + "}",
    )


def test_an_absent_agent_may_still_be_placed(tmp_path: Path) -> None:
    text = FLEET.replace("count: 3", "count: 3, state: absent") + '  other: {version: "1.0", hosts: homes, count: 1}\n'
    found = load(tmp_path, GOOD + "  other: {h2: [0]}\n", text)
    assert found.hosts["gateway"] == HOSTS[:3]
    assert [item["name"] for item in found.declared["h2"]] == ["gateway", "plain", "other"]


def test_planning_needs_no_placement(tmp_path: Path) -> None:
    found = load(tmp_path, None, planning=True)
    assert found.counted["gateway"].hosts == HOSTS[:3]
    assert [item["name"] for item in found.declared["h1"]] == ["plain"]


NAMES = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.:-]{0,12}", fullmatch=True)


@given(
    st.dictionaries(
        st.sampled_from(["a", "b-c", "on", "no", "y"]), st.dictionaries(st.integers(0, 30), NAMES, max_size=8)
    )
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, there: dict[str, dict[int, str]]
) -> None:
    """Also where a host is called `no`, `1` or `1e3`, or an agent `on`."""
    path = tmp_path_factory.mktemp("placed") / "placement.yml"
    path.write_text(fleet_placement.render(there, ["h1", "h2"]))
    placed, problems = fleet_placement.read(str(path), "placement.yml")
    assert problems == []
    assert fleet_placement.current(placed, there) == there


class TestQuestion:
    given = {host: fleet_problem.Given({"cpu": 4, "memory": "2G", "gpu": 2}, {"cpu": 0.5}, "z") for host in HOSTS}

    def test_room_is_what_others_leave(self, tmp_path: Path) -> None:
        """Two instances of plain, half a core and 128 MiB each, and what the system keeps."""
        found = fleet_problem.problem(load(tmp_path, None, planning=True), self.given, {}, drain=["h2"], failed=["h3"])
        assert [(host.name, host.zone, host.state) for host in found.hosts] == [
            ("h1", "z", "active"), ("h2", "z", "drained"), ("h3", "z", "failed"),
        ]  # fmt: skip
        assert {r: found.hosts[0].room(r) for r in ("cpu", "memory", "gpu")} == {
            "cpu": 2500, "memory": (2048 - 256) << 20, "gpu": 2,
        }  # fmt: skip
        assert found.agents == (
            placement.Agent("gateway", 3, {"cpu": 500, "memory": 256 << 20, "gpu": 1}, ("h1", "h2", "h3"), 2, "even"),
        )

    def test_a_host_that_is_only_left_needs_no_capacity(self, tmp_path: Path) -> None:
        given_ = {host: self.given[host] for host in HOSTS[:3]}
        found = fleet_problem.problem(load(tmp_path, None, planning=True), given_, {"gateway": {0: "x1"}})
        assert [(host.name, host.room("cpu")) for host in found.hosts][-1] == ("x1", 0)
        answer = placement.solve(found, proof=False)
        assert [step.kind for step in answer.order.steps] == ["move", "new", "new"]
        assert placement.check(found, answer.placement) == []

    def test_mistakes(self, tmp_path: Path) -> None:
        whole = load(tmp_path, None, planning=True)
        for given_, more, reason in (
            ({}, {}, "h1: no capacity is given"),
            (self.given, {"drain": ["x1"]}, "drain: x1 is no host of an agent with count"),
            ({**self.given, "h1": fleet_problem.Given({"cpu": "many"})}, {}, "h1.capacity.cpu: "),
            ({**self.given, "h1": fleet_problem.Given({"memory": "lots"})}, {}, "h1.capacity.memory: must be a size"),
            ({**self.given, "h1": fleet_problem.Given(4)}, {}, "h1.capacity: must be a mapping"),
            ({**self.given, "h1": fleet_problem.Given({"gpu": 1.5})}, {}, "h1.capacity.gpu: must be a whole number"),
        ):
            with pytest.raises(placement.PlacementError, match=reason):
                fleet_problem.problem(whole, given_, {}, **more)

    @pytest.mark.parametrize(
        ("given_", "expected"),
        [
            ({"cpu": 0.25}, {"cpu": 250}),
            ({"cpu": "4"}, {"cpu": 4000}),
            ({"memory": "1.5G"}, {"memory": 3 << 29}),
            ({"memory": 1 << 30}, {"memory": 1 << 30}),
            ({"memory": "1073741824"}, {"memory": 1 << 30}),
            ({"gpu": "2", "slots": 0}, {"gpu": 2, "slots": 0}),
        ],
    )
    def test_amounts(self, given_: dict[str, Any], expected: dict[str, int]) -> None:
        assert fleet_problem.amounts(given_, "key") == expected


def test_a_placement_is_settled_once(tmp_path: Path) -> None:
    path = tmp_path / "placement.yml"
    placed = {"gateway": {"h1": [2, 0], "h3": [1]}}
    assert fleet_placement.settle(str(path), placed, HOSTS)
    assert not fleet_placement.settle(str(path), placed, HOSTS)
    assert fleet_placement.read(str(path), "placement.yml") == ({"gateway": {"h1": [0, 2], "h3": [1]}}, [])
