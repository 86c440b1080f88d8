# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is gathered of a host to say why an agent is not well. Python 3.9 syntax."""

import json
import os
import pwd
import socket

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils import (
    credentials,
    diagnosis,
    files,
    health,
    info,
    journal,
    release,
    truth,
    users,
)
from ansible_collections.agentfactory.core.plugins.module_utils.errors import HostError

ME = pwd.getpwuid(os.getuid())
STATE = {"LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead", "Result": "success", "MainPID": "0"}
DECLARED = {"robot-arm@0": {"version": "1.0", "state": "started", "contents": []}}


@pytest.fixture(autouse=True)
def no_systemd(monkeypatch):
    """This machine need not run systemd, and has no user of an instance."""

    def run(argv, **_more):
        raise HostError("%s is not installed on this host" % argv[0])

    monkeypatch.setattr(diagnosis, "run", run)
    monkeypatch.setattr(journal, "run", lambda *_argv, **_more: "")
    monkeypatch.setattr(info, "version", lambda: 257)
    monkeypatch.setattr(truth, "states", lambda found, _systemd: {i.id: STATE for i in found})
    monkeypatch.setattr(users.pwd, "getpwnam", lambda _name: ME)
    monkeypatch.setattr(users, "find", lambda _instance: ME)


@pytest.fixture
def lay(instance, spec):
    """A release on disk with these secrets, staged to be started."""

    def make(name, secrets):
        made = spec(secrets=sorted(secrets), delivery=credentials.LOADED)
        release.stage(name, b"k", made, "c" * 64, {}, secrets, ME)
        files.write_json(instance.staged, {"release": name, "state": "started"})
        return name

    return make


def ask(layout, **more):
    return diagnosis.gather(layout, dict({"only": None, "declared": DECLARED, "lines": 5}, **more))


def test_a_host_without_agents_is_told_of_too(layout):
    found = ask(layout)
    assert [(row["agent_id"], row["state"]) for row in found["instances"]] == [("robot-arm@0", "missing")]
    assert (found["lease"], found["activation"], found["host"]["used"]) == (None, None, False)
    assert ask(layout, declared=None)["instances"] == []
    assert found["host"]["memory"]["total"] > found["host"]["memory"]["available"] > 0
    assert not layout.root.exists()
    json.dumps(found)


def test_what_it_wrote_leaves_the_host_without_the_secrets_of_any_release(instance, layout, lay, monkeypatch):
    lay("1.0-aaaaaaaaaaaa", {"token": "old-secret", "key": "line one\nline two"})
    lay("1.1-bbbbbbbbbbbb", {"token": "new-secret"})
    said = {"a": ["T I was old-secret"], "b": ["T I am new-secret, line two", "T " + "x" * 9000]}
    monkeypatch.setattr(
        journal, "of_unit", lambda _unit: [{"invocation": name, "started": 1, "ended": 2} for name in "ab"]
    )
    monkeypatch.setattr(journal, "said", lambda invocation, lines: said[invocation][:lines])
    (row,) = ask(layout)["instances"]
    assert row["journal_before"] == ["T I was ********"]
    assert row["journal"][0] == "T I am ********, ********"
    assert row["journal"][1] == credentials.head("T " + "x" * 9000, diagnosis.LINE)
    assert (row["invocation"], row["invocation_before"], row["withheld"]) == ("b", "a", "")
    assert row["subject"] == "1.1-bbbbbbbbbbbb"
    assert ask(layout, only=["eye"])["instances"] == []


@pytest.mark.parametrize(
    ("damage", "condition"),
    [(lambda path: path.unlink(), "missing"), (lambda path: path.write_bytes(b"\xff\xfe"), "damaged")],
)
def test_what_cannot_be_struck_out_is_withheld(instance, layout, lay, monkeypatch, damage, condition):
    name = lay("1.0-aaaaaaaaaaaa", {"token": "hunter2", "other": "o"})
    monkeypatch.setattr(journal, "of_unit", lambda _unit: [{"invocation": "a", "started": 1, "ended": 2}])
    monkeypatch.setattr(journal, "said", lambda *_asked: ["T it is hunter2"])
    damage(instance.releases / name / "credentials" / "token")
    (row,) = ask(layout)["instances"]
    assert (row["journal"], row["journal_before"]) == ([], [])
    assert "secret token of %s" % name in row["withheld"]
    assert row["secrets"] == {"token": condition, "other": "here"}


@pytest.mark.parametrize(
    ("uptime", "healthy", "told"),
    [
        (5.0, False, "http port 80 /: what it was answered is withheld"),
        (5.0, True, "http port 80 /: status 503: hunter2"),
        (None, False, "http port 80 /: status 503: hunter2"),
    ],
)
def test_nor_what_a_probe_was_answered(instance, layout, lay, monkeypatch, uptime, healthy, told):
    """Without a process there was no answer; what a healthy agent answers is not kept at all."""
    name = lay("1.0-aaaaaaaaaaaa", {"token": "hunter2"})
    (instance.releases / name / "credentials" / "token").unlink()
    describe = info.describe
    said = {"health": "http port 80 /: status 503: hunter2", "uptime_seconds": uptime, "healthy": healthy}
    monkeypatch.setattr(info, "describe", lambda *asked: dict(describe(*asked), **said))
    (row,) = ask(layout)["instances"]
    assert row["health"] == told


def test_an_empty_secret_is_told(instance, layout, lay):
    name = lay("1.0-aaaaaaaaaaaa", {"token": "x"})
    (instance.releases / name / "credentials" / "token").write_bytes(b"")
    (row,) = ask(layout)["instances"]
    assert row["secrets"] == {"token": "empty"}


def test_who_listens_on_its_ports(monkeypatch):
    """A real socket of this process: it is found by its inode."""
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
        ports = {"http": taken.getsockname()[1]}
        listening = [item for item in health.listeners() if item.port in (*ports.values(), other.getsockname()[1])]
        assert len(listening) == 2
        own = diagnosis._listeners("me", ports, listening)
        assert sorted((item["port"], item["own"]) for item in own) == sorted((item.port, True) for item in listening)
        monkeypatch.setattr(users.pwd, "getpwnam", lambda _name: pwd.struct_passwd(("x", "x", 54321, 1, "", "/", "/")))
        (foreign,) = diagnosis._listeners("x", ports, listening)
        assert (foreign["own"], foreign["uid"], foreign["user"]) == (False, os.getuid(), ME.pw_name)
        assert foreign["pid"] == os.getpid()
        assert foreign["program"]
    assert diagnosis._holder(0) == {"pid": None, "program": None}


def test_a_process_that_ended_meanwhile_is_looked_at_again(instance, layout, lay, monkeypatch):
    lay("1.0-aaaaaaaaaaaa", {})
    running = dict(STATE, ActiveState="active", SubState="running", MainPID=str(2**22 + 1))
    answers = [running, STATE]
    monkeypatch.setattr(truth, "states", lambda found, _systemd: {i.id: answers.pop(0) for i in found})
    (row,) = ask(layout)["instances"]
    assert (row["state"], row["systemd"]["SubState"], answers) == ("not activated", "dead", [])


def test_file_systems_are_told_once(tmp_path):
    (one,) = diagnosis.file_systems([str(tmp_path), str(tmp_path.parent), str(tmp_path / "nowhere")])
    assert one["path"] == str(tmp_path)
    assert one["size"] >= one["free"] > 0
    assert one["read_only"] is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("some avg10=1.50 avg60=2.25 avg300=0.10 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", 2.25),
        ("", None),
        (None, None),
    ],
)
def test_pressure(tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr(diagnosis, "PROC", tmp_path)
    if text is not None:
        (tmp_path / "pressure").mkdir()
        (tmp_path / "pressure" / "cpu").write_text(text)
    assert diagnosis._pressure("cpu") == expected
