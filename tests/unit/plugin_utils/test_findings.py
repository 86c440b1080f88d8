# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what was gathered of a host to what is said of it: one table a part."""

import re
import signal
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils import ends, findings

NOW = 1795536000.0
GIB = 2**30
DISK = {"path": "/opt", "size": 100 * GIB, "free": 50 * GIB, "files": 1000, "free_files": 900, "read_only": False}
GOOD = {"release": "1.0-a", "version": "1.0", "status": "good", "evidence": {}}
OLDER = {"release": "0.9-b", "version": "0.9", "status": "good", "evidence": {}}
VOID = {"release": "1.1-c", "version": "1.1", "status": "void", "evidence": {"summary": "http: status 503"}}


def listener(port, **more):
    return {"port": port, "address": "0.0.0.0", "uid": 990, "own": True, **more}


def healthy(**changes):
    """An instance that runs, is healthy, and as declared."""
    return {
        "agent": "arm", "agent_id": "arm@0", "state": "running", "healthy": True, "health": "http port 80 /: status 200",
        "release": "1.0-a", "version": "1.0", "staged": "1.0-a", "enabled": True, "drift": [], "releases": [OLDER, GOOD],
        "uptime_seconds": 5000.0, "restarts": 0, "unit_says": "active (running)", "invocations": [run(started=-5000)],
        "invocation": "a", "invocation_before": None, "journal": [], "journal_before": [], "kernel_kills": [],
        "limits": {"memory": 64 * 2**20, "tasks": 32, "cpu": 1.0}, "usage": {"memory_bytes": 2**20, "tasks": 3},
        "health_checks": {"start_timeout": 30},
        "network_namespace": "host", "wanted_ports": {"http": 80}, "listeners": [listener(80)], "secrets": {"token": "here"},
        "refused_packets": 0, "history": [], **changes,
    }  # fmt: skip


def run(started=None, ended=None, name="a", **more):
    """One start; times are relative to now."""
    times = {"started": started and NOW + started, "ended": ended and NOW + ended}
    return {"invocation": name, "code": None, "status": None, "result": None, "ordered": False, "helper": False, "oom": False,
            **times, **more}  # fmt: skip


def died(started, ended, status=1, name="a", **more):
    return run(started, ended, name, **{"code": "exited", "status": status, "result": "exit-code", **more})


def killed(started, ended, number=signal.SIGKILL, name="a", **more):
    return died(started, ended, int(number), name, **{"code": "killed", "result": "signal", **more})


def looping(*runs, **changes):
    """It waits for its next start."""
    return healthy(
        **{"state": "crash-looping", "healthy": False, "health": "unit: activating (auto-restart)", "listeners": [],
           "invocations": list(runs), "uptime_seconds": None, "usage": {}, **changes}
    )  # fmt: skip


def facts(*instances, **host):
    basics = {
        "time": NOW, "memory": {"total": 8 * GIB, "available": 4 * GIB}, "pressure": {"cpu": 3.0, "memory": 0.0, "io": None},
        "file_systems": [DISK], "kernel_kills": [], **host,
    }  # fmt: skip
    return {"host": basics, "lease": None, "activation": None, "instances": list(instances)}


def stopped_by(user, ago):
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - ago))
    return {"action": "stop", "at": when, "who": {"user": user}, "agent_id": "arm@0"}


STORM = [died(-60, -58), died(-50, -48), died(-30, -28)]
MEMORY = "killed by the kernel for memory"

# what is so; the kinds of all findings in order; what the first one says, and says to do
INSTANCES = {
    "healthy": (healthy(), ["info healthy"], r"is healthy \(http port 80 /: status 200\); nothing to do", r"^$"),
    "stopped and meant to be": (
        healthy(state="stopped", healthy=False, enabled=False, listeners=[]),
        ["info stopped"], "as it is meant to be", "^$",
    ),
    "stopped by somebody": (
        healthy(state="stopped", healthy=False, listeners=[], drift=["is declared started"], history=[stopped_by("ada", 99)]),
        ["error stopped"], r"does not run and should: ada stopped it at 20", "core.start -e agents=arm --limit home-1",
    ),
    "stopped, and enabled on a host of no fleet": (
        healthy(state="stopped", healthy=False, listeners=[]), ["error stopped"], "does not run and should", "core.start",
    ),
    "being proven": (healthy(state="proving"), ["info proving"], "is being proven", "wait"),
    "missing": (
        {"agent": "arm", "agent_id": "arm@0", "state": "missing", "drift": ["version 1.0 is declared"], "releases": [],
         "healthy": False, "health": "is not on this host", "staged": None, "release": None},
        ["error missing"], "is not on this host: version 1.0 is declared", "core.deploy -e agents=arm --limit home-1",
    ),
    "staged only": (
        healthy(state="not activated", healthy=False, release=None, listeners=[], releases=[], enabled=False),
        ["error not-activated"], "1.0-a is here, but was never activated", "core.deploy",
    ),
    "first release failed": (
        healthy(state="not activated", healthy=False, release=None, staged="1.1-c", listeners=[], releases=[VOID], enabled=False,
                drift=["version 1.1 is declared", "is declared started"], invocations=[died(-9.6, -9.5)],
                history=[{**stopped_by("ada", 10), "action": "activate"}]),
        ["error void"], "release 1.1-c is void: http: status 503", "retry=true",
    ),
    "update was undone": (
        healthy(releases=[GOOD, VOID], drift=["version 1.1 is declared"], staged="1.1-c"),
        ["warning void", "warning drift"], "release 1.1-c is void", "new version",
    ),
    "an old failure that nobody asks for any more": (healthy(releases=[GOOD, VOID]), ["info healthy"], "", ""),
    "secret is gone": (
        looping(died(-9, -8, 243), secrets={"token": "missing", "key": "here"}),
        ["error secret", "error cannot-start"], "its secret token is missing", "core.deploy.*staged anew",
    ),
    "port taken": (
        looping(died(-9, -8), listeners=[listener(80, own=False, uid=33, user="www-data", pid=7, program="nginx")]),
        ["error port-taken", "error crash-loop"],
        r"port 80 \(http\) is taken by uid 33 \(www-data\), nginx \(pid 7\)", "other ports",
    ),
    "port taken by nobody one knows": (
        looping(listeners=[listener(80, own=False, uid=4711, user=None, pid=None, program=None)], invocations=[]),
        ["error port-taken"], r"is taken by uid 4711$", "",
    ),
    "its network is its own": (
        healthy(network_namespace="own", wanted_ports={}, listeners=[]), ["info healthy"], "", "",
    ),
    "listens elsewhere": (
        healthy(healthy=False, health="http: nothing listens on port 80", listeners=[listener(1080)]),
        ["error not-listening", "error unhealthy"],
        r"does not listen on port 80 \(http\); it listens on 1080 instead", "AGENT_PORT_HTTP",
    ),
    "does not listen": (healthy(listeners=[]), ["error not-listening"], r"port 80 \(http\)$", ""),
    "unhealthy": (
        healthy(healthy=False, health="http port 80 /: status 503 (wanted 200)"), ["error unhealthy"],
        r"runs since 5000 s, but http port 80 /: status 503", r"core.restart.*core.rollback.*goes back to 0.9-b",
    ),
    "has just been started": (
        healthy(healthy=False, health="http: nothing listens on port 80", listeners=[], uptime_seconds=2.0),
        ["info starting"], r"was started 2 s ago, and has 30 s to be healthy \(http: nothing listens", "again",
    ),
    "crash loop": (
        looping(*STORM, journal=["T listening", "T boom \u001b[2J", "T "]), ["error crash-loop"],
        r"ended with exit status 1 within 2 s of its start, 3 times since .*; its last words: 'boom \\x1b\[2J'",
        r"goes back to 0\.9-b\); or fix it",
    ),
    "crash loop of the only release": (looping(*STORM, releases=[GOOD]), ["error crash-loop"], "", "^fix it"),
    "crash loop while it just runs": (healthy(invocations=[*STORM, run(-2, name="d")]), ["error crash-loop"], "3 times", ""),
    "ended once and runs again": (
        healthy(invocations=[died(-99, -60), run(-55, name="b")], invocation="b", invocation_before="a", journal_before=["T bye"]),
        ["warning ended"], r"ended with exit status 1 within 39 s.*, once since .*'bye'", "",
    ),
    "ended long ago": (healthy(invocations=[died(-9000, -8000), run(-7000)]), ["info healthy"], "", ""),
    "ended before it was deployed anew": (
        healthy(invocations=[*STORM, run(-20)], history=[{**stopped_by("ada", 20), "action": "activate"}]),
        ["info healthy"], "", "",
    ),
    "ended with success": (
        looping(run(-60, -58), run(-30, -28)), ["error crash-loop"], "ended with exit status 0 within 2 s of its start, 2 times", "",
    ),
    "ended after a day": (looping(died(-90000, -5)), ["error crash-loop"], "ended with exit status 1, once", ""),
    "told to stop": (
        healthy(state="stopped", enabled=False, healthy=False, listeners=[], invocations=[*STORM, run(-20, -10, ordered=True)]),
        ["info stopped"], "", "",
    ),
    "segmentation fault": (looping(killed(-9, -8, signal.SIGSEGV)), ["error crash-loop"], "ended with SIGSEGV", ""),
    "unknown signal": (looping(killed(-9, -8, 63, code="dumped")), ["error crash-loop"], "ended with signal 63", ""),
    "killed for memory, says systemd": (
        looping(killed(-60, -58, oom=True, result="oom-kill"), killed(-30, -28, oom=True, result="oom-kill")),
        ["error out-of-memory"], rf"was {MEMORY} 2 times since .*; its limit is 64\.0 MiB", "raise resources.memory",
    ),
    "killed for memory, says the kernel": (
        looping(killed(-60, -58), kernel_kills=[{"at": NOW - 58.5, "limit": True}], limits={}),
        ["error out-of-memory"], rf"was {MEMORY} once since [^;]*$", "",
    ),
    "killed for memory, most likely": (
        looping(killed(-60, -58)), ["error out-of-memory"], "with SIGKILL, most likely by the kernel for memory, once", "",
    ),
    "killed by somebody": (looping(killed(-60, -58), limits={"memory": None}), ["error crash-loop"], "ended with SIGKILL", ""),
    "cannot be executed": (looping(died(None, -8, 203)), ["error cannot-start"], "cannot be started, once since .*203/EXEC", "artifact"),
    "sandbox": (looping(died(None, -8, 226)), ["error cannot-start"], "226/NAMESPACE", "permissions.write"),
    "firewall rules": (looping(died(None, -8, helper=True)), ["error cannot-start"], "what prepares its start failed", "nft"),
    "not ready in time": (looping(killed(None, -8, 15, result="timeout")), ["error cannot-start"], "start_timeout", ""),
    "never started": (
        looping(state="failed", unit_says="failed (failed), result resources", invocations=[]),
        ["error failed"], "result resources", "core.restart",
    ),
    "drift": (
        healthy(drift=["the unit was changed", "is not declared"]),
        ["warning drift", "warning drift"], "the unit was changed", "core.deploy",
    ),
    "runs and is declared stopped": (
        healthy(drift=["is declared stopped"]), ["warning drift"], "runs, but is declared stopped", "core.deploy",
    ),
    "refused": (healthy(refused_packets=7), ["warning egress-refused"], "refused 7 packets", "manifest"),
    "near its limits": (
        healthy(usage={"memory_bytes": 60 * 2**20, "tasks": 31, "cpu_periods": 1000, "cpu_throttled_periods": 400}),
        ["warning near-limit-memory", "warning near-limit-tasks", "warning throttled"], "uses 94% of resources.memory", "raise",
    ),
    "no numbers": (healthy(usage={"memory_bytes": None, "tasks": None, "cpu_periods": None}), ["info healthy"], "", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", INSTANCES)
def test_what_is_said_of_an_instance(case):
    given_, kinds, text, next_ = INSTANCES[case]
    found = findings.conclude(facts(given_), "home-1", NOW)
    assert [f"{one['severity']} {one['kind']}" for one in found] == kinds
    assert re.search(text, found[0]["text"]), found[0]["text"]
    assert re.search(next_, found[0]["next"]), found[0]["next"]
    assert {one["about"] for one in found} == {"arm@0"}
    assert "{" not in "".join(one["next"] for one in found)


HOSTS = {
    "all is well": ({}, [], ""),
    "disk nearly full": ({"file_systems": [{**DISK, "free": 5 * GIB}]}, ["warning disk-full"], r"/opt has only 5\.0% of its space"),
    "disk full": ({"file_systems": [{**DISK, "free": 0}]}, ["error disk-full"], r"only 0\.0% of its space \(0 MiB\)"),
    "inodes gone": ({"file_systems": [{**DISK, "free_files": 1}]}, ["error disk-full"], r"0\.1% of its inodes"),
    "no inodes to count": ({"file_systems": [{**DISK, "files": 0, "free_files": 0}]}, [], ""),
    "read only": ({"file_systems": [{**DISK, "read_only": True}]}, ["error read-only"], "of /opt can only be read"),
    "memory": ({"memory": {"total": 8 * GIB, "available": GIB // 10}}, ["warning memory"], "only 1% of its memory"),
    "no memory to read": ({"memory": {"total": 0, "available": 0}}, [], ""),
    "pressure": ({"pressure": {"cpu": 90.0, "memory": 11.0, "io": 59.0}}, ["warning pressure-cpu", "warning pressure-memory"], "90 %"),
    "clock ahead": ({"time": NOW + 90}, ["warning clock"], "90 s ahead of"),
    "clock behind": ({"time": NOW - 90}, ["warning clock"], "90 s behind"),
    "out of memory": (
        {"kernel_kills": [{"at": NOW, "limit": False}, {"at": NOW, "limit": True}]}, ["warning out-of-memory"], "once, last at",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTS)
def test_what_is_said_of_a_host(case):
    host, kinds, text = HOSTS[case]
    found = [one for one in findings.conclude(facts(healthy(), **host), "home-1", NOW) if one["about"] == "host"]
    assert [f"{one['severity']} {one['kind']}" for one in found] == kinds
    assert not found or re.search(text, found[0]["text"]), found[0]["text"]


ACTIVATION = {"run": "r1", "user": "ada", "this_boot": True, "steps": []}
LEASE = {"user": "ada", "controller": "c1", "reason": "deploy"}


@pytest.mark.parametrize(
    ("activation", "lease", "kind"),
    [
        (ACTIVATION, LEASE, "info activation"),
        ({**ACTIVATION, "this_boot": False}, LEASE, "warning interrupted"),
        (None, LEASE, "info lease"),
    ],
)
def test_who_is_at_work_is_said(activation, lease, kind):
    found = findings.conclude({**facts(healthy()), "activation": activation, "lease": lease}, "home-1", NOW)
    assert kind in [f"{one['severity']} {one['kind']}" for one in found]


def test_the_worst_comes_first_and_hosts_before_agents():
    instances = [healthy(refused_packets=1), {**healthy(listeners=[]), "agent_id": "arm@1"}, healthy(agent_id="arm@2")]
    found = findings.conclude(facts(*instances, file_systems=[{**DISK, "free": 0}], time=NOW + 60), "home-1", NOW)
    assert [(one["severity"], one["about"]) for one in found] == [
        ("error", "host"), ("error", "arm@1"), ("warning", "host"), ("warning", "arm@0"), ("info", "arm@2"),
    ]  # fmt: skip


def test_a_host_without_agents_says_so():
    assert [one["kind"] for one in findings.conclude(facts(), "home-1", NOW)] == ["no-agents"]


@pytest.mark.parametrize(
    ("result", "kind", "text"),
    [
        ({"unreachable": True, "msg": "no route\n to host"}, "unreachable", "cannot be reached: no route to host"),
        ({"failed": True, "msg": "python3: not found"}, "no-answer", "could not be asked: python3: not found"),
        ({}, "no-answer", "could not be asked: no answer"),
    ],
)
def test_a_host_that_is_silent_is_a_finding(result, kind, text):
    (found,) = findings.silent(result)
    assert (found["severity"], found["kind"], found["text"]) == ("error", kind, text)


starts = st.builds(
    died,
    st.one_of(st.none(), st.floats(-99999, -1)), st.floats(-9999, -0.1), st.integers(0, 255),
    code=st.sampled_from([None, "exited", "killed", "dumped"]), result=st.sampled_from([None, "signal", "timeout", "oom-kill"]),
    ordered=st.booleans(), helper=st.booleans(), oom=st.booleans(),
)  # fmt: skip


@given(
    st.lists(starts, max_size=6),
    st.sampled_from(["running", "proving", "crash-looping", "failed", "stopped", "not activated"]),
    st.booleans(), st.lists(st.sampled_from(["the code was changed", "is declared stopped", "is declared started"]), max_size=2),
)  # fmt: skip
def test_of_every_instance_something_is_said(runs, state, well, drift):
    given_ = healthy(invocations=runs, state=state, healthy=well, drift=drift)
    found = findings.conclude(facts(given_), "home-1", NOW)
    assert found
    assert all(one["text"] for one in found)
    assert all(one["next"] for one in found if one["severity"] != "info")
    if state in ("crash-looping", "failed") and any(not one["ordered"] for one in runs[-1:]):
        assert found[0]["severity"] == "error"


def test_statuses_of_systemd_name_themselves():
    assert all(f"({status}/" in text for status, (text, _hint) in ends.SYSTEMD_EXITS.items())
