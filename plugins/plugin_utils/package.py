# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packaging an agent: agent.yml and its source become one version in an OCI layout; nothing happens where it is there."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import build, oci, source
from . import tree as trees
from .artifact import ANNOTATION, Artifact, ArtifactError, Artifacts, Image
from .difference import before, difference
from .manifest import Manifest, load, stored, target_problems
from .target import Target, check
from .tree import FileEntry, PackageError, Tree, canonical


@dataclass(frozen=True)
class Request:
    """`file`: agent.yml or its directory. `platforms`: instead of the manifest's; `default_platforms`: where it has none.

    `check`: say, do not do; but a version that is new is written to the directory `preview`, if given. `diff`: the result
    compares the lists of files.
    """

    file: str
    artifacts: str
    platforms: Sequence[str] = ()
    default_platforms: Sequence[str] = ()
    overwrite: bool = False
    upgrade_lock: bool = False
    check: bool = False
    diff: bool = False
    preview: str = ""


@dataclass(frozen=True)
class Result:
    """What stands in the layout now (or would): `targets` holds {target, tree, content}; `size` is in bytes."""

    changed: bool
    name: str
    version: str
    digest: str
    artifact: str
    targets: list[dict[str, str]]
    size: int
    msg: str
    diff: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


_OTHER_ZLIB = (
    "this Python's zlib is not the usual one: the artifact's OCI digest differs from that which other controllers make; "
    "the digests of tree and content are the same"
)


@dataclass(frozen=True)
class _Made:
    """One target's image, built: its descriptor and its list of files."""

    descriptor: dict[str, Any]
    files: list[FileEntry]

    def note(self, key: str) -> str:
        return str(self.descriptor["annotations"][ANNOTATION + key])


def package(request: Request) -> Result:
    """Package an agent. ManifestError, PackageError or ArtifactError before anything is written."""
    file = os.path.join(request.file, "agent.yml") if os.path.isdir(request.file) else request.file
    manifest = load(file)
    targets = _targets(manifest, request, file)
    with tempfile.TemporaryDirectory(prefix="agentfactory-package-") as folder:
        scratch = Path(folder)
        there = _existing(request, manifest)
        if there:
            _refuse_another_manifest(request, there, manifest)  # before anything is resolved or built
        agent = build.read(manifest, file, scratch, upgrade_lock=request.upgrade_lock)
        lock = _Lock(Path(file).parent / source.LOCK_FILE, agent.lock)
        wanted = _to_build(there, agent.inputs, targets, manifest)
        if not wanted and there:
            return _result(request, manifest, there, changed=lock.save(request.check), built=0)
        blobs = oci.Blobs(scratch / "blobs")
        made = {target.name: _make(manifest, agent, target, blobs, scratch) for target in wanted}
        done = _finish(request, manifest, blobs, made, lock)
        return done if oci.usual_zlib() else replace(done, warnings=[_OTHER_ZLIB])


@dataclass(frozen=True)
class _Lock:
    path: Path
    text: str | None

    def save(self, check: bool) -> bool:
        """Write the lock where it differs; whether it did (or would)."""
        if self.text is None or (self.path.is_file() and self.path.read_text(encoding="utf-8") == self.text):
            return False
        if not check:
            before = self.path.parent.stat().st_mtime_ns
            oci.write_file(self.path, self.text.encode("utf-8"))
            # It follows from the source and is no edit of it, after which packaging were due again.
            with suppress(PermissionError):
                for path in (self.path, self.path.parent):
                    os.utime(path, ns=(before, before))
        return True


def _targets(manifest: Manifest, request: Request, file: str) -> list[Target]:
    if manifest["runtime"]["type"] == "container":
        raise PackageError(f"{file}: runtime.type: container is not supported yet")
    names = list(request.platforms or manifest["runtime"]["platforms"]) or _fitting(manifest, request.default_platforms)
    if not names:
        raise PackageError(
            f"{file}: no target: give platforms=linux/amd64+glibc2.36+py3.11, or list them in "
            "runtime.platforms, or run the playbook against reachable hosts, which are asked"
        )
    problems = [f"platforms: {reason}" for name in names for reason in target_problems(name, manifest["runtime"])]
    if problems:
        raise PackageError("\n".join(problems))
    return [Target.parse(name) for name in sorted(set(names))]


def _fitting(manifest: Manifest, names: Sequence[str]) -> list[str]:
    """Of the hosts' platforms those that suit; PackageError where there are some, and none does."""
    if manifest["runtime"]["type"] != "python":
        names = [name.split("+py")[0] for name in names]
    fitting = [name for name in names if not target_problems(name, manifest["runtime"])]
    if names and not fitting:
        raise PackageError("\n".join(reason for name in names for reason in target_problems(name, manifest["runtime"])))
    return fitting


def _existing(request: Request, manifest: Manifest) -> Artifact | None:
    artifacts = Artifacts(request.artifacts)
    if manifest["version"] not in artifacts.versions(manifest["name"]):
        return None
    try:
        return artifacts.open(manifest["name"], manifest["version"])
    except ArtifactError as error:
        if request.overwrite:
            return None
        raise ArtifactError(f"{error} (overwrite=true packages it anew)") from error


def _whole(image: Image) -> bool:
    try:
        return image.complete()
    except ArtifactError:
        return False


def _to_build(there: Artifact | None, inputs: str, targets: list[Target], manifest: Manifest) -> list[Target]:
    """The targets that are missing; all of them, also those only there, where the inputs are not what they were."""
    if there is None:
        return targets
    current = {image.target for image in there.images if image.inputs == inputs and _whole(image)}
    if all(image.inputs == inputs for image in there.images):
        return [target for target in targets if target.name not in current]
    if all(target.name in current for target in targets):
        return []
    names = {target.name for target in targets}
    older = [image.target for image in there.images if not target_problems(image.target, manifest["runtime"])]
    return targets + [Target.parse(name) for name in older if name not in names]


def _make(manifest: Manifest, agent: build.Source, target: Target, blobs: oci.Blobs, scratch: Path) -> _Made:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        dependencies, code = agent.trees(target, Path(folder))
        whole = trees.merge(dependencies, code)
        check(whole, target)
        build.check_commands(manifest, whole)
        files = trees.file_list(whole)
        digests = canonical(files)
        described = canonical(stored(manifest))
        meta: Tree = {
            ".agentfactory/files.json": trees.Entry(digests),
            ".agentfactory/manifest.json": trees.Entry(described),
        }
        layers = [
            blobs.add_layer(part, trees.tree_digest(canonical(trees.file_list(part))))
            for part in (dependencies, code, meta)
        ]
    digest = trees.tree_digest(digests)
    notes = {
        "target": target.name,
        "tree": digest,
        "content": trees.content_digest(described, digest),
        "inputs": agent.inputs,
    }
    return _Made(oci.add_image(blobs, target.machine, layers, notes), files)


def _finish(request: Request, manifest: Manifest, blobs: oci.Blobs, made: dict[str, _Made], lock: _Lock) -> Result:
    layout = Path(request.artifacts) / manifest["name"]
    if request.check:
        images = _settle(request, manifest, made)
        return _planned(request, manifest, blobs, images, made, lock)
    _settle(request, manifest, made)  # an error leaves not even a directory
    with oci.locked(layout):
        images = _settle(request, manifest, made)  # another run may have come first
        earlier = before(Artifacts(request.artifacts), manifest) if request.diff else []
        changed = lock.save(check=False)
        if images:
            oci.publish(layout, blobs, manifest["version"], oci.add_index(blobs, images))
    there = Artifacts(request.artifacts).open(manifest["name"], manifest["version"])
    diff = difference(manifest, earlier, next(iter(made.values())).files) if request.diff and images else {}
    return _result(
        request, manifest, there, changed=changed or bool(images), built=len(made) if images else 0, diff=diff
    )


def _another_manifest(there: Artifact, manifest: Manifest) -> bool:
    described = canonical(stored(manifest))
    return any(image.content != trees.content_digest(described, image.tree) for image in there.images)


def _refuse_another_manifest(request: Request, there: Artifact, manifest: Manifest) -> None:
    if not request.overwrite and _another_manifest(there, manifest):
        raise _taken(request, manifest, "another manifest")


def _taken(request: Request, manifest: Manifest, what: str) -> PackageError:
    return PackageError(
        f"{manifest['name']} {manifest['version']} is in {request.artifacts} already, with {what}: "
        "raise version in agent.yml, or give overwrite=true to replace it"
    )


def _settle(request: Request, manifest: Manifest, made: dict[str, _Made]) -> list[dict[str, Any]]:
    """The images that the version is to have; none where it has them. PackageError where it has other content."""
    there = _existing(request, manifest)
    descriptors = {name: one.descriptor for name, one in made.items()}
    if there is None:
        return list(descriptors.values())
    _refuse_another_manifest(request, there, manifest)
    same = all(made[image.target].note("content") == image.content for image in there.images if image.target in made)
    if not same and not request.overwrite:
        raise _taken(request, manifest, "other files")
    if not same or _another_manifest(there, manifest):
        return list(descriptors.values())
    kept = {image.target: image.descriptor for image in there.images if _whole(image)}
    if not descriptors.keys() - kept.keys():
        return []
    return list({**descriptors, **kept}.values())


def _planned(
    request: Request,
    manifest: Manifest,
    blobs: oci.Blobs,
    images: list[dict[str, Any]],
    made: dict[str, _Made],
    lock: _Lock,
) -> Result:
    """The result of check mode: what is there, or what would be."""
    changed = lock.save(check=True)
    if not images:
        there = Artifacts(request.artifacts).open(manifest["name"], manifest["version"])
        return _result(request, manifest, there, changed=changed, built=0)
    index = oci.add_index(blobs, images)
    if request.preview and _existing(request, manifest) is None:
        layout = Path(request.preview) / manifest["name"]
        with oci.locked(layout):
            oci.publish(layout, blobs, manifest["version"], index)
    diff = (
        difference(manifest, before(Artifacts(request.artifacts), manifest), next(iter(made.values())).files)
        if request.diff
        else {}
    )
    targets = [
        {key: image["annotations"][ANNOTATION + key] for key in ("target", "tree", "content")} for image in images
    ]
    size = sum(blob.stat().st_size for blob in blobs.directory.iterdir())
    return Result(
        True,
        manifest["name"],
        manifest["version"],
        index["digest"],
        _reference(request, manifest),
        targets,
        size,
        f"{manifest['name']} {manifest['version']} would be packaged for {_count(len(made))}",
        diff,
    )


def _result(
    request: Request,
    manifest: Manifest,
    there: Artifact,
    *,
    changed: bool,
    built: int,
    diff: dict[str, str] | None = None,
) -> Result:
    targets = [{"target": image.target, "tree": image.tree, "content": image.content} for image in there.images]
    blobs: dict[str, int] = {}
    for image in there.images:
        blobs.update(image.blobs())
    size = sum(blobs.values())
    name = f"{manifest['name']} {manifest['version']}"
    msg = f"{name} packaged for {_count(built)}, {size / 1e6:.1f} MB in all" if built else f"{name} is packaged already"
    return Result(
        changed,
        manifest["name"],
        manifest["version"],
        there.digest,
        _reference(request, manifest),
        targets,
        size,
        msg,
        diff or {},
    )


def _reference(request: Request, manifest: Manifest) -> str:
    return f"{os.path.join(request.artifacts, manifest['name'])}:{manifest['version']}"


def _count(number: int) -> str:
    return f"{number} target{'' if number == 1 else 's'}"
