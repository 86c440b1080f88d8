# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging, killed by SIGKILL at each of its steps: the next run ends where an undisturbed one does."""

import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
import zlib

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils import (
    desired,
    host,
    lease,
    release,
    staging,
    store,
    target,
    tree,
)
from ansible_collections.agentfactory.core.plugins.module_utils.files import read_json, remove, write_atomic, write_json
from ansible_collections.agentfactory.core.plugins.module_utils.layout import Instance

FILES = {"bin/arm": ("x", b"#!/bin/sh\n"), "share/data": b"data", "share/copy": ("x", b"data"), "l": "->share/data"}
# What a host has and a test has not: systemd, nftables, and the right to make users. None is what is killed here.
CODE = """
import json, os, pwd, sys
from pathlib import Path
library, root, fault = sys.argv[1:]
sys.path.insert(0, library)
from agentfactory_host import credentials, egress, files, host, staging, systemd, users
from agentfactory_host.layout import Layout
files.FAULT = Path(fault)
me = pwd.getpwuid(os.getuid())
users.find = lambda instance: me if os.path.exists(root + "/user") else None
def ensure(instance):
    Path(root + "/user").touch()
    return me
users.ensure = ensure
staging.version = lambda: 257
egress.program = lambda: "/usr/sbin/nft"
credentials.delivery = lambda _systemd: credentials.LOADED
gone = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "MainPID": "0"}
systemd.Systemd.show = lambda self, units: {unit: gone for unit in list(units)}
request = json.loads(sys.stdin.buffer.readline())
print(json.dumps(host.Host(Layout(Path(root)), library, request, sys.stdin.buffer).stage()))
"""
POINTS = ["store.received", "store.named", "stage.received", "tree.filled", "tree.sealed", "tree.named", "stage.user",
          "release.filled", "release.named", "stage.selected"]  # fmt: skip


@pytest.fixture
def request_and_payload(manifest, entries):
    listed = entries(FILES)
    here = target.here()
    contents = {e["sha256"]: data for e in listed if "sha256" in e for data in [FILES[e["path"]]]}
    contents = {sha: data[1] if isinstance(data, tuple) else data for sha, data in contents.items()}
    blobs = [[sha256, len(data)] for sha256, data in sorted(contents.items())]
    code = tree.digest(listed)
    made = {
        "op": "stage", "state": "configured", "environment": "lab", "only": None,
        "who": {"run": "r", "user": "ann", "controller": "desk", "pid": "1:1", "gone": []},
        "agents": [{
            "name": "robot-arm", "manifest": manifest(secrets=["token"]), "state": "started",
            "images": [{"target": "%s/%s" % (here.os, here.machine), "tree": code, "content": "c" * 64}],
            "config": {"speed": 3}, "secrets": {"token": "hunter2"},
            "instances": [{"name": "0", "ports": {"http": 8080}, "resources": {"cpu": None, "memory": None, "tasks": 9}}],
        }],
        "trees": {code: listed}, "blobs": blobs,
    }  # fmt: skip
    return made, zlib.compress(b"".join(contents[sha256] for sha256, _size in blobs))


def stage(layout, library, request, payload, fault="", *, used=True):
    path = layout.root / "fault"
    layout.root.mkdir(parents=True, exist_ok=True)
    if used:
        write_atomic(layout.factory / "key", b"k" * 32)  # names of releases hang on it, and runs are compared
    if fault:
        path.write_text(fault)
    done = subprocess.run(
        [sys.executable, "-IS", "-c", CODE, str(library), str(layout.root), str(path)],
        input=json.dumps(request).encode() + b"\n" + payload, capture_output=True, check=False,
    )  # fmt: skip
    assert not path.exists(), "the step %s was not come by: %s" % (fault, done.stderr.decode())
    return done


def deploy(layout, library, request, payload):
    """As the controller does it: ask, then send what is not there."""
    asked = json.loads(stage(layout, library, dict(request, ask=True, trees={}, blobs=[]), b"").stdout)
    trees = {code: request["trees"][code] for code in asked["need"].get("trees", [])}
    blobs = request["blobs"] if trees else []
    done = stage(layout, library, dict(request, trees=trees, blobs=blobs), payload if trees else b"")
    assert done.returncode == 0, done.stderr.decode()
    assert "need" not in json.loads(done.stdout)


def snapshot(layout):
    """Every file of the factory with its mode and content, but for what says when and who."""
    found = {}
    for top in (layout.opt, layout.state):
        for directory, names, files in os.walk(top):
            for name in names + files:
                path = os.path.join(directory, name)
                if os.path.islink(path):
                    found[path] = os.readlink(path)
                elif os.path.isdir(path) or "/locks/" in path:
                    found[path] = oct(stat.S_IMODE(os.stat(path).st_mode))
                else:
                    with open(path, "rb") as stream:
                        found[path] = (
                            oct(stat.S_IMODE(os.stat(path).st_mode)),
                            hashlib.sha256(stream.read()).hexdigest(),
                        )
    return {str(path)[len(str(layout.root)) :]: value for path, value in found.items()}


def check_staged(layout, request):
    instance, code = Instance(layout, "robot-arm", "0"), next(iter(request["trees"]))
    assert tree.verify(layout, code) is None
    staged = read_json(instance.staged)
    assert staged["state"] == "started"
    assert release.complete(instance, staged["release"])
    assert list(release.everything(instance)) == [staged["release"]]
    assert store.missing(layout.store, request["trees"][code]) == []
    assert not (layout.root / "etc").exists()
    assert not (layout.root / "run").exists()


def test_staging_lays_everything_out_and_then_has_nothing_to_do(layout, library, request_and_payload):
    request, payload = request_and_payload
    answer = json.loads(stage(layout, library, request, payload).stdout)
    assert [c["kind"] for c in answer["staging"]] == ["tree", "user", "release", "stage"]
    assert [c["kind"] for c in answer["activation"]] == ["activate"]
    assert answer["received"] == sum(size for _sha256, size in request["blobs"])
    check_staged(layout, request)
    before = snapshot(layout)
    again = json.loads(stage(layout, library, dict(request, trees={}, blobs=[], ask=True), b"").stdout)
    assert (again["staging"], again["need"]) == ([], {})
    assert snapshot(layout) == before


def test_a_check_writes_nothing_and_says_the_same(layout, library, request_and_payload):
    request, payload = request_and_payload
    checked = json.loads(stage(layout, library, dict(request, check=True, trees={}, blobs=[]), b"").stdout)
    assert not layout.opt.exists()
    assert os.listdir(layout.factory) == ["key"]
    real = json.loads(stage(layout, library, request, payload).stdout)
    for what in ("staging", "activation", "removals", "releases"):
        assert checked[what] == real[what]


@pytest.mark.parametrize("ask", [True, False])
@pytest.mark.parametrize("used", [True, False])
def test_a_refused_first_use_leaves_nothing(layout, library, request_and_payload, ask, used):
    """Nor the library, which came with the call."""
    request, payload = request_and_payload
    here = layout.lib / "0123abcd"
    here.mkdir(parents=True)
    (here / "agentfactory_host").symlink_to((library / "agentfactory_host").resolve())
    request["agents"][0]["manifest"]["runtime"].update(type="python", python=">=9")
    refused = stage(layout, here, dict(request, ask=ask), payload, used=used)
    assert b"needs Python >=9" in refused.stderr
    assert (here.exists(), layout.opt.exists(), layout.state.exists()) == (used, used, used)
    assert lease.current(layout) is None


@pytest.mark.parametrize(
    ("targets", "python", "platform"),
    [(["beos/amd64"], None, True), (["beos/amd64", "beos/amd64"], None, True),
     (["beos/amd64", None], ">=9", False)],
)  # fmt: skip
def test_a_host_whose_platform_alone_is_missing_says_which_it_is(
    layout, request_and_payload, monkeypatch, capsys, targets, python, platform
):
    request = request_and_payload[0]
    (agent,) = request["agents"]
    request["agents"] = [
        dict(agent, images=[dict(agent["images"][0], target=one)] if one else agent["images"]) for one in targets
    ]
    if python:
        kind = dict(agent["manifest"]["runtime"], type="python", python=python)
        request["agents"][-1]["manifest"] = dict(agent["manifest"], runtime=kind)
    monkeypatch.setattr(host.Host, "stage", lambda self: desired.build(layout, self.request, b"k" * 32, 257))
    host.main(request, io.BytesIO(), "")
    answer = json.loads(capsys.readouterr().out.partition(host.MARK)[2])
    assert answer["error"].count("is not packaged for this host") == targets.count("beos/amd64")
    assert answer.get("unpackaged") == (str(target.here()) if platform else None)


@pytest.mark.parametrize(("owner", "refused"), [("factory-b", True), ("lab", False), (None, False)])
def test_state_that_another_environment_has_left_is_not_taken_up(layout, library, request_and_payload, owner, refused):
    instance = Instance(layout, "robot-arm", "0")
    instance.state.mkdir(parents=True)
    if owner:
        write_json(staging.kept_file(instance), {"environment": owner})
    done = stage(layout, library, *request_and_payload)
    told = b"the state that robot-arm@0 has left on this host belongs to environment factory-b, not to lab"
    assert (told in done.stderr, bool(done.returncode)) == (refused, refused)


def test_what_is_lacking_is_asked_for_step_by_step(layout, library, request_and_payload):
    request, payload = request_and_payload
    nothing = json.loads(stage(layout, library, dict(request, trees={}, blobs=[]), b"").stdout)
    assert nothing["need"]["trees"] == list(request["trees"])
    listed = json.loads(stage(layout, library, dict(request, blobs=[]), b"").stdout)
    assert listed["need"] == {"files": [sha256 for sha256, _size in request["blobs"]]}
    assert "need" not in json.loads(stage(layout, library, request, payload).stdout)


@pytest.mark.parametrize("state", ["distributed", "installed"])
def test_what_waits_for_its_configuration_is_kept_and_found_again(layout, library, request_and_payload, state):
    request, payload = request_and_payload
    code, ahead = next(iter(request["trees"])), dict(request, state=state)
    answer = json.loads(stage(layout, library, ahead, payload).stdout)
    assert [c["kind"] for c in answer["staging"]] == ["tree"]
    assert answer["received"] > 0
    staging.collect(layout, 3)
    assert tree.intact(layout, code) == (state == "installed")
    again = json.loads(stage(layout, library, dict(ahead, trees={}, blobs=[]), b"").stdout)
    assert (again["staging"], again.get("need")) == ([], None)
    stage(layout, library, dict(request, blobs=[]), b"")  # nothing has to be sent again
    check_staged(layout, request)
    staging.collect(layout, 3)
    assert list(layout.reserved.iterdir()) == []
    assert tree.intact(layout, code)


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_the_next_run_finishes(layout, library, request_and_payload, point):
    request, payload = request_and_payload
    assert stage(layout, library, request, payload, fault=point).returncode == -signal.SIGKILL
    deploy(layout, library, request, payload)
    check_staged(layout, request)
    staging.collect(layout, 3)
    found = snapshot(layout)
    remove(layout.root)
    deploy(layout, library, request, payload)
    staging.collect(layout, 3)
    assert found == snapshot(layout)
