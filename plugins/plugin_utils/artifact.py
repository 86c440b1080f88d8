# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading artifacts: OCI image layouts, one directory an agent. Nothing that is read is trusted before its digest fits."""

import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .tree import FileEntry, content_digest, list_problem, tree_digest

REF_NAME = "org.opencontainers.image.ref.name"
ANNOTATION = "io.agentfactory."
_MAX_JSON = 64 << 20
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
# what reading a damaged archive raises
_BROKEN = (tarfile.TarError, zlib.error, EOFError, OSError)


class ArtifactError(ValueError):
    """An artifact is missing, damaged or unsafe; the message names it and says what exists."""


@dataclass(frozen=True)
class Image:
    """One target's image. `inputs` is the digest of what it was made from; `descriptor` is its OCI descriptor."""

    target: str
    tree: str
    content: str
    inputs: str
    descriptor: dict[str, Any]
    _layout: "_Layout" = field(repr=False)

    def files(self) -> list[FileEntry]:
        """The list of files, sorted: {path, mode, size, sha256} or {path, link}; safe to unpack."""
        return list(self._checked_files)

    @cached_property
    def _checked_files(self) -> list[FileEntry]:
        data = self._meta(".agentfactory/files.json")
        if tree_digest(data) != self.tree:
            raise ArtifactError(
                f"{self._layout}: {self.target}: the list of files does not have the digest {self.tree}"
            )
        files = self._layout.parse(data, "the list of files")
        try:
            well_formed = all(
                isinstance(item["path"], str)
                and isinstance(item.get("link", ""), str)
                and (
                    "link" in item
                    or (
                        item["mode"] in ("644", "755")
                        and re.fullmatch("[0-9a-f]{64}", item["sha256"])
                        and item["size"] >= 0
                    )
                )
                for item in files
            )
            reason = list_problem(files) if well_formed else "it is malformed"
        except (TypeError, KeyError, AttributeError) as error:
            raise ArtifactError(f"{self._layout}: {self.target}: unsafe list of files: it is malformed") from error
        if reason:
            raise ArtifactError(f"{self._layout}: {self.target}: unsafe list of files: {reason}")
        return list(files)

    def manifest(self) -> tuple[dict[str, Any], str]:
        """The normalised manifest and the sha256 of its bytes."""
        data = self._meta(".agentfactory/manifest.json")
        digest = hashlib.sha256(data).hexdigest()
        if content_digest(data, self.tree) != self.content:
            raise ArtifactError(
                f"{self._layout}: {self.target}: manifest and tree do not have the digest {self.content}"
            )
        return dict(self._layout.parse(data, "the manifest")), digest

    def read(self, shas: set[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (sha256, bytes) of each file asked for, in the order of the layers; each is verified before."""
        wanted = set(shas)
        files = self.files()
        known = {item["sha256"]: item["path"] for item in files if "sha256" in item}
        by_path = {item["path"]: item["sha256"] for item in files if item.get("sha256") in wanted}
        if wanted - known.keys():
            raise ArtifactError(f"{self._layout}: {self.target}: has no file with sha256 {min(wanted - known.keys())}")
        for layer in self._layers()[:-1]:
            if not wanted:
                return
            try:
                with tarfile.open(self._layout.blob_path(layer), mode="r|gz") as archive:
                    for member in archive:
                        sha = by_path.get(member.name)
                        if sha in wanted and member.isreg():
                            stream = archive.extractfile(member)
                            data = stream.read() if stream else b""
                            if hashlib.sha256(data).hexdigest() != sha:
                                raise ArtifactError(f"{self._layout}: {member.name} is damaged")
                            wanted.discard(sha)
                            yield sha, data
            except _BROKEN as error:
                raise ArtifactError(f"{self._layout}: {self.target}: a layer cannot be read: {error}") from error
        if wanted:
            raise ArtifactError(f"{self._layout}: {self.target}: {known[min(wanted)]} is missing from the layers")

    def complete(self) -> bool:
        """Whether every blob of the image is there, by name and size."""
        places = [(self._layout.blob_path(blob), blob["size"]) for blob in self._parts()]
        return all(path.is_file() and path.stat().st_size == size for path, size in places)

    def blobs(self) -> dict[str, int]:
        """Sizes of the image's blobs by digest."""
        return {blob["digest"]: blob["size"] for blob in [self.descriptor, *self._parts()]}

    def _parts(self) -> list[dict[str, Any]]:
        """The descriptors of configuration and layers."""
        manifest = self._layout.json_blob(self.descriptor)
        try:
            parts = [manifest["config"], *manifest["layers"]]
            well_formed = len(parts) == 4 and all(
                isinstance(part["digest"], str) and part["size"] >= 0 for part in parts
            )
        except (KeyError, TypeError):
            well_formed = False
        if not well_formed:
            raise ArtifactError(f"{self._layout}: {self.target}: is not an image of configuration and three layers")
        return parts

    def _layers(self) -> list[dict[str, Any]]:
        return self._parts()[1:]

    def _meta(self, name: str) -> bytes:
        data = self._layout.blob(self._layers()[-1])
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r|gz") as archive:
                for member in archive:
                    if member.name == name and member.isreg():
                        stream = archive.extractfile(member)
                        return stream.read() if stream else b""
        except _BROKEN as error:
            raise ArtifactError(f"{self._layout}: {self.target}: cannot be read: {error}") from error
        raise ArtifactError(f"{self._layout}: {self.target}: holds no {name}: it was not made by agent_package")


@dataclass(frozen=True)
class Artifact:
    """One version of an agent; `digest` is its OCI digest, `sha256:...`."""

    name: str
    version: str
    digest: str
    manifest: dict[str, Any]
    images: list[Image]

    def image(self, target: str) -> Image:
        for image in self.images:
            if image.target == target:
                return image
        raise ArtifactError(
            f"{self.name} {self.version} has no target {target}; "
            f"it has {', '.join(image.target for image in self.images)}"
        )


class Artifacts:
    """A directory of OCI layouts, one an agent."""

    def __init__(self, root: str) -> None:
        self.root = root

    def versions(self, name: str) -> list[str]:
        """The versions there are, sorted as text; empty where the agent is not known."""
        layout = _Layout(Path(self.root) / name)
        return sorted(layout.index()) if layout.exists() else []

    def open(self, name: str, version: str) -> Artifact:
        """Open one version; ArtifactError says what exists where it does not."""
        layout = _Layout(Path(self.root) / name)
        if not layout.exists():
            known = sorted(path.parent.name for path in Path(self.root).glob("*/index.json"))
            raise ArtifactError(f"no artifact of {name} in {self.root}: there is {', '.join(known) or 'none at all'}")
        index = layout.index()
        if version not in index:
            raise ArtifactError(
                f"no {name} {version} in {self.root}: there is {', '.join(sorted(index)) or 'no version'}"
            )
        images = [_image(layout, entry) for entry in _descriptors(layout, index[version])]
        manifest, _digest = images[0].manifest()
        if (manifest.get("name"), manifest.get("version")) != (name, version):
            raise ArtifactError(f"{layout}: {version} holds {manifest.get('name')} {manifest.get('version')}")
        return Artifact(name, version, str(index[version]["digest"]), manifest, images)


def _descriptors(layout: "_Layout", found: dict[str, Any]) -> list[dict[str, Any]]:
    """The images of an index; or the one that a copy without the others leaves."""
    blob = layout.json_blob(found)
    entries = blob.get("manifests")
    if "layers" in blob:
        entries = [{**found, "annotations": blob.get("annotations")}]
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ArtifactError(f"{layout}: {found.get('digest')} has no image")
    return entries


def _image(layout: "_Layout", descriptor: dict[str, Any]) -> Image:
    try:
        notes = {
            key: str(descriptor["annotations"][ANNOTATION + key]) for key in ("target", "tree", "content", "inputs")
        }
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{layout}: was not made by agent_package: an image without {error}") from error
    return Image(**notes, descriptor=descriptor, _layout=layout)


@dataclass(frozen=True)
class _Layout:
    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        return (self.path / "index.json").exists()

    def index(self) -> dict[str, dict[str, Any]]:
        """The descriptors of index.json by version."""
        found = self.parse(self._read(self.path / "index.json"), "index.json")
        try:
            entries = [(entry.get("annotations", {}).get(REF_NAME), entry) for entry in found["manifests"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{self}: index.json is not an OCI index") from error
        return {str(version): entry for version, entry in entries if version}

    def blob_path(self, descriptor: dict[str, Any]) -> Path:
        found = _DIGEST.fullmatch(str(descriptor.get("digest")))
        if not found:
            raise ArtifactError(f"{self}: {descriptor.get('digest')!r} is not a sha256 digest")
        return self.path / "blobs" / "sha256" / found[1]

    def blob(self, descriptor: dict[str, Any]) -> bytes:
        path = self.blob_path(descriptor)
        data = self._read(path)
        if hashlib.sha256(data).hexdigest() != path.name:
            raise ArtifactError(f"{self}: the blob {path.name} is damaged")
        return data

    def json_blob(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        found = self.parse(self.blob(descriptor), str(descriptor.get("digest")))
        if not isinstance(found, dict):
            raise ArtifactError(f"{self}: {descriptor.get('digest')} is not an OCI manifest")
        return found

    def parse(self, data: bytes, what: str) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{self}: {what} is not JSON") from error

    def _read(self, path: Path) -> bytes:
        try:
            with open(path, "rb") as stream:
                if os.fstat(stream.fileno()).st_size > _MAX_JSON:
                    raise ArtifactError(f"{self}: {path.name} is too large")
                return stream.read()
        except OSError as error:
            raise ArtifactError(f"{self}: {path.name} cannot be read: {error.strerror}") from error
