# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of systemd, and what it answered on real hosts: a systemctl on PATH prints the recordings."""

import os
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils import systemd
from ansible_collections.agentfactory.core.plugins.module_utils.errors import HostError
from ansible_collections.agentfactory.core.plugins.module_utils.systemd import Systemd

# `systemctl show` of systemd 252: a running unit, one that crash-loops, one that does not exist.
RECORDED = """\
MainPID=4242
NRestarts=0
ExecMainCode=0
ExecMainStatus=0
ControlGroup=/agentfactory.slice/agentfactory-arm.slice/agentfactory-arm@0.service
MemoryCurrent=9125888
TasksCurrent=3
Result=success
Id=agentfactory-arm@0.service
LoadState=loaded
ActiveState=active
SubState=running
FragmentPath=/etc/systemd/system/agentfactory-arm@0.service
NeedDaemonReload=no
InvocationID=9e3f6c1f1f9b4d2e9a6b1c0d2e3f4a5b
ActiveEnterTimestampMonotonic=123456789
IPIngressBytes=317
IPEgressBytes=329

MainPID=0
NRestarts=5
ExecMainCode=1
ExecMainStatus=7
ControlGroup=
MemoryCurrent=[not set]
TasksCurrent=[not set]
Result=exit-code
Id=agentfactory-arm@1.service
LoadState=loaded
ActiveState=activating
SubState=auto-restart
FragmentPath=/etc/systemd/system/agentfactory-arm@1.service
NeedDaemonReload=no
InvocationID=
ActiveEnterTimestampMonotonic=0
IPIngressBytes=[no data]
IPEgressBytes=[no data]

MainPID=0
NRestarts=0
ExecMainCode=0
ExecMainStatus=0
ControlGroup=
MemoryCurrent=[not set]
TasksCurrent=[not set]
Result=success
Id=agentfactory-arm@2.service
LoadState=not-found
ActiveState=inactive
SubState=dead
FragmentPath=
NeedDaemonReload=no
InvocationID=
ActiveEnterTimestampMonotonic=0
IPIngressBytes=[no data]
IPEgressBytes=[no data]
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put a program on PATH that notes its arguments and then does what the script says."""

    def put(name, script):
        path = tmp_path / name
        path.write_text('#!/bin/sh\necho "$@" >> "%s/called"\n%s\n' % (tmp_path, script))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", "%s:/usr/bin:/bin" % tmp_path)
        return tmp_path / "called"

    return put


UNITS = ["agentfactory-arm@%s.service" % n for n in "012"]


def test_many_units_are_asked_for_in_one_call(program, tmp_path):
    (tmp_path / "recorded").write_text(RECORDED)
    called = program("systemctl", "cat %s/recorded" % tmp_path)
    shown = Systemd().show(UNITS)
    assert list(shown) == UNITS
    assert [s["Id"] for s in shown.values()] == UNITS
    assert [(s["ActiveState"], s["SubState"]) for s in shown.values()] == [
        ("active", "running"), ("activating", "auto-restart"), ("inactive", "dead"),
    ]  # fmt: skip
    assert [s["MainPID"] for s in shown.values()] == ["4242", "0", "0"]
    assert [s["InvocationID"] for s in shown.values()][1:] == ["", ""]
    assert all(set(systemd.STATE) == set(s) for s in shown.values())
    lines = called.read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("-- " + " ".join(UNITS))


def test_nothing_is_asked_about_nothing(program):
    called = program("systemctl", "exit 1")
    assert Systemd().show([]) == {}
    assert not called.exists()


# -- settling ---------------------------------------------------------------------------------------------------------


def state(active, sub, invocation="new"):
    return {"ActiveState": active, "SubState": sub, "InvocationID": invocation}


class Scripted(Systemd):
    """Shows one state after the other; the last one for ever."""

    def __init__(self, *states):
        super().__init__()
        self.states = list(states)

    def show(self, units):
        return {u: self.states.pop(0) if len(self.states) > 1 else self.states[0] for u in units}


@pytest.mark.parametrize(
    "states",
    [
        [state("active", "running")],
        [state("active", "running", "old"), state("deactivating", "stop-sigterm", "old"), state("active", "running")],
        [state("inactive", "dead", "old"), state("activating", "start"), state("active", "running")],
        [state("activating", "start-pre"), state("active", "running")],
        [state("active", "running", "old"), state("activating", "auto-restart")],
        [state("activating", "start"), state("failed", "failed", "old")],
        [state("activating", "start"), state("inactive", "dead")],
    ],
)
def test_a_start_is_awaited_until_it_came_to_something(states):
    found = Scripted(*states).settle("unit", time.monotonic() + 600, after="old")
    assert found == states[-1]


@pytest.mark.parametrize("stuck", [state("activating", "start"), state("active", "running", "old")])
def test_what_does_not_settle_is_shown_at_the_deadline(stuck):
    assert Scripted(stuck).settle("unit", time.monotonic() - 1, after="old") == stuck


@pytest.mark.parametrize("left", [state("active", "running", "old"), state("inactive", "dead", "")])
def test_what_systemd_refuses_to_start_is_not_waited_for(left):
    moving = state("deactivating", "stop-sigterm", "old")
    with pytest.raises(HostError, match="bad unit file setting"):
        Scripted(moving, left).settle(
            "unit", time.monotonic() + 600, after=left["InvocationID"], refused="Unit has a bad unit file setting"
        )


@pytest.mark.parametrize(
    ("path", "needed", "holds"),
    [("/run/x", "no", True), ("/run/x", "yes", False), ("/etc/x", "no", False), ("", "no", False)],
)
def test_whether_systemd_holds_a_file_that_it_was_made_to_look_for(monkeypatch, tmp_path, path, needed, holds):
    manager = Systemd()
    monkeypatch.setattr(
        manager, "show", lambda units: {u: {"FragmentPath": path, "NeedDaemonReload": needed} for u in units}
    )
    os.utime(tmp_path, (0, 0))
    assert manager.discover("x", Path("/run/x"), tmp_path) is holds
    assert tmp_path.stat().st_mtime > 0
    assert manager.discover("x", Path("/run/x"), tmp_path / "missing") is holds


def test_what_systemctl_says_against_a_restart_is_returned(program):
    called = program("systemctl", "echo 'Job for x.service failed.' >&2; exit 1")
    assert "Job for x.service failed." in Systemd().restart("x.service", 20)
    assert called.read_text() == "restart x.service\n"


@pytest.mark.parametrize(("needed", "reloads"), [(["no", "no"], 0), (["no", "yes"], 1), (["", "no"], 0)])
def test_it_is_told_of_moved_units_only_where_there_are_some(monkeypatch, needed, reloads):
    manager, done = Systemd(), []
    monkeypatch.setattr(manager, "reload", lambda: done.append(1))
    monkeypatch.setattr(manager, "show", lambda units: {u: {"NeedDaemonReload": n} for u, n in zip(units, needed)})
    manager.refresh(["a.service", "b.service"])
    assert len(done) == reloads


def test_reloads_that_come_during_one_share_the_next(monkeypatch):
    under_way, may_end, reloads = threading.Event(), threading.Event(), []

    def run(argv, **_more):
        reloads.append(argv)
        under_way.set()
        assert may_end.wait(60)
        return ""

    monkeypatch.setattr(systemd, "run", run)
    manager = Systemd()
    first = threading.Thread(target=manager.reload)
    first.start()
    assert under_way.wait(60)
    assert manager._reloads == 1
    asked = threading.Barrier(4)

    class Lock:
        """The manager's lock; says when all have read the count and come for it."""

        real = manager._lock

        def __enter__(self):
            asked.wait(60)
            return self.real.__enter__()

        def __exit__(self, *exception):
            return self.real.__exit__(*exception)

    manager._lock = Lock()
    others = [threading.Thread(target=manager.reload) for _n in range(3)]
    for other in others:
        other.start()
    asked.wait(60)
    may_end.set()
    for thread in [first, *others]:
        thread.join(60)
    assert reloads == [["systemctl", "daemon-reload"]] * 2


# -- commands ---------------------------------------------------------------------------------------------------------


def test_a_command_gives_its_output_and_its_input_is_never_told(program):
    program("tool", 'read secret; echo "out"; echo "went wrong" >&2; exit ${1:-0}')
    assert systemd.run(["tool"], data=b"hunter2\n") == "out\n"
    assert systemd.run(["tool", "3"], data=b"hunter2\n", check=False) == "out\n"
    with pytest.raises(HostError, match="tool 3: went wrong") as caught:
        systemd.run(["tool", "3"], data=b"hunter2\n")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("script", "argv", "timeout", "message"),
    [
        ("exit 4", ["tool"], 60, "tool: exit status 4"),
        ("printf '\\377' >&2; exit 1", ["tool"], 60, "tool: \ufffd"),
        ("exec sleep 60", ["tool", "a"], 0.3, "tool a did not end within 0 s"),
        ("", ["no-such-tool"], 60, "no-such-tool is not installed"),
    ],
)
def test_what_goes_wrong_is_told(program, script, argv, timeout, message):
    program("tool", script)
    with pytest.raises(HostError, match=message):
        systemd.run(argv, timeout=timeout)


def test_the_journal_is_of_one_invocation_and_its_lack_is_no_error(program, monkeypatch):
    called = program("journalctl", "seq 1 9")
    assert systemd.journal("arm.service", "abc", 3) == ["7", "8", "9"]
    assert "--unit=arm.service _SYSTEMD_INVOCATION_ID=abc" in called.read_text()
    monkeypatch.setenv("PATH", "/nowhere")
    assert "journalctl is not installed" in systemd.journal("arm.service", "abc")[0]


def test_the_version_is_a_number(program, monkeypatch):
    monkeypatch.setattr(systemd.Path, "glob", lambda *_args: [])
    program("systemctl", "echo 'systemd 257 (257.8-1~deb13u2)'; echo '+PAM +AUDIT'")
    assert systemd.version() == 257
    program("systemctl", "echo 'OpenRC'")
    with pytest.raises(HostError, match="does not run systemd"):
        systemd.version()
