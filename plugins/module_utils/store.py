# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's store of distributed files, by the SHA-256 of their content.

A stored file has its final mode (read-only; executable ones end in ``.x``), so that trees can be hard links to it: a link
count of one then means that no tree needs the file.
"""

import hashlib
import os
import signal
import stat
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from .errors import HostError
from .files import checkpoint, flush_filesystem

CHUNK = 1 << 20
STALLED = 120


def blob_path(store: Path, entry: "dict[str, Any]") -> Path:
    """Where the content of a file-list entry ``{"sha256", "mode", "size", ...}`` is kept."""
    name: str = entry["sha256"] + (".x" if entry["mode"] == "755" else "")
    return store / name


def missing(store: Path, entries: "Iterable[dict[str, Any]]") -> "list[str]":
    """The SHA-256 of every regular file in `entries` that the store lacks, sorted."""
    absent = set()
    for entry in entries:
        if "sha256" not in entry:
            continue
        try:
            present = blob_path(store, entry).stat().st_size == entry["size"]
        except FileNotFoundError:
            present = False
        if not present:
            absent.add(entry["sha256"])
    return sorted(absent)


def hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


class Damaged(HostError):
    """Stored files that are not (any more) what their name says; they were removed. `files` are their SHA-256."""

    def __init__(self, paths: "list[str]", files: "set[str]") -> None:
        super().__init__(
            "%s was damaged in the store and has been removed; run again to fetch it anew" % ", ".join(paths)
        )
        self.files = files


class _Inflater:
    """Reads exactly as many decompressed bytes as asked from a zlib stream, without holding more than a chunk."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._zlib, self._ready = stream, zlib.decompressobj(), b""

    def pieces(self, size: int) -> Iterator[bytes]:
        while size:
            while not self._ready:
                signal.alarm(
                    STALLED
                )  # a connection that was cut without a word must not hold this host's lock for hours
                source = self._zlib.unconsumed_tail or self._stream.read(1 << 16)
                signal.alarm(0)
                if not source:
                    raise HostError("the transfer ended early: %d bytes are missing; nothing was changed" % size)
                try:
                    self._ready = self._zlib.decompress(source, CHUNK)
                except zlib.error as error:
                    raise HostError("the transfer arrived damaged (%s); nothing was changed" % error) from None
            piece, self._ready = self._ready[:size], self._ready[size:]
            size -= len(piece)
            yield piece


def receive(store: Path, entries: "Iterable[dict[str, Any]]", blobs: "list[list[Any]]", stream: BinaryIO) -> int:
    """Store the streamed files, each verified before it gets its name. Returns how many bytes of content came.

    `blobs` is ``[[sha256, size], ...]`` in the order of the zlib `stream`; `entries` say with which modes they are needed.
    Raises HostError when content and name differ or the stream ends early; what was verified by then stays.
    """
    store.mkdir(parents=True, exist_ok=True)
    modes: dict[str, set[str]] = {}
    for entry in entries:
        if "sha256" in entry:
            modes.setdefault(entry["sha256"], set()).add(entry["mode"])
    source = _Inflater(stream)
    received: list[tuple[Path, Path]] = []
    total = 0
    try:
        for sha256, size in blobs:
            for position, mode in enumerate(sorted(modes.get(sha256, {"644"}))):
                temporary = store / (".new-%d-%s-%s" % (os.getpid(), sha256, mode))
                if position == 0:
                    first = temporary
                    _write_verified(temporary, source.pieces(size), sha256)
                    total += size
                else:
                    temporary.write_bytes(first.read_bytes())
                os.chmod(temporary, 0o555 if mode == "755" else 0o444)
                received.append((temporary, blob_path(store, {"sha256": sha256, "mode": mode})))
    finally:
        # Also when the rest did not come: then the next transfer has less to bring.
        if received:
            checkpoint("store.received")
            flush_filesystem(store)
        for temporary, final in received:
            os.replace(temporary, final)
        checkpoint("store.named")
    return total


def _write_verified(path: Path, pieces: Iterator[bytes], sha256: str) -> None:
    digest = hashlib.sha256()
    try:
        with open(path, "wb") as stream:
            for piece in pieces:
                digest.update(piece)
                stream.write(piece)
        if digest.hexdigest() != sha256:
            raise HostError("a file arrived damaged: expected sha256 %s, got %s" % (sha256, digest.hexdigest()))
    except BaseException:
        path.unlink()
        raise


def collect_garbage(store: Path, kept: "Iterable[dict[str, Any]]" = ()) -> int:
    """Remove what no tree links to but for the entries `kept`, and leftovers of killed transfers. Returns how many files."""
    removed, names = 0, {blob_path(store, entry).name for entry in kept if "sha256" in entry}
    if store.is_dir():
        for entry in os.scandir(store):
            status = entry.stat(follow_symlinks=False)
            unused = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and entry.name not in names
            if entry.name.startswith(".new-") or unused:
                os.unlink(entry.path)
                removed += 1
    return removed
