# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees: artifacts unpacked on a host. Made once, sealed, never changed; shared by all instances.

The artifact's file list is data from outside: it is checked here too, before anything is written, so that no entry can leave
the tree (absolute paths, ``..``, links out of it, paths below a link) or be anything but a file or a link.
"""

import hashlib
import importlib.util
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional, Union

from . import store
from .errors import HostError
from .files import canonical, checkpoint, read_known, remove, staging_directory, write_json
from .layout import Layout


def check_entries(entries: "list[dict[str, Any]]") -> None:
    """Refuse a file list that could write or point outside its tree. Raises HostError naming the path."""
    leaves = {e["path"] for e in entries if isinstance(e.get("path"), str)}
    seen = set()
    for entry in entries:
        path = entry.get("path")
        parts = path.split("/") if isinstance(path, str) else []
        if not isinstance(path, str) or {"", ".", ".."} & set(parts) or "\0" in path:
            raise HostError("unsafe path in the artifact: %r" % path)
        if path in seen:
            raise HostError("path twice in the artifact: %r" % path)
        seen.add(path)
        if any("/".join(parts[:n]) in leaves for n in range(1, len(parts))):
            raise HostError("path below a file or a link in the artifact: %r" % path)
        if "link" in entry:
            if _leaves(path, entry["link"]):
                raise HostError("link out of the artifact: %r -> %r" % (path, entry["link"]))
        elif (
            entry.get("mode") not in ("644", "755")
            or not _is_sha256(entry.get("sha256"))
            or not _is_size(entry.get("size"))
        ):
            raise HostError("not a plain file in the artifact: %r" % path)


def _leaves(path: str, link: Any) -> bool:
    """Whether a link may lead out of its tree. ``..`` is good at its start only: after a name, which may itself be a link,
    it goes up from wherever that leads."""
    if not isinstance(link, str) or not link or link.startswith("/") or "\0" in link:
        return True
    parts = link.split("/")
    ups = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    return ups > path.count("/") or ".." in parts[ups:]


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def digest(entries: "list[dict[str, Any]]") -> str:
    """The identity of a tree: SHA-256 of its canonical file list."""
    return hashlib.sha256(canonical(entries)).hexdigest()


def seal_path(layout: Layout, tree: str) -> Path:
    return layout.trees / (tree + ".json")


def install(layout: Layout, tree: str, entries: "list[dict[str, Any]]", *, python: bool) -> None:
    """Make the tree from the store: hard links, a virtual environment's shape for Python, compiled, flushed, renamed.

    Every byte is verified: the store's files are hashed as they are linked. Raises HostError.
    """
    check_entries(entries)
    if digest(entries) != tree:
        raise HostError("the file list does not belong to tree %s" % tree)
    if python:
        _check_made_here(entries)
    with staging_directory(layout.trees / tree) as new:
        damaged = [entry for entry in entries if not _place(layout, new, entry)]
        if damaged:
            raise store.Damaged([e["path"] for e in damaged], {e["sha256"] for e in damaged})
        if python:
            _make_virtual_environment(new)
            _compile(layout, new, layout.trees / tree, entries)
        checkpoint("tree.filled")
        sealed = _seal(new)
        _make_read_only(new)
        made = _hashes_of_made(new, sealed, entries)
        write_json(seal_path(layout, tree), {"files": sealed, "entries": entries, "made": made}, 0o644)
        checkpoint("tree.sealed")
    checkpoint("tree.named")


def _place(layout: Layout, new: Path, entry: "dict[str, Any]") -> bool:
    """Whether the entry could be put in its place: a stored file that is not what its name says is removed instead."""
    path = new / entry["path"]
    path.parent.mkdir(parents=True, exist_ok=True)
    if "link" in entry:
        os.symlink(entry["link"], path)
        return True
    blob = store.blob_path(layout.store, entry)
    if not blob.is_file() or store.hash_file(blob) != entry["sha256"]:
        remove(blob)
        return False
    os.link(blob, path)
    return True


def _check_made_here(entries: "list[dict[str, Any]]") -> None:
    """Refuse what would stand where the virtual environment is made, or be a link that this would be written through."""
    library = "lib/python%d.%d" % sys.version_info[:2]
    reserved = {"pyvenv.cfg", "bin", "bin/python", "bin/python3", "lib", library, "site-packages"}
    for entry in entries:
        if entry["path"] in reserved or entry["path"].startswith(library + "/"):
            raise HostError("%r is made on the host and cannot be in the artifact" % entry["path"])


def _make_virtual_environment(new: Path) -> None:
    """What PEP 405 asks for, around ``site-packages`` that is the same for every Python version."""
    version = "%d.%d" % sys.version_info[:2]
    interpreter = os.path.realpath(sys.executable)
    (new / "bin").mkdir(exist_ok=True)
    (new / "site-packages").mkdir(exist_ok=True)
    for name in ("python", "python3"):
        os.symlink(interpreter, new / "bin" / name)
    (new / "lib" / ("python" + version)).mkdir(parents=True)
    os.symlink("../../site-packages", new / "lib" / ("python" + version) / "site-packages")
    text = "home = %s\ninclude-system-site-packages = false\nversion = %d.%d.%d\n"
    (new / "pyvenv.cfg").write_text(text % ((os.path.dirname(interpreter),) + sys.version_info[:3]))


def _compile(layout: Layout, new: Path, final: Path, entries: "list[dict[str, Any]]") -> None:
    """Byte code beside each source. An update compiles what it changes: the rest is in a tree that is here already.

    Code that Python imports gets the path of its source then, so it may have been compiled for another tree.
    """
    import compileall  # only here: most calls compile nothing
    import py_compile

    sources = [e for e in entries if e["path"].endswith(".py") and "link" not in e]
    compiled = _compiled_here(layout, sources)
    for entry in sources:
        source, found = new / entry["path"], compiled.get((entry["path"], entry["sha256"]))
        if found:
            target = Path(importlib.util.cache_from_source(str(source)))
            target.parent.mkdir(exist_ok=True)
            os.link(found, target)
        else:
            compileall.compile_file(
                str(source), quiet=2, stripdir=str(new), prependdir=str(final),
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )  # fmt: skip


def _compiled_here(layout: Layout, sources: "list[dict[str, Any]]") -> "dict[tuple[str, str], Path]":
    """(path, SHA-256 of the source) -> its byte code in one of this host's trees, as it was when that was sealed."""
    wanted, found = {(e["path"], e["sha256"]) for e in sources}, {}
    for tree in present(layout):
        seal = _seal_of(layout, tree) or {}
        made = seal.get("made", {})
        for entry in seal.get("entries", []):
            key = (entry["path"], entry.get("sha256"))
            if key in wanted:
                path = importlib.util.cache_from_source(entry["path"])
                code = layout.trees / tree / path
                if path in made and code.is_file() and store.hash_file(code) == made[path]:
                    wanted.discard(key)
                    found[key] = code
    return found


def _scan(root: Path) -> "list[list[Any]]":
    """``[path, mode, size, mtime in ns or link target]`` of all that is in the tree, directories too, sorted."""
    found: list[list[Any]] = []
    for path, entry in _walk(root):
        if entry.is_dir(follow_symlinks=False):
            found.append([path, "d", 0, 0])
        else:
            status = entry.stat(follow_symlinks=False)
            found.append([path, "f", status.st_size, os.readlink(entry) if entry.is_symlink() else status.st_mtime_ns])
    return sorted(found)


def _walk(directory: "Union[Path, str]", prefix: str = "") -> "Iterator[tuple[str, os.DirEntry[str]]]":
    """Everything below a directory, with its path from there."""
    with os.scandir(directory) as entries:
        for entry in entries:
            yield prefix + entry.name, entry
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, prefix + entry.name + "/")


def _seal(new: Path) -> "list[list[Any]]":
    for _path, entry in _walk(new):
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            continue
        if status.st_mtime_ns:  # what came from the store may be in another tree, sealed already
            os.utime(entry, (0, 0))
        if stat.S_IMODE(status.st_mode) not in (0o444, 0o555):
            os.chmod(entry, status.st_mode & 0o111 | 0o444)
    return _scan(new)


def _hashes_of_made(new: Path, sealed: "list[list[Any]]", entries: "list[dict[str, Any]]") -> "dict[str, str]":
    """path -> SHA-256 of what was made here, byte code above all: Python runs that without a look at its source."""
    distributed = {entry["path"] for entry in entries}
    regular = (item[0] for item in sealed if item[1] == "f" and item[3] == 0)
    return {path: store.hash_file(new / path) for path in regular if path not in distributed}


def _make_read_only(new: Path) -> None:
    for directory, _names, _files in os.walk(new, topdown=False):
        os.chmod(directory, 0o555)


def _seal_of(layout: Layout, tree: str) -> "Optional[dict[str, Any]]":
    """The seal; None where there is none that can be read, which is as good as a broken one."""
    return read_known(seal_path(layout, tree)) or None


def distrust(layout: Layout, tree: str) -> None:
    """Break the seal of a tree in which `verify` found something, so that the next deploy makes it anew."""
    remove(seal_path(layout, tree))


def intact(layout: Layout, tree: str) -> bool:
    """Whether the tree is there and looks as when it was sealed (by stat, not by hash)."""
    seal = _seal_of(layout, tree)
    root = layout.trees / tree
    return seal is not None and root.is_dir() and _scan(root) == seal["files"]


def verify(layout: Layout, tree: str) -> Optional[str]:
    """Hash every distributed file. Returns what is wrong, or None."""
    seal = _seal_of(layout, tree)
    if seal is None or digest(seal["entries"]) != tree or not intact(layout, tree):
        return "the tree %s was changed after it was installed" % tree[:12]
    for entry in seal["entries"]:
        if "sha256" in entry and store.hash_file(layout.trees / tree / entry["path"]) != entry["sha256"]:
            return "%s in the tree %s is not what was distributed" % (entry["path"], tree[:12])
    return None


def present(layout: Layout) -> "list[str]":
    """The digests of the sealed trees on this host."""
    return sorted(p.stem for p in layout.trees.glob("*.json")) if layout.trees.is_dir() else []


def prune(layout: Layout, needed: "set[str]") -> "list[str]":
    """Remove trees that no release needs, and leftovers of killed installs."""
    here = {path.name.partition(".")[0] for path in layout.trees.glob("[!.]*")}  # sealed or not
    gone = sorted(here - needed)
    for tree in gone:
        remove(layout.trees / tree)
        remove(seal_path(layout, tree))
    for leftover in layout.trees.glob(".*"):
        remove(leftover)
    return gone
