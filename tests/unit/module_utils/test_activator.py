# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walks over intents: activation, undo, resumption and removal, with real processes under a stand-in for systemd.

systemd itself needs to be process 1, which it is on the lab's hosts, where the same is tested again. The stand-in keeps to what
the code relies on: a unit is what lay on disk at the last reload, one under /run before one in /etc; a restart ends the old
process, gives the new one an invocation id, the unit's environment and its credentials; a process that ends is seen as waiting
for its next start. It does not sandbox, and it does not start a process again.
"""

import contextlib
import errno
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import types
import uuid
from pathlib import Path

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils import (
    activation,
    activator,
    credentials,
    egress,
    files,
    health,
    history,
    host,
    lease,
    proof,
    release,
    staging,
    systemd,
    tree,
    truth,
    unit,
    users,
)
from ansible_collections.agentfactory.core.plugins.module_utils.errors import Busy, HostError
from ansible_collections.agentfactory.core.plugins.module_utils.layout import Instance

from .. import ports

KEY = b"k" * 32
WHO = {"run": "run-1", "user": "ann", "controller": "desk", "pid": "1:1"}
PROGRAM = """#!%s -IS
import json, os, socket, sys, time
config = json.load(open(os.environ["AGENT_CONFIG"]))
token = os.path.join(os.path.dirname(os.environ["AGENT_CONFIG"]), "token")
print("my token is", open(token).read(), flush=True)
if config["how"] == "ends":
    sys.exit(7)
if config["how"] != "deaf":
    listener = socket.create_server(("127.0.0.1", int(os.environ["AGENT_PORT_HTTP"])))
    if config["how"] == "dies":
        connection, _ = listener.accept()
        sys.exit(9)
    while True:
        listener.accept()[0].close()
time.sleep(600)
"""


class FakeSystemd(systemd.Systemd):
    def __init__(self, layout):
        super().__init__()
        self.layout, self.loaded, self.running, self.calls = layout, {}, {}, []

    def _on_disk(self, pattern):
        """unit -> its file and what that says, of the place that comes first in systemd.unit(5)."""
        found = {}
        for place in (self.layout.units, self.layout.scratch_units, self.layout.proof_units):
            found.update({path.name: (path, path.read_text()) for path in place.glob(pattern)})
        return found

    def reload(self):
        with self._lock:  # agents are walked in parallel
            running = {unit: held for unit, held in self.loaded.items() if unit in self.running}
            self.loaded = running | self._on_disk("agentfactory-*.service")

    def _load(self, unit):
        """What systemd does not hold it reads when it is asked for it; what it holds stays, whatever becomes of the file."""
        if unit not in self.loaded:
            self.loaded |= self._on_disk(unit)

    def restart(self, unit, timeout):
        self.calls.append("restart " + unit)
        self._kill(unit)
        self._load(unit)
        text = self.loaded[unit][1]
        environment = dict(re.findall(r'^Environment="([A-Z_]+)=(.*)"$', text, re.MULTILINE))
        command = shlex.split(re.search("^ExecStart=(.*)$", text, re.MULTILINE)[1])
        command[0] = str(self.layout.root) + command[0]
        shown = Path(environment["AGENT_CONFIG"]).parent
        files.remove(shown)
        shown.mkdir(parents=True)
        for credential, source in re.findall(r"^LoadCredential=([^:]+):(.*)$", text, re.MULTILINE):
            (shown / credential).write_bytes(Path(str(self.layout.root) + source).read_bytes())
        log = open(self._log(unit), "wb")  # noqa: SIM115
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        self.running[unit] = (process, uuid.uuid4().hex)
        return ""

    def _log(self, name):
        return str(self.layout.root / ("log-" + name))

    def journal(self, name, _invocation, lines=20):
        return (files.read_text(Path(self._log(name))) or "").splitlines()[-lines:]

    def show(self, units):
        return {unit: self._show(unit) for unit in list(units)}

    def _show(self, name):
        self._load(name)
        moved = name in self.loaded and self._on_disk(name).get(name) != self.loaded[name]
        state = {
            "FragmentPath": str(self.loaded[name][0]) if name in self.loaded else "",
            "NeedDaemonReload": "yes" if moved else "no",
            "LoadState": "loaded" if name in self.loaded else "not-found", "ActiveState": "inactive", "SubState": "dead",
            "Result": "success", "NRestarts": "0", "MainPID": "0", "ExecMainStatus": "0", "InvocationID": "",
        }  # fmt: skip
        if name in self.running:
            process, invocation = self.running[name]
            state["InvocationID"] = invocation
            if process.poll() is None:
                state.update(ActiveState="active", SubState="running", MainPID=str(process.pid))
            else:
                state.update(ActiveState="activating", SubState="auto-restart", Result="exit-code")
                state["ExecMainStatus"] = str(process.returncode)
        return state

    def stop(self, unit, timeout):
        self.calls.append("stop " + unit)
        self._kill(unit)
        self.running.pop(unit, None)
        self.reload()

    def start_and_wait(self, unit, timeout):
        self.restart(unit, timeout)
        if self.running[unit][0].wait(timeout):
            raise HostError("Job for %s failed" % unit)

    def forget(self, unit):
        pass

    def _kill(self, name):
        if name in self.running:
            process = self.running[name][0]
            if process.poll() is None:
                os.kill(process.pid, signal.SIGTERM)
            process.wait(60)

    def reboot(self):
        """No process outlives it, and nothing below /run; what is enabled starts."""
        for name in list(self.running):
            process = self.running.pop(name)[0]
            process.kill()
            process.wait(20)
        files.remove(self.layout.proof_units)
        self.loaded = {}
        for link in sorted((self.layout.units / "multi-user.target.wants").glob("*.service")):
            if (self.layout.units / link.name).exists():
                self.restart(link.name, 0)
                process = self.running[link.name][0]
                while process.poll() is None and not truth.process_environment(process.pid):
                    time.sleep(0.001)  # exec(2) has not come so far yet

    def runs(self, instance):
        """The release in the process of an instance, if there is one."""
        process = self.running.get(instance.unit, (None,))[0]
        if process is None or process.poll() is not None:
            return None
        return truth.process_environment(process.pid).get("AGENT_RELEASE")


@pytest.fixture
def fake(layout, monkeypatch):
    layout.root.mkdir(parents=True)
    made, gone = FakeSystemd(layout), set()
    me = types.SimpleNamespace(pw_uid=os.getuid(), pw_gid=os.getgid(), pw_name="me")
    monkeypatch.setattr(users, "find", lambda instance: None if instance.id in gone else me)
    monkeypatch.setattr(users, "remove", lambda instance: gone.add(instance.id))
    monkeypatch.setattr(
        credentials, "directory", lambda _how, name: "%s/run/agentfactory/%s/credentials" % (layout.root, name)
    )
    monkeypatch.setattr(egress.shutil, "which", lambda *_args, **_more: None)
    monkeypatch.setattr(activation, "journal", made.journal)
    yield made
    for name in made.running:
        made._kill(name)


@pytest.fixture
def world(layout, fake, distribute, manifest):
    """Stages releases and walks intents on one host."""
    code, listed = distribute({"bin/arm": ("x", (PROGRAM % sys.executable).encode())})
    tree.install(layout, code, listed, python=False)
    chosen = {}

    class World:
        systemd = fake

        def instance(self, name="0", agent="robot-arm"):
            return Instance(layout, agent, name)

        def stage(
            self,
            version,
            how="well",
            name="0",
            agent="robot-arm",
            port=None,
            outbound=(),
            nft=None,
            token="hunter2",
            **wanted,
        ):
            instance = self.instance(name, agent)
            chosen[instance.id] = port or chosen.get(instance.id) or ports.free()
            made = manifest(
                name=agent, version=version, secrets=["token"], health=dict({"start_timeout": 60}, **wanted),
                stop={"signal": "SIGTERM", "timeout": 5}, permissions={"outbound": list(outbound)},
            )  # fmt: skip
            spec = unit.Spec(
                instance, made, "lab", code, {"http": chosen[instance.id]}, {"tasks": 9}, 257, credentials.LOADED, nft
            )
            config, secrets = {"how": how}, {"token": token}
            staged = release.identify(KEY, spec, "content", config, secrets)
            release.stage(staged, KEY, spec, "content", config, secrets, users.find(instance))
            staging.select(instance, staged, "started", "lab")
            return staged

        def port(self, name="0", agent="robot-arm"):
            return chosen[self.instance(name, agent).id]

        def step(self, to, name="0", agent="robot-arm", action="activate"):
            instance = self.instance(name, agent)
            return {
                "agent": agent, "instance": name, "action": action, "to": to, "from": release.proven(instance),
                "was_running": bool(fake.runs(instance)), "phase": "planned",
            }  # fmt: skip

        def walk(self, *steps, **request):
            """Write the intent and walk it to its end; the steps as they are then."""
            activator.write_intent(layout, list(steps), dict({"who": WHO}, **request))
            return self.resume()

        def resume(self):
            walk = activator.Walk(layout, fake)
            walk.all()
            walk.tidy()
            return activator.read_intent(layout)["steps"]

        def run(self, version, **more):
            """A good release that runs."""
            name = self.stage(version, **more)
            assert (
                self.walk(self.step(name, more.get("name", "0"), more.get("agent", "robot-arm")))[0]["result"] == "ok"
            )
            return name

    return World()


@pytest.fixture
def ask(world, layout, monkeypatch):
    """This host, asked by a run as a controller does it; an activation is over before it is followed."""
    monkeypatch.setattr(activator, "launch", lambda _library: world.resume())

    def ask(run=WHO["run"], **request):
        request = {"environment": "lab", "check": False, "who": dict(WHO, run=run), "library": "", **request}
        asked = host.Host(layout, "", request, None)
        asked.systemd = world.systemd
        return asked

    return ask


def unsettled(world, name, instance=None):
    """What is wrong, if not: the release `name` runs, boots, starts at boot, and nothing is half done (None: nothing is there)."""
    instance = instance or world.instance()
    holds = {
        "runs": world.systemd.runs(instance) == name,
        "boots": release.proven(instance) == name,
        "enabled": os.path.lexists(instance.wants) == (name is not None),
        "unit": name is None or instance.unit_file.read_bytes() == release.unit_text(instance, name),
        "no proof": not instance.proof_file.exists(),
        "known to systemd": world.systemd.show([instance.unit])[instance.unit]["NeedDaemonReload"] == "no",
        "current": (os.readlink(instance.current) if os.path.lexists(instance.current) else None)
        == (name and "releases/" + name),
        "done": activator.read_intent(instance.layout)["done"],
    }
    return [what for what, true in holds.items() if not true]


# -- one activation ---------------------------------------------------------------------------------------------------


def test_a_first_install_is_started_proven_and_committed(world, layout):
    name = world.stage("1.0")
    step = world.walk(world.step(name))[0]
    assert (step["phase"], step["result"]) == ("done", "ok")
    assert step["gap"] >= 0
    assert unsettled(world, name) == []
    assert release.everything(world.instance())[name].good
    assert [(r["action"], r["from"], r["to"], r["result"]) for r in history.read(layout)] == [
        ("activate", None, name, "ok")
    ]


def test_an_update_and_the_way_back_are_the_same_thing(world):
    old, new = world.run("1.0"), world.run("1.1")
    assert unsettled(world, new) == []
    assert release.choose(world.instance(), "previous").name == old
    assert world.walk(world.step(old))[0]["result"] == "ok"
    assert unsettled(world, old) == []


FAILURES = {
    "ends at once": ({"how": "ends"}, "start|process", "exit status 7"),
    "never listens": ({"how": "deaf", "start_timeout": 0.4}, "tcp port", "nothing listens"),
    "dies while baking": ({"how": "dies", "bake": 5}, "process|tcp port", "ended|nothing listens"),
}


@pytest.mark.parametrize("failure", list(FAILURES))
def test_a_first_install_that_fails_leaves_nothing_running(world, failure):
    wanted, check, seen = FAILURES[failure]
    name = world.stage("1.0", **wanted)
    step = world.walk(world.step(name))[0]
    assert (step["result"], step["phase"]) == ("failed", "done")
    assert re.search(check, step["evidence"]["check"])
    assert re.search(seen, step["message"])
    assert "nothing runs" in step["message"]
    assert unsettled(world, None) == []
    found = release.everything(world.instance())[name]
    assert found.status == release.VOID
    assert found.evidence["summary"] == step["evidence"]["summary"]


@pytest.mark.parametrize("failure", list(FAILURES))
def test_an_update_that_fails_is_undone(world, layout, failure):
    old = world.run("1.0")
    bad = world.stage("1.1", **FAILURES[failure][0])
    step = world.walk(world.step(bad))[0]
    assert step["result"] == "failed"
    assert "%s runs again and is healthy" % old in step["message"]
    assert unsettled(world, old) == []
    statuses = {n: r.status for n, r in release.everything(world.instance()).items()}
    assert statuses == {old: release.GOOD, bad: release.VOID}
    assert [r["result"] for r in history.read(layout)] == ["ok", "undone"]


def test_no_secret_is_in_the_evidence(world, layout):
    step = world.walk(world.step(world.stage("1.0", how="ends")))[0]
    assert any("my token is ********" in line for line in step["evidence"]["journal"])
    for path in (activator.intent_path(layout), world.instance().releases / step["to"] / "verdict.json"):
        assert "hunter2" not in path.read_text()


def test_what_a_release_that_never_started_would_have_replaced_is_not_its_evidence(world, layout, monkeypatch):
    """systemd refuses to start it, so the journal is that of the old one, with a secret that is not the new one's."""
    old = world.run("1.0", token="swordfish")
    new = world.stage("1.1")
    monkeypatch.setattr(world.systemd, "restart", lambda _unit, _timeout: "Unit has a bad unit file setting.")
    pid = world.systemd.running[world.instance().unit][0].pid
    step = world.walk(world.step(new))[0]
    assert "bad unit file setting" in step["message"]
    assert step["evidence"]["journal"] == []
    assert world.systemd.running[world.instance().unit][0].pid == pid, (
        "nothing stopped what runs, so it is not started again"
    )
    assert unsettled(world, old) == []


def hidden(monkeypatch, world):
    monkeypatch.setattr(credentials, "reveal", lambda _directory, _how: {"token": None})


def out_of_memory(monkeypatch, world):
    """No process can be started once the release is bad: neither systemctl nor nft nor journalctl."""

    def no_fork(*_args, **_more):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    real = activation.Activation._evidence

    def evidence(self, failure):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(systemd.subprocess, "run", no_fork)
            patch.setattr(activation, "journal", systemd.journal)
            patch.setattr(egress.shutil, "which", lambda *_args, **_more: "/usr/sbin/nft")
            patch.setattr(world.systemd, "show", lambda units: systemd.Systemd.show(world.systemd, units))
            return real(self, failure)

    monkeypatch.setattr(activation.Activation, "_evidence", evidence)


@pytest.mark.parametrize(("fault", "told"), [(hidden, "not shown"), (out_of_memory, "Cannot allocate memory")])
def test_evidence_that_cannot_be_had_does_not_keep_the_old_release_down(world, layout, monkeypatch, fault, told):
    old, bad = world.run("1.0"), world.stage("1.1", how="ends")
    fault(monkeypatch, world)
    step = world.walk(world.step(bad))[0]
    assert step["result"] == "failed"
    assert unsettled(world, old) == []
    assert release.everything(world.instance())[bad].status == release.VOID
    assert told in step["evidence"]["journal"][0]
    assert "hunter2" not in activator.intent_path(layout).read_text()


def test_nothing_is_switched_when_the_preflight_says_no(world, layout):
    old = world.run("1.0")
    before = list(world.systemd.calls)
    incomplete = world.stage("1.1")
    (world.instance().releases / incomplete / "credentials/token").unlink()
    step = world.walk(world.step(incomplete))[0]
    assert (step["result"], step["evidence"]["check"]) == ("failed", "preflight")
    assert "not complete" in step["message"]
    assert world.systemd.calls == before
    assert unsettled(world, old) == []


def test_a_port_that_somebody_else_has_is_told_before_the_switch(world, monkeypatch):
    old = world.run("1.0")
    new = world.stage("1.1")
    real = health.listeners
    foreign = health.Listener("0.0.0.0", world.port(), os.getuid() + 1)
    monkeypatch.setattr(health, "listeners", lambda pid="self": [*real(pid), foreign])
    before = list(world.systemd.calls)
    step = world.walk(world.step(new))[0]
    assert "port %d is taken by a process of user id %d" % (world.port(), os.getuid() + 1) in step["message"]
    assert world.systemd.calls == before
    assert unsettled(world, old) == []


def test_what_answers_must_be_the_release(world, monkeypatch):
    """systemd that was not told of the new unit starts the old release again: healthy, but not what was asked for."""
    old = world.run("1.0")
    monkeypatch.setattr(world.systemd, "reload", lambda: None)
    new = world.stage("1.1")
    step = world.walk(world.step(new))[0]
    assert step["evidence"]["check"] == "proof"
    assert "the process that answers is release %s, not %s" % (old, new) in step["message"]
    assert release.proven(world.instance()) == old


ONE, OTHER, ALL = ["192.0.2.0/25"], ["198.51.100.0/24"], ["0.0.0.0/0", "::/0"]


@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize(
    ("before", "after", "meanwhile"),
    [
        (ONE, OTHER, "192.0.2.0/25, 198.51.100.0/24"),
        (ONE, [], "192.0.2.0/25"),
        (ONE, ALL, "everything"),
        (ALL, ONE, "everything"),
        (ALL, ALL, "everything"),
        (None, ONE, "192.0.2.0/25"),
    ],
)
def test_a_preflight_takes_no_firewall_rule_from_what_runs_nor_lacks_one(
    world, monkeypatch, before, after, meanwhile, passes
):
    """Both have one user, and so one chain. nft is played here: what the chain accepts, if there is one."""
    chain, seen = [], []

    def nft(argv, data=None, check=True):
        if "list" in argv:
            return "chain %s {" % world.instance().user if chain else ""
        script = data.decode() if argv[-1] == "-" else Path(argv[-1]).read_text()
        chain[:] = re.findall(r" daddr { (.*) } accept", script) or [""]
        if "delete chain" in script:
            chain.clear()
        return ""

    def told():
        return chain[0] if chain else "everything"

    def preflight(_unit, _timeout):
        seen.append(told())
        if not passes:
            raise HostError("it says no")

    def restart(name, timeout):
        seen.append(told())
        return began(name, timeout)

    def stage(version, outbound, **more):
        confined = "/usr/sbin/nft" if egress.enforced(outbound) else None
        return world.stage(version, outbound=outbound, nft=confined, **more)

    monkeypatch.setattr(egress, "run", nft)
    monkeypatch.setattr(egress, "program", lambda: "nft")
    monkeypatch.setattr(egress.shutil, "which", lambda *_args, **_more: "nft")
    old = None
    if before is not None:
        old = stage("1.0", before)
        world.walk(world.step(old))
        if egress.enforced(before):
            egress.load(world.instance().releases / old / "egress.nft")  # as its unit does
    mine, began = told(), world.systemd.restart
    monkeypatch.setattr(world.systemd, "start_and_wait", preflight)
    monkeypatch.setattr(world.systemd, "restart", restart)
    step = world.walk(world.step(stage("1.1", after, preflight=["arm", "check"])))[0]
    assert step["result"] == ("ok" if passes else "failed"), step["message"]
    at_restart = "everything" if before == ONE and after == ALL else mine  # then it was stopped before
    assert seen == [meanwhile] + [at_restart] * passes
    assert passes or told() == mine


# -- killed at every step ---------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The activator died here. What a context manager would still do, no SIGKILL lets happen; these paths have none."""


def killed(*_args, **_more):
    raise Killed


def die_at(monkeypatch, name, armed=lambda: True):
    def checkpoint(here):
        if here == name and armed():
            raise Killed(name)

    for module in (activation, activator, proof):
        monkeypatch.setattr(module, "checkpoint", checkpoint)


UNTIL_PROVEN = ["activate.switching", "activate.proof-unit", "activate.started", "activate.proven"]


@pytest.mark.parametrize("point", [*UNTIL_PROVEN, "activate.committing", "activate.committed"])
@pytest.mark.parametrize("first", [True, False])
def test_an_activation_that_was_killed_goes_on(world, layout, point, first):
    old = None if first else world.run("1.0")
    new = world.stage("1.1")
    activator.write_intent(layout, [world.step(new)], {"who": WHO})
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, point)
        walk = activator.Walk(layout, world.systemd)
        with pytest.raises(Killed):
            walk.agent(walk.intent["steps"])
    # A reboot here would start what the unit in /etc says: the last proven release.
    assert release.proven(world.instance()) == (new if point == "activate.committed" else old)
    assert world.resume()[0]["result"] == "ok"
    assert unsettled(world, new) == []


@pytest.mark.parametrize("point", ["activate.undoing", *UNTIL_PROVEN[:3]])
@pytest.mark.parametrize("first", [True, False])
def test_a_failing_activation_that_was_killed_is_undone(world, layout, point, first):
    old = None if first else world.run("1.0")
    bad = world.stage("1.1", how="deaf", start_timeout=0.3)
    activator.write_intent(layout, [world.step(bad)], {"who": WHO})
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, point)
        walk = activator.Walk(layout, world.systemd)
        with pytest.raises(Killed):
            walk.agent(walk.intent["steps"])
    assert release.proven(world.instance()) == old
    assert world.resume()[0]["result"] == "failed"
    assert unsettled(world, old) == []
    assert release.everything(world.instance())[bad].status == release.VOID


def test_an_undo_that_was_killed_before_it_was_written_down_starts_nothing_twice(world, layout, monkeypatch):
    old, bad = world.run("1.0"), world.stage("1.1", how="ends")
    activator.write_intent(layout, [world.step(bad)], {"who": WHO})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "fail", killed)
        walk = activator.Walk(layout, world.systemd)
        with pytest.raises(Killed):
            walk.agent(walk.intent["steps"])
    calls = list(world.systemd.calls)
    assert world.resume()[0]["result"] == "failed"
    assert world.systemd.calls == calls
    assert unsettled(world, old) == []
    assert release.everything(world.instance())[bad].status == release.VOID


# -- what cannot be written -------------------------------------------------------------------------------------------


def unwritable(patch, refused, number=errno.ENOSPC):
    """A file for which `refused(path, content)` says so can be neither written nor linked, as on a full or read-only disk."""

    def checked(real):
        def write(path, content, *mode):
            if refused(path, content):
                raise OSError(number, os.strerror(number), str(path))
            return real(path, content, *mode)

        return write

    for module in (files, activation, release):
        patch.setattr(module, "write_atomic", checked(files.write_atomic))
    patch.setattr(activation, "replace_link", checked(files.replace_link))


def no_space(*_args, **_more):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def a_phase(name):
    """The intent of which a step is to get to that phase."""
    return lambda path, content: path.name == "activation.json" and b'"phase":"%s"' % name.encode() in content


NOT_COMMITTED = {
    "the switch is noted": a_phase("switching"),
    "the proof is noted": a_phase("committing"),
    "the commit": lambda path, _content: path.parent.name == "system" and path.suffix == ".service",
}


@pytest.mark.parametrize("what", list(NOT_COMMITTED))
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_what_cannot_be_committed_is_undone_and_may_be_tried_again(world, layout, what, number):
    old, new = world.run("1.0"), world.stage("1.1")
    with pytest.MonkeyPatch.context() as patch:
        unwritable(patch, NOT_COMMITTED[what], number)
        step = world.walk(world.step(new))[0]
    assert step["result"] == "failed"
    assert os.strerror(number) in step["message"]
    assert unsettled(world, old) == []
    assert release.everything(world.instance())[new].status == release.STAGED
    assert history.read(layout)[-1]["result"] == "undone"
    assert world.walk(world.step(new))[0]["result"] == "ok"
    assert unsettled(world, new) == []


def test_a_first_install_that_cannot_be_committed_leaves_nothing_running(world, layout):
    new = world.stage("1.0")
    with pytest.MonkeyPatch.context() as patch:
        unwritable(patch, NOT_COMMITTED["the commit"])
        assert world.walk(world.step(new))[0]["result"] == "failed"
    assert unsettled(world, None) == []


def test_a_commit_that_fails_after_its_rename_is_undone(world, layout):
    """The file has its name, and its directory cannot be flushed."""
    old, new = world.run("1.0"), world.stage("1.1")
    flush, once = files.fsync_directory, [layout.units]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "fsync_directory", lambda path: no_space() if path in once and once.pop() else flush(path))
        assert world.walk(world.step(new))[0]["result"] == "failed"
    assert once == []
    assert unsettled(world, old) == []


COMMITTED = {
    "the start at boot": lambda path, _content: path.parent.name == "multi-user.target.wants",
    "the verdict": lambda path, _content: path.name == "verdict.json",
    "what boots, for people": lambda path, _content: path.name == "current",
    "the end": a_phase("done"),
    "the history": None,
}


@pytest.mark.parametrize("what", list(COMMITTED))
def test_what_is_committed_is_written_down_when_it_can_be(world, layout, what):
    world.run("1.0")
    new = world.stage("1.1")
    with pytest.MonkeyPatch.context() as patch:
        if COMMITTED[what]:
            unwritable(patch, COMMITTED[what])
        else:
            patch.setattr(history, "append", no_space)
        with pytest.raises(OSError, match="No space left"):
            world.walk(world.step(new))
        calls = list(world.systemd.calls)
        with pytest.raises(OSError, match="No space left"):
            world.resume()
    assert world.resume()[0]["result"] == "ok"
    assert world.systemd.calls == calls
    assert unsettled(world, new) == []
    assert release.everything(world.instance())[new].good
    assert history.of_run(layout, WHO["run"])[world.instance().id].after == new


def test_a_disk_that_is_full_by_then_has_room_for_how_it_ends(world, layout, monkeypatch):
    old, new = world.run("1.0"), world.stage("1.1")
    reserve, restarts = activator.reserve_path(layout), world.systemd.calls.count("restart " + world.instance().unit)
    with pytest.MonkeyPatch.context() as patch:
        unwritable(patch, lambda _path, _content: world.systemd.runs(world.instance()) == new and reserve.exists())
        step = world.walk(world.step(new))[0]
    assert (step["phase"], step["result"]) == ("done", "failed")
    assert "No space left on device" in step["message"]
    assert unsettled(world, old) == []
    assert world.systemd.calls.count("restart " + world.instance().unit) == restarts + 2
    assert world.walk(world.step(new))[0]["result"] == "ok"
    assert reserve.stat().st_size == activator.RESERVE


def test_on_a_full_disk_what_runs_again_is_left_alone(world, layout):
    """Not even the end can be written down: the activator is started again and again, until it can."""
    old, bad = world.run("1.0"), world.stage("1.1", how="dies", bake=5)
    restart, append = "restart " + world.instance().unit, history.append
    before = world.systemd.calls.count(restart)

    def full(path=layout.factory, _content=b""):
        return layout.root / "run" not in path.parents and world.systemd.calls.count(restart) > before

    activator.write_intent(layout, [world.step(bad)], {"who": WHO})
    with pytest.MonkeyPatch.context() as patch:
        unwritable(patch, full)
        patch.setattr(history, "append", lambda *args, **more: no_space() if full() else append(*args, **more))
        for _start_of_the_activator in range(4):
            with pytest.raises(OSError, match="No space left"):
                world.resume()
            assert world.systemd.runs(world.instance()) == old
            assert world.systemd.calls.count(restart) == before + 2, "the new one, and the old one once"
    assert world.resume()[0]["result"] == "failed"
    assert unsettled(world, old) == []
    assert release.everything(world.instance())[bad].status == release.VOID


def test_after_a_reboot_the_proven_release_runs_and_the_intent_is_closed(world, layout):
    old = world.run("1.0")
    new = world.stage("1.1")
    activator.write_intent(layout, [world.step(new)], {"who": WHO})
    activator.close_after_reboot(layout, world.systemd, activator.read_intent(layout))
    intent = activator.read_intent(layout)
    assert intent["done"]
    assert intent["interrupted"]
    assert release.proven(world.instance()) == old
    assert history.read(layout)[-1]["result"] == "interrupted by a reboot"


# -- several instances and agents -------------------------------------------------------------------------------------


@pytest.mark.parametrize("undo", [True, False])
def test_when_one_instance_fails_the_rest_is_skipped_and_its_siblings_go_back(world, undo):
    old = {name: world.run("1.0", name=name) for name in "012"}
    new = {name: world.stage("1.1", "ends" if name == "1" else "well", name) for name in "012"}
    steps = world.walk(*[world.step(new[name], name) for name in "012"], undo_siblings=undo)
    assert [s["result"] for s in steps] == ["undone" if undo else "ok", "failed", "skipped"]
    expected = {"0": old["0"] if undo else new["0"], "1": old["1"], "2": old["2"]}
    for name, wanted in expected.items():
        assert unsettled(world, wanted, world.instance(name)) == []
    assert world.systemd.calls.count("restart " + world.instance("2").unit) == 1


def test_a_sibling_that_was_new_is_taken_away_again(world):
    new = {name: world.stage("1.0", "ends" if name == "1" else "well", name) for name in "01"}
    steps = world.walk(*[world.step(new[name], name) for name in "01"])
    assert [s["result"] for s in steps] == ["undone", "failed"]
    assert [unsettled(world, None, world.instance(name)) for name in "01"] == [[], []]


def test_agents_do_not_wait_for_each_other_but_removals_do(world):
    world.run("1.0", agent="legacy")
    bad, good = world.stage("1.0", "ends", agent="eye"), world.stage("1.0", agent="ear")
    steps = world.walk(
        world.step(bad, agent="eye"), world.step(good, agent="ear"), world.step(None, agent="legacy", action="remove")
    )
    assert [s["result"] for s in steps] == ["failed", "ok", "skipped"]
    assert world.systemd.runs(world.instance(agent="ear")) == good
    assert world.systemd.runs(world.instance(agent="legacy"))


WAYS_BACK = {
    # what the sibling was before, and where the way back may be cut off
    "runs": ["activate.taking-back", *UNTIL_PROVEN, "activate.committing", "activate.committed"],
    "stopped": ["activate.taking-back"],
    "new": ["activate.taking-back", "remove.stopped"],
}
CUT_OFF = [(was, point) for was, points in WAYS_BACK.items() for point in points]


def cut_off(world, layout, was, point):
    """An update of two instances of which the second fails, killed on the first one's way back. What they were before, and are to be."""
    old = {name: None if was == "new" else world.run("1.0", name=name) for name in "01"}
    if was == "stopped":
        world.walk(world.step(None, action="stop"))
    new = {name: world.stage("1.1", "ends" if name == "1" else "well", name) for name in "01"}
    activator.write_intent(layout, [world.step(new[name], name) for name in "01"], {"who": WHO})
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, point, lambda: "way_back" in activator.read_intent(layout)["steps"][0])
        walk = activator.Walk(layout, world.systemd)
        with pytest.raises(Killed):
            walk.agent(walk.intent["steps"])
    return old, new


@pytest.mark.parametrize(("was", "point"), CUT_OFF)
def test_a_way_back_that_was_killed_goes_on(world, layout, was, point):
    old, new = cut_off(world, layout, was, point)
    assert [s["result"] for s in world.resume()] == ["undone", "failed"]
    first = world.instance("0")
    assert release.everything(first)[new["0"]].status == release.UNDONE
    assert unsettled(world, old["1"], world.instance("1")) == []
    if was == "stopped":
        assert (world.systemd.runs(first), release.proven(first)) == (None, old["0"])
        assert not os.path.lexists(first.wants)
    else:
        assert unsettled(world, old["0"], first) == []
    calls = list(world.systemd.calls)
    assert [s["result"] for s in world.resume()] == ["undone", "failed"]
    assert world.systemd.calls == calls, "its end is its end"


@pytest.mark.parametrize(("was", "point"), CUT_OFF)
def test_after_a_reboot_on_the_way_back_a_proven_release_runs_and_the_next_deploy_converges(world, layout, was, point):
    old, new = cut_off(world, layout, was, point)
    world.systemd.reboot()
    activator.close_after_reboot(layout, world.systemd, activator.read_intent(layout))
    intent, first = activator.read_intent(layout), world.instance("0")
    assert (intent["done"], intent["interrupted"]) == (True, True)
    went = point == "activate.committed"
    assert unsettled(world, old["0"] if went else new["0"], first) == []
    assert release.everything(first)[new["0"]].status == (release.UNDONE if went else release.GOOD)
    assert unsettled(world, old["1"], world.instance("1")) == []
    fixed = {name: world.stage("1.2", name=name) for name in "01"}
    assert [s["result"] for s in world.walk(*[world.step(fixed[name], name) for name in "01"])] == ["ok", "ok"]
    assert [unsettled(world, fixed[name], world.instance(name)) for name in "01"] == [[], []]


def test_an_undo_that_fails_for_one_instance_leaves_its_siblings_undone(world, layout):
    old = {name: world.run("1.0", name=name) for name in "01"}
    new = {name: world.run("1.1", name=name) for name in "01"}
    (world.instance("1").releases / old["1"] / "credentials/token").unlink()
    steps = [dict(world.step(old[name], name), taken_back=new[name], back=True) for name in "01"]
    assert [s["result"] for s in world.walk(*steps)] == ["ok", "failed"]
    assert unsettled(world, old["0"], world.instance("0")) == []
    statuses = {n: r.status for n, r in release.everything(world.instance("0")).items()}
    assert statuses == {old["0"]: release.GOOD, new["0"]: release.UNDONE}


# -- the simple steps -------------------------------------------------------------------------------------------------


def test_stop_and_start_again(world):
    name = world.run("1.0")
    instance = world.instance()
    assert world.walk(world.step(None, action="stop"))[0]["message"] == "is stopped"
    assert world.systemd.runs(instance) is None
    assert not os.path.lexists(instance.wants)
    assert release.proven(instance) == name
    assert world.walk(world.step(name))[0]["result"] == "ok"
    assert unsettled(world, name) == []
    instance.wants.unlink()
    assert world.walk(world.step(None, action="enable"))[0]["result"] == "ok"
    assert unsettled(world, name) == []
    assert world.walk(world.step(None, action="deactivate"))[0]["result"] == "ok"
    assert unsettled(world, None) == []
    assert name in release.everything(instance)


SIMPLE = {
    # what is done to an instance that runs 1.1 -> what runs and what boots then
    "enable": ("1.1", "1.1"), "confine": ("1.1", "1.1"), "stop": (None, "1.1"), "shelve": (None, "1.0"), "deactivate": (None, None),
    "remove": (None, None), "purge": ("1.1", "1.1"),
}  # fmt: skip


@pytest.mark.parametrize("action", list(SIMPLE))
def test_a_simple_step_that_was_killed_goes_on(world, layout, monkeypatch, removable, action):
    old, new = world.run("1.0"), world.run("1.1")
    named, instance, loaded = {"1.0": old, "1.1": new, None: None}, world.instance(), []
    monkeypatch.setattr(egress, "load", loaded.append)
    step = world.step(old if action == "shelve" else None, action=action)
    activator.write_intent(layout, [step], {"who": WHO})
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, "activate.changed")
        walk = activator.Walk(layout, world.systemd)
        with pytest.raises(Killed):
            walk.agent(walk.intent["steps"])
    assert world.resume()[0]["result"] == "ok"
    assert (world.systemd.runs(instance), release.proven(instance)) == tuple(named[v] for v in SIMPLE[action])
    assert len(loaded) == (2 if action == "confine" else 0)
    assert [r["result"] for r in history.read(layout) if r["action"] == action] == ["ok"]
    assert not instance.proof_file.exists()


def test_a_sibling_that_was_stopped_goes_back_and_stays_stopped(world, layout):
    old = {name: world.run("1.0", name=name) for name in "01"}
    world.walk(world.step(None, action="stop"))
    new = {name: world.stage("1.1", "ends" if name == "1" else "well", name) for name in "01"}
    steps = world.walk(*[world.step(new[name], name) for name in "01"])
    assert [s["result"] for s in steps] == ["undone", "failed"]
    assert "%s is stopped, as before" % old["0"] in steps[0]["message"]
    first = world.instance("0")
    assert world.systemd.runs(first) is None
    assert not os.path.lexists(first.wants)
    assert release.proven(first) == old["0"]
    assert world.systemd.show([first.unit])[first.unit]["NeedDaemonReload"] == "no"
    assert release.everything(first)[new["0"]].status == release.UNDONE
    assert unsettled(world, old["1"], world.instance("1")) == []
    assert history.of_run(layout, WHO["run"])[first.id] == history.Switch(None, False, new["0"])


@pytest.mark.parametrize("purge", [False, True])
def test_removal_keeps_the_state_unless_it_is_purged(world, layout, monkeypatch, purge):
    monkeypatch.setattr(os, "chown", lambda *_args, **_more: None)
    world.run("1.0")
    sibling = world.run("1.0", name="1")
    instance = world.instance()
    (instance.state / "data").mkdir(parents=True)
    killed = [
        instance.unit_file.with_name(".%s.x1" % instance.unit),
        instance.wants.with_name(".%s.17" % instance.unit),
    ]
    for path in killed:  # in the middle of their writing
        path.touch()
    # The processes here are the test's own user's, which owns others too.
    monkeypatch.setattr("%s._processes_of" % activator.removal.__name__, lambda _uid: [])
    monkeypatch.setattr("%s.health.listeners" % activator.removal.__name__, list)
    step = world.walk(world.step(None, action="remove"), purge=purge)[0]
    assert step["result"] == "ok", step["message"]
    assert ("its state is kept" in step["message"]) != purge
    assert (instance.state / "data").exists() != purge
    for path in (instance.home, instance.unit_file, instance.proof_file, instance.wants, *killed):
        assert not os.path.lexists(path)
    assert world.systemd.runs(world.instance("1")) == sibling
    assert tree.present(layout)


def test_a_removal_that_was_cut_off_is_still_of_its_environment(world, layout, monkeypatch):
    """All files of a directory are gone and the directories are not, as a power cut leaves them: the next run must see it."""
    monkeypatch.setattr(os, "chown", lambda *_args, **_more: None)
    world.run("1.0")
    instance, rmtree = world.instance(), files.shutil.rmtree

    def cut(path):
        if Path(path) not in (instance.home, instance.releases):
            return rmtree(path)
        for file in [p for p in Path(path).glob("**/*") if not p.is_dir()]:
            file.unlink()
        raise OSError("power cut")

    monkeypatch.setattr(files.shutil, "rmtree", cut)
    assert world.walk(world.step(None, action="remove"))[0]["result"] == "failed"
    assert staging.owners(layout) == {instance.id: "lab"}


def test_what_is_left_after_a_removal_fails_it(world, monkeypatch):
    world.run("1.0")
    monkeypatch.setattr(users, "remove", lambda _instance: None)
    monkeypatch.setattr("%s._processes_of" % activator.removal.__name__, lambda _uid: ["4711"])
    monkeypatch.setattr(users, "missing_groups", lambda _names: [])
    with socket.create_server(("127.0.0.1", 0)) as held:  # handed on to somebody else's process, it is its user's still
        step = world.walk(world.step(None, action="remove"))[0]
        assert "port %d" % held.getsockname()[1] in step["message"]
    assert step["result"] == "failed"
    assert "still there after the removal" in step["message"]
    assert "process 4711" in step["message"]
    assert "user af-" in step["message"]
    assert "group af-" in step["message"]


@pytest.mark.parametrize("purge", [False, True])
def test_a_destroy_leaves_nothing_on_a_host_that_was_never_used(fake, layout, purge):
    """Nor the library, which came with the call."""
    library = layout.lib / "0123abcd"
    (library / "agentfactory_host").mkdir(parents=True)
    request = {"environment": "lab", "check": False, "who": WHO, "state": "absent", "purge": purge}
    assert host.Host(layout, str(library), request, None).activate()["steps"] == []
    assert (layout.opt.exists(), layout.state.exists()) == (False, False)


# -- what a rollback asks for -----------------------------------------------------------------------------------------


def test_a_rollback_leaves_alone_what_was_never_proven_and_what_is_stopped(world, ask):
    old = world.run("1.0")
    world.run("1.1")
    bad = world.stage("1.0", "ends", agent="eye")
    assert world.walk(world.step(bad, agent="eye"))[0]["result"] == "failed"
    world.run("1.0", agent="ear")
    staging.select(world.instance(agent="ear"), world.run("1.1", agent="ear"), "stopped", "lab")

    answers = [ask(check=check, release="previous").select() for check in (True, False)]
    assert answers[0] == answers[1]
    planned = {change["subject"]: answers[0]["releases"][change["subject"]] for change in answers[0]["activation"]}
    steps = ask(check=True, state="started", as_declared=True, planned=planned).activate()["steps"]
    assert [(s["agent"], s["action"], s["to"]) for s in steps] == [("robot-arm", "activate", old)]


# -- what a run takes back --------------------------------------------------------------------------------------------


def deploy(ask, world, run, *, version=None, state="started", agent="robot-arm"):
    """What a run does on this host: stage, and switch to it. Returns the steps as they ended."""
    instance = world.instance(agent=agent)
    name = world.stage(version, agent=agent) if version else release.proven(instance)
    staging.select(instance, name, state, "lab")
    return ask(run, state="started", as_declared=True, planned={instance.id: name}).activate()["steps"]


TAKEN_BACK = {
    # what the run does, what others do before it is undone -> what the undo does, and what runs then
    "a switch": ([{"version": "1.1"}], [], ["activate"], "1.0"),
    "a stop": ([{"state": "stopped"}], [], ["activate"], "1.0"),
    "a restart": ([{}], [], [], "1.0"),
    "a switch that others have replaced": ([{"version": "1.1"}], [{"version": "1.2"}], [], "1.2"),
    "a switch that others have come back to": ([{"version": "1.1"}], [{"version": "1.2"}, {"version": "1.1"}], [], "1.1"),
    "a switch that others have stopped": ([{"version": "1.1"}], [{"state": "stopped"}], [], None),
    "a stop that others have ended": ([{"state": "stopped"}], [{"state": "started"}], [], "1.0"),
}  # fmt: skip


@pytest.mark.parametrize("what", list(TAKEN_BACK))
def test_an_undo_takes_back_what_is_still_as_its_run_left_it(world, ask, what):
    mine, theirs, actions, runs = TAKEN_BACK[what]
    deploy(ask, world, "before", version="1.0")
    for changes in mine:
        deploy(ask, world, "mine", **changes)
    for changes in theirs:
        deploy(ask, world, "theirs", **changes)
    answer = ask("mine", state="undone").activate()
    assert [(step["action"], step["result"]) for step in answer["steps"]] == [(action, "ok") for action in actions]
    running = world.systemd.runs(world.instance())
    assert (running and running.partition("-")[0]) == runs
    assert running is None or unsettled(world, running) == []
    assert running is None or release.everything(world.instance())[running].good
    assert ask("mine", state="undone").activate()["steps"] == [], "once is enough"


GOES = {
    # how a run gets from 1.1 to what it switches to -> that, and what that is once the run is undone
    "back": (lambda ask, world: back(ask, "mine", "1.0"), "1.0", release.GOOD),
    "to what was good before": (lambda ask, world: deploy(ask, world, "mine", version="1.0"), "1.0", release.GOOD),
    "on": (lambda ask, world: deploy(ask, world, "mine", version="1.2"), "1.2", release.UNDONE),
}


def back(ask, run, to):
    """What a rollback does on this host."""
    answer = ask(run, release=to).select()
    planned = {change["subject"]: answer["releases"][change["subject"]] for change in answer["activation"]}
    return ask(run, state="started", as_declared=True, planned=planned).activate()["steps"]


@pytest.mark.parametrize("how", list(GOES))
def test_what_was_good_before_a_run_is_so_after_its_undo(world, ask, how):
    go, to, status = GOES[how]
    for version in ("1.0", "1.1"):
        deploy(ask, world, "before " + version, version=version)
    go(ask, world)
    assert world.systemd.runs(world.instance()).startswith(to)
    assert [s["result"] for s in ask("mine", state="undone").activate()["steps"]] == ["ok"]
    found = {r.version: r.status for r in release.everything(world.instance()).values()}
    assert found == {"1.0": release.GOOD, "1.1": release.GOOD, to: status}
    assert unsettled(world, release.choose(world.instance(), "1.1").name) == []
    assert [s["to"][:3] for s in back(ask, "again", "previous")] == ["1.0"]


def test_a_release_that_is_taken_back_with_its_sibling_stays_as_good_as_it_was(world, ask):
    old = {name: world.run("1.0", name=name) for name in "01"}
    for name in "01":
        world.run("1.1", name=name)
    (world.instance("1").releases / old["1"] / "credentials/token").unlink()
    steps = world.walk(*[dict(world.step(old[name], name), back=True) for name in "01"], who=dict(WHO, run="run-2"))
    assert [s["result"] for s in steps] == ["undone", "failed"]
    assert release.everything(world.instance("0"))[old["0"]].good


def test_what_was_stopped_before_the_run_stays_stopped(world, ask):
    deploy(ask, world, "before", version="1.0")
    ask("before", state="stopped").activate()
    activation.enable(world.instance())  # by hand: so there is something to stop
    ask("mine", state="stopped").activate()
    assert [s["action"] for s in ask("mine", state="undone").activate()["steps"]] == ["activate"]
    ask("later", state="stopped").activate()
    assert ask("mine", state="undone").activate()["steps"] == []
    assert world.systemd.runs(world.instance()) is None


@pytest.fixture
def removable(monkeypatch):
    """The processes here are the test's own user's, which owns others too: what is left is not looked for."""
    monkeypatch.setattr(os, "chown", lambda *_args, **_more: None)
    monkeypatch.setattr(activator.removal, "left", lambda *_args, **_more: [])


def test_what_a_run_removed_it_names_as_gone(world, ask, removable):
    for agent in ("eye", "ear"):
        deploy(ask, world, "before", version="1.0", agent=agent)
    ask("mine", state="started", planned={}, removals=["ear@0"]).activate()
    assert ask("mine", state="undone").activate()["gone"] == ["ear@0"]
    assert ask("before", state="undone").activate()["gone"] == []


# -- a port that passes on --------------------------------------------------------------------------------------------


def pass_on(ask, world, run, *wanted, removals=()):
    """A run that stages (agent, instance, port, how it does) and activates all of it; the results by agent id."""
    planned = {
        world.instance(name, agent).id: world.stage("2.0", how, name, agent, port=port)
        for agent, name, port, how in wanted
    }
    steps = ask(run, state="started", as_declared=True, planned=planned, removals=list(removals)).activate()["steps"]
    return {"%s@%s" % (step["agent"], step["instance"]): (step["result"], step["message"]) for step in steps}


def results(steps):
    return {agent_id: result for agent_id, (result, _message) in steps.items()}


@pytest.fixture
def line(world):
    """Ports, of which the first have an agent of two instances and one of one: ``(ports, {instance: its release})``."""
    free = []
    while len(free) < 5:
        free = list(dict.fromkeys([*free, ports.free()]))
    first = [("arm", "0"), ("arm", "1"), ("eye", "0")]
    return free, {
        world.instance(name, agent): world.run("1.0", name=name, agent=agent, port=port)
        for (agent, name), port in zip(first, free)
    }


@pytest.mark.parametrize("how", ["well", "ends"])
def test_instances_and_agents_move_on_by_one_port_and_back(world, ask, line, how):
    """The eye has to go first, then the arm's second instance, then its first: which is the one that fails, or does not."""
    free, old = line
    moved = [("arm", "0", free[1], how), ("arm", "1", free[2], "well"), ("eye", "0", free[3], "well")]
    expected = {"eye@0": "ok", "arm@1": "ok", "arm@0": "ok"}
    if how == "ends":
        expected.update({"arm@1": "undone", "arm@0": "failed"})
    ended = results(pass_on(ask, world, "mine", *moved))
    assert (ended, list(ended)) == (expected, list(expected))
    answer = ask("mine", state="undone").activate()
    assert {step["result"] for step in answer["steps"]} == {"ok"}
    assert [unsettled(world, name, instance) for instance, name in old.items()] == [[]] * 3


def test_who_needs_a_port_that_is_not_let_go_leaves_it_alone_and_may_try_again(world, ask, line, monkeypatch):
    free, old = line
    monkeypatch.setattr(activation.users, "known_as", lambda uid: "user id %d (eye@0)" % uid)
    real = health.listeners
    monkeypatch.setattr(
        health, "listeners", lambda pid="self": [i._replace(uid=i.uid + (i.port == free[2])) for i in real(pid)]
    )
    ended = pass_on(ask, world, "mine", ("eye", "0", free[3], "ends"), ("arm", "1", free[2], "well"))
    assert results(ended) == {"eye@0": "failed", "arm@1": "failed"}
    assert "port %d is taken by a process of user id %d (eye@0)" % (free[2], os.getuid() + 1) in ended["arm@1"][1]
    arm = world.instance("1", "arm")
    assert [r.status for r in release.everything(arm).values() if r.version == "2.0"] == [release.STAGED]
    assert [unsettled(world, name, instance) for instance, name in old.items()] == [[]] * 3


@pytest.fixture
def unwalked(ask, monkeypatch):
    """An intent is written, and that is all."""
    monkeypatch.setattr(activator, "launch", lambda _library: None)
    monkeypatch.setattr(host.Host, "follow", lambda _self: {"steps": []})


LETTING_GO = ["remove.let-go", "activate.started", "activate.proven"]


@pytest.mark.parametrize("point", [None, *LETTING_GO])
@pytest.mark.parametrize("how", ["well", "ends"])
def test_what_leaves_lets_go_of_its_port_first_and_runs_again_if_that_was_for_nothing(
    world, ask, layout, line, removable, unwalked, how, point
):
    """As where instances [blue, green] become [green], which has blue's port then: killed anywhere, it comes to the same end."""
    free, old = line
    blue, green, eye = old
    pass_on(ask, world, "mine", ("arm", "1", free[0], how), removals=[blue.id, eye.id])
    if point:
        with pytest.MonkeyPatch.context() as patch:
            die_at(patch, point)
            patch.setattr(activator.Walk, "_in_parallel", lambda walk, steps: walk.agent(steps) if steps else None)
            with contextlib.suppress(Killed):
                activator.Walk(layout, world.systemd).all()
    steps = {"%s@%s" % (step["agent"], step["instance"]): step for step in world.resume()}
    assert world.resume() == list(steps.values()), "its end is its end"
    assert world.systemd.calls.count("stop " + eye.unit) == (how == "well"), "nobody needs the eye's port"
    if how == "well":
        assert [steps[i.id]["result"] for i in old] == ["ok", "ok", "ok"]
        assert [
            unsettled(world, name, i) for i, name in ((green, release.proven(green)), (blue, None), (eye, None))
        ] == [[]] * 3
        assert release.proven(green).startswith("2.0")
    else:
        assert [steps[i.id]["result"] for i in old] == ["skipped", "failed", "skipped"]
        assert "it had let go of its port, and is started again: %s is healthy" % old[blue] in steps[blue.id]["message"]
        assert steps[eye.id]["message"] == "not removed: another agent failed"
        assert [unsettled(world, name, instance) for instance, name in old.items()] == [[]] * 3


def test_a_reboot_starts_again_what_had_let_go_of_its_port(world, ask, layout, line, unwalked):
    free, old = line
    blue = next(iter(old))
    pass_on(ask, world, "mine", ("arm", "1", free[0], "well"), removals=[blue.id])
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, "remove.let-go")
        with pytest.raises(Killed):
            activator.Walk(layout, world.systemd).all()
    assert world.systemd.runs(blue) is None
    world.systemd.reboot()
    activator.close_after_reboot(layout, world.systemd, activator.read_intent(layout))
    assert [unsettled(world, name, instance) for instance, name in old.items()] == [[]] * 3


def test_ports_that_would_pass_in_a_circle_are_refused_before_anything_is_staged(
    world, layout, line, monkeypatch, spec
):
    free, _old = line
    wanted = []
    for name, port in (("0", free[1]), ("1", free[0])):
        instance = world.instance(name, "arm")
        made = spec(ports={"http": port})._replace(instance=instance)
        want = staging.plan.Want("2.0-aaaaaaaaaaaa", "2.0")
        wanted.append(staging.Desired(instance, made, "content", {}, {}, want))
    monkeypatch.setattr(staging.desired, "build", lambda *_args: wanted)
    monkeypatch.setattr(staging, "version", lambda: 257)
    request = {"environment": "lab", "state": "configured"}
    with pytest.raises(HostError, match=r"arm@\d -> arm@\d -> arm@\d: each would get a port that the next one has now"):
        staging.assess(layout, request, world.systemd)
    world.walk(world.step(None, "1", "arm", action="stop"))
    assert len(staging.assess(layout, request, world.systemd).activation) == 2, "what is stopped has no port"


# -- between a look and its lock --------------------------------------------------------------------------------------

MEANWHILE = {
    # what is asked for, what another run does after the look -> what runs, once it is asked again as the controller does
    "a restart and a fix": ("restarted", {"version": "1.1"}, "1.1"),
    "a restart and a stop": ("restarted", {"state": "stopped"}, None),
    "a stop and a fix": ("stopped", {"version": "1.1"}, None),
    "a start and a stop": ("started", {"state": "stopped"}, "1.0"),
}


@pytest.mark.parametrize("what", list(MEANWHILE))
def test_what_was_planned_before_another_run_came_is_not_done(world, ask, layout, what):
    state, theirs, runs = MEANWHILE[what]
    deploy(ask, world, "before", version="1.0")
    world.instance().wants.unlink()  # there is something to start, too
    mine = ask("mine", state=state)
    deploy_meanwhile(mine, ask, world, **theirs)
    with pytest.raises(Busy, match="another run has changed this host since"):
        mine.activate()
    running = world.systemd.runs(world.instance())
    assert (running and running.partition("-")[0]) == (None if theirs.get("state") else "1.1")
    assert [s["result"] for s in mine.activate()["steps"]] == ["ok"] * (what != "a restart and a stop")
    running = world.systemd.runs(world.instance())
    assert (running and running.partition("-")[0]) == runs
    assert lease.current(layout) is None


def deploy_meanwhile(mine, ask, world, **theirs):
    """Have another run deploy that right before `mine` gets the lock."""
    free = mine.locked

    def locked():
        mine.locked = free
        deploy(ask, world, "theirs", **theirs)
        return free()

    mine.locked = locked


def test_a_rollback_looks_again_where_another_run_came_in_between(world, ask):
    for version in ("1.0", "1.1"):
        deploy(ask, world, "before", version=version)
    mine = ask("mine", release="previous")
    deploy_meanwhile(mine, ask, world, version="1.2")
    with pytest.raises(Busy, match="another run has changed this host since"):
        mine.select()
    assert mine.select()["releases"]["robot-arm@0"].startswith("1.1-")


@pytest.mark.parametrize("done", ["staged", "activated", "removed"])
def test_a_late_wave_does_not_activate_what_another_run_has_staged(world, ask, layout, removable, done):
    """The lease was over before it came, or another run has broken it."""
    runs, mine, now = world.run("1.0"), world.stage("1.1"), "nothing"
    if done == "removed":
        ask("theirs", state="absent").activate()
        runs = None
    else:
        now = world.stage("1.2")
    if done == "activated":
        deploy(ask, world, "theirs", version="1.2")
        runs = now
    calls = list(world.systemd.calls)
    late = ask("mine", state="started", as_declared=True, planned={"robot-arm@0": mine})
    said = "robot-arm@0: this run staged %s, but another run was here since, and now %s is staged: deploy again" % (
        mine,
        now,
    )
    with pytest.raises(HostError, match=re.escape(said)):
        late.activate()
    assert world.systemd.calls == calls
    assert unsettled(world, runs) == []


def test_a_lease_ends_where_nothing_is_left_to_do(world, ask, layout):
    """What was not healthy when the run looked is so again when its wave comes."""
    deploy(ask, world, "before", version="1.0")
    planned = {"robot-arm@0": release.proven(world.instance())}
    mine = ask("mine", state="started", as_declared=True, planned=planned)
    lease.take(layout, mine.request["who"], "deploy")
    assert mine.activate()["steps"] == []
    assert lease.current(layout) is None
    lease.take(layout, dict(WHO, run="theirs"), "deploy")
    assert mine.activate()["steps"] == []
    assert lease.current(layout)["run"] == "theirs"


# -- what is left of removed agents -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "purge", "steps", "left"),
    [
        (["eye"], True, [("eye", "purge")], ["ear", "robot-arm"]),
        (["eye@0"], True, [("eye", "purge")], ["ear", "robot-arm"]),
        (["eye@1"], True, [], ["ear", "eye", "robot-arm"]),
        (["eye"], False, [], ["ear", "eye", "robot-arm"]),
        (["ear"], True, [], ["ear", "eye", "robot-arm"]),
        (None, True, [("robot-arm", "remove"), ("eye", "purge")], ["ear"]),
        (None, False, [("robot-arm", "remove")], ["ear", "eye", "robot-arm"]),
    ],
)
def test_kept_state_is_purged_by_its_environment(world, ask, layout, removable, only, purge, steps, left):
    """An agent of this environment and one of another have left their state, and one is still here."""
    for agent in ("ear", "eye", "robot-arm"):
        deploy(ask, world, "before", version="1.0", agent=agent)
        (world.instance(agent=agent).state / "data").mkdir(parents=True)
    ask("before", state="absent", only=["eye"]).activate()
    files.write_json(world.instance(agent="ear").staged, {"environment": "other"})
    files.remove(world.instance(agent="ear").releases / release.proven(world.instance(agent="ear")))
    ask("before", state="absent", only=["ear"], environment="other").activate()
    assert [(i.id, owner) for i, owner in activator.removal.kept(layout)] == [("ear@0", "other"), ("eye@0", "lab")]

    check = ask("now", state="absent", only=only, purge=purge, check=True).activate()["steps"]
    done = ask("now", state="absent", only=only, purge=purge).activate()["steps"]
    assert [(s["agent"], s["action"]) for s in check] == [(s["agent"], s["action"]) for s in done] == steps
    assert [s["result"] for s in done] == ["ok"] * len(steps)
    assert sorted(path.parent.parent.name for path in layout.state.glob("*/0/data")) == left
    assert ask("again", state="absent", only=only, purge=purge).activate()["steps"] == []
    whose = {i.agent: owner for i, owner in activator.removal.kept(layout)}
    assert whose == {
        agent: "other" if agent == "ear" else "lab" for agent in left if agent != "robot-arm" or only is None
    }


def test_what_was_seen_to_already_is_left_alone(world, ask):
    for agent in ("eye", "ear"):
        deploy(ask, world, "before", version="1.0", agent=agent)
    ask("stop", state="stopped").activate()
    steps = ask("start", state="started", but=["eye@0"], check=True).activate()["steps"]
    assert [(s["agent"], s["action"]) for s in steps] == [("ear", "activate")]


def test_a_removal_that_goes_on_still_knows_whose_the_state_is(world, ask, layout, removable):
    deploy(ask, world, "before", version="1.0", agent="eye")
    instance = world.instance(agent="eye")
    (instance.state / "data").mkdir(parents=True)
    for _killed_after_all_but_its_last_word in range(2):
        assert activator.removal.remove(instance, world.systemd, purge=False) == []
        assert [(i.id, owner) for i, owner in activator.removal.kept(layout)] == [("eye@0", "lab")]


# -- what somebody damaged --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["verdict.json", "staged.json", "activation.json", "lease.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_a_damaged_record_holds_up_no_run(world, ask, layout, removable, name, content):
    deploy(ask, world, "before", version="1.0")

    def damage():
        for path in layout.root.glob("**/" + name):
            path.write_bytes(content)
            damaged.append(path)

    damaged = []
    lease.take(layout, dict(WHO, run="now"), "deploy")
    damage()
    new = deploy(ask, world, "now", version="1.1")[0]["to"]
    assert unsettled(world, new) == []
    lease.take(layout, dict(WHO, run="later"), "deploy")
    damage()
    assert ask("later", state="absent").activate()["steps"][0]["result"] == "ok"
    assert not world.instance().home.exists()
    assert len(damaged) > 1, "there were such files"


# -- what is not started ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [True, False])
def test_a_first_install_that_failed_is_not_started_by_itself(world, ask, check):
    bad = world.stage("1.0", "ends")
    assert world.walk(world.step(bad))[0]["result"] == "failed"
    calls = list(world.systemd.calls)
    with pytest.raises(HostError) as refused:
        ask("later", state="started", check=check).activate()
    told = "robot-arm@0: release %s is void: " % bad
    assert re.match(
        re.escape(told) + ".*exit status 7.* Deploy something else, .* -e retry=true, or name the others",
        str(refused.value),
    )
    assert world.systemd.calls == calls
    again = ask("later", state="started", check=check, retry=True).activate()["steps"]
    assert [(s["action"], s["to"]) for s in again] == [("activate", bad)]


def test_an_activation_is_allowed_what_its_releases_may_take(world, layout):
    """start_timeout 60, bake 0 and stop.timeout 5 of each release, four times; whatever cannot be read takes nothing."""
    old, new = world.run("1.0"), world.stage("1.1")
    base = activator.TAKES_AT_MOST
    assert activator.allowed(layout, []) == base
    assert activator.allowed(layout, [world.step(new)]) == base + 2 * 4 * 65
    assert activator.allowed(layout, [world.step(old)]) == base + 4 * 65
    assert activator.allowed(layout, [world.step(new), world.step("gone", agent="eye")]) == base + 2 * 4 * 65


def test_the_intent_is_json_that_says_who(world, layout):
    world.run("1.0")
    intent = json.loads(activator.intent_path(layout).read_text())
    assert (intent["run"], intent["who"]["user"], intent["done"]) == ("run-1", "ann", True)
