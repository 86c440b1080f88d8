# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls to the host's library: the real command in a real shell, with the library's place moved to a scratch directory."""

import ast
import json
import os
import shlex
import subprocess
import sys
import zlib

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import remote as remote_module
from ansible_collections.agentfactory.core.plugins.plugin_utils import whoami
from ansible_collections.agentfactory.core.plugins.plugin_utils.remote import (
    ANSWER,
    NEEDS_LIBRARY,
    Remote,
    RemoteError,
    spool,
)

SECRET = "hunter2-very-secret"
WHO = {"run": "mine", "user": "ann", "controller": "desk", "pid": "1:1", "gone": [], "break_lease": False}


def request(**more):
    # The history needs neither systemd nor root; on a machine without the factory it is empty.
    return {"op": "info", "gather": ["history"], "check": False, "who": dict(WHO, gone=[]), "secret": SECRET, **more}


class Shell:
    """Runs commands as a connection would: one string for a shell, bytes on its standard input."""

    def __init__(self, place):
        self.library, self.scratch = place / "lib", place / "scratch"
        self.scratch.mkdir()
        self.calls = []

    def __call__(self, command, data):
        assert command.count("/opt/agentfactory/lib") == 1
        self.calls.append((command, data))
        moved = command.replace("/opt/agentfactory/lib", str(self.library))
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(self.scratch)}
        done = subprocess.run(["/bin/sh", "-c", moved], input=data, capture_output=True, env=environment, check=False)
        return {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


@pytest.fixture
def remote(shell):
    return Remote(shell, sys.executable, lambda line: pytest.fail(f"told {line!r}"))


# -- the library's way to the host ------------------------------------------------------------------------------------


def test_a_host_that_lacks_the_library_gets_it_once(remote, shell):
    assert isinstance(remote.call(request())["history"], list)
    assert len(shell.calls) == 2
    digest, _source = remote_module.library_sources()
    assert [path.name for path in shell.library.iterdir()] == [digest]
    assert (shell.library / digest).stat().st_mode & 0o777 == 0o755
    remote.call(request())
    assert len(shell.calls) == 3
    assert max(len(data) for _command, data in shell.calls[2:]) < 1000
    assert list(shell.scratch.iterdir()) == []


def test_a_host_that_was_never_used_gets_everything_with_the_library(remote, shell):
    def everything():
        return request(op="no such operation"), b"payload"

    with pytest.raises(RemoteError, match="no such operation"):
        remote.call(request(), to_new_host=everything)
    assert len(shell.calls) == 2
    assert shell.calls[1][1].endswith(b"payload")


def test_a_host_that_had_another_version_of_the_library_is_asked_first(remote, shell):
    (shell.library / "another").mkdir(parents=True)
    asked = remote.call(request(), to_new_host=lambda: pytest.fail("it may hold what is needed"))
    assert isinstance(asked["history"], list)
    assert len(shell.calls) == 2


def test_a_check_leaves_nothing_behind(remote, shell):
    assert isinstance(remote.call(request(check=True))["history"], list)
    assert not shell.library.exists()
    assert list(shell.scratch.iterdir()) == []


def test_a_failing_check_leaves_nothing_behind_either(remote, shell):
    with pytest.raises(RemoteError, match="unexpected, please report"):
        remote.call(request(check=True, op="no such operation"))
    assert list(shell.scratch.iterdir()) == []


def test_a_check_uses_the_library_that_is_there(remote, shell):
    remote.call(request())
    before = sorted(shell.library.rglob("*.py"))
    remote.call(request(check=True))
    assert len(shell.calls) == 3
    assert sorted(shell.library.rglob("*.py")) == before


def test_two_that_bring_the_library_at_the_same_time_do_not_disturb_each_other(remote, shell):
    command, data = _with_library(request(), shell)
    moved = command.replace("/opt/agentfactory/lib", str(shell.library))
    started = [
        subprocess.Popen(
            ["/bin/sh", "-c", moved], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _time in range(3)
    ]
    for process in started:
        process.stdin.write(data)
        process.stdin.flush()
    outputs = [process.communicate()[0].decode() for process in started]
    assert all(ANSWER in output for output in outputs)
    assert len(list(shell.library.iterdir())) == 1


def _with_library(wanted, shell):
    remote = Remote(lambda *call: shell.calls.append(call) or {"stdout": NEEDS_LIBRARY}, sys.executable, print)
    with pytest.raises(RemoteError):
        remote.call(wanted)
    return shell.calls.pop()


def test_the_library_is_all_modules_and_only_source():
    digest, source = remote_module.library_sources()
    names = set(json.loads(source))
    assert {"host.py", "errors.py", "__init__.py"} <= names
    assert all(name.endswith(".py") for name in names)
    assert len(digest) == 16


def test_the_library_imports_nothing_but_itself_and_the_standard_library():
    allowed = {"exporter.py": sys.stdlib_module_names | {"prometheus_client"}}  # a daemon, not a part of any call
    for name, source in json.loads(remote_module.library_sources()[1]).items():
        known = allowed.get(name, sys.stdlib_module_names)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= known, name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1 or (node.level == 0 and node.module.split(".")[0] in known), name


# -- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [True, False])
def test_the_command_is_the_same_whatever_is_asked_and_holds_no_secret(remote, shell, check):
    remote.call(request(check=check), b"payload " + SECRET.encode())
    commands = {command for command, _data in shell.calls}
    assert len(commands) == 1
    assert SECRET not in commands.pop()
    header = json.loads(shell.calls[-1][1].split(b"\n", 1)[0])
    assert set(header) == {"library", "source", "request", "check"}


def test_what_comes_after_the_request_is_the_payload(remote, shell):
    remote.call(request(), b"PAYLOAD")
    header, rest = shell.calls[-1][1].split(b"\n", 1)
    sizes = json.loads(header)
    body = rest[sizes["source"] :][: sizes["request"]]
    assert json.loads(zlib.decompress(body))["secret"] == SECRET
    assert rest[sizes["source"] + sizes["request"] :] == b"PAYLOAD"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        (None, "/usr/bin/python3"),
        ("", "/usr/bin/python3"),
        ("auto", "/usr/bin/python3"),
        ("auto_silent", "/usr/bin/python3"),
        ("python3.11", "/usr/bin/python3"),
        ("/opt/python/bin/python3", "/opt/python/bin/python3"),
        ("/opt/a b/python; rm -rf /", "/opt/a b/python; rm -rf /"),
    ],
)
def test_which_interpreter_runs(given, used):
    seen = []
    remote = Remote(lambda command, _data: seen.append(command) or {"stdout": ANSWER + '{"ok": {}}'}, given, print)
    remote.call(request())
    assert shlex.split(seen[0])[:3] == [used, "-IS", "-c"]


# -- answers ----------------------------------------------------------------------------------------------------------


def answering(*answers):
    """A host that gives these answers, one a call; a mapping becomes an answer of the library."""
    waiting = list(answers)

    def execute(_command, _data):
        answer = waiting.pop(0)
        text = answer if isinstance(answer, str) else ANSWER + json.dumps(answer)
        return {"rc": 0, "stdout": f"Welcome to the host\n{text}\n", "stderr": "", "left": len(waiting)}

    return execute


@pytest.fixture
def no_waiting(monkeypatch):
    """Time passes only when the code sleeps."""

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(remote_module, "time", clock)
    return clock


def test_the_answer_is_found_among_what_a_host_prints(no_waiting):
    assert Remote(answering({"ok": {"a": 1}}), None, print).call(request()) == {"a": 1}


def test_the_hosts_error_is_the_message():
    with pytest.raises(RemoteError, match=r"^port 80 is taken$"):
        Remote(answering({"error": "port 80 is taken"}), None, print).call(request())


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"rc": 127, "stdout": "", "stderr": "/usr/bin/python3: not found\n"}, "exit status 127.*not found"),
        ({"rc": 1, "stdout": "sudo: a password is required\n", "stderr": ""}, "a password is required"),
        ({"rc": 0, "stdout": "", "stderr": ""}, "nothing was printed"),
        ({}, "no answer"),
        ({"rc": 137, "stdout": "", "stderr": ""}, "killed"),
        ({"rc": 1, "stdout": ANSWER + '{"ok": {"cut o', "stderr": ""}, "no answer"),
        ({"rc": 1, "stdout": "", "stderr": "\n".join(f"line {n}" for n in range(99))}, "line 98"),
    ],
)
def test_no_answer_is_told_with_what_was_printed(result, message):
    with pytest.raises(RemoteError, match=message):
        Remote(lambda *_call: result, None, print).call(request())


def test_a_host_that_never_keeps_the_library_is_not_asked_for_ever():
    with pytest.raises(RemoteError, match="no answer"):
        Remote(answering(NEEDS_LIBRARY, NEEDS_LIBRARY), None, print).call(request())


LEASE = {"run": "theirs", "user": "bob", "controller": "elsewhere", "pid": "1:1"}


def test_an_activation_that_goes_on_by_itself_is_waited_for_and_told_once(no_waiting):
    busy, told = {"busy": "an activation is under way", "lease": None}, []
    assert Remote(answering(busy, busy, busy, {"ok": {"a": 1}}), None, told.append).call(request()) == {"a": 1}
    assert told == ["waiting: an activation is under way"]


def test_waiting_has_an_end(no_waiting):
    busy = {"busy": "an activation is under way", "lease": dict(LEASE, run="mine")}
    with pytest.raises(RemoteError, match="under way"):
        Remote(answering(*[busy] * 2000), None, lambda _line: None).call(request())
    assert no_waiting.now > 100


def test_another_runs_host_is_not_waited_for(no_waiting):
    with pytest.raises(RemoteError, match="held by bob"):
        Remote(answering({"busy": "held by bob", "lease": LEASE}), None, print).call(request())
    assert no_waiting.now == 0


def test_a_killed_runs_lease_is_reported_gone(no_waiting, monkeypatch):
    monkeypatch.setattr(whoami, "abandoned", lambda lease: lease and lease["run"])
    asked = request()
    execute = answering({"busy": "held by bob", "lease": LEASE}, {"ok": {}})
    assert Remote(execute, None, print).call(asked) == {}
    assert asked["who"]["gone"] == ["theirs"]


def test_a_spool_is_one_zlib_stream():
    assert zlib.decompress(spool([b"a" * 100, b"", b"b"])) == b"a" * 100 + b"b"
    assert zlib.decompress(spool([])) == b""
