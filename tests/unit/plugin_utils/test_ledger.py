# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger across processes, and what a person reads of it."""

import json
import os
from pathlib import Path

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import ledger, rollout_report, run


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ledger.Ledger:
    monkeypatch.setattr(run.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv(run.ENV, raising=False)
    run.begin()
    return ledger.Ledger.current()


def _stage(book: ledger.Ledger, host: str, status: str = "pending", **more: object) -> None:
    waves = {"waves": [1, "100%"], "max_failures": 0, "rollback": "fleet"}
    book.append(
        {
            "phase": "stage",
            "host": host,
            "status": status,
            "agents": ["x"] if status == "pending" else [],
            "rollouts": {"x": waves},
            **more,
        }
    )  # type: ignore[misc]


def test_places_are_private(book: ledger.Ledger, tmp_path: Path) -> None:
    _stage(book, "a")
    base = tmp_path / f"agentfactory-{os.getuid()}"
    file = base / "runs" / f"{book.run_id}.jsonl"
    assert [path.stat().st_mode & 0o777 for path in (base, base / "runs", file)] == [0o700, 0o700, 0o600]


@pytest.mark.parametrize("how", ["open", "link"])
def test_a_directory_that_others_can_use_is_refused(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.tempfile, "gettempdir", lambda: str(tmp_path))
    base = tmp_path / f"agentfactory-{os.getuid()}"
    if how == "open":
        base.mkdir()
        base.chmod(0o755)
    else:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        base.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(run.RunError, match="remove it"):
        run.directory()


def test_forks_share_a_run_and_no_record_is_torn(book: ledger.Ledger) -> None:
    pids = []
    for number in range(8):
        if (pid := os.fork()) == 0:
            try:
                mine = ledger.Ledger.current()
                for item in range(25):
                    _stage(mine, f"h{number}-{item}", plan={"pad": "x" * 9000})
            finally:
                os._exit(0)
        pids.append(pid)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    assert len(book.last("stage")) == 200


def test_what_comes_after_the_verdict_is_no_part_of_the_run(book: ledger.Ledger) -> None:
    _stage(book, "a")
    assert ledger.Ledger.under_way().stage("a") == book.stage("a")
    assert book.once(ledger.SUMMARY)
    after = ledger.Ledger.under_way()
    _stage(after, "b")
    assert (after.begin(), after.stage("a"), book.stage("b")) == (None, None, None)
    assert ledger.Ledger.current().stage("a"), "the verdict is still told of"
    run.begin()
    _stage(ledger.Ledger.current(), "c")
    assert ledger.Ledger.under_way().stage("c")


def test_one_fork_announces_a_wave(book: ledger.Ledger) -> None:
    for host in "abc":
        _stage(book, host)
    book.make_plan()
    said = [ledger.Ledger.current().announce_wave(host) for host in "abcc"]
    assert said == ["Wave 1 of 2: a", "Wave 2 of 2: b c", None, None]
    assert [book.wave_of(host) for host in "abcz"] == [0, 1, 1, None]


def test_a_run_of_another_process_is_not_ours(book: ledger.Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "mine", "20260101T000000-1-abcdef"):
        monkeypatch.setenv(run.ENV, value)
        other = ledger.Ledger.current()
        other.append({"phase": "undo", "host": "a", "status": "ok"})
        assert (other.run_id, other.stage("a"), other.stopped(), other.announce_wave("a")) == (None, None, None, None)


def test_old_runs_are_pruned(book: ledger.Ledger) -> None:
    _stage(book, "a")
    path = Path(run.directory(), f"{book.run_id}.jsonl")
    os.utime(path, (0, 0))
    run.begin()
    assert path.exists(), "the last pruning was a moment ago"
    os.utime(path.with_name("pruned"), (0, 0))
    run.begin()
    assert os.listdir(run.directory()) == ["pruned"]


def test_a_broken_ledger_is_an_error(book: ledger.Ledger) -> None:
    Path(run.directory(), f"{book.run_id}.jsonl").write_text('{"phase":"stage","host":"a","stat\n')
    with pytest.raises(ledger.LedgerError):
        book.stage("a")


def test_the_last_record_of_a_host_counts(book: ledger.Ledger) -> None:
    _stage(book, "a", "failed")
    _stage(book, "ab")
    _stage(book, "a")
    assert (book.stage("a") or {})["status"] == "pending"
    assert json.dumps(book.stage("zz")) == "null"


def test_summary_tells_the_run(book: ledger.Ledger) -> None:
    book.append({"phase": "begin", "hosts": ["a", "b", "c", "d"], "check": False, "confirm_removals": None})
    for host in "abc":
        _stage(book, host)
    _stage(book, "d", "unchanged")
    book.make_plan(environment="lab")
    book.append({"phase": "activate", "host": "a", "status": "ok", "switched": True})
    assert book.stopped() is None
    book.append({"phase": "activate", "host": "b", "status": "failed", "switched": True, "messages": ["x@0: http 500"]})
    assert book.stopped() == "1 host failed so far and max_failures is 0"
    book.append({"phase": "activate", "host": "c", "status": "skipped"})
    book.append({"phase": "undo", "host": "a", "status": "ok", "back": True})
    book.append({"phase": "undo", "host": "b", "status": "ok", "back": False})  # it had taken itself back already
    story = rollout_report.Story.read(book)
    assert story.failed() == ["b"]
    assert rollout_report.verdict(story, "b") == "x@0: http 500"
    assert rollout_report.summary(story).splitlines() == [
        "Fleet lab: 4 hosts, 1 as declared, 3 to change",
        "Changes x: a b c",
        "  Wave 1 of 2: ok: a",
        "  Wave 2 of 2: FAILED: b; not activated: c",
        "Stopped: 1 host failed so far and max_failures is 0",
        "Undone (rollback: fleet): a",
        "Failed: b",
        "  x@0: http 500",
    ]


@pytest.mark.parametrize(("back", "told"), [(True, "a"), (False, "none")])
def test_what_was_taken_back_is_told_beside_what_cannot_be(book: ledger.Ledger, back: bool, told: str) -> None:
    book.append({"phase": "begin", "hosts": ["a", "b"], "check": False, "confirm_removals": None})
    for host in "ab":
        _stage(book, host)
    book.make_plan(environment="lab")
    book.append({"phase": "activate", "host": "a", "status": "ok", "switched": True})
    book.append({"phase": "activate", "host": "b", "status": "failed", "switched": False, "messages": ["x@0: no"]})
    book.append({"phase": "undo", "host": "a", "status": "failed", "back": back, "messages": ["y@0: is gone"]})
    lines = rollout_report.summary(rollout_report.Story.read(book)).splitlines()
    assert f"Undone (rollback: fleet): {told}" in lines
    assert "  y@0: is gone" in lines


def test_summary_where_nothing_is_to_do(book: ledger.Ledger) -> None:
    book.append({"phase": "begin", "hosts": ["a"], "check": False, "confirm_removals": None})
    _stage(book, "a", "unchanged")
    story = rollout_report.Story.read(book)
    assert rollout_report.summary(story) == "Nothing to do: 1 host as declared."
    assert story.failed() == []


def test_too_many_removals_are_every_pending_hosts_verdict(book: ledger.Ledger) -> None:
    book.append({"phase": "begin", "hosts": ["a", "b"], "check": False, "confirm_removals": None})
    for host in "ab":
        _stage(book, host, removals=["old@0"])
    story = rollout_report.Story.read(book)
    assert story.failed() == ["a", "b"]
    assert "-e confirm_removals=2" in rollout_report.verdict(story, "b")
    assert "Stopped: 2 agents would be removed" in rollout_report.summary(story)
    assert "Wave" not in rollout_report.summary(story)
