# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OCI image layouts: layers, images and the index, byte for byte the same for the same input.

Source: the OCI image specification 1.1 (image-layout, image-index, manifest, config, layer).
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import posixpath
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .artifact import ANNOTATION, REF_NAME
from .tree import Entry, canonical

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
Descriptor = dict[str, Any]
_USUAL = "6efa95a26b3549dd760d3e775854bf6b022d668022a4ae43848ef3d1330e75e6"


@dataclass(frozen=True)
class Layer:
    """A layer's descriptor, and the digest of its uncompressed tar."""

    descriptor: Descriptor
    diff_id: str


class Blobs:
    """New blobs, collected in a directory of their own until an index that names them is published."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._layers: dict[str, Layer] = {}

    def add(self, data: bytes, media_type: str) -> Descriptor:
        digest = hashlib.sha256(data).hexdigest()
        (self.directory / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def add_layer(self, tree: Mapping[str, Entry], key: str) -> Layer:
        """Write a tree as a layer; `key` tells equal trees, which are written once."""
        if key not in self._layers:
            with tempfile.NamedTemporaryFile(dir=self.directory, prefix=".layer-", delete=False) as stream:
                packer = _Gzip(stream)
                with tarfile.open(fileobj=packer, mode="w", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
                    for member, data in _members(tree):
                        archive.addfile(member, io.BytesIO(data))
                packer.finish()
            os.rename(stream.name, self.directory / packer.digest.hexdigest())
            descriptor = {"mediaType": LAYER_TYPE, "digest": f"sha256:{packer.digest.hexdigest()}", "size": packer.size}
            self._layers[key] = Layer(descriptor, f"sha256:{packer.diff.hexdigest()}")
        return self._layers[key]


class _Gzip:
    """A gzip stream without name and time. Python's own writes a header that differs between its versions."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, -15, 8, zlib.Z_DEFAULT_STRATEGY)
        self._crc = self._length = self.size = 0
        self.digest, self.diff = hashlib.sha256(), hashlib.sha256()
        self._emit(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")

    def _emit(self, data: bytes) -> None:
        self._stream.write(data)
        self.digest.update(data)
        self.size += len(data)

    def write(self, data: bytes) -> int:
        self.diff.update(data)
        self._crc = zlib.crc32(data, self._crc)
        self._length += len(data)
        self._emit(self._deflate.compress(data))
        return len(data)

    def tell(self) -> int:
        return self._length

    def finish(self) -> None:
        self._emit(self._deflate.flush() + struct.pack("<LL", self._crc, self._length & 0xFFFFFFFF))


def usual_zlib() -> bool:
    """Whether this Python compresses as zlib itself does.

    Replacements such as zlib-ng give other bytes for the same tar, and so other OCI digests. The digests of tree and
    content, which hosts and plans go by, are taken of what is not compressed.
    """
    sample = b"".join(hashlib.sha256(bytes([number % 64])).hexdigest().encode() for number in range(2048))
    packer = _Gzip(io.BytesIO())
    packer.write(sample)
    packer.finish()
    return packer.digest.hexdigest() == _USUAL


def _members(tree: Mapping[str, Entry]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    folders: set[str] = set()
    for path in sorted(tree):
        missing = []
        parent = posixpath.dirname(path)
        while parent and parent not in folders:
            missing.append(parent)
            folders.add(parent)
            parent = posixpath.dirname(parent)
        for folder in reversed(missing):
            yield _member(folder, tarfile.DIRTYPE, 0o755), b""
        entry = tree[path]
        member = _member(path, tarfile.REGTYPE if entry.link is None else tarfile.SYMTYPE, int(entry.mode, 8))
        data = b""
        if entry.link is None:
            data = entry.read()
            member.size = len(data)
        else:
            member.mode, member.linkname = 0o777, entry.link
        yield member, data


def _member(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.mtime = kind, mode, 0
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def add_image(blobs: Blobs, machine: str, layers: list[Layer], notes: Mapping[str, str]) -> Descriptor:
    """Write an image's configuration and manifest; returns its descriptor for an image index.

    `notes` become annotations (and labels) under `io.agentfactory.`.
    """
    annotations = {ANNOTATION + key: value for key, value in notes.items()}
    config = {
        "architecture": machine,
        "os": "linux",
        "config": {"Labels": annotations},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "annotations": annotations,
        "config": blobs.add(canonical(config), CONFIG_TYPE),
        "layers": [layer.descriptor for layer in layers],
    }
    found = blobs.add(canonical(manifest), MANIFEST_TYPE)
    return {**found, "platform": {"architecture": machine, "os": "linux"}, "annotations": annotations}


def add_index(blobs: Blobs, images: list[Descriptor]) -> Descriptor:
    """Write the image index of one version."""
    ordered = sorted(images, key=lambda image: str(image["annotations"][ANNOTATION + "target"]))
    return blobs.add(canonical({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": ordered}), INDEX_TYPE)


@contextlib.contextmanager
def locked(layout: Path) -> Iterator[None]:
    """Hold the layout's lock; makes its directory where missing."""
    layout.mkdir(parents=True, exist_ok=True)
    with open(layout / ".lock", "a", encoding="ascii") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def publish(layout: Path, blobs: Blobs, version: str, index: Descriptor) -> None:
    """Copy new blobs into a layout and then name `index` as `version`, by a rename; call with the lock held.

    Killed at any point, the layout is valid and says either what it said before or this.
    """
    store = layout / "blobs" / "sha256"
    store.mkdir(parents=True, exist_ok=True)
    for left in [*store.glob(".*.part"), *layout.glob(".*.part")]:  # of a run that was killed: nobody else writes now
        left.unlink()
    for blob in sorted(blobs.directory.iterdir()):
        if len(blob.name) == 64 and not _holds(store / blob.name, blob.stat().st_size):
            write_file(store / blob.name, blob.read_bytes())
    write_file(layout / "oci-layout", canonical({"imageLayoutVersion": "1.0.0"}))
    try:
        entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    except FileNotFoundError:
        entries = []
    entries = [entry for entry in entries if entry.get("annotations", {}).get(REF_NAME) != version]
    entries.append({**index, "annotations": {REF_NAME: version}})
    entries.sort(key=lambda entry: str(entry.get("annotations", {}).get(REF_NAME)))
    write_file(layout / "index.json", canonical({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}))


def _holds(path: Path, size: int) -> bool:
    """Whether a blob is there, whole and undamaged: then it need not be written again."""
    if not path.is_file() or path.stat().st_size != size:
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def write_file(path: Path, data: bytes) -> None:
    """Replace a file as a whole, where its bytes differ."""
    if path.is_file() and path.read_bytes() == data:
        return
    temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
