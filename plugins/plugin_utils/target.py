# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A target: the kind of host that an image is for, written `linux/amd64+glibc2.36+py3.11`."""

from dataclasses import dataclass

from . import elf
from .manifest import TARGET
from .tree import Entry, PackageError, Tree, list_problem

# The manylinux platforms that uv knows, as glibc's minor version: a wheel made for an older one runs on a newer.
_MANYLINUX = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
_UV_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


class TargetError(ValueError):
    """A target that cannot be packaged for, with the reason."""


@dataclass(frozen=True)
class Target:
    """`libc` is `glibc`, `musl` or None (anything); `glibc` its (major, minor); `python` as `3.11`, or None."""

    name: str
    machine: str
    libc: str | None
    glibc: tuple[int, int] | None
    python: str | None

    @classmethod
    def parse(cls, name: str) -> "Target":
        found = TARGET.fullmatch(name)
        if not found:
            raise TargetError(f"{name!r} is not a target such as linux/amd64+glibc2.36+py3.11")
        libc, glibc = found["libc"], None
        if libc and libc != "musl":
            major, minor = libc.removeprefix("glibc").split(".")
            libc, glibc = "glibc", (int(major), int(minor))
        return cls(name, found["arch"], libc, glibc, found["python"])

    def uv_platform(self) -> str:
        """What `uv --python-platform` calls it."""
        machine = _UV_MACHINES.get(self.machine)
        if not machine:
            raise TargetError(f"{self.name}: uv finds wheels for {' and '.join(_UV_MACHINES)} only")
        if self.libc == "musl":
            return f"{machine}-unknown-linux-musl"
        if self.glibc is None or self.glibc < (2, _MANYLINUX[0]):
            raise TargetError(f"{self.name}: needs glibc 2.{_MANYLINUX[0]} or later")
        minor = max(known for known in _MANYLINUX if (2, known) <= self.glibc)
        return f"{machine}-manylinux_2_{minor}"

    def refuses(self, needs: elf.Needs) -> str:
        """Why a compiled file with these needs does not run here; empty where it does."""
        if needs.machine != self.machine:
            return f"is for {needs.machine}"
        if needs.musl and self.libc != "musl":
            return "is linked against musl"
        if needs.glibc and self.libc == "musl":
            return "is linked against glibc"
        if needs.glibc and self.glibc and needs.glibc > self.glibc:
            return f"needs glibc {needs.glibc[0]}.{needs.glibc[1]}"
        return ""


def check(tree: Tree, target: Target) -> None:
    """PackageError where a path is unsafe or a compiled file does not run on the target."""
    listed = [{"path": path, **({} if entry.link is None else {"link": entry.link})} for path, entry in tree.items()]
    if reason := list_problem(listed):
        raise PackageError(reason)
    for path, entry in tree.items():
        if entry.link is not None or not _is_elf(entry):
            continue
        try:
            refused = target.refuses(elf.needs(entry.read()))
        except elf.ElfError as error:
            raise PackageError(f"{path} {error}") from error
        if refused:
            raise PackageError(f"{path} {refused}, but the target is {target.name}")


def _is_elf(entry: Entry) -> bool:
    if isinstance(entry.content, bytes):
        return entry.content.startswith(elf.MAGIC)
    with entry.content.open("rb") as stream:
        return stream.read(4) == elf.MAGIC
