# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host in a scratch directory, and the things that tests of the host's library are made of. Python 3.9 syntax."""

import copy
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils import credentials, files, store, tree, unit
from ansible_collections.agentfactory.core.plugins.module_utils.layout import Instance, Layout

MANIFEST = {
    "name": "robot-arm",
    "version": "1.0",
    "description": "Moves things.",
    "runtime": {"type": "executable", "python": None},
    "command": ["arm", "serve"],
    "ports": {"http": 8080},
    "health": {
        "http": None, "tcp": {"port": "http"}, "command": None, "notify": False,
        "start_timeout": 30, "bake": 0, "preflight": None,
    },
    "metrics": None,
    "secrets": [],
    "resources": {"cpu": None, "memory": None, "tasks": 64},
    "permissions": {
        "outbound": [], "inbound": [], "write": [], "devices": [], "groups": [], "capabilities": [],
        "proc": "own", "jit": False,
    },
    "stop": {"signal": "SIGTERM", "timeout": 20},
}  # fmt: skip
TREE = "ab" * 32


def make_manifest(**changes):
    """A normalised manifest; a mapping in `changes` is laid over the default one of that key."""
    made = copy.deepcopy(MANIFEST)
    for key, value in changes.items():
        made[key] = dict(made[key], **value) if isinstance(made[key], dict) and key != "ports" else value
    return made


@pytest.fixture
def manifest():
    return make_manifest


def in_memory():
    """A directory in memory, where there is one that programs can run from: hosts flush every change, which takes a disk long."""
    if os.access("/dev/shm", os.W_OK) and not os.statvfs("/dev/shm").f_flag & os.ST_NOEXEC:
        return "/dev/shm"
    return None


@pytest.fixture
def layout():
    place = Path(tempfile.mkdtemp(dir=in_memory()))
    yield Layout(place / "host")
    files.remove(place)


@pytest.fixture
def instance(layout):
    return Instance(layout, "robot-arm", "0")


@pytest.fixture
def spec(instance):
    """Make a unit's specification: `systemd`, `delivery`, `nft`, `ports`..., the rest goes to the manifest."""

    def make(**changes):
        own = {k: changes.pop(k) for k in ("systemd", "delivery", "nft", "tree", "environment") if k in changes}
        made = make_manifest(**changes)
        values = {
            "instance": instance, "manifest": made, "environment": "lab", "tree": TREE, "ports": made["ports"],
            "resources": made["resources"], "systemd": 257, "delivery": credentials.LOADED,
        }  # fmt: skip
        return unit.Spec(**dict(values, **own))

    return make


def make_entries(files):
    """A file list of ``{path: bytes, ("x", bytes) for an executable, or "->target"}``, sorted by path."""
    entries = []
    for path in sorted(files):
        content = files[path]
        if isinstance(content, str):
            entries.append({"path": path, "link": content[2:]})
            continue
        mode, data = ("755", content[1]) if isinstance(content, tuple) else ("644", content)
        entries.append({"path": path, "mode": mode, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    return entries


@pytest.fixture
def entries():
    return make_entries


@pytest.fixture
def distribute(layout):
    """Put files into the host's store, as a transfer would. Returns (tree digest, file list)."""

    def put(files):
        listed = make_entries(files)
        layout.store.mkdir(parents=True, exist_ok=True)
        for entry in listed:
            if "sha256" in entry:
                content = files[entry["path"]]
                path = store.blob_path(layout.store, entry)
                if not path.exists():
                    path.write_bytes(content[1] if isinstance(content, tuple) else content)
                    path.chmod(0o555 if entry["mode"] == "755" else 0o444)
        return tree.digest(listed), listed

    return put


@pytest.fixture
def library(tmp_path):
    """A directory to put on a subprocess's sys.path: the host's library under the name that it has on hosts."""
    place = tmp_path / "library"
    place.mkdir()
    (place / "agentfactory_host").symlink_to(Path(store.__file__).resolve().parent)
    return place


@pytest.fixture
def process():
    """A process that says it is a release: `start(AGENT_RELEASE=...)` returns its pid."""
    started = []

    def start(**environment):
        child = subprocess.Popen(
            [sys.executable, "-IS", "-c", "print(1, flush=True); import time; time.sleep(600)"],
            env=environment, stdout=subprocess.PIPE,
        )  # fmt: skip
        started.append(child)
        assert child.stdout.readline() == b"1\n"  # it has its environment from here on
        return child.pid

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.fixture
def active():
    """What systemd says of a unit with that main process."""

    def active(pid):
        return {
            "LoadState": "loaded",
            "ActiveState": "active",
            "SubState": "running",
            "MainPID": str(pid),
            "NRestarts": "0",
        }

    return active


@pytest.fixture
def lay():
    """Write a release's record and unit, as staging does; returns its name."""

    def lay(instance, spec, name="1.0-aaaaaaaaaaaa"):
        files.write_json(
            instance.releases / name / "release.json",
            {
                "release": name, "version": "1.0", "tree": spec.tree, "content": "c", "environment": "lab", "secrets": {},
                "manifest": spec.manifest, "ports": spec.ports, "resources": spec.resources, "delivery": spec.delivery,
                "files": {}, "uid": os.getuid(),
            },
        )  # fmt: skip
        files.write_atomic(instance.releases / name / "unit", ('Environment="AGENT_RELEASE=%s"\n' % name).encode())
        return name

    return lay
