# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an agent's files come from: a directory, or a file or archive with a digest."""

import fnmatch
import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .hidden import BUILDS_GO_BY, IGNORE_FILE, KEEPS, kept
from .manifest import Manifest
from .tree import Entry, PackageError, Tree, canonical, path_problem

LOCK_FILE = "agent.lock"
# never part of an agent, beside what is hidden: caches, environments, what builds leave behind
_NEVER = ("__pycache__", "*.py[cod]", "venv", "*.egg-info", "node_modules", "*.swp", "*~")
_NEVER_AT_TOP = ("dist", "build", LOCK_FILE)
# what a plain directory holds beside the agent itself
_NOT_INSTALLED = ("agent.yml", BUILDS_GO_BY, "requirements.txt", "tests", "test")
_MAX_FILE = 2 << 30


def directory(manifest: Manifest, file: str) -> Path:
    """The directory of a manifest whose source is one."""
    path = Path(os.path.dirname(os.path.abspath(file)), manifest["source"])
    if not path.is_dir():
        raise PackageError(f"{file}: source: {manifest['source']!r} is not a directory")
    return path


def walk(root: Path) -> Tree:
    """A source directory's files, without what is hidden or never belongs to an agent and what .agentignore names."""
    never, top, shown = list(_NEVER), list(_NEVER_AT_TOP), kept(root)
    for pattern in _ignore_lines(root):
        (top if "/" in pattern.rstrip("/") else never).append(pattern.strip("/"))

    def ignored(path: str) -> bool:
        name = path.rsplit("/", 1)[-1]
        if name.startswith(".") and name not in shown:
            return True
        return any(fnmatch.fnmatchcase(name, one) for one in never) or any(
            fnmatch.fnmatchcase(path, one) for one in top
        )

    return dict(_walk(root, "", ignored))


def _ignore_lines(root: Path) -> Iterator[str]:
    file = root / IGNORE_FILE
    if not file.is_file():
        return
    for number, raw in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.strip()
        if KEEPS.fullmatch(line):
            continue
        if line.startswith("!") or "**" in line:
            raise PackageError(
                f"{file}: line {number}: '**' is not supported, and '!' only before a hidden name: !.name"
            )
        if line and not line.startswith("#"):
            yield line


def _walk(root: Path, below: str, ignored: Callable[[str], bool]) -> Iterator[tuple[str, Entry]]:
    for item in sorted(os.scandir(root / below), key=lambda found: found.name):
        path = f"{below}/{item.name}" if below else item.name
        if ignored(path):
            continue
        mode = item.stat(follow_symlinks=False).st_mode
        link = os.readlink(item.path) if stat.S_ISLNK(mode) else None
        if reason := path_problem(path, link):
            raise PackageError(f"{item.path}: {reason}")
        if link is not None:
            yield path, Entry(link=link)
        elif stat.S_ISDIR(mode):
            yield from _walk(root, path, ignored)
        elif stat.S_ISREG(mode):
            yield path, Entry(Path(item.path), "755" if mode & 0o100 else "644")
        else:
            raise PackageError(f"{item.path}: is neither a file, a directory nor a link")


def inputs(tree: Tree) -> str:
    """A digest of source files: their paths, modes and bytes."""
    listed = []
    for path, entry in sorted(tree.items()):
        data = hashlib.sha256(entry.read()).hexdigest() if entry.link is None else "link:" + entry.link
        listed.append([path, entry.mode, data])
    return hashlib.sha256(canonical(listed)).hexdigest()


def copy(tree: Tree, to: Path) -> Path:
    """Write a tree's files to a fresh directory, so that a build leaves nothing in the user's."""
    for path, entry in tree.items():
        place = to / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if entry.link is None:
            place.write_bytes(entry.read())
            place.chmod(0o755 if entry.mode == "755" else 0o644)
        else:
            place.symlink_to(entry.link)
    return to


def plain(tree: Tree, manifest: Manifest) -> Tree:
    """A directory without pyproject.toml as it is installed: `bin/` beside, and modules in, `site-packages/`.

    Of an agent that is no Python every path stays as it is.
    """
    kept = {path: entry for path, entry in tree.items() if path.split("/")[0] not in _NOT_INSTALLED}
    if manifest["runtime"]["type"] != "python":
        return kept
    return {path if path.startswith("bin/") else f"site-packages/{path}": entry for path, entry in kept.items()}


def fetch(manifest: Manifest, file: str, scratch: Path) -> Tree:
    """The files of a {file, sha256} source: an archive's, or the one executable as `bin/<name>`."""
    source = manifest["source"]
    base = os.path.dirname(os.path.abspath(file))
    place = download(source["file"], source["sha256"], scratch, base=base, where=f"{file}: source")
    files = opened(place, scratch, where=f"{file}: source.file: {source['file']!r}")
    return files if files is not None else {f"bin/{manifest['name']}": Entry(place, "755")}


def download(location: str, sha256: str, scratch: Path, *, base: str, where: str) -> Path:
    """A copy of a file, by path (relative to `base`) or URL, that has this digest; `where` is the key in errors."""
    place = scratch / "download"
    if "://" in location:
        _download(location, place, where)
    else:
        try:
            shutil.copyfile(Path(base) / location, place)
        except OSError as error:
            raise PackageError(f"{where}.file: {location!r} cannot be read: {error.strerror}") from error
    with place.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise PackageError(f"{where}.sha256: {location!r} has {found}")
    return place


def opened(place: Path, scratch: Path, *, where: str) -> Tree | None:
    """The files in an archive (tar, zip), unpacked below `scratch`; None where the file is no archive."""
    try:
        if zipfile.is_zipfile(place) and not _begins(place, b"\x7fELF"):
            return dict(_unzip(place))
        if tarfile.is_tarfile(place):
            return dict(_untar(place, scratch / "archive"))
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        OSError,
        EOFError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise PackageError(f"{where}: {error}") from error
    return None


def _begins(place: Path, magic: bytes) -> bool:
    with place.open("rb") as stream:
        return stream.read(len(magic)) == magic


def _download(url: str, place: Path, where: str) -> None:
    if not url.startswith("https://"):
        raise PackageError(f"{where}.file: only https is possible, not {url.split('://', 1)[0]}")
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, place.open("wb") as stream:  # noqa: S310 (https, checked above)
            shutil.copyfileobj(answer, stream)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise PackageError(f"{where}.file: {url!r} cannot be fetched: {error}") from error


def _clean(name: str, link: str | None = None) -> str:
    path = name.removeprefix("./").rstrip("/")
    if reason := path_problem(path, link):
        raise PackageError(f"{name!r} {reason}")
    return path


def _untar(place: Path, folder: Path) -> Iterator[tuple[str, Entry]]:
    folder.mkdir()
    with tarfile.open(place) as archive:
        for member in archive:
            if member.name in (".", "./") or (member.isdir() and not _clean(member.name)):
                continue
            path = _clean(member.name, member.linkname if member.issym() else None)
            if member.mode & 0o6000:
                raise PackageError(f"{member.name!r} is setuid or setgid")
            if member.issym():
                yield path, Entry(link=member.linkname)
            elif member.isreg() or member.islnk():
                if member.islnk():
                    _clean(member.linkname)
                yield path, _spool(archive, member, folder)
            elif not member.isdir():
                raise PackageError(f"{member.name!r} is neither a file, a directory nor a link")


def _spool(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> Entry:
    stream = archive.extractfile(member)
    if stream is None or member.size > _MAX_FILE:
        raise PackageError(f"{member.name!r} cannot be read")
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as copied:
        shutil.copyfileobj(stream, copied)
    return Entry(Path(copied.name), "755" if member.mode & 0o100 else "644")


def _unzip(place: Path) -> Iterator[tuple[str, Entry]]:
    seen = set()
    with zipfile.ZipFile(place) as archive:
        for item in archive.infolist():
            path, mode = _clean(item.filename), item.external_attr >> 16
            if item.is_dir():
                continue
            if path in seen:
                raise PackageError(f"{item.filename!r} is there twice")
            seen.add(path)
            if mode & 0o6000 or (stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFLNK)):
                raise PackageError(f"{item.filename!r} is setuid, setgid or a device")
            data = archive.read(item)
            if stat.S_ISLNK(mode):
                link = data.decode("utf-8")
                yield _clean(item.filename, link), Entry(link=link)
            else:
                yield path, Entry(data, "755" if mode & 0o100 else "644")
