# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Artifacts: written byte for byte the same, published whole or not at all, and never trusted when read."""

import hashlib
import json
import multiprocessing
import os
import signal
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import oci
from ansible_collections.agentfactory.core.plugins.plugin_utils.artifact import Artifact, ArtifactError, Artifacts
from ansible_collections.agentfactory.core.plugins.plugin_utils.tree import (
    Entry,
    Tree,
    canonical,
    content_digest,
    file_list,
    tree_digest,
)

TARGET = "linux/amd64+glibc2.36+py3.11"
TREE: Tree = {
    "bin/run": Entry(b"#!/bin/sh\n", "755"),
    "bin/other": Entry(b"#!/bin/sh\n", "755"),
    "share/link": Entry(link="../bin/run"),
    "share/" + "long-" * 40 + "name": Entry(b"long"),
    "share/ünï": Entry(b"x" * 5000),
}
GOLDEN_TREE = "08b232ae76b73def459279ec36dc6bfdd074cc0f72027d4786223680d5f2dfc9"
GOLDEN_INDEX = "sha256:3cc5ef8f973d6a840021ab2769cf9d0f7511567b95ad742f7fef4119619b1d09"


def image(
    blobs: oci.Blobs,
    tree: Tree | None = None,
    *,
    name: str = "demo",
    version: str = "1.0",
    files: bytes | None = None,
    target: str = TARGET,
) -> dict[str, Any]:
    tree = TREE if tree is None else tree
    manifest = canonical({"name": name, "version": version})
    listed = canonical(file_list(tree)) if files is None else files
    meta: Tree = {".agentfactory/files.json": Entry(listed), ".agentfactory/manifest.json": Entry(manifest)}
    layers = [
        blobs.add_layer(part, hashlib.sha256(canonical(file_list(part))).hexdigest()) for part in ({}, tree, meta)
    ]
    digest = tree_digest(listed)
    notes = {"target": target, "tree": digest, "content": content_digest(manifest, digest), "inputs": "0" * 64}
    return oci.add_image(blobs, "amd64", layers, notes)


def write(root: Path, tree: Tree | None = None, version: str = "1.0", files: bytes | None = None) -> Artifacts:
    blobs = oci.Blobs(root / f"new-{time.monotonic_ns()}")
    with oci.locked(root / "dist" / "demo"):
        index = oci.add_index(blobs, [image(blobs, tree, version=version, files=files)])
        oci.publish(root / "dist" / "demo", blobs, version, index)
    return Artifacts(str(root / "dist"))


def blob(artifact: Artifact, root: Path, kind: str) -> Path:
    """The place of one of an artifact's blobs."""
    descriptor = artifact.images[0].descriptor
    store = root / "dist" / "demo" / "blobs" / "sha256"
    manifest = json.loads((store / descriptor["digest"][7:]).read_bytes())
    digests = {
        "index": artifact.digest,
        "manifest": descriptor["digest"],
        "code": manifest["layers"][1]["digest"],
        "meta": manifest["layers"][2]["digest"],
    }
    return store / digests[kind][7:]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    artifacts = write(tmp_path)
    write(tmp_path, version="1.1")
    assert artifacts.versions("demo") == ["1.0", "1.1"]
    assert artifacts.versions("other") == []
    found = artifacts.open("demo", "1.0")
    assert (found.manifest, found.images[0].target) == ({"name": "demo", "version": "1.0"}, TARGET)
    assert found.image(TARGET).files() == file_list(TREE)
    assert found.images[0].complete()
    wanted = {item["sha256"] for item in file_list(TREE) if "sha256" in item}
    read = list(found.images[0].read(wanted))
    assert {sha for sha, _data in read} == wanted
    assert len(read) == len(wanted) == 3
    assert all(hashlib.sha256(data).hexdigest() == sha for sha, data in read)
    assert list(found.images[0].read(set())) == []


def test_the_bytes_are_always_the_same(tmp_path: Path) -> None:
    digest = write(tmp_path).open("demo", "1.0")
    assert digest.images[0].tree == GOLDEN_TREE
    if oci.usual_zlib():
        assert digest.digest == GOLDEN_INDEX


def test_layers_hold_nothing_of_this_machine(tmp_path: Path) -> None:
    found = write(tmp_path).open("demo", "1.0")
    with tarfile.open(blob(found, tmp_path, "code")) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if member.isdir()] == ["bin", "share"]
    assert {(member.uid, member.gid, member.mtime, member.uname, member.gname) for member in members} == {
        (0, 0, 0, "", "")
    }
    assert {member.mode for member in members if member.isreg()} == {0o644, 0o755}
    assert blob(found, tmp_path, "code").read_bytes()[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def test_no_artifact_types(tmp_path: Path) -> None:
    write(tmp_path)
    for path in (tmp_path / "dist" / "demo" / "blobs" / "sha256").iterdir():
        assert b"artifactType" not in path.read_bytes()


def test_errors_say_what_exists(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no artifact of demo in .*: there is none at all"):
        Artifacts(str(tmp_path)).open("demo", "1.0")
    artifacts = write(tmp_path)
    with pytest.raises(ArtifactError, match=r"no demo 2.0 in .*: there is 1.0"):
        artifacts.open("demo", "2.0")
    with pytest.raises(ArtifactError, match=r"no artifact of other in .*: there is demo"):
        artifacts.open("other", "1.0")
    with pytest.raises(ArtifactError, match="it has " + TARGET.replace("+", r"\+")):
        artifacts.open("demo", "1.0").image("linux/arm64")
    with pytest.raises(ArtifactError, match="has no file with sha256"):
        list(artifacts.open("demo", "1.0").images[0].read({"f" * 64}))


def everything(artifacts: Artifacts) -> None:
    found = artifacts.open("demo", "1.0").images[0]
    list(found.read({item["sha256"] for item in found.files() if "sha256" in item}))


@pytest.mark.parametrize("kind", ["index", "manifest", "code", "meta"])
@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:60] + b"\xff\0\xff" + path.read_bytes()[63:]),
    ],
    ids=["missing", "cut", "empty", "changed"],
)
def test_damage_is_seen(tmp_path: Path, kind: str, harm: Callable[[Path], None]) -> None:
    artifacts = write(tmp_path)
    everything(artifacts)
    harm(blob(artifacts.open("demo", "1.0"), tmp_path, kind))
    with pytest.raises(ArtifactError):
        everything(artifacts)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"manifests": [5]}', '{"manifests": [{"annotations": 5}]}', "[" * 9999]
)
def test_a_broken_index(tmp_path: Path, text: str) -> None:
    artifacts = write(tmp_path)
    (tmp_path / "dist" / "demo" / "index.json").write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError):
        artifacts.versions("demo")


@pytest.mark.parametrize(
    "files",
    [
        [{"path": "../x", "link": "y"}],
        [{"path": "/x", "link": "y"}],
        [{"path": "x", "link": "/y"}],
        [{"path": "x", "link": "../y"}],
        [{"path": "x", "link": "y"}] * 2,
        [{"path": "x", "link": "y"}, {"path": "x/z", "link": "y"}],
        [{"path": "x"}],
        [5],
        5,
        {"a": 1},
        [{"path": "x", "mode": "4755", "size": 1, "sha256": "0" * 64}],
        [{"path": "x", "mode": "644", "size": -1, "sha256": "0" * 64}],
        [{"path": "x", "mode": "644", "size": 1, "sha256": "z"}],
        [{"path": ".agentfactory/x", "link": "y"}],
    ],
)
def test_unsafe_lists_are_refused(tmp_path: Path, files: object) -> None:
    found = write(tmp_path, files=canonical(files)).open("demo", "1.0")
    with pytest.raises(ArtifactError, match="unsafe list of files"):
        found.images[0].files()


def test_images_of_others_are_refused(tmp_path: Path) -> None:
    blobs = oci.Blobs(tmp_path / "new")
    descriptor = {key: value for key, value in image(blobs).items() if key != "annotations"}
    index = blobs.add(canonical({"manifests": [descriptor]}), oci.INDEX_TYPE)
    oci.publish(tmp_path / "demo", blobs, "1.0", index)
    with pytest.raises(ArtifactError, match="was not made by agent_package"):
        Artifacts(str(tmp_path)).open("demo", "1.0")
    blobs = oci.Blobs(tmp_path / "new2")
    oci.publish(tmp_path / "demo", blobs, "2.0", oci.add_index(blobs, [image(blobs, version="1.0")]))
    with pytest.raises(ArtifactError, match=r"2.0 holds demo 1.0"):
        Artifacts(str(tmp_path)).open("demo", "2.0")


@pytest.mark.parametrize(
    "text", ["{}", '{"manifests": []}', '{"manifests": 5}', '{"manifests": [5]}', "[]", '{"manifests": [{}]}']
)
def test_a_version_that_is_no_index(tmp_path: Path, text: str) -> None:
    blobs = oci.Blobs(tmp_path / "new")
    oci.publish(tmp_path / "demo", blobs, "1.0", blobs.add(text.encode(), oci.INDEX_TYPE))
    with pytest.raises(ArtifactError):
        Artifacts(str(tmp_path)).open("demo", "1.0")


@pytest.mark.parametrize(
    "text", ["{}", '{"config": {}, "layers": []}', '{"config": 1, "layers": 5}', '{"layers": [1, 2, 3]}']
)
def test_an_image_that_is_none(tmp_path: Path, text: str) -> None:
    blobs = oci.Blobs(tmp_path / "new")
    notes = image(blobs)["annotations"]
    descriptor = {**blobs.add(text.encode(), oci.MANIFEST_TYPE), "annotations": notes}
    oci.publish(tmp_path / "demo", blobs, "1.0", oci.add_index(blobs, [descriptor]))
    with pytest.raises(ArtifactError, match="is not an image of configuration and three layers"):
        Artifacts(str(tmp_path)).open("demo", "1.0")


def test_one_image_without_an_index(tmp_path: Path) -> None:
    """As a copy of one platform leaves it."""
    blobs = oci.Blobs(tmp_path / "new")
    descriptor = {key: value for key, value in image(blobs).items() if key != "annotations"}
    oci.publish(tmp_path / "demo", blobs, "1.0", descriptor)
    found = Artifacts(str(tmp_path)).open("demo", "1.0")
    assert [one.target for one in found.images] == [TARGET]
    assert found.images[0].files() == file_list(TREE)


def _killed(root: Path, after: int) -> None:
    """Publish, and be killed at the given rename."""
    left, rename = [after], os.replace

    def replace(source: Any, to: Any) -> None:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        rename(source, to)

    os.replace = replace  # type: ignore[assignment]
    write(root, {**TREE, "new": Entry(b"new")}, "2.0")


@pytest.mark.parametrize("after", range(7))
def test_killed_while_publishing(tmp_path: Path, after: int) -> None:
    artifacts = write(tmp_path)
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(tmp_path, after))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    everything(artifacts)
    if process.exitcode:
        assert artifacts.versions("demo") == ["1.0"]
    write(tmp_path, {**TREE, "new": Entry(b"new")}, "2.0")
    assert artifacts.versions("demo") == ["1.0", "2.0"]
    assert artifacts.open("demo", "2.0").images[0].complete()
    assert not list((tmp_path / "dist").rglob("*.part"))


def test_a_damaged_blob_is_written_again(tmp_path: Path) -> None:
    artifacts = write(tmp_path)
    path = blob(artifacts.open("demo", "1.0"), tmp_path, "code")
    path.write_bytes(bytes(path.stat().st_size))
    write(tmp_path)
    everything(artifacts)
