# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned, and that it follows from the models; what makes a plan outdated; the moves of one deploy."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils import fleet, moves, placement
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity import answers
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.simulation import simulate
from ansible_collections.agentfactory.core.plugins.plugin_utils.placement import Agent, Host, Problem, Step
from ansible_collections.agentfactory.core.plugins.plugin_utils.planning import document, page, text
from ansible_collections.agentfactory.core.plugins.plugin_utils.planning.demand import demands
from ansible_collections.agentfactory.core.plugins.plugin_utils.planning.onepass import one_pass

from .conftest import GATEWAY, Plan, Read

SPREAD = {"gateway": {"h1": [0, 3], "h2": [1, 4], "h3": [2]}}


MADE_OF = dict.fromkeys(("environment", "agents", "artifacts", "placement", "reliability", "hosts"), "")


def gateway(**changes: Any) -> dict[str, Any]:
    return {"gateway": {**GATEWAY, **changes}}


# -- counts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "asked", "count", "needed"),
    [
        ({}, {}, 5, 5),  # docs/capacity.md has the same numbers: 5 at 40/s, 6 at 60/s
        ({}, {"load_factor": 1.5}, 6, 6),
        ({"slo": {"below": 0.2, "needed": 7}}, {}, 7, 7),
        ({"load": {**GATEWAY["load"], "batch": 4}}, {}, 9, 9),
        ({"load": None, "slo": {"needed": 2}}, {}, 2, 2),
        ({"count": 3}, {}, 3, 5),
        ({"slo": {"below": 0.2, "availability": 0.999}}, {}, 8, 5),
    ],
)
def test_how_many(plan: Plan, changes: dict[str, Any], asked: dict[str, Any], count: int, needed: int) -> None:
    agents = gateway(**changes)
    agents["gateway"] = {key: value for key, value in agents["gateway"].items() if value is not None}
    made = plan(agents, **asked)
    row = made["agents"][0]
    assert (made["counts"]["gateway"], row["count"], row["needed"]) == (count, count, needed)
    short = [line for line in made["warnings"] if "are needed" in line]
    assert bool(short) == (count < needed)


def test_availability_is_of_hosts_and_zones_and_not_of_instances_alone(plan: Plan) -> None:
    few, many = (plan(gateway(slo={"below": 0.2, **more}))["agents"][0] for more in ({}, {"availability": 0.999}))
    assert few["availability"]["unavailability"] > 1e-3 > many["availability"]["unavailability"]
    assert many["availability"]["budget_share"] < 1
    assert {point["instances"] for point in many["curve"]} >= {5, 8}


def test_no_room_for_what_availability_asks_is_said(plan: Plan) -> None:
    made = plan(gateway(slo={"below": 0.2, "availability": 0.999999999}), cpu=1)
    assert made["counts"] == {"gateway": 6}
    assert any("no room for one more" in line for line in made["warnings"])


def test_who_finds_no_room_keeps_nobody_else_from_it(plan: Plan) -> None:
    many = {"version": "1.0", "count": "auto", "slo": {"needed": 1, "availability": 0.99999}}
    y = {**many, "hosts": "h2,h3"}
    made = plan({"x": {**many, "hosts": "h1", "resources": {"cpu": 4}}, "y": y})
    assert made["counts"] == {"x": 1, **plan({"y": y})["counts"]}
    assert made["counts"]["y"] > 1
    assert [line for line in made["warnings"] if "no room" in line] == [
        "x: there is no room for one more, which the availability asks for"
    ]


def test_no_room_at_all_is_a_problem(plan: Plan) -> None:
    made = plan(cpu=0.5)
    assert made["problems"]
    assert "no place for 2 of gateway" in made["problems"][0]


@pytest.mark.parametrize(
    ("base", "number", "clashes"), [(8081, 1, True), (8082, 1, False), (8079, 1, False), (8079, 2, True)]
)
def test_two_that_would_want_one_port_of_a_host_are_a_problem(
    plan: Plan, read: Read, base: int, number: int, clashes: bool
) -> None:
    """And not one that only the deploy finds: it reads what is planned without a problem."""
    agents = {
        "a": {"version": "1.0", "hosts": "h2", "count": 2},
        "b": {"version": "1.0", "hosts": "h2", "count": number, "ports": {"http": base}},
    }
    made = plan(agents)
    if clashes:
        assert "agents.b.ports.http: 808" in made["problems"][0]
        assert "is also agents.a.ports.http" in made["problems"][0]
    else:
        assert made["problems"] == []
        read(agents, source=document.source(made, "plan.json"))


@pytest.mark.parametrize(
    ("load", "method", "assumed"),
    [
        ({}, "M/M/c", {"arrival_scv is taken to be 1", "service_scv is taken to be 1", "requests wait without limit"}),
        ({"arrival_scv": 1.05, "service_scv": 0.5}, "Whitt", {"requests wait without limit"}),
        ({"queue_limit": 0}, "Erlang", {"arrival_scv is taken to be 1", "service_scv is taken to be 1"}),
        ({"queue_limit": 5}, "M/M/c/K", {"arrival_scv is taken to be 1", "service_scv is taken to be 1"}),
        ({"service_law": "deterministic", "queue_limit": 0}, "Erlang", {"arrival_scv is taken to be 1"}),
    ],
)
def test_what_is_known_of_a_load_chooses_the_method(
    plan: Plan, load: dict[str, Any], method: str, assumed: set[str]
) -> None:
    """And what is not known is named."""
    made = plan(gateway(load={**GATEWAY["load"], **load}))
    row = made["agents"][0]
    assert method in row["method"]
    assert row["slo"]["kept"]
    assert ("loss" in row) == ("queue_limit" in load)
    assert not row.get("loss") or row["loss"] <= 0.001
    said = {"arrival_scv is taken to be 1", "service_scv is taken to be 1", "requests wait without limit"}
    assert {line for line in said if any(line in one for one in made["assumptions"])} == assumed


def test_who_finds_no_room_breaks_a_promise_as_well(plan: Plan) -> None:
    made = plan(gateway(count=5, load={**GATEWAY["load"], "queue_limit": 0}))
    assert [line for line in made["warnings"] if "find no room" in line]


@pytest.mark.parametrize(
    ("load", "simulated"),
    [
        ({"arrival_scv": 4}, True),
        ({"service_law": "lognormal", "service_scv": 3}, True),
        ({"burst": {"factor": 3, "share": 0.2, "length": 30}}, True),
        ({"queue_limit": 3, "service_scv": 2}, True),
        ({}, False),
    ],
)
def test_what_formulas_are_poor_at_is_simulated(read: Read, load: dict[str, Any], simulated: bool) -> None:
    """Not run here, since each number of instances takes seconds: the method is chosen by what the fleet says."""
    found = read(gateway(load={**GATEWAY["load"], **load}, slo={"needed": 5}))
    (demand,) = demands(found.goals, {"gateway": 5}).values()
    assert demand.workload is not None
    assert (answers.method(replace(demand.workload, instances=5).queue()) is simulate) is simulated


# -- moves ------------------------------------------------------------------------------------------------------------


def test_a_plan_that_was_carried_out_leaves_nothing_to_do(plan: Plan) -> None:
    first = plan()
    assert [step["kind"] for step in first["steps"]] == ["new"] * 5
    again = plan(None, first["placement"])
    assert again["steps"] == []
    assert again["placement"] == first["placement"]
    assert text.summary(again).startswith("Nothing to do")


@pytest.mark.parametrize(
    ("changes", "asked", "said"),
    [
        ({"count": 3, "resources": {"cpu": 9}}, {}, "Nothing can be done: see below what cannot be"),
        (
            {"count": 5, "state_portable": False}, {"drain": ("h1",)},
            "Nothing can be done: what should move is fixed or waits for room",
        ),
    ],
)  # fmt: skip
def test_that_nothing_can_be_done_is_not_that_all_is_well(
    plan: Plan, changes: dict[str, Any], asked: dict[str, Any], said: str
) -> None:
    made = plan(gateway(**changes), None if "resources" in changes else SPREAD, **asked)
    assert (made["steps"], text.summary(made)) == ([], said)


def test_hosts_that_agents_with_instances_overfill_are_named(plan: Plan) -> None:
    for cpu, warned in ((2, []), (2.5, ["h1", "h2"])):
        watch = {"version": "1.0", "hosts": "h1,h2", "instances": 2, "ports": {"http": 9090}, "resources": {"cpu": cpu}}
        made = plan({"watch": watch, **gateway(count=1, hosts="h3")})
        said = [line for line in made["warnings"] if "need more cpu than there is: 5, and it has 4" in line]
        assert [line.partition(":")[0] for line in said] == warned


def test_what_is_stopped_is_counted_and_promises_nothing(plan: Plan) -> None:
    slo = {"below": 0.2, "availability": 0.999}
    made = plan(gateway(state="stopped", slo=slo))
    assert made["counts"] == plan(gateway(slo=slo))["counts"]
    assert set(made["agents"][0]) == {"name", "count", "auto", "needed", "hosts"}
    assert (made["losses"], made["warnings"]) == ([], [])


def test_a_drain_empties_the_host_and_moves_nobody_else(plan: Plan) -> None:
    made = plan(None, SPREAD, drain=("h1",))
    assert {(step["kind"], step["from"]) for step in made["steps"]} == {("move", "h1")}
    assert "h1" not in made["placement"]["gateway"]
    assert made["rollout"]["hosts"] == ["h1", "h2", "h3"]
    assert 0 < made["rollout"]["seconds"]["least"] < made["rollout"]["seconds"]["most"]


def test_moves_are_told_in_the_order_of_the_waves(plan: Plan) -> None:
    """A host after the other as the rollout comes to them, and not one kind of move after the other."""
    made = plan(gateway(count=6), {"gateway": {"h1": [0, 3, 4], "h2": [1], "h3": [2, 7]}}, drain=("h1",))
    assert {step["kind"] for step in made["steps"]} == {"move", "new", "remove"}
    hosts = [step["to"] or step["from"] for step in made["steps"]]
    assert hosts == sorted(hosts)


def test_agents_on_each_host_stay_on_a_drained_one_and_are_named(plan: Plan) -> None:
    agents = {**gateway(), "watch": {"version": "1.0", "hosts": "all", "ports": {"http": 9090}}}
    made = plan(agents, SPREAD, drain=("h1",))
    assert "h1: watch stays, for it is declared for each of its hosts and not counted" in made["warnings"]
    assert next(row for row in made["agents"] if row["name"] == "watch")["count"] == 3


@pytest.mark.parametrize(
    ("portable", "said"),
    [
        (None, "gateway: moves without what is in its state directory, since the fleet does not say state_portable"),
        (
            True,
            "gateway: must not run twice, so each is stopped before the wave of its new host, and down until it is healthy",
        ),
    ],
)
def test_what_a_move_does_to_state_is_said(plan: Plan, portable: bool | None, said: str) -> None:
    agents = gateway(count=5) if portable is None else gateway(count=5, state_portable=portable)
    made = plan(agents, SPREAD, drain=("h1",))
    assert [line[: len(said)] for line in made["warnings"] if "gateway@0, gateway@3" in line] == [said]
    assert not [line for line in plan(agents, SPREAD)["warnings"] if "gateway@" in line], "nothing moves"


def test_what_cannot_move_is_named_and_stays(plan: Plan) -> None:
    made = plan(gateway(count=5, state_portable=False), SPREAD, drain=("h1",))
    assert made["fixed"] == ["gateway@0", "gateway@3"]
    assert made["problems"] == []
    assert made["placement"] == SPREAD


LEFT = {"gateway": {"h1": [0], "h2": [1]}}


def test_what_runs_on_a_host_that_left_the_pattern_moves_and_is_not_lost(plan: Plan, read: Read) -> None:
    """So it is proven at its new place before the old one is removed."""
    agents = gateway(count=2, hosts="h2,h3")
    made = plan(agents, LEFT)
    assert [step["text"] for step in made["steps"]] == ["move gateway@0 h1 -> h3"]
    assert moves.leaving(made["steps"], made["portable"]) == {"h1": {"gateway@0": {"when": "last", "to": "h3"}}}
    assert read(agents, placed=made["placement"]).hosts["gateway"] == ["h2", "h3"]
    assert [step["kind"] for step in plan(agents, LEFT, drain=("h1",))["steps"]] == ["move"]


def test_with_its_state_it_stays_on_a_host_that_left_the_pattern(plan: Plan, read: Read) -> None:
    agents = gateway(count=2, hosts="h2,h3", state_portable=False)
    made = plan(agents, LEFT)
    assert (made["steps"], made["fixed"], made["placement"]) == ([], ["gateway@0"], LEFT)
    found = read(agents, placed=made["placement"])  # and so the fleet goes on to run it there
    assert (found.hosts["gateway"], found.declared["h1"][0]["instances"]) == (["h2", "h1"], ["0"])


def test_what_runs_on_a_host_that_left_the_fleet_is_lost_and_said(plan: Plan) -> None:
    keys = {"managed": "h2,h3"}
    made = plan(gateway(count=2, hosts="h2,h3"), LEFT, keys=keys)
    assert [step["text"] for step in made["steps"]] == ["restart gateway@0 on h3 (h1 is lost)"]
    assert any(
        line.startswith("h1: is not managed any more: gateway@0 there is taken as lost") for line in made["warnings"]
    )
    with pytest.raises(
        placement.PlacementError, match="gateway@0: has state of its own on h1, which the fleet does not manage"
    ):
        plan(gateway(count=2, hosts="h2,h3", state_portable=False), LEFT, keys=keys)


def test_what_waits_for_room_and_was_on_a_host_that_is_not_managed_has_no_place_until_then(
    plan: Plan, read: Read
) -> None:
    agents = {
        "a": {"version": "1.0", "hosts": "h2", "count": 1, "ports": {"http": 7000}},
        "b": {"version": "1.0", "hosts": "h2,h3", "count": 1},
    }
    keys: dict[str, Any] = {"managed": "h2,h3"}
    made = plan(agents, {"a": {"h1": [0]}, "b": {"h2": [0]}}, cpu=0.5, keys=keys)
    assert [step["text"] for step in made["waiting"]] == ["restart a@0 on h2 (h1 is lost)"]
    assert made["placement"] == {"a": {}, "b": {"h3": [0]}}
    found = read(agents, source=document.source(made, "plan.json"), **keys)
    assert found.hosts == {"a": [], "b": ["h3"]}
    after = plan(agents, made["placement"], cpu=0.5, keys=keys)
    assert [step["text"] for step in after["steps"]] == ["new a@0 on h2"]


def test_a_lost_zone_is_only_a_what_if(plan: Plan, tmp_path: Path) -> None:
    made = plan(None, SPREAD, lose_zone="a")
    assert made["what_if"] == ["lose_zone=a"]
    assert {step["kind"] for step in made["steps"]} == {"restart"}
    file = tmp_path / "plan.json"
    file.write_text(document.render({**made, "identity": MADE_OF}))
    with pytest.raises(fleet.FleetError, match="is not to be carried out"):
        document.load(str(file), "plan.json")
    with pytest.raises(placement.PlacementError, match="zones are a, b, c"):
        plan(lose_zone="z")


def test_a_lost_host_is_planned_around_and_the_plan_is_carried_out(plan: Plan, tmp_path: Path) -> None:
    made = plan(gateway(count=5), SPREAD, failed=("h1",))
    assert {(step["kind"], step["from"]) for step in made["steps"]} == {("restart", "h1")}
    assert (made["what_if"], made["lost"], made["placement"]["gateway"].keys()) == ([], ["h1"], {"h2", "h3"})
    assert "h1" not in made["rollout"]["hosts"]
    assert "lost: h1" in text.report(made)
    file = tmp_path / "plan.json"
    file.write_text(document.render({**made, "identity": MADE_OF}))
    assert document.load(str(file), "plan.json")["lost"] == ["h1"]
    with pytest.raises(placement.PlacementError, match="failed: h9 is no host of the fleet"):
        plan(failed=("h9",))


@pytest.mark.parametrize(
    ("portable", "moved", "warning"),
    [
        (None, ["gateway@0", "gateway@3"], ""),
        (True, ["gateway@0", "gateway@3"], "h1: must not run twice, and the host starts it when it comes back"),
        (False, [], "h1: down until it is back, for its state is there: gateway@0, gateway@3"),
    ],
)
def test_what_becomes_of_state_on_a_lost_host(
    plan: Plan, portable: bool | None, moved: list[str], warning: str
) -> None:
    agents = gateway(count=5) if portable is None else gateway(count=5, state_portable=portable)
    agents["watch"] = {"version": "1.0", "hosts": "h1", "ports": {"http": 9090}}
    made = plan(agents, SPREAD, failed=("h1",))
    assert sorted(f"{step['agent']}@{step['index']}" for step in made["steps"] if step["kind"] == "restart") == moved
    about = [line for line in made["warnings"] if line.startswith("h1: ") and "gateway@0, gateway@3" in line]
    assert [line[: len(warning)] for line in about] == ([warning] if warning else [])
    assert "h1: down until it is back, for it is declared for each of its hosts: watch" in made["warnings"]
    when = {how["when"] for there in moves.leaving(made["steps"], made["portable"]).values() for how in there.values()}
    assert when == ({"first" if portable else "last"} if moved else set())


def test_what_is_fixed_on_a_lost_host_is_not_up(plan: Plan) -> None:
    agents = gateway(count=5, state_portable=False)
    row = plan(agents, SPREAD, lose_zone="a")["agents"][0]
    assert (row["count"], row["hosts"], row["slo"]["kept"]) == (3, 2, False)
    assert row["availability"]["unavailability"] == 1.0
    # and so as many more are planned as are needed of those that are left
    auto = plan(gateway(state_portable=False, slo={"below": 0.2, "availability": 0.9}), SPREAD, lose_zone="a")
    assert sum(map(len, auto["placement"]["gateway"].values())) == 7


def test_hosts_without_counted_agents_are_drained_and_lost_as_well(plan: Plan) -> None:
    agents = {**gateway(hosts="h1,h2"), "watch": {"version": "1.0", "hosts": "all", "ports": {"http": 9090}}}
    lost = plan(agents, lose_zone="c")
    assert lost["agents"][1]["count"] == 2
    drained = plan(agents, drain=("h3",))
    assert any(line.startswith("h3: watch stays") for line in drained["warnings"])
    with pytest.raises(placement.PlacementError, match="drain: h9 is no host of the fleet"):
        plan(agents, drain=("h9",))


def test_which_single_loss_breaks_the_promise(plan: Plan) -> None:
    losses = {(one["kind"], one["name"]): one["breaks"][0] for one in plan(None, SPREAD)["losses"]}
    assert set(losses) == {
        (kind, name) for kind, names in (("zone", "abc"), ("host", ("h1", "h2", "h3"))) for name in names
    }
    assert losses["host", "h3"]["why"] == "response.p95 is 0.201 s with 4, more than 0.2 s"
    assert losses["zone", "a"]["left"] == 3
    roomy = gateway(count=9)
    assert plan(roomy)["losses"] == []


def test_room_for_the_loss_of_any_host_is_kept_or_missed(plan: Plan) -> None:
    """On three hosts of 1.5 cores, instances of half a core: two hosts hold six."""
    made = plan(gateway(count=6), cpu=1.5, host_loss=True)
    assert made["problems"] == []
    tight = plan(gateway(count=7), cpu=1.5, host_loss=True)
    assert any(line.startswith("if h") and "there is no room for" in line for line in tight["problems"])
    assert plan(gateway(count=7), cpu=1.5)["problems"] == [], "without being asked for it, it is placed"
    assert "with room for the loss of any one host" in text.report(made)


def test_what_one_more_host_buys(plan: Plan) -> None:
    made = plan(gateway(count=5), SPREAD, cpu=1.5, one_more="h1")
    assert made["one_more"] == {
        "like": "h1", "hosts": [3, 4], "room": {"gateway": [4, 7]}, "drainable": [3, 3], "unsafe": [0, 0], "without": [0, 0],
    }  # fmt: skip
    assert "gateway: room for 4 more, then 7" in text.report(made)
    with pytest.raises(placement.PlacementError, match="one_more: h9 is no host of an agent with count"):
        plan(one_more="h9")
    with pytest.raises(placement.PlacementError, match="one_more: no agent of the fleet has a count"):
        plan({"bridge": {"version": "1.0", "hosts": "all"}}, one_more="h1")


# -- one deploy's moves ----------------------------------------------------------------------------------------------


def test_moves_that_wait_for_each_others_room_take_two_plans() -> None:
    hosts = (Host("h1", {"cpu": 2}), Host("h2", {"cpu": 2}))
    problem = Problem(hosts, (Agent("a", 1, {"cpu": 1}), Agent("b", 1, {"cpu": 2})), {"a": {0: "h1"}, "b": {0: "h2"}})
    steps = [Step("move", "a", 0, "h1", "h2"), Step("move", "b", 0, "h2", "h1")]
    found = one_pass(Problem(hosts, problem.agents, {"a": {0: "h1"}}), steps[:1])
    assert (found.steps, found.left, found.peak) == (steps[:1], [], {"h1": {"cpu": 1}, "h2": {"cpu": 1}})
    found = one_pass(problem, steps)
    assert (found.steps, found.left) == ([], steps)


def test_nothing_takes_the_room_that_what_waits_needs() -> None:
    """The hop waits, for h1 holds a@2 until the deploy is over. With a@0 there it would have nowhere to go, and no plan would help."""
    hosts = (Host("h0", {"cpu": 4}), Host("h1", {"cpu": 6}), Host("h2", {"cpu": 6}))
    agents = (Agent("a", 1, {"cpu": 1}), Agent("b", 1, {"cpu": 2}), Agent("c", 2, {"cpu": 4}, hosts=("h1", "h0")))
    problem = Problem(hosts, agents, {"a": {1: "h2", 2: "h1"}, "b": {0: "h0"}, "c": {0: "h2", 1: "h1"}})
    left = [
        Step("hop", "b", 0, "h0", "h1"), Step("move", "c", 0, "h2", "h0"), Step("move", "b", 0, "h1", "h2"),
        Step("new", "a", 0, None, "h1"),
    ]  # fmt: skip
    found = one_pass(problem, [Step("remove", "a", 2, "h1", None), *left])
    assert found.left == left
    later = one_pass(replace(problem, current=found.placement), left)
    assert later.steps == [left[0]]


def test_what_waits_has_the_highest_indexes() -> None:
    """Its room is freed only by what moves: so the next plan finds indexes without a gap."""
    hosts = (Host("h1", {"cpu": 2}), Host("h2", {"cpu": 2}))
    agents = (Agent("a", 3, {"cpu": 1}), Agent("b", 1, {"cpu": 2}))
    problem = Problem(hosts, agents, {"b": {0: "h1"}})
    steps = [
        Step("new", "a", 0, None, "h1"),
        Step("new", "a", 1, None, "h2"),
        Step("move", "b", 0, "h1", "h3"),
        Step("new", "a", 2, None, "h2"),
    ]
    found = one_pass(replace(problem, hosts=(*hosts, Host("h3", {"cpu": 2}))), steps)
    assert [(step.kind, step.instance, step.target) for step in found.steps] == [
        ("new", "a@0", "h2"), ("move", "b@0", "h3"), ("new", "a@1", "h2"),
    ]  # fmt: skip
    assert [(step.instance, step.target) for step in found.left] == [("a@2", "h1")]
    assert found.placement == {"a": {0: "h2", 1: "h2"}, "b": {0: "h3"}}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(0, 3), st.integers(2, 4))
def test_plan_after_plan_empties_a_host_and_overfills_none(homes: list[int], drained: int, room: int) -> None:
    names = [f"h{number}" for number in range(4)]
    hosts = tuple(
        Host(name, {"cpu": max(room, homes.count(at))}, state="drained" if at == drained else "active")
        for at, name in enumerate(names)
    )
    current = {"a": {index: names[at] for index, at in enumerate(homes)}}
    for _plan in homes:
        problem = Problem(hosts, (Agent("a", len(homes), {"cpu": 1}),), current)
        answer = placement.solve(problem, proof=False)
        if not answer.possible or not answer.order.steps:
            break
        made = one_pass(problem, answer.order.steps)
        assert made.steps, "the first step of an order always fits"
        assert all(made.peak[host.name].get("cpu", 0) <= host.room("cpu") for host in hosts)
        current = made.placement
    final = placement.solve(Problem(hosts, (Agent("a", len(homes), {"cpu": 1}),), current), proof=False)
    assert not final.possible or not final.order.steps


# -- is it still true? ------------------------------------------------------------------------------------------------


class Variables:
    """Of hosts that all have the same."""

    def __init__(self, **given: Any) -> None:
        self.given = {"agentfactory_capacity": {"cpu": 4}, "agentfactory_zone": "a", "point": 21, **given}

    def room(self, host: str) -> dict[str, Any]:
        return {key: value for key, value in self.given.items() if key.startswith("agentfactory_")}

    def behind(self, host: str, value: Any) -> dict[str, Any]:
        return {"point": self.given["point"]} if "point" in str(value) else {}


def identity(
    found: fleet.Fleet, placed: Any = None, content: str | None = "c1", variables: Variables | None = None
) -> document.Identity:
    contents = {name: None if content is None else [content] for name in found.agents}
    return document.identity(found, placed or {}, contents, variables or Variables())


@pytest.mark.parametrize(
    ("changes", "placed", "content", "said"),
    [
        ({}, None, "c1", []),
        ({}, SPREAD, "c1", []),  # carried out already
        ({"version": "1.1"}, None, "c1", ["agents.gateway.version: has changed since the plan was made: it was 1.0, and is 1.1"]),
        ({"config": {"x": 1}}, None, "c1", ["agents.gateway.config: has changed since the plan was made"]),
        ({"count": 4}, None, "c1", ["agents.gateway.count: has changed since the plan was made: it was auto, and is 4"]),
        ({"load": {"rate": 41, "service_time": 0.06}}, None, "c1", ["agents.gateway.load: has changed since the plan was made"]),
        (
            {"ports": {"http": 1}}, None, "c1",
            ["agents.gateway.ports: has changed since the plan was made: it was {'http': 8080}, and is {'http': 1}"],
        ),
        ({"secrets": {}}, None, "c1", []),
        ({}, None, "c2", ["agents.gateway: its artifact has another content"]),
        ({}, None, None, ["agents.gateway: its artifact is not packaged any more"]),
        ({}, {"gateway": {"h1": [0]}}, "c1", ["placement.yml: gateway was placed otherwise since"]),
    ],
)  # fmt: skip
def test_what_moved_is_named(
    read: Read, changes: dict[str, Any], placed: Any, content: str | None, said: list[str]
) -> None:
    plan = {"identity": identity(read()), "placement": SPREAD}
    now = identity(read(gateway(**changes)), placed, content)
    assert document.moved(plan, now, "p") == [f"p: {line}; plan again" for line in said]


@pytest.mark.parametrize(
    ("keys", "variables", "said"),
    [
        ({}, {}, []),
        ({"reliability": {"host": {"unavailability": 0.1}}}, {}, ["reliability"]),
        ({"managed": "h1,h2"}, {}, ["hosts: h3 is gone since the plan was made"]),
        ({}, {"agentfactory_capacity": {"cpu": 2}}, ["h1.agentfactory_capacity: it was {'cpu': 4}, and is {'cpu': 2}"]),
        ({}, {"agentfactory_reserved": {"cpu": 1}}, ["h1.agentfactory_reserved: it was None, and is {'cpu': 1}"]),
        ({}, {"agentfactory_zone": "b"}, ["h1.agentfactory_zone: it was a, and is b"]),
        ({}, {"point": 22}, ["h1.point, which a configuration names"]),
    ],
)  # fmt: skip
def test_what_moved_beside_the_agents_is_named_too(
    read: Read, keys: dict[str, Any], variables: dict[str, Any], said: list[str]
) -> None:
    agents = {"one": {"version": "1.0", "hosts": "h1", "config": {"set_point": "{{ point }}"}}}
    plan = {"identity": json.loads(json.dumps(identity(read(agents)))), "placement": {}}
    now = identity(read(agents, **keys), variables=Variables(**variables))
    on_one = [line for line in document.moved(plan, now, "p") if not line.startswith(("p: h2.", "p: h3."))]
    on_one = [line.replace(": has changed since the plan was made", "") for line in on_one]
    assert on_one == [f"p: {line}; plan again" for line in said]


def test_other_fleets_and_agents_that_come_and_go(read: Read) -> None:
    plan = {"identity": identity(read()), "placement": SPREAD}
    assert document.moved(plan, identity(read(environment="home")), "p") == [
        "p: is of environment lab, and this is home"
    ]
    other = identity(read({"bridge": {"version": "1.0", "hosts": "all"}}))
    assert [line.partition(";")[0] for line in document.moved(plan, other, "p")] == [
        "p: agents.gateway: is gone since the plan was made", "p: agents.bridge: is new since the plan was made",
    ]  # fmt: skip


LISTS = ("steps", "waiting", "what_if", "portable", "host_order", "lost")
UNMADE = {"format": document.FORMAT, "placement": {}, **{key: [] for key in LISTS}}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not a plan"),
        ("[]", "is not a plan"),
        ("{}", "is not a plan: it lacks"),
        ('{"format": 1, "placed": {}}', "is of format 1, and 2 is understood: plan again"),
        (
            document.render({**UNMADE, "identity": {"environment": "lab", "agents": {}}}),
            "is not a plan: its identity lacks artifacts, placement, reliability, hosts",
        ),
        (None, "No such file"),
    ],
)
def test_files_that_are_no_plans(tmp_path: Path, content: str | None, reason: str) -> None:
    file = tmp_path / "plan.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(fleet.FleetError, match=reason):
        document.load(str(file), "plan.json")


def test_the_fleet_runs_as_many_as_the_plan_says(read: Read, plan: Plan) -> None:
    made = plan()
    found = read(placed=made["placement"])
    assert found.agents["gateway"]["instances"] == ["0", "1", "2", "3", "4"]
    there = {host: [item["instances"] for item in declared] for host, declared in found.declared.items()}
    assert there == {host: [[str(i) for i in made["placement"]["gateway"][host]]] for host in there}
    with pytest.raises(fleet.FleetError, match="gateway: is not placed yet"):
        read(placed={})


def test_what_waits_for_room_may_lack_a_place_until_the_next_plan(read: Read) -> None:
    made = {
        "placement": {"gateway": {"h1": [0], "h2": [2]}},
        "waiting": [{"kind": "new", "agent": "gateway", "index": 1}, {"kind": "move", "agent": "gateway", "index": 0}],
    }
    for changes in ({}, {"count": 3}):
        found = read(gateway(**changes), source=document.source(made, "plan.json"))
        assert [item["instances"] for host in ("h1", "h2", "h3") for item in found.declared[host]] == [["0"], ["2"]]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"slo": None}, "count: auto needs slo.below with a load, or slo.needed"),
        ({"load": None}, "slo.below: needs the agent's load"),
        ({"load": {**GATEWAY["load"], "burst": {"factor": 3}}}, "load.burst.share: is missing"),
        ({"load": {**GATEWAY["load"], "service_law": "normal"}}, "load.service_law: must be one of auto, "),
        ({"load": {**GATEWAY["load"], "queue_limit": -1}}, "load.queue_limit: must be from 0"),
        ({"load": {**GATEWAY["load"], "batch": 0.5}}, "load.batch: must be from 1"),
        ({"load": {"rate": 1}}, "load: give rate and service_time, or metrics"),
        ({"slo": {"availability": 1}}, "availability: 1 is reached by no finite number"),
        ({"slo": {"below": -1}}, "slo.below: must be from"),
        ({"count": "many"}, "count: must be a whole number"),
    ],
)
def test_goals_that_make_no_sense(read: Read, changes: dict[str, Any], reason: str) -> None:
    agent = {key: value for key, value in {**GATEWAY, **changes}.items() if value is not None}
    with pytest.raises(fleet.FleetError, match=reason):
        read({"gateway": agent})


@pytest.mark.parametrize(
    "given", [{"host": {"mtbf": "60d"}}, {"host": {"availability": 0.9, "unavailability": 0.1}}, {"zone": {}}]
)
def test_reliabilities_that_make_no_sense(read: Read, given: dict[str, Any]) -> None:
    with pytest.raises(fleet.FleetError, match="give one of availability, unavailability, or mtbf with mttr"):
        read(reliability=given)


# -- for people -------------------------------------------------------------------------------------------------------


def test_how_far_from_the_best_it_is_is_said(plan: Plan) -> None:
    """h1's two have to move; five of half a core on two hosts of four are three on one of them."""
    made = plan(gateway(count=5), SPREAD, drain=("h1",))
    assert made["moves"] == {"found": 2, "bound": 2, "gap": 0, "method": "search"}
    assert made["use"] == {"found": 0.375, "bound": 0.3125, "gap": 0.2}
    said = text.quality(made)
    assert said.startswith("moves 2, at best 2 (0 apart); highest use 37.5%, at best 31.2% (20.0% apart)")
    assert said in text.report(made)
    assert said in page.render(made)
    assert text.quality(plan(cpu=0.5)) == "", "where there is no placement"


def test_the_report_and_the_file_say_all_of_it(plan: Plan) -> None:
    made = plan(None, SPREAD, drain=("h1",), load_factor=1.5)
    said = text.report(made)
    for part in (
        "load x 1.5; drained: h1",
        "6 (auto)",
        "response.p95 <= 0.2 s",
        "h1 (drained)",
        "move gateway@0 h1 -> ",
        "zone b:",
    ):
        assert part in said
    assert json.loads(document.render(made)) == made
    assert document.render(made) == document.render(plan(None, SPREAD, drain=("h1",), load_factor=1.5))
