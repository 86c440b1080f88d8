# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an artifact before they are written: normalised, checked, and listed for their digest."""

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FileEntry = dict[str, Any]
# control characters, and the surrogates that stand for bytes which are not UTF-8
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class PackageError(ValueError):
    """An agent cannot be packaged; the message says why, and what to do."""


@dataclass(frozen=True)
class Entry:
    """A file (`content` holds its bytes, or where they are) or a symbolic link. `mode` is `644` or `755`."""

    content: bytes | Path = b""
    mode: str = "644"
    link: str | None = None

    def read(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


Tree = dict[str, Entry]


def file_list(tree: Mapping[str, Entry]) -> list[FileEntry]:
    """The artifact's list of files, sorted by path."""
    found: list[FileEntry] = []
    for path in sorted(tree):
        entry = tree[path]
        if entry.link is not None:
            found.append({"path": path, "link": entry.link})
        else:
            data = entry.read()
            digest = hashlib.sha256(data).hexdigest()
            found.append({"path": path, "mode": entry.mode, "size": len(data), "sha256": digest})
    return found


def canonical(value: object) -> bytes:
    """The one JSON form that digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def tree_digest(files: bytes) -> str:
    return hashlib.sha256(files).hexdigest()


def content_digest(manifest: bytes, tree: str) -> str:
    return hashlib.sha256(canonical({"manifest": hashlib.sha256(manifest).hexdigest(), "tree": tree})).hexdigest()


def path_problem(path: str, link: str | None = None) -> str:
    """Why a path, or a link there, must not be in an artifact; empty where it may."""
    parts = path.split("/")
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\\" in path:
        return "is not a plain relative path"
    if _UNREADABLE.search(path + (link or "")):
        return "holds control characters or bytes that are not UTF-8"
    if parts[0] == ".agentfactory":
        return "is where agentfactory keeps its own"
    if link is not None and _leaves(path, link):
        return f"is a link out of the artifact, to {link!r}"
    return ""


def _leaves(path: str, link: str) -> bool:
    """Whether a link's target is not surely in the tree. `..` is allowed at its start only: after a name it would go up
    from wherever that name, which may be a link itself, leads to."""
    parts = link.split("/")
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    return not link or link.startswith("/") or ".." in parts[ups:] or ups > path.count("/")


def list_problem(files: Iterable[FileEntry]) -> str:
    """Why a list of files must not be unpacked: unsafe, duplicate, or one path below another that is no directory."""
    seen: set[str] = set()
    folders: set[str] = set()
    for item in files:
        path, link = item["path"], item.get("link")
        if reason := path_problem(path, link):
            return f"{path!r} {reason}"
        if path in seen:
            return f"{path!r} is listed twice"
        seen.add(path)
        parent = posixpath.dirname(path)
        while parent and parent not in folders:
            folders.add(parent)
            parent = posixpath.dirname(parent)
    for path in sorted(seen & folders):
        return f"{path!r} is a file or a link, and has others below it"
    return ""


def merge(dependencies: Tree, code: Tree) -> Tree:
    """Both layers' files as one tree; PackageError where they disagree about a path."""
    for path in sorted(dependencies.keys() & code.keys()):
        raise PackageError(f"{path} is both in the agent and in its dependencies")
    return {**dependencies, **code}
