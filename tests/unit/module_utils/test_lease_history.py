# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may change a host, and who did."""

import json
import os
import resource
import stat

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils import history, info, lease
from ansible_collections.agentfactory.core.plugins.module_utils.errors import Busy


def who(run, **more):
    return dict({"run": run, "user": "ann", "controller": "desk", "machine": "boot pid:[1]", "pid": "1:2"}, **more)


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1_700_000_000.0

        def time(self):
            return self.now

        def strftime(self, form, moment):
            import time

            return time.strftime(form, moment)

        def gmtime(self, seconds):
            import time

            return time.gmtime(seconds)

    made = Clock()
    monkeypatch.setattr(lease, "time", made)
    return made


def test_a_lease_is_taken_renewed_and_given_back(layout, clock):
    assert lease.current(layout) is None
    lease.take(layout, who("a", gone=[], break_lease=False), "deploy")
    taken = lease.current(layout)
    assert taken == dict(who("a"), reason="deploy", expires=int(clock.now) + lease.SECONDS)
    clock.now += lease.SECONDS - 1
    lease.take(layout, who("a"), "started")
    assert lease.current(layout)["expires"] == int(clock.now) + lease.SECONDS
    assert lease.current(layout)["reason"] == "started"
    lease.give_back(layout, "b")
    assert lease.current(layout)
    lease.give_back(layout, "a")
    assert lease.current(layout) is None
    lease.give_back(layout, "a")


@pytest.mark.parametrize(
    ("later", "asking", "granted"),
    [
        (0, {}, False),
        (lease.SECONDS - 1, {}, False),
        (lease.SECONDS + 1, {}, True),
        (0, {"gone": ["x"]}, False),
        (0, {"gone": ["x", "a"]}, True),
        (0, {"break_lease": True}, True),
    ],
)
def test_when_another_run_gets_the_host(layout, clock, later, asking, granted):
    lease.take(layout, who("a"), "deploy")
    clock.now += later
    if granted:
        lease.take(layout, who("b", user="bob", **asking), "rollback")
        assert lease.current(layout)["run"] == "b"
        with pytest.raises(Busy):
            lease.take(layout, who("a"), "deploy")
    else:
        with pytest.raises(Busy, match=r"held by ann on desk \(deploy, run a\) until 22:28:20 UTC.*break_lease=true"):
            lease.take(layout, who("b", user="bob", **asking), "rollback")
        assert lease.current(layout)["run"] == "a"


# -- history ----------------------------------------------------------------------------------------------------------


def record(layout, run, agent_id, action, before, after, result="ok"):
    history.append(layout, who(run), agent_id, action, before=before, after=after, result=result)


def test_changes_are_appended_with_who_what_when_from_and_to(layout):
    assert history.read(layout) == []
    record(layout, "r1", "arm@0", "activate", None, "1-a")
    record(layout, "r2", "arm@0", "activate", "1-a", "2-b", "undone")
    one, two = history.read(layout)
    assert (one["who"]["user"], one["run"], one["agent_id"], one["action"]) == ("ann", "r1", "arm@0", "activate")
    assert (two["from"], two["to"], two["result"]) == ("1-a", "2-b", "undone")
    assert len(one["at"]) == len("2026-01-01T00:00:00Z")
    path = layout.factory / "history.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert history.read(layout, last=1) == [two]
    assert history.read(layout, last=9) == [one, two]


@pytest.mark.parametrize(
    ("only", "runs"),
    [(None, ["r4", "r5"]), (["arm@0"], ["r1", "r3"]), (["arm"], ["r2", "r3"]), (["ear"], ["r4", "r5"]), ([], [])],
)
def test_the_newest_of_an_agent_are_there_whatever_others_did_since(layout, only, runs):
    for run, agent_id in (("r1", "arm@0"), ("r2", "arm@1"), ("r3", "arm@0"), ("r4", "ear@0"), ("r5", "ear@0")):
        record(layout, run, agent_id, "activate", None, "1-a")
    assert [r["run"] for r in history.read(layout, last=2, only=only)] == runs
    asked = {"gather": ["history"], "only": only}
    assert [r["run"] for r in info.gather(layout, asked)["history"]][-2:] == runs


@pytest.mark.parametrize("cut", [1, 2, 30, 1000])
def test_a_line_that_a_crash_cut_off_costs_that_line_only(layout, cut):
    record(layout, "r1", "arm@0", "activate", None, "1-a")
    path = layout.factory / "history.jsonl"
    whole = path.read_bytes()
    record(layout, "r2", "arm@0", "activate", "1-a", "2-b")
    size = max(len(whole) + 1, path.stat().st_size - cut)
    os.truncate(path, size)
    torn = [] if cut > 1 else ["r2"]
    assert [r["run"] for r in history.read(layout)] == ["r1", *torn]
    record(layout, "r3", "arm@0", "activate", "1-a", "3-c")
    assert [r["run"] for r in history.read(layout)] == ["r1", *torn, "r3"]
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_record_for_which_there_is_no_room_is_an_error(layout, room):
    """The kernel writes what fits; only the next write says that the rest does not."""
    record(layout, "r1", "arm@0", "activate", None, "1-a")
    size = (layout.factory / "history.jsonl").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            record(layout, "r2", "arm@0", "activate", "1-a", "2-b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    record(layout, "r3", "arm@0", "activate", "1-a", "3-c")
    assert [r["run"] for r in history.read(layout)] == ["r1", "r3"]


SWITCHES = {
    # records of the runs "now" and "other" (run, action, from, to) -> what "now" made of it
    "the first and the last": (
        [("old", "activate", None, "1-a"), ("now", "activate", "1-a", "2-b"), ("now", "activate", "2-b", "3-c")],
        history.Switch("1-a", True, "3-c"),
    ),
    "a failure is no switch": ([("now", "activate", "1-a", "2-b", "undone")], None),
    "a stop": ([("now", "stop", "1-a", None)], history.Switch("1-a", True, "1-a", stopped=True)),
    "a stop that is taken back": (
        [("now", "stop", "1-a", None), ("now", "activate", "1-a", "1-a")], history.Switch("1-a", True, "1-a"),
    ),
    "a removal": ([("now", "remove", "1-a", None)], history.Switch("1-a", True, None)),
    "others' own": ([("other", "activate", "1-a", "2-b")], None),
    "what others replaced": ([("now", "activate", "1-a", "2-b"), ("other", "activate", "2-b", "3-c")], None),
    "what others came back to": (
        [("now", "activate", "1-a", "2-b"), ("other", "activate", "2-b", "3-c"), ("other", "activate", "3-c", "2-b")], None,
    ),
    "what others stopped": ([("now", "activate", "1-a", "2-b"), ("other", "stop", "2-b", None)], None),
    "what others took back": ([("now", "activate", None, "2-b"), ("other", "deactivate", "2-b", None)], None),
    "what others only started again": (
        [("now", "activate", "1-a", "2-b"), ("other", "activate", "2-b", "2-b"), ("other", "enable", "2-b", None)],
        history.Switch("1-a", True, "2-b"),
    ),
    "what others tried in vain": (
        [("now", "activate", "1-a", "2-b"), ("other", "activate", "2-b", "3-c", "undone")],
        history.Switch("1-a", True, "2-b"),
    ),
    "what others brought back": ([("now", "remove", "1-a", None), ("other", "activate", None, "1-a")], None),
}  # fmt: skip


@pytest.mark.parametrize("what", list(SWITCHES))
def test_what_a_run_found_is_what_it_goes_back_to(layout, what):
    records, switch = SWITCHES[what]
    for run, action, before, after, *result in records:
        record(layout, run, "arm@0", action, before, after, *result)
    assert history.of_run(layout, "now") == ({"arm@0": switch} if switch else {})
    assert history.of_run(layout, "unknown") == {}


def test_what_a_run_found_stopped_is_known(layout):
    history.append(layout, who("now"), "arm@1", "activate", before="1-a", after="2-b", result="ok", was_running=False)
    record(layout, "now", "arm@2", "activate", "1-a", "2-b")
    assert [s.was_running for s in history.of_run(layout, "now").values()] == [False, True]


def test_records_are_one_line_each_whatever_is_in_them(layout):
    record(layout, "r\n1", "arm@0", "activate", None, "1-a", "two\nlines")
    lines = (layout.factory / "history.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["result"] for line in lines] == ["two\nlines"]
