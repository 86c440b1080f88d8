# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the journal says of a unit's starts, from entries as systemd 247, 252 and 257 write them. Python 3.9 syntax."""

import json

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils import journal

SECOND = 1000000
EXIT = "arm.service: Main process exited, code=%s, status=%s"


def entry(seconds, kind, invocation="a", **more):
    return {
        "__REALTIME_TIMESTAMP": str(seconds * SECOND),
        "MESSAGE_ID": kind,
        "INVOCATION_ID": invocation,
        "MESSAGE": "arm.service: something",
        "PRIORITY": "6",
        **more,
    }


def exited(seconds, code, status, invocation="a", message=EXIT):
    return entry(
        seconds, journal.PROCESS_EXIT, invocation, EXIT_CODE=code, EXIT_STATUS=status, MESSAGE=message % (code, status)
    )


def result(seconds, of, invocation="a"):
    return entry(seconds, journal.RESULT, invocation, UNIT_RESULT=of)


STORM = [
    entry(10, journal.STARTED),
    exited(12, "killed", "9"),
    result(12, "signal"),
    entry(14, journal.RESTART, N_RESTARTS="1"),
    entry(14, journal.STARTED, "b"),
    exited(15, "exited", "1", "b"),
    result(15, "exit-code", "b"),
]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], []),
        ([entry(10, journal.STARTED)], [{"started": 10, "ended": None}]),
        (
            STORM,
            [
                {"invocation": "a", "started": 10, "ended": 12, "code": "killed", "status": 9, "result": "signal"},
                {"invocation": "b", "started": 14, "ended": 15, "code": "exited", "status": 1, "result": "exit-code"},
            ],
        ),
        # told to stop: how it ended is no news
        (
            [entry(10, journal.STARTED), entry(20, journal.STOPPING), exited(21, "exited", "143"), entry(21, journal.ENDED)],
            [{"started": 10, "ended": 21, "ordered": True, "status": 143}],
        ),
        # who is told to stop after it had ended by itself was not ordered to
        ([entry(10, journal.STARTED), exited(12, "exited", "1"), entry(13, journal.STOPPING)], [{"ordered": False}]),
        # it ended with 0, which systemd does not remark on; that it is started again says that it did
        ([entry(10, journal.STARTED), entry(14, journal.RESTART)], [{"ended": 14, "code": None, "ordered": False}]),
        ([entry(10, journal.STARTED), entry(12, journal.ENDED), entry(14, journal.RESTART)], [{"ended": 12}]),
        # killed for memory, as a cgroup v2 tells it
        (
            [entry(10, journal.STARTED), entry(11, journal.OUT_OF_MEMORY), exited(12, "killed", "9"), result(12, "oom-kill")],
            [{"oom": True, "result": "oom-kill", "ended": 12}],
        ),
        ([entry(10, journal.STARTED), result(12, "oom-kill")], [{"oom": True, "ended": 12}]),
        # what prepares the start failed: there was no start
        (
            [exited(12, "exited", "1", message="arm.service: Control process exited, code=%s, status=%s"), result(12, "exit-code")],
            [{"started": None, "ended": 12, "helper": True}],
        ),
        ([exited(12, "exited", "203")], [{"started": None, "ended": 12, "helper": False, "status": 203}]),
        ([entry(5, "0" * 32, "z"), {"__REALTIME_TIMESTAMP": "1", "MESSAGE": "of no invocation"}], []),
    ],
)  # fmt: skip
def test_the_starts_of_a_unit(messages, expected):
    found = journal.invocations(messages)
    assert [{key: one[key] for key in want} for one, want in zip(found, expected)] == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"MESSAGE": "plain"}', "plain"),
        ('{"MESSAGE": [104, 105, 255]}', "hi�"),
        ('{"MESSAGE": null}', ""),
        ('{"MESSAGE": ["first", "second"]}', "second"),
        ('{"MESSAGE": [[104, 105], [106]]}', "j"),
    ],
)
def test_what_is_no_text_becomes_some(line, message):
    assert [e["MESSAGE"] for e in journal.parse(line + '\n{"MESSAGE": "cut o')] == [message]


def test_lines_carry_their_time(monkeypatch):
    asked = []
    listed = [entry(60, "x", MESSAGE="one\ntwo"), entry(61, "x", MESSAGE="")]
    monkeypatch.setattr(journal, "run", lambda argv, **_more: asked.append(argv) or "\n".join(map(json.dumps, listed)))
    assert journal.said("a", 7) == ["1970-01-01T00:01:00Z one", "1970-01-01T00:01:00Z two", "1970-01-01T00:01:01Z "]
    assert "--lines=7" in asked[0]
    assert asked[0][-1] == "_SYSTEMD_INVOCATION_ID=a"


@pytest.mark.parametrize(
    ("names", "current", "expected"),
    [
        ("", None, (None, None)),
        ("a", None, ("a", None)),
        ("abc", None, ("c", "b")),
        ("abc", "c", ("c", "b")),
        ("ab", "c", ("c", "b")),  # its start is not in the journal any more
        ("", "c", ("c", None)),
    ],
)
def test_the_last_run_and_the_one_before(names, current, expected):
    assert journal.last([{"invocation": name} for name in names], current) == expected


UNIT = "/agentfactory.slice/agentfactory-arm.slice/agentfactory-arm@0.service"
KILL = "oom-kill:constraint=%s,nodemask=(null),cpuset=/,mems_allowed=0,%stask_memcg=%s,task=python3,pid=7,uid=995"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            KILL % ("CONSTRAINT_MEMCG", "oom_memcg=%s," % UNIT, UNIT),
            [{"at": 60, "unit": "agentfactory-arm@0.service", "limit": True}],
        ),
        (
            KILL % ("CONSTRAINT_NONE", "global_oom,", UNIT),
            [{"at": 60, "unit": "agentfactory-arm@0.service", "limit": False}],
        ),
        ("Out of memory: Killed process 7 (python3)", []),
    ],
)
def test_whom_the_kernel_killed_for_memory(message, expected):
    assert journal.kills_in([entry(60, "x", MESSAGE=message)]) == expected
