# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waves, budget and undo as tables, and as properties."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils import rollout

FAST = {"waves": ["100%"], "max_failures": 3, "rollback": "none"}
SLOW = {"waves": [1, "50%", "100%"], "max_failures": 0, "rollback": "wave"}


@pytest.mark.parametrize(
    ("waves", "count", "expected"),
    [
        ([1, "25%", "100%"], 10, [1, 3, 10]),
        ([1, "25%", "100%"], 1, [1]),
        ([1, "25%", "100%"], 0, []),
        ([1, "25%", "100%"], 2, [1, 2]),
        (["10%"], 3, [1, 3]),
        ([2, 5], 4, [2, 4]),
        ([2, 5], 9, [2, 5, 9]),
        ([5, "10%"], 20, [5, 20]),
        (["1%"], 300, [3, 300]),
        (["29%"], 100, [29, 100]),
    ],
)
def test_resolve(waves: list[int | str], count: int, expected: list[int]) -> None:
    assert rollout.resolve(waves, count) == expected


WAVES = st.lists(st.one_of(st.integers(1, 500), st.integers(1, 100).map(lambda n: f"{n}%")), min_size=1, max_size=6)
ROLLOUTS = st.builds(
    lambda waves, failures, rollback: {"waves": waves, "max_failures": failures, "rollback": rollback},
    WAVES,
    st.integers(0, 5),
    st.sampled_from(["fleet", "wave", "none"]),
)


@given(WAVES, st.integers(0, 400))
def test_waves_reach_every_host_once(waves: list[int | str], count: int) -> None:
    reached = rollout.resolve(waves, count)
    sizes = rollout.batches(waves, count)
    assert sum(sizes) == count
    assert all(size >= 1 for size in sizes)
    assert reached == sorted(set(reached))
    if count:
        first = waves[0]
        wanted = first if isinstance(first, int) else -(-count * int(first[:-1]) // 100)
        assert sizes[0] == min(wanted, count)


@given(st.lists(ROLLOUTS, min_size=1, max_size=4), st.integers(1, 60))
def test_the_most_cautious_is_at_least_as_cautious_as_each(rollouts: list[Any], count: int) -> None:
    chosen = rollout.most_cautious(rollouts, count)
    width = ["fleet", "wave", "none"]
    for one in rollouts:
        assert rollout.resolve(chosen["waves"], count) <= rollout.resolve(one["waves"], count)
        assert chosen["max_failures"] <= one["max_failures"]
        assert width.index(chosen["rollback"]) <= width.index(one["rollback"])


def test_without_a_rollout_the_default_holds() -> None:
    assert rollout.most_cautious([], 5) == rollout.DEFAULT_ROLLOUT


def _staged(status: str = "pending", *, rollouts: dict[str, Any] | None = None, removals: int = 0) -> dict[str, Any]:
    return {"status": status, "rollouts": rollouts or {}, "removals": ["x"] * removals}


def _plan(hosts: str, staged: dict[str, Any], **begin: Any) -> rollout.Plan:
    return rollout.plan({"hosts": hosts.split(), **begin}, staged)


def test_plan_keeps_the_inventorys_order_and_leaves_out_what_does_not_change() -> None:
    planned = _plan("c a b d", {"a": _staged(), "b": _staged("unchanged"), "c": _staged(), "d": _staged()})
    assert planned["hosts"] == ["c", "a", "d"]
    assert planned["batches"] == [1, 2]
    assert planned["reason"] is None


@pytest.mark.parametrize(
    ("staged", "begin", "reason"),
    [
        ({"a": _staged(), "b": _staged("failed")}, {}, "1 host failed while staging and max_failures is 0"),
        ({"a": _staged(), "b": _staged("unreachable")}, {}, "1 host failed"),
        ({"a": _staged()}, {}, "1 host failed"),  # b wrote nothing
        ({"a": _staged(), "b": _staged("unreachable")}, {"lost": ["b"]}, None),
        ({"a": _staged()}, {"lost": ["b"]}, None),
        (
            {"a": _staged(), "b": _staged("failed")},
            {"lost": ["b"]},
            "1 host failed",
        ),  # it is there, and who knows what it runs
        ({"a": _staged(rollouts={"x": FAST}), "b": _staged("failed")}, {}, None),
        ({"a": _staged("unchanged"), "b": _staged("failed")}, {}, None),  # nothing to stop
        (
            {"a": _staged(removals=2), "b": _staged()},
            {"max_removals": 1},
            "2 agents would be removed and max_removals is 1",
        ),
        ({"a": _staged(removals=1), "b": _staged(removals=1)}, {"max_removals": 1}, "confirm_removals=2"),
        ({"a": _staged(removals=2), "b": _staged()}, {"max_removals": 1, "confirm_removals": 2}, None),
        ({"a": _staged(removals=3), "b": _staged()}, {"max_removals": 1, "confirm_removals": 2}, "confirm_removals=3"),
        ({"a": _staged(removals=1), "b": _staged()}, {"max_removals": 0}, "confirm_removals=1"),
    ],
)
def test_plan_stops_before_it_starts(staged: dict[str, Any], begin: dict[str, Any], reason: str | None) -> None:
    found = _plan("a b", staged, **begin)["reason"]
    assert (found is None) if reason is None else (reason in (found or ""))


def _activated(text: str) -> dict[str, Any]:
    """`a+ b- c0 d?`: switched, failed, skipped, unreachable."""
    kinds = {"+": ("ok", True), "-": ("failed", False), "0": ("skipped", False), "?": ("unreachable", False)}
    return {word[:-1]: {"status": kinds[word[-1]][0], "switched": kinds[word[-1]][1]} for word in text.split()}


def _rolling(rollback: str = "fleet", failures: int = 0, max_failures: int = 0) -> rollout.Plan:
    """Waves: a | b c | d e f."""
    return {
        "phase": "plan",
        "environment": "",
        "hosts": list("abcdef"),
        "batches": [1, 2, 3],
        "silent": [],
        "max_failures": max_failures,
        "rollback": rollback,
        "failures": failures,
        "lost": [],
        "reason": None,
        "leaving": {},
    }


@pytest.mark.parametrize(
    ("plan", "activated", "expected"),
    [
        (_rolling(), "", ""),
        (_rolling(), "a+ b+ c+ d+ e+ f+", ""),
        (_rolling(), "a-", ""),
        (_rolling(), "a+ b+ c-", "a b"),
        (_rolling(), "a+ b+ c?", "a b"),
        (_rolling(), "a+ b+ d+", "a b d"),  # c wrote nothing
        (_rolling("wave"), "a+ b+ c-", "b"),
        (_rolling("wave"), "a+ b+ c+ d+ e- f+", "d f"),
        (_rolling("none"), "a+ b+ c-", ""),
        (_rolling(max_failures=1), "a+ b+ c-", ""),
        (_rolling(max_failures=1), "a+ b- c+ d+ e- f+", "a c d f"),
        (_rolling("wave", max_failures=1), "a+ b- c+ d+ e- f+", "d f"),
        (_rolling(failures=1, max_failures=1), "a+ b+ c-", "a b"),
    ],
)
def test_undo(plan: rollout.Plan, activated: str, expected: str) -> None:
    assert rollout.undo(plan, _activated(activated)) == expected.split()


@given(st.sampled_from(["fleet", "wave", "none"]), st.integers(0, 3), st.lists(st.sampled_from("+-0?"), max_size=6))
def test_undo_takes_back_only_what_was_switched_and_only_beyond_the_budget(
    rollback: str,
    allowed: int,
    results: list[str],
) -> None:
    plan = _rolling(rollback, max_failures=allowed)
    activated = _activated(" ".join(f"{host}{result}" for host, result in zip("abcdef", results, strict=False)))
    undone = rollout.undo(plan, activated)
    assert all(activated[host]["switched"] for host in undone)
    if undone:
        assert rollout.stopped(plan, activated) or rollout.silent(plan, activated)
    if rollback == "wave":
        assert len({rollout.wave_of(plan, host) for host in undone}) <= 1


@pytest.mark.parametrize(
    ("activated", "host", "stopped"),
    [
        ("a+", "b", False),
        ("a-", "b", True),
        ("a-", None, True),
        ("", "b", True),
        ("", None, False),
        ("", "a", False),
        ("a+ b+", "c", False),
        ("a+ b+", "d", True),
    ],
)
def test_stopped(activated: str, host: str | None, stopped: bool) -> None:
    assert bool(rollout.stopped(_rolling(), _activated(activated), host)) is stopped


def test_failed_names_hosts_of_every_phase() -> None:
    staged = {host: {"status": "pending"} for host in "abcdef"} | {"s": {"status": "failed"}}
    undone = {"a": {"status": "failed"}}
    assert rollout.failed({**_rolling(), "silent": ["t"]}, staged, _activated("a+ b-"), undone) == list("abcst")


def test_where_nothing_may_start_the_pending_hosts_say_so() -> None:
    plan: rollout.Plan = {**_rolling(), "reason": "too many"}
    assert rollout.failed(plan, {}, {}, {}) == list("abcdef")
    assert rollout.undo(plan, {}) == []


def test_lines_for_people() -> None:
    assert rollout.wave_line(_rolling(), 1) == "Wave 2 of 3: b c"
    assert rollout.names([f"h{i}" for i in range(30)]).endswith("h19 and 10 more")
