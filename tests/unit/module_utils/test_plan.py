# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""(desired, current) -> changes."""

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils import plan
from ansible_collections.agentfactory.core.plugins.module_utils.plan import Now, Want

NEW, OLD = "1.1-bbbbbbbbbbbb", "1.0-aaaaaaaaaaaa"
STAGED = {"tree_intact": True, "has_user": True, "release_complete": True, "staged": NEW, "staged_state": "started"}
RUNS = {"booted": NEW, "running": NEW, "enabled": True, "tree_intact": True, "release_complete": True, "has_user": True}


@pytest.mark.parametrize(
    ("state", "now", "kinds"),
    [
        ("started", {}, ["tree", "user", "release", "stage"]),
        ("started", STAGED, []),
        ("started", {**STAGED, "tree_intact": False}, ["tree"]),
        ("started", {**STAGED, "has_user": False}, ["user"]),
        ("started", {**STAGED, "release_complete": False}, ["release"]),
        ("started", {**STAGED, "staged": OLD}, ["stage"]),
        ("started", {**STAGED, "staged": None, "staged_state": None}, ["stage"]),
        ("stopped", STAGED, ["stage"]),
        ("stopped", {**STAGED, "staged_state": "stopped"}, []),
    ],
)
def test_staging_lays_out_what_is_not_there(state, now, kinds):
    found = plan.stage("arm@0", Want(NEW, "1.1", state), Now(**now))
    assert [c.kind for c in found] == kinds
    assert {c.subject for c in found} <= {"arm@0"}


@pytest.mark.parametrize(
    ("state", "now", "expected"),
    [
        ("started", {}, ("activate", "new: " + NEW)),
        ("started", RUNS, None),
        ("started", {**RUNS, "enabled": False}, ("enable", "would not start at boot")),
        ("started", {**RUNS, "booted": OLD, "running": OLD}, ("activate", OLD + " -> " + NEW)),
        ("started", {**RUNS, "under_proof": True}, ("activate", "interrupted")),
        ("started", {**RUNS, "tree_intact": False}, ("activate", "its code was changed")),
        ("started", {**RUNS, "unit_intact": False}, ("activate", "its unit was changed")),
        ("started", {**RUNS, "has_user": False}, ("activate", "its system user was gone")),
        ("started", {**RUNS, "release_complete": False}, ("activate", "configuration or its secrets were changed")),
        ("started", {**RUNS, "renew": True}, ("activate", "before it was repaired")),
        ("started", {**RUNS, "release_complete": False}, ("activate", "its configuration or its secrets were changed")),
        ("started", {**RUNS, "renew": True}, ("activate", "started before it was repaired")),
        (
            "started",
            {**RUNS, "running": None, "detail": "unit: inactive (dead)"},
            ("activate", "not running: unit: inactive"),
        ),
        ("started", {**RUNS, "running": OLD}, ("activate", OLD + " runs instead of " + NEW)),
        ("started", {**RUNS, "healthy": False, "detail": "http: 503"}, ("activate", "is not healthy: http: 503")),
        # Not healthy and not enabled: one activation does both.
        ("started", {**RUNS, "healthy": False, "enabled": False}, ("activate", "not healthy")),
        ("stopped", {}, None),
        ("stopped", {"booted": NEW, "tree_intact": True}, None),
        ("stopped", RUNS, ("stop", "is to be stopped")),
        ("stopped", {**RUNS, "running": None}, ("stop", "is to be stopped")),
        ("stopped", {"under_proof": True}, ("stop", "is to be stopped")),
        ("stopped", {**RUNS, "booted": OLD, "running": OLD}, ("stop", "is to be stopped")),
    ],
)
def test_activation_makes_what_runs_what_is_wanted(state, now, expected):
    found = plan.activate("arm@0", Want(NEW, "1.1", state), Now(**now))
    if expected is None:
        assert found == []
    else:
        assert [c.kind for c in found] == [expected[0]]
        assert expected[1] in found[0].reason


@pytest.mark.parametrize("state", ["started", "stopped"])
def test_a_host_as_declared_has_nothing_to_do(state):
    now = {**STAGED, **RUNS, "staged_state": state}
    if state == "stopped":
        now.update(running=None, enabled=False)
    want = Want(NEW, "1.1", state)
    assert plan.stage("arm@0", want, Now(**now)) + plan.activate("arm@0", want, Now(**now)) == []


PRESENT = {"arm@0": "lab", "arm@1": "lab", "eye@0": "lab", "eye@1": "production"}


@pytest.mark.parametrize(
    ("declared", "environment", "only", "expected"),
    [
        ({"arm@0", "arm@1", "eye@0"}, "lab", None, []),
        ({"arm@0"}, "lab", None, ["arm@1", "eye@0"]),
        (set(), "lab", None, ["arm@0", "arm@1", "eye@0"]),
        ({"arm@0"}, "lab", {"arm"}, ["arm@1"]),
        ({"arm@0"}, "lab", set(), []),
        (set(), "production", None, ["eye@1"]),
        (set(), "elsewhere", None, []),
        ({"arm@2"}, "lab", {"arm"}, ["arm@0", "arm@1"]),
        (set(), "lab", {"arm@1"}, ["arm@1"]),
        (set(), "lab", {"arm@1", "eye"}, ["arm@1", "eye@0"]),
        ({"arm@1"}, "lab", {"arm@1"}, []),
        (set(), "lab", {"ar", "@1", "1"}, []),
    ],
)
def test_only_what_this_environment_owns_and_nobody_declares_is_removed(declared, environment, only, expected):
    assert plan.removals(PRESENT, declared, environment, only) == expected


def test_every_kind_of_change_is_known_to_a_phase():
    now = Now()
    kinds = {c.kind for c in plan.stage("a@0", Want(NEW, "1.1"), now)}
    assert kinds == set(plan.STAGING)
    assert {"activate", "enable", "stop"} <= set(plan.ACTIVATION)
