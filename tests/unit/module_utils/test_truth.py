# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is so on a host: processes, control groups, users, and how it differs from what is declared."""

import os
import pwd
import subprocess
import sys

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils import (
    cgroup,
    credentials,
    desired,
    egress,
    files,
    health,
    history,
    info,
    release,
    systemd,
    target,
    truth,
    users,
)
from ansible_collections.agentfactory.core.plugins.module_utils.errors import HostError
from ansible_collections.agentfactory.core.plugins.module_utils.layout import Instance, instances
from ansible_collections.agentfactory.core.plugins.module_utils.plan import Now

ME = pwd.getpwuid(os.getuid())
ACTIVE = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "MainPID": "1", "NRestarts": "0"}
NOT_THERE = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "MainPID": "0"}


# -- processes --------------------------------------------------------------------------------------------------------


def test_a_process_is_known_by_its_environment_and_its_start(process):
    pid = process(AGENT_RELEASE="1.0-a", EMPTY="", EQUALS="a=b")
    found = truth.process_environment(pid)
    assert {k: found[k] for k in ("AGENT_RELEASE", "EMPTY", "EQUALS")} == {
        "AGENT_RELEASE": "1.0-a",
        "EMPTY": "",
        "EQUALS": "a=b",
    }
    assert truth.start_time(pid) == truth.start_time(pid)
    assert truth.start_time(pid) is not None


def test_a_process_that_ended_is_gone_also_before_its_parent_looked():
    child = subprocess.Popen([sys.executable, "-IS", "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert truth.start_time(child.pid) is None
    child.wait()
    assert truth.start_time(child.pid) is None
    assert truth.process_environment(child.pid) == {}


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (NOT_THERE, "there is no unit"),
        (ACTIVE, "active (running)"),
        (dict(ACTIVE, NRestarts="3"), "active (running), 3 restarts"),
        (dict(ACTIVE, NRestarts="[not set]"), "active (running)"),
        (
            {
                "ActiveState": "failed",
                "SubState": "failed",
                "Result": "exit-code",
                "ExecMainStatus": "7",
                "NRestarts": "0",
            },
            "failed (failed), result exit-code, exit status 7",
        ),
        ({"ActiveState": "inactive", "SubState": "dead", "Result": "success"}, "inactive (dead)"),
    ],
)
def test_a_units_state_in_words(state, text):
    assert truth.describe(state) == text


# -- the truth about an instance --------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def my_user(monkeypatch):
    monkeypatch.setattr(users, "find", lambda _instance: ME)


def test_nothing_is_there(instance):
    now = truth.look(instance, NOT_THERE)
    assert (now.booted, now.running, now.staged, now.under_proof, now.enabled) == (None, None, None, False, False)
    assert (now.unit_intact, now.tree_intact, now.release_complete, now.healthy) == (True, False, False, False)
    assert now.detail == "unit: there is no unit"


def test_what_boots_what_runs_and_what_is_staged_can_differ(instance, spec, process, manifest, lay, active):
    health_of = dict(manifest()["health"], tcp=None)
    made = spec(health=health_of)
    one, two = lay(instance, made), lay(instance, made, "1.1-bbbbbbbbbbbb")
    files.write_atomic(instance.unit_file, release.unit_text(instance, one))
    files.write_json(instance.staged, {"release": two, "state": "started"})
    files.write_atomic(instance.proof_file, b"")
    files.replace_link(instance.wants, "x")
    now = truth.look(instance, active(process(AGENT_RELEASE=two)))
    assert (now.booted, now.running, now.staged, now.staged_state) == (one, two, two, "started")
    assert (now.under_proof, now.enabled, now.unit_intact, now.healthy) == (True, True, True, True)
    instance.unit_file.write_bytes(instance.unit_file.read_bytes() + b"#")
    assert not truth.look(instance, NOT_THERE).unit_intact
    release.judge(instance, two, release.VOID, {"summary": "it broke"})
    assert truth.look(instance, NOT_THERE, wanted=two).void == "it broke"
    assert truth.look(instance, NOT_THERE, wanted=one).void is None


@pytest.mark.parametrize("said", ["../../../../../tmp/evil", "/tmp/evil", "..", ".", "a/b", "", "a\nb"])
def test_a_process_cannot_point_at_a_record_of_its_own(instance, process, said, monkeypatch, active):
    """It can write into its environment; the probes of what it names would run outside its sandbox."""
    monkeypatch.setattr(release, "read", lambda *_args: pytest.fail("a record was read"))
    now = truth.look(instance, active(process(AGENT_RELEASE=said)))
    assert now.running == "?"
    assert not now.healthy


def test_a_probes_command_gets_the_units_environment_and_not_the_processs(
    instance, spec, process, monkeypatch, lay, active
):
    asked = []
    monkeypatch.setattr(
        health, "command", lambda argv, **more: asked.append((argv, more)) or health.Seen(True, "command", "")
    )
    name = lay(instance, spec(health={"tcp": None, "command": {"argv": ["probe", "{port.http}"], "timeout": 2}}))
    pid = process(
        AGENT_RELEASE=name, LD_PRELOAD="/tmp/evil.so", PYTHONPATH="/tmp/evil", PATH="/tmp/evil", BASH_ENV="/tmp/evil"
    )
    assert truth.look(instance, active(pid)).healthy
    argv, more = asked[0]
    assert argv == ["/opt/agentfactory/trees/%s/bin/probe" % ("ab" * 32), "8080"]
    assert "evil" not in str(more["environment"])
    assert more["environment"]["AGENT_RELEASE"] == name
    assert more["environment"]["AGENT_PORT_HTTP"] == "8080"
    assert (more["timeout"], more["uid"], more["gid"]) == (2, ME.pw_uid, ME.pw_gid)
    assert more["directory"] == str(instance.state)


def test_what_an_unhealthy_agent_says_is_shown_without_its_secrets(instance, spec, process, monkeypatch, lay, active):
    monkeypatch.setattr(health, "look", lambda *_args, **_more: health.Seen(False, "http", "no luck with hunter2"))
    name = lay(instance, spec(delivery=credentials.LOADED))
    files.write_atomic(instance.releases / name / "credentials" / "token", b"hunter2")
    assert truth.look(instance, active(process(AGENT_RELEASE=name))).detail == "http: no luck with ********"


def test_instances_are_those_with_releases(layout):
    for name in ("b/1", "a/0", "b/0"):
        (layout.agents / name / "releases").mkdir(parents=True)
    (layout.agents / "c/0").mkdir(parents=True)
    assert [i.id for i in instances(layout)] == ["a@0", "b@0", "b@1"]


# -- control groups ---------------------------------------------------------------------------------------------------

UNIT = "/agentfactory.slice/agentfactory-arm.slice/agentfactory-arm@0.service"
V2 = "0::%s\n" % UNIT
V1 = f"11:cpu,cpuacct:{UNIT}\n9:memory:{UNIT}\n1:name=systemd:{UNIT}\n0::{UNIT}\n"
HYBRID = f"11:cpu,cpuacct:{UNIT}\n9:memory:{UNIT}\n1:name=systemd:{UNIT}\n"


@pytest.mark.parametrize(
    ("recorded", "counters", "cpu", "memory"),
    [
        (V2, {"{unit}/cpu.stat": "usage_usec 2500000\nuser_usec 2\n", "{unit}/memory.current": "4096\n"}, 2.5, 4096),
        (V2, {}, None, None),
        (
            HYBRID,
            {"cpuacct/{unit}/cpuacct.usage": "1500000000\n", "memory/{unit}/memory.usage_in_bytes": "8192\n"},
            1.5, 8192,
        ),
        (V1, {"unified/{unit}/cpu.stat": "usage_usec 7\n", "memory/{unit}/memory.usage_in_bytes": "8192\n"}, 7e-6, 8192),
        # In a container without limits of its own a process is in the container's group: not the unit's numbers.
        ("0::/\n", {"cpu.stat": "usage_usec 2500000\n", "memory.current": "4096\n"}, None, None),
        ("", {}, None, None),
    ],
)  # fmt: skip
def test_cpu_and_memory_of_a_unit(tmp_path, monkeypatch, recorded, counters, cpu, memory):
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    monkeypatch.setattr(cgroup, "PROC", tmp_path / "proc")
    counters = {**counters, "proc/1/cgroup": recorded}
    for path, text in counters.items():
        place = tmp_path / path.format(unit=UNIT.lstrip("/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    assert cgroup.cpu_seconds(1) == cpu
    assert cgroup.memory_bytes(1) == memory


def test_where_the_kernel_does_not_count_for_the_unit_its_processes_are_added_up(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    monkeypatch.setattr(cgroup, "PROC", tmp_path / "proc")
    tick = os.sysconf("SC_CLK_TCK")
    stat = "7 (a (b) c) S 1 1 1 0 -1 0 0 0 0 0 %d %d %d %d 20 0 1 0 100"
    for path, text in {
        "proc/1/cgroup": "9:name=systemd:%s\n4:memory:%s\n3:cpu:%s\n2:cpuacct:/box\n" % (UNIT, UNIT, UNIT),
        "proc/7/stat": stat % (tick, tick, 0, 0),
        "proc/8/stat": stat % (tick, 0, tick, tick),
        "systemd%s/cgroup.procs" % UNIT: "7\n8\n9\n",
        "cpu%s/cpu.stat" % UNIT: "nr_periods 5\nnr_throttled 2\nthrottled_time 9\n",
        "memory%s/memory.usage_in_bytes" % UNIT: "900\n",
        "memory%s/memory.stat" % UNIT: "cache 500\ninactive_file 1\ntotal_inactive_file 300\n",
        "memory%s/memory.oom_control" % UNIT: "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        "pids%s/pids.current" % UNIT: "4\n",
    }.items():
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    assert cgroup.usage(1) == cgroup.Usage(5.0, 5, 2, 600, 3, None)
    (tmp_path / "proc/1/cgroup").write_text((tmp_path / "proc/1/cgroup").read_text() + "5:pids:%s\n" % UNIT)
    assert cgroup.usage(1).tasks == 4


def test_a_process_that_is_gone_uses_nothing_that_could_be_told():
    assert cgroup.usage(2**30) == cgroup.Usage()


# -- what a host must have --------------------------------------------------------------------------------------------

HERE = target.here()
IMAGE = {"target": "%s/%s" % (HERE.os, HERE.machine), "tree": "t" * 64, "content": "c" * 64}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"permissions": {"groups": ["root"], "write": ["/tmp"], "devices": ["/dev/null"]}}, None),
        ({"runtime": {"type": "python", "python": ">=3.9"}}, None),
        ({"runtime": {"type": "executable", "python": ">=99"}}, None),
        ({"runtime": {"type": "python", "python": ">=3.99"}}, "needs Python >=3.99; this host has 3."),
        ({"permissions": {"groups": ["root", "no-such-group"]}}, "needs the group no-such-group"),
        ({"permissions": {"write": ["/no/such/place"]}}, "needs /no/such/place"),
        ({"permissions": {"devices": ["/dev/no-such"]}}, "needs /dev/no-such"),
    ],
)
def test_what_a_manifest_needs_of_the_host_is_checked_first(manifest, changes, problem):
    agent = {"name": "arm", "manifest": manifest(**changes), "images": [IMAGE]}
    if problem is None:
        assert desired.check_agent(agent, HERE) == IMAGE
    else:
        with pytest.raises(HostError, match=problem):
            desired.check_agent(agent, HERE)


def agent(manifest, name="arm", images=(IMAGE,), **more):
    made = manifest(name=name, permissions={"outbound": ["0.0.0.0/0", "::/0"]}, **more)
    item = {"name": "0", "ports": {"http": 8080}, "resources": {"cpu": None, "memory": None, "tasks": 9}}
    return {
        "name": name, "manifest": made, "images": list(images), "state": "started", "config": {"a": 1}, "secrets": {},
        "instances": [item, dict(item, name="1", ports={"http": 8081})],
    }  # fmt: skip


def test_a_request_becomes_what_is_wanted_of_each_instance(layout, manifest):
    found = desired.build(layout, {"environment": "lab", "agents": [agent(manifest)]}, b"k", 257)
    assert [d.instance.id for d in found] == ["arm@0", "arm@1"]
    assert [d.spec.ports for d in found] == [{"http": 8080}, {"http": 8081}]
    assert len({d.want.release for d in found}) == 2
    assert {(d.want.version, d.want.state, d.content, d.spec.nft) for d in found} == {
        ("1.0", "started", "c" * 64, None)
    }
    assert desired.missing_trees(layout, found) == ["t" * 64]


def test_all_that_a_host_cannot_run_is_said_at_once(layout, manifest):
    elsewhere = dict(IMAGE, target="linux/s390x" if HERE.machine != "s390x" else "linux/amd64")
    asked = [agent(manifest, "one", [elsewhere]), agent(manifest), agent(manifest, "two", [])]
    with pytest.raises(HostError) as caught:
        desired.build(layout, {"environment": "lab", "agents": asked}, b"k", 257)
    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["one", "two"]


# -- drift ------------------------------------------------------------------------------------------------------------

AS_IT_SHOULD = {"booted": "1.0-a", "running": "1.0-a", "enabled": True, "tree_intact": True, "staged": "1.0-a", "has_user": True,
                "release_complete": True}  # fmt: skip
DECLARED = {"robot-arm@0": {"version": "1.0", "state": "started", "contents": ["c", "d"]}}


@pytest.mark.parametrize(
    ("now", "declared", "expected"),
    [
        ({}, None, []),
        ({}, DECLARED, []),
        ({"unit_intact": False}, None, ["the unit was changed"]),
        ({"tree_intact": False}, None, ["the code was changed"]),
        ({"has_user": False}, None, ["its user is gone"]),
        ({"release_complete": False}, None, ["the configuration or the secrets were changed"]),
        ({"running": "1.1-b"}, None, ["1.1-b runs, 1.0-a would boot"]),
        ({"enabled": False}, None, ["would not start at boot"]),
        ({"enabled": False, "running": None}, None, ["would not start at boot"]),
        ({}, {}, ["is not declared"]),
        ({}, {"robot-arm@0": dict(DECLARED["robot-arm@0"], version="1.1")}, ["version 1.1 is declared"]),
        ({}, {"robot-arm@0": dict(DECLARED["robot-arm@0"], contents=["x"])}, ["other content than declared"]),
        ({}, {"robot-arm@0": dict(DECLARED["robot-arm@0"], contents=[])}, []),
        ({}, {"robot-arm@0": dict(DECLARED["robot-arm@0"], state="stopped")}, ["is declared stopped"]),
        ({"running": None}, DECLARED, ["is declared started"]),
    ],
)
def test_how_a_host_differs(instance, now, declared, expected):
    files.write_json(instance.staged, {"release": "1.0-a", "state": "started"})
    found = {"release": "1.0-a", "version": "1.0", "content": "c"}
    assert info._drift(instance, Now(**dict(AS_IT_SHOULD, **now)), found, declared) == expected


@pytest.mark.parametrize(
    ("actions", "now", "declared", "expected"),
    [
        (["activate", "stop"], {}, None, []),
        (["activate", "stop"], {}, DECLARED, ["is declared started"]),
        (["activate", "stop"], {"running": "1.0-a"}, None, ["would not start at boot"]),  # started by hand
        (["stop", "activate", "shelve"], {}, None, []),
        (["stop", "activate"], {}, None, ["would not start at boot"]),  # disabled by hand
    ],
)
def test_what_its_verb_stopped_is_as_it_should(instance, actions, now, declared, expected):
    files.write_json(instance.staged, {"release": "1.0-a", "state": "started"})
    for action in actions:
        history.append(instance.layout, {"run": "r1"}, instance.id, action, before=None, after=None, result="ok")
        history.append(instance.layout, {"run": "r1"}, "eye@0", "activate", before=None, after=None, result="ok")
    seen = Now(**{**AS_IT_SHOULD, "enabled": False, "running": None, **now})
    found = {"release": "1.0-a", "version": "1.0", "content": "c"}
    assert info._drift(instance, seen, found, declared) == expected


@pytest.mark.parametrize(
    ("now", "state", "word"),
    [
        ({"running": "1.0-a"}, {}, "running"),
        ({"running": "1.0-a", "under_proof": True}, {}, "proving"),
        ({"booted": "1.0-a"}, {"SubState": "auto-restart"}, "crash-looping"),
        ({"booted": "1.0-a"}, {"SubState": "auto-restart-queued"}, "crash-looping"),
        ({"booted": "1.0-a"}, {"SubState": "start-pre"}, "crash-looping"),
        ({"booted": "1.0-a"}, {"ActiveState": "failed"}, "failed"),
        ({"booted": "1.0-a"}, {"ActiveState": "inactive"}, "stopped"),
        ({}, {}, "not activated"),
    ],
)
def test_the_state_in_a_word(now, state, word):
    assert info.state_of(now.get("running"), now.get("under_proof", False), now.get("booted"), state) == word


def test_declared_instances_that_are_not_there_have_a_row(layout):
    asked = {"gather": ["instances"], "declared": DECLARED, "only": None}
    rows = info.gather(layout, asked)["instances"]
    assert [(r["agent_id"], r["state"], r["healthy"], r["drift"]) for r in rows] == [
        ("robot-arm@0", "missing", False, ["version 1.0 is declared"])
    ]
    assert info.gather(layout, dict(asked, only=["eye"]))["instances"] == []


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), ("0", 0), ("", None), (None, None), ("[not set]", None), ("18446744073709551615", None)],
)
def test_numbers_of_systemd(text, number):
    assert systemd.number(text) == number


# -- users ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gecos", "found"),
    [("robot-arm@0", True), ("robot-arm@0,,,", True), ("somebody", None), ("", None), (None, False)],
)
def test_a_user_is_the_instances_if_its_comment_says_so(instance, monkeypatch, gecos, found):
    monkeypatch.undo()

    def getpwnam(name):
        if gecos is None:
            raise KeyError(name)
        return pwd.struct_passwd((name, "x", 990, 990, gecos, "/", "/usr/sbin/nologin"))

    monkeypatch.setattr(users.pwd, "getpwnam", getpwnam)
    if found is None:
        with pytest.raises(HostError, match="belongs to"):
            users.find(instance)
    else:
        assert bool(users.find(instance)) is found


def test_missing_groups():
    assert users.missing_groups([]) == []
    assert users.missing_groups(["root", "no-such-group"]) == ["no-such-group"]


def test_an_instances_user_name_is_short_and_stable(layout):
    assert Instance(layout, "a" * 39, "x" * 30).user == Instance(layout, "a" * 39, "x" * 30).user
    assert len(Instance(layout, "a" * 39, "x" * 30).user) <= 31


@pytest.mark.parametrize(
    ("rules", "listed", "confined"),
    [
        (False, "", True),
        (True, "", False),
        (True, "table inet agentfactory {\n chain af-000000000000 {\n }\n}\n", False),
        (True, "table inet agentfactory {\n chain af-28c4df20fd48 {\n }\n}\n", True),
    ],
)
def test_rules_that_a_firewalls_reload_took_away_are_missed(instance, monkeypatch, rules, listed, confined):
    asked = []
    monkeypatch.setattr(egress, "listing", lambda: asked.append(1) or listed)
    (instance.releases / "1.0-a").mkdir(parents=True)
    if rules:
        (instance.releases / "1.0-a" / "egress.nft").write_text("add table inet agentfactory\n")
    once = truth.Once()
    assert [once.confined(instance, "1.0-a") for _time in range(2)] == [confined, confined]
    assert len(asked) == rules
