# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an agent's source to one target's files: what each kind of source does."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import lock as locks
from . import source, uv, wheel
from .manifest import PLACEHOLDER, Manifest, stored
from .target import Target
from .tree import PackageError, Tree, canonical

GENERATION = 1  # raised when the same input begins to give other bytes
_HOSTS_OWN = ("pyvenv.cfg", "bin/python", "bin/python3", "lib")


@dataclass(frozen=True)
class Source:
    """An agent's source, read. `inputs` is the digest of all that decides the bytes, but for the target.

    `trees(target, scratch)` returns (dependencies, code). `lock` is the text of agent.lock, or None where none is needed.
    """

    inputs: str
    lock: str | None
    trees: Callable[[Target, Path], tuple[Tree, Tree]]


def read(manifest: Manifest, file: str, scratch: Path, *, upgrade_lock: bool) -> Source:
    """Read a source, and resolve its dependencies where its lock is missing or is to be renewed."""
    if isinstance(manifest["source"], dict) and "requirement" in manifest["source"]:
        return _requirement(manifest, file, scratch, upgrade_lock)
    if isinstance(manifest["source"], dict):
        inputs = _inputs(manifest, manifest["source"]["sha256"], None)
        return Source(inputs, None, lambda _target, folder: ({}, source.fetch(manifest, file, folder)))
    return _directory(manifest, file, scratch, upgrade_lock)


def check_commands(manifest: Manifest, tree: Tree) -> None:
    """PackageError where a command's first word is not in the tree, or the tree has what the host makes itself."""
    python = manifest["runtime"]["type"] == "python"
    for path in tree if python else ():
        if path in _HOSTS_OWN or path.split("/")[0] in _HOSTS_OWN:
            raise PackageError(f"{path}: is made on the host: the agent cannot bring its own")
    health = manifest["health"]
    for key, words in (
        ("command", manifest["command"]),
        ("health.preflight", health["preflight"]),
        ("health.command", health["command"] and health["command"]["argv"]),
    ):
        first = words[0].removeprefix("./") if words else ""
        if not first or first.startswith("/") or PLACEHOLDER.search(first) or first in tree or f"bin/{first}" in tree:
            continue
        if python and first.removeprefix("bin/") in ("python", "python3"):
            continue
        known = sorted(path.removeprefix("bin/") for path in tree if path.startswith("bin/") and "/." not in path)
        raise PackageError(
            f"{key}: {first!r} is no console script and no path in the artifact; "
            f"scripts there: {', '.join(known) or 'none'}"
        )


def _inputs(manifest: Manifest, files: str, lock: str | None) -> str:
    return hashlib.sha256(canonical([GENERATION, stored(manifest), files, lock])).hexdigest()


def _locked(needs: locks.Needs, file: str, upgrade: bool) -> locks.Lock:
    path = Path(file).parent / source.LOCK_FILE
    found = None if upgrade else locks.read(path, needs)
    return found or locks.make(needs)


def _requirement(manifest: Manifest, file: str, scratch: Path, upgrade: bool) -> Source:
    from packaging.requirements import Requirement

    lock = _locked(locks.of_requirement(manifest), file, upgrade)
    mine, others = lock.split(Requirement(manifest["source"]["requirement"]).name)

    def trees(target: Target, folder: Path) -> tuple[Tree, Tree]:
        return (
            _installed(lock, others, target, folder / "dependencies", scratch),
            _installed(lock, mine, target, folder / "code", scratch),
        )

    return Source(_inputs(manifest, "", lock.text), lock.text, trees)


def _directory(manifest: Manifest, file: str, scratch: Path, upgrade: bool) -> Source:
    root = source.directory(manifest, file)
    files = source.walk(root)
    if not files:
        raise PackageError(f"{root}: holds no files")
    project = "pyproject.toml" in files and manifest["runtime"]["type"] == "python"
    python = manifest["runtime"]["type"] == "python"
    needs = locks.of_directory(root, manifest) if python else None
    lock = _locked(needs, file, upgrade) if needs and needs.any() else None
    built: list[Path] = []

    def code(target: Target, folder: Path) -> Tree:
        if not project:
            tree = source.plain(files, manifest)
            if python:
                wheel.scripts(tree)
            return tree
        if not built:
            constraints = _written(scratch / "build.txt", lock.build) if lock and lock.build else None
            copied = source.copy(files, scratch / "source")
            built.append(
                uv.build_wheel(copied, scratch / "wheel", constraints=constraints, version=manifest["version"])
            )
        uv.install_wheel(built[0], target, folder)
        return wheel.tree_of(folder, target, built_here=True)

    def trees(target: Target, folder: Path) -> tuple[Tree, Tree]:
        dependencies = _installed(lock, lock.dependencies, target, folder / "dependencies", scratch) if lock else {}
        return dependencies, code(target, folder / "code")

    return Source(
        _inputs(manifest, source.inputs(files), lock.text if lock else None), lock.text if lock else None, trees
    )


def _installed(lock: locks.Lock, pins: str, target: Target, folder: Path, scratch: Path) -> Tree:
    if not pins:
        return {}
    constraints = _written(scratch / "build.txt", lock.build) if lock.sdists and lock.build else None
    folder.parent.mkdir(parents=True, exist_ok=True)
    named = _written(folder.with_suffix(".txt"), pins)
    uv.install(named, target, folder, wheels_only=not lock.sdists, constraints=constraints)
    return wheel.tree_of(folder, target)


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
