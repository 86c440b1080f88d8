# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions' part on the controller, without Ansible's own: a host is what answers to requests."""

import types
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.agentfactory.core.plugins.action.agent_service import ActionModule
from ansible_collections.agentfactory.core.plugins.plugin_utils import moves
from ansible_collections.agentfactory.core.plugins.plugin_utils.declare import DeclarationError
from ansible_collections.agentfactory.core.plugins.plugin_utils.ledger import Ledger
from ansible_collections.agentfactory.core.plugins.plugin_utils.remote import RemoteError


class Asked(ActionModule):
    """`agent_service` against a host that has `here` of the declared arm@0 and eye@0, and does what it is asked."""

    def __init__(self, here: set[str], *, check: bool = False, **variables: Any) -> None:
        self.here, self.calls = set(here), []
        self.variables = {"agentfactory_agents": [], **variables}
        for name in ("arm", "eye"):
            self.variables["agentfactory_agents"].append({"name": name, "instances": ["0"], "state": "started"})
        self.options: dict[str, Any] = {"state": "started", "as_declared": False}
        self.ledger, self.host = Ledger(None), "h1"
        self._task = types.SimpleNamespace(check_mode=check, diff=False)
        self._display = types.SimpleNamespace(display=lambda line: None)
        self._templar = types.SimpleNamespace(template=lambda value: value)

    def remote(self) -> "Asked":
        return self

    def tell(self, line: str) -> None:
        pass

    def request(self, operation: str, **more: Any) -> dict[str, Any]:
        return {"op": operation, "check": self._task.check_mode, "only": self.only(), **more}

    def stage(self, state: str) -> dict[str, Any]:
        self.calls.append(("stage", self.only()))
        self.here |= set() if self._task.check_mode else set(self.only() or ("arm@0", "eye@0"))
        return {"staging": [], "activation": [{"subject": "eye@0", "kind": "activate", "reason": "new"}],
                "releases": {"eye@0": "1-a", "arm@0": "1-b"}, "diff": ["d"]}  # fmt: skip

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        missing = sorted(set(request.get("declared", [])) - self.here)
        if missing:
            return {"steps": [], "done": True, "missing": missing}
        assert request.get("planned") == ({"eye@0": "1-a"} if request.get("as_declared") else None)
        told = " but " + " ".join(request["but"]) if request.get("but") else ""
        self.calls.append(("as declared" if request.get("as_declared") else "as last" + told, request["only"]))
        step = {"agent": "eye", "instance": "0", "action": "activate", "from": None, "to": "1-a", "phase": "done",
                "result": "ok", "message": "1-a is healthy"}  # fmt: skip
        return {"steps": [step] if request.get("as_declared") else [], "done": True}


@pytest.mark.parametrize(
    ("option", "run", "only"),
    [
        (None, None, None),
        (None, ["arm"], ["arm"]),
        (["eye", "arm,hand@0"], ["arm"], ["eye", "arm", "hand@0"]),
        ([], ["arm"], []),
    ],
)
def test_a_task_is_about_what_its_run_is_about(option: Any, run: Any, only: Any) -> None:
    asked = Asked(set())
    asked.options["only"] = option
    asked.ledger = types.SimpleNamespace(begin=lambda: {"only": run})  # type: ignore[assignment]
    assert asked.only() == only


@pytest.mark.parametrize(
    ("here", "check", "calls", "changed"),
    [
        ({"arm@0", "eye@0"}, False, [("as last", None)], False),
        # what is here is not updated with it: that takes a rollout
        ({"arm@0"}, False, [("stage", ["eye@0"]), ("as declared", ["eye@0"]), ("as last but eye@0", None)], True),
        ({"arm@0"}, True, [("stage", ["eye@0"]), ("as last but eye@0", None)], True),
        (
            set(),
            False,
            [("stage", ["arm@0", "eye@0"]), ("as declared", ["arm@0", "eye@0"]), ("as last but arm@0 eye@0", None)],
            True,
        ),
    ],
)
def test_a_start_stages_only_what_is_not_here(here: set[str], check: bool, calls: list[Any], changed: bool) -> None:
    asked = Asked(here, check=check)
    result = asked.work()
    assert asked.calls == calls
    assert result["changed"] == changed
    assert len(result["changes"]) == changed


@pytest.mark.parametrize(
    ("check", "calls"), [(False, [("stage", None), ("as declared", None)]), (True, [("stage", None)])]
)
def test_what_is_declared_replaces_what_runs_only_where_that_is_asked(check: bool, calls: list[Any]) -> None:
    asked = Asked({"arm@0", "eye@0"}, check=check)
    asked.options["as_declared"] = True
    result = asked.work()
    assert asked.calls == calls
    assert (result["changed"], len(result["changes"]), result["diff"]) == (True, 1, ["d"])


@pytest.mark.parametrize("given", [0, -1, "few", "", True, 2.5, None])
def test_how_many_releases_stay_is_a_number(given: Any) -> None:
    with pytest.raises(DeclarationError, match="agentfactory_keep: must be a whole number from 1, not"):
        Asked(set(), agentfactory_keep=given).keep()


@pytest.mark.parametrize(("given", "kept"), [({}, 3), ({"agentfactory_keep": 2}, 2), ({"agentfactory_keep": "5"}, 5)])
def test_how_many_releases_stay(given: dict[str, Any], kept: int) -> None:
    assert Asked(set(), **given).keep() == kept


STEPS = [
    {"kind": "move", "agent": "arm", "index": 0, "from": "h1", "to": "h2"},
    {"kind": "move", "agent": "eye", "index": 0, "from": "h1", "to": "h2"},
]


class Leaving(Asked):
    """h1, which arm@0 and eye@0 leave for h2; eye@0 must not run twice. `answer` is the host's, or what keeps it from one."""

    def __init__(self, ledger: Ledger, answer: dict[str, Any] | Exception, leaving: str = "last") -> None:
        super().__init__({"arm@0", "eye@0"})
        self.ledger, self.answer, self.play_host = ledger, answer, "h1"
        self.options = {"state": "retired", "leaving": leaving, "as_declared": False}

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        keys = ("state", "only", "removals", "planned", "but")
        self.calls.append({key: request[key] for key in keys if request.get(key)})
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Activating(Leaving):
    """h2, where both start."""

    def __init__(self, ledger: Ledger, answer: dict[str, Any]) -> None:
        super().__init__(ledger, answer)
        self.host, self.options["state"] = "h2", "started"


def done(action: str, result: str = "ok", agent: str = "arm") -> dict[str, Any]:
    step = {"agent": agent, "instance": "0", "action": action, "from": "1-a", "to": "1-a" if action == "activate" else None,
            "phase": "done", "result": result, "message": "is stuck"}  # fmt: skip
    return {"steps": [step], "done": True}


@pytest.mark.parametrize(
    ("there", "activated", "answer", "asked", "record"),
    [
        ("pending", "ok", done("remove"), ["arm@0", "eye@0"], ("ok", ["arm@0: is removed"])),
        ("unchanged", None, done("remove"), ["arm@0", "eye@0"], ("ok", ["arm@0: is removed"])),
        ("pending", "failed", done("remove"), None, None),
        ("pending", None, done("remove"), None, None),
        ("pending", "ok", done("remove", "failed"), ["arm@0", "eye@0"], ("failed", ["arm@0: is stuck"])),
        ("pending", "ok", RemoteError("another's lease"), ["arm@0", "eye@0"], ("failed", ["another's lease"])),
    ],
)
def test_what_is_removed_once_it_runs_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, activated: str | None,
    answer: Any, asked: list[str] | None, record: tuple[str, list[str]] | None,
) -> None:  # fmt: skip
    ledger = _ledger(tmp_path, monkeypatch, there, activated)
    action = Leaving(ledger, answer)
    result = action.work()
    assert action.calls == ([] if asked is None else [{"state": "started", "removals": asked}])
    kept = ledger.last("retire").get("h1")
    assert (kept and (kept["status"], kept["messages"])) == record
    assert result["changed"] == (asked is not None)


@pytest.mark.parametrize(
    ("answer", "status", "why"),
    [
        (done("stop", agent="eye"), "ok", ""),
        ({"steps": [], "done": True}, "ok", ""),  # an earlier run has stopped it
        (done("stop", "failed", "eye"), "failed", "eye@0: is stuck"),
        (RemoteError("another's lease"), "failed", "another's lease"),
        (AnsibleConnectionFailure("no route"), "unreachable", "no route"),
    ],
)
def test_what_must_not_run_twice_stops_before_it_starts_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, status: str, why: str
) -> None:
    ledger = _ledger(tmp_path, monkeypatch, "pending", None)
    action = Leaving(ledger, answer, "first")
    action.work()
    assert action.calls == [], "h1 does not ask itself"
    action.play_host = "h2"
    action.work()
    assert action.calls == [{"state": "stopped", "only": ["eye@0"]}]
    (record,) = ledger.records("stop")
    assert (record["when"], record["agents"], record["status"]) == ("first", ["eye@0"], status)
    starting = Activating(ledger, done("activate"))
    result = starting.work()
    assert [call["state"] for call in starting.calls] == ([] if why else ["started"])
    assert ledger.last("activate")["h2"]["status"] == ("failed" if why else "ok")
    blocked = [f"eye@0: has not stopped on h1, and must not run twice: {why}"] if why else None
    assert result.get("failures") == blocked


def test_nothing_stops_for_a_wave_that_does_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = _ledger(tmp_path, monkeypatch, "pending", None)
    ledger.append({"phase": "activate", "host": "h1", "status": "failed"})
    action = Leaving(ledger, done("stop"), "first")
    action.play_host = "h2"
    action.work()
    assert action.calls == []


@pytest.mark.parametrize(
    ("back", "answer", "calls", "record"),
    [
        ("ok", done("activate", agent="eye"), [{"state": "started", "planned": {"eye@0": None}}], ("ok", ["eye@0"])),
        ("ok", done("activate", "failed", "eye"), [{"state": "started", "planned": {"eye@0": None}}], ("failed", [])),
        ("ok", RemoteError("another's lease"), [{"state": "started", "planned": {"eye@0": None}}], ("failed", [])),
        ("unreachable", done("activate"), [], ("failed", [])),
    ],
)
def test_what_did_not_come_up_elsewhere_starts_again_where_nothing_else_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: str, answer: Any, calls: Any, record: Any
) -> None:
    ledger = _ledger(tmp_path, monkeypatch, "pending", "failed")
    for when, host, status in (("first", "h1", "ok"), ("back", "h2", back)):
        stop: Any = {"phase": "stop", "host": host, "when": when, "agents": ["eye@0"], "status": status, "messages": []}
        ledger.append(stop)
    action = Leaving(ledger, answer)
    action.work()
    assert action.calls == calls
    kept = ledger.last("retire")["h1"]
    assert (kept["status"], kept["back"]) == record
    if not calls:
        assert kept["messages"] == ["eye@0: may run on h2, so it is not started here again"]


def test_an_undo_leaves_what_has_stopped_to_start_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = _ledger(tmp_path, monkeypatch, "pending", "failed")
    ledger.append({"phase": "stop", "host": "h1", "when": "first", "agents": ["eye@0"], "status": "ok"})
    action = Leaving(ledger, done("activate"))
    action.options["state"] = "undone"
    action.work()
    assert action.calls == [{"state": "undone", "but": ["eye@0"]}]


def _ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, activated: str | None) -> Ledger:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ledger = Ledger("20260101T000000-1-abcdef")
    ledger.append(
        {"phase": "begin", "hosts": ["h1", "h2"], "check": False, "confirm_removals": None, "planned": moves.leaving(STEPS, ["eye"]),
         "lost": ["h3"]}
    )  # fmt: skip
    ledger.append({"phase": "stage", "host": "h1", "status": "pending", "removals": ["arm@0", "eye@0"]})
    chosen = {"arm@0": "1-a", "eye@0": "1-a"}
    plan: Any = {"activation": [{"subject": agent_id} for agent_id in chosen], "releases": chosen}
    ledger.append({"phase": "stage", "host": "h2", "status": there, "removals": [], "plan": plan})
    ledger.make_plan()
    ledger.append({"phase": "activate", "host": "h1", "status": "ok"})
    if activated:
        ledger.append({"phase": "activate", "host": "h2", "status": activated})
    return ledger


@pytest.mark.parametrize(
    ("host", "phase", "away"),
    [("h1", "stage", False), ("h3", "stage", True), ("h3", "activate", False), ("h3", "", False)],
)
def test_only_what_a_plan_has_lost_may_be_away_and_only_while_staging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, phase: str, away: bool
) -> None:
    action = Leaving(_ledger(tmp_path, monkeypatch, "pending", None), done("remove"))
    action.host, action.PHASE = host, phase
    assert action.may_be_away() is away
