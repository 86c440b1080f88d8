# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs this, and whether the process behind a lease is still there."""

import getpass
import os
import re
import socket
import subprocess

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import run, whoami


@pytest.fixture(autouse=True)
def no_run(monkeypatch):
    monkeypatch.delenv(run.ENV, raising=False)


def test_who_names_person_run_controller_and_process():
    who = whoami.who({})
    assert (who["user"], who["controller"], who["gone"]) == (getpass.getuser(), socket.gethostname(), [])
    assert who["run"] == whoami.run_id() == whoami.who({})["run"]
    assert re.fullmatch(r"\d+:\d+", who["pid"])
    assert who["pid"].partition(":")[0] == str(os.getppid())


def test_a_run_that_has_begun_gives_its_id_and_its_process(monkeypatch):
    begun = f"20260101T000000-{os.getpid()}-abcdef"
    monkeypatch.setenv(run.ENV, begun)
    assert whoami.run_id() == begun
    assert whoami.who({})["pid"].partition(":")[0] == str(os.getpid())


def test_the_run_of_somebody_else_is_not_taken_over(monkeypatch):
    monkeypatch.setenv(run.ENV, "20260101T000000-1-abcdef" if os.getppid() != 1 else "20260101T000000-999999999-abcdef")
    assert whoami.run_id().startswith("p")


@pytest.mark.parametrize(
    ("variables", "user"),
    [
        ({"awx_user_name": "carla"}, "carla"),
        ({"tower_user_name": "dora"}, "dora"),
        ({"awx_user_name": "carla", "tower_user_name": "dora"}, "carla"),
        ({"awx_user_name": ""}, getpass.getuser()),
    ],
)
def test_awx_says_who_it_is(variables, user):
    assert whoami.who(variables)["user"] == user


@pytest.mark.parametrize(
    ("given", "expected"), [("true", True), ("True", True), (True, True), ("yes", True), ("1", True), (1, True),
                            ("false", False), (False, False), ("", False), ("no", False)],
)  # fmt: skip
def test_breaking_a_lease_is_asked_for(given, expected):
    assert whoami.who({"break_lease": given})["break_lease"] is expected


def test_a_user_without_a_name_has_a_number(monkeypatch, request):
    def unknown():
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(whoami.getpass, "getuser", unknown)
    whoami._user.cache_clear()
    request.addfinalizer(whoami._user.cache_clear)
    assert whoami.who({})["user"] == str(os.getuid())


HERE = whoami.who({})["machine"]


def lease_of(pid, **more):
    started = whoami.started(pid)
    return {"run": "r", "controller": socket.gethostname(), "machine": HERE, "pid": f"{pid}:{started}", **more}


def test_the_lease_of_a_process_that_runs_is_not_abandoned():
    assert whoami.abandoned(lease_of(os.getpid())) is None


def test_the_lease_of_a_process_that_ended_is():
    with subprocess.Popen(["sleep", "60"]) as process:
        lease = lease_of(process.pid)
        assert whoami.abandoned(lease) is None
        process.kill()
    assert whoami.abandoned(lease) == "r"


def test_a_killed_process_that_nobody_waited_for_is_gone_too():
    process = subprocess.Popen(["sleep", "60"])
    lease = lease_of(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert whoami.abandoned(lease) == "r"
    process.wait()


@pytest.mark.parametrize(
    "lease",
    [
        None,
        {},
        lease_of(os.getpid(), machine="another-machine"),
        {"run": "r", "machine": "another-machine", "pid": "999999999:1"},
        {"run": "r", "machine": HERE, "pid": None},
        {"run": "r", "machine": HERE, "pid": "nonsense"},
        {"run": "r", "machine": HERE},
    ],
)
def test_what_cannot_be_known_is_not_abandoned(lease):
    assert whoami.abandoned(lease) is None


def test_a_process_number_that_was_given_anew_is_another_process():
    assert whoami.abandoned(dict(lease_of(os.getpid()), pid=f"{os.getpid()}:1")) == "r"


def test_where_nobody_acts_in_person_what_does_is_named():
    assert whoami.who({"awx_user_name": "ada"}, "healer: AgentDown")["user"] == "healer: AgentDown"
    assert whoami.who({"awx_user_name": "ada"})["user"] == "ada"
