# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""agent.lock: the dependencies of an agent, pinned once for all platforms, and the tools that build it."""

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from . import uv
from .manifest import Manifest
from .tree import PackageError, canonical

_HEADER = "# Written by agentfactory.core.agent_package with uv; renew it with upgrade_lock: true.\n"
_INPUTS = re.compile(r"^# for: ([0-9a-f]{64})$", re.MULTILINE)
_SDISTS = "# some have no wheel and are built from source\n"
_BUILD = "# to build with\n"
_MINORS = range(7, 40)
_BUILD_PYTHON = "3.11"  # wheels are built by the controller, whose oldest this is


@dataclass(frozen=True)
class Needs:
    """What an agent asks for, before it is resolved: requirement lines, those to build with, the lowest Python."""

    requirements: tuple[str, ...]
    build: tuple[str, ...]
    python: str

    def digest(self) -> str:
        found = {"requirements": sorted(self.requirements), "build": sorted(self.build), "python": self.python}
        return hashlib.sha256(canonical(found)).hexdigest()

    def any(self) -> bool:
        return bool(self.requirements or self.build)


@dataclass(frozen=True)
class Lock:
    """`text` is the file's; `dependencies` and `build` are requirements with hashes."""

    text: str
    dependencies: str
    build: str
    sdists: bool

    @classmethod
    def parse(cls, text: str) -> "Lock":
        dependencies, _mark, build = text.partition(_BUILD)
        return cls(text, _pins(dependencies), _pins(build), _SDISTS in text)

    def split(self, name: str) -> tuple[str, str]:
        """The lines of one package, and those of all others."""
        mine, others = "", ""
        for block in re.findall(r"^\S.*(?:\n[ \t].*)*\n?", self.dependencies, re.MULTILINE):
            if _same(re.split(r"[=\[ ;]", block, maxsplit=1)[0], name):
                mine += block
            else:
                others += block
        return mine, others


def of_requirement(manifest: Manifest) -> Needs:
    """The needs of an agent that comes from a Python index."""
    return Needs((manifest["source"]["requirement"],), (), _lowest(manifest["runtime"]["python"]))


def of_directory(root: Path, manifest: Manifest) -> Needs:
    """The needs of a source directory: of its pyproject.toml, or of its requirements.txt."""
    python = manifest["runtime"]["python"]
    project = root / "pyproject.toml"
    if not project.is_file():
        return Needs(_requirements(root / "requirements.txt"), (), _lowest(python))
    try:
        data = tomllib.loads(project.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PackageError(f"{project}: {error}") from error
    table = data.get("project", {})
    if not isinstance(table, dict) or "name" not in table or "dependencies" in table.get("dynamic", ()):
        raise PackageError(f"{project}: needs [project] with a name, and its dependencies listed there")
    build = data.get("build-system", {}).get("requires", ["setuptools>=61", "wheel"])
    return Needs(tuple(table.get("dependencies", ())), tuple(build), _lowest(python, table.get("requires-python", "")))


def make(needs: Needs) -> Lock:
    """Resolve. Wheels only where that is possible; else versions that are built from source are taken too."""
    wanted = "\n".join(needs.requirements)
    sdists = False
    try:
        dependencies = uv.compile_lock(wanted, needs.python, wheels_only=True)
    except PackageError:
        dependencies = uv.compile_lock(wanted, needs.python, wheels_only=False)
        sdists = True
    build = [*needs.build, *(("setuptools", "wheel") if sdists else ())]
    pinned = uv.compile_lock("\n".join(build), _BUILD_PYTHON, wheels_only=True)
    text = f"{_HEADER}# for: {needs.digest()}\n{_SDISTS if sdists else ''}{dependencies}"
    return Lock.parse(text + (_BUILD + pinned if pinned else ""))


def read(path: Path, needs: Needs) -> Lock | None:
    """The lock beside a manifest, or None; PackageError where it was made for other needs."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise PackageError(f"{path}: cannot be read: {error}") from error
    made_for = _INPUTS.search(text)
    if not made_for or made_for[1] != needs.digest():
        raise PackageError(
            f"{path}: does not belong to these dependencies any more: renew it with upgrade_lock=true "
            "(or remove it), and commit it"
        )
    return Lock.parse(text)


def _pins(text: str) -> str:
    return "".join(line + "\n" for line in text.splitlines() if line.strip() and not line.startswith("#"))


def _same(one: str, other: str) -> bool:
    return re.sub(r"[-_.]+", "-", one.strip()).lower() == re.sub(r"[-_.]+", "-", other.strip()).lower()


def _lowest(*specifiers: str) -> str:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        wanted = SpecifierSet(",".join(one for one in specifiers if one))
    except InvalidSpecifier as error:
        raise PackageError(f"requires-python: {error}") from error
    for minor in _MINORS:
        if wanted.contains(f"3.{minor}.99"):
            return f"3.{minor}"
    raise PackageError(f"no Python fits {wanted}")


def _requirements(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    lines = []
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        if line.startswith("-") or "://" in line or line.endswith("\\"):
            raise PackageError(f"{path}: line {number}: only plain requirements are possible, one a line: {line}")
        if line:
            lines.append(line)
    return tuple(lines)
