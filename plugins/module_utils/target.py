# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Platforms: what a host is, what an artifact was built for, and which of its targets fits."""

import os
import re
import sys
from typing import Any, NamedTuple, Optional

from .errors import HostError, Unpackaged

MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
_TARGET = re.compile(
    r"(?P<os>[a-z]+)/(?P<machine>[a-z0-9]+)(?:\+(?P<libc>glibc(?P<glibc>\d+\.\d+)|musl))?(?:\+py(?P<python>\d+\.\d+))?"
)


class Target(NamedTuple):
    """``<os>/<arch>[+glibcX.Y|+musl][+pyX.Y]``: what an artifact's image needs of a host."""

    os: str
    machine: str
    libc: Optional[str]
    python: Optional[str]

    @classmethod
    def parse(cls, text: str) -> "Target":
        match = _TARGET.fullmatch(text)
        if not match:
            raise ValueError("%r is not a target like linux/amd64+glibc2.36+py3.11" % text)
        return cls(match["os"], match["machine"], match["libc"], match["python"])

    def __str__(self) -> str:
        extras = [self.libc or "", "py%s" % self.python if self.python else ""]
        return "+".join(["%s/%s" % (self.os, self.machine)] + [e for e in extras if e])


def version(text: str) -> "tuple[int, ...]":
    """``glibc2.36`` or ``3.11`` as numbers that compare."""
    return tuple(int(n) for n in re.findall(r"\d+", text))


def here() -> Target:
    """The platform of this interpreter."""
    libc = "musl"
    if "CS_GNU_LIBC_VERSION" in os.confstr_names:
        libc = (os.confstr("CS_GNU_LIBC_VERSION") or "musl").replace(" ", "")
    machine = os.uname().machine
    return Target("linux", MACHINES.get(machine, machine), libc, "%d.%d" % sys.version_info[:2])


def fits(target: Target, host: Target) -> bool:
    """Whether an image for `target` runs on `host`: same machine and Python, a C library at least as new."""
    if (target.os, target.machine) != (host.os, host.machine):
        return False
    if target.python and target.python != host.python:
        return False
    if not target.libc:
        return True
    if target.libc == "musl" or host.libc == "musl" or not host.libc:
        return target.libc == host.libc
    return version(target.libc) <= version(host.libc)


def choose(images: "list[dict[str, Any]]", host: Target, what: str) -> "dict[str, Any]":
    """The image (``{"target", "tree", "content"}``) for `host` with the newest C library it can use.

    Raises Unpackaged naming what the host is and what there is.
    """
    usable = [i for i in images if fits(Target.parse(i["target"]), host)]
    if not usable:
        raise Unpackaged(
            "%s is not packaged for this host, which is %s; it is packaged for %s"
            % (what, host, ", ".join(i["target"] for i in images) or "nothing")
        )
    return max(usable, key=lambda i: version(Target.parse(i["target"]).libc or "0"))


def python_satisfies(specifiers: str, python: "tuple[int, ...]") -> bool:
    """Whether an interpreter's version meets a PEP 440 set such as ``>=3.9,<4``; ``==3.11.*`` is understood too."""
    for clause in filter(None, (c.strip() for c in specifiers.split(","))):
        match = re.fullmatch(r"(>=|<=|==|!=|>|<|~=)\s*(\d+(?:\.\d+)*)(\.\*)?", clause)
        wanted = version(match[2]) if match else ()
        if not match or (match[3] and match[1] not in ("==", "!=")) or (match[1] == "~=" and len(wanted) < 2):
            raise HostError("runtime.python: %r is not a version specifier" % clause)
        width = len(wanted) if match[3] else max(len(wanted), len(python))
        have = tuple(python[:width]) + (0,) * (width - len(python))
        upper = match[1] == "~=" and tuple(python[: len(wanted) - 1]) != wanted[:-1]
        wanted = wanted + (0,) * (width - len(wanted))
        holds = {
            ">=": have >= wanted, "<=": have <= wanted, "==": have == wanted, "!=": have != wanted,
            ">": have > wanted, "<": have < wanted, "~=": have >= wanted and not upper,
        }[match[1]]  # fmt: skip
        if not holds:
            return False
    return True
