# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a compiled file needs of its host: the machine and the C library, read from its ELF headers.

Source: the ELF gABI (headers, program headers, dynamic section) and the LSB (symbol versions, DT_VERNEED).
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"\x7fELF"
_MACHINES = {3: "386", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64"}
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB, _DT_VERNEED, _DT_VERNEEDNUM = 1, 5, 0x6FFFFFFE, 0x6FFFFFFF


class ElfError(ValueError):
    """The bytes begin as ELF does but cannot be read as such."""


@dataclass(frozen=True)
class Needs:
    """`machine` as OCI names it; `glibc` as (major, minor), or None; `musl`: linked against musl."""

    machine: str
    glibc: tuple[int, int] | None = None
    musl: bool = False


def needs(data: bytes) -> Needs:
    """Read an executable's or a library's needs; ElfError where the bytes are cut or make no sense."""
    try:
        return _needs(data)
    except (struct.error, IndexError, OverflowError) as error:
        raise ElfError("is cut short or damaged") from error


def _needs(data: bytes) -> Needs:
    if data[:4] != MAGIC or len(data) < 20:
        raise ElfError("is not an ELF file")
    wide, order = data[4] == 2, ">" if data[5] == 2 else "<"
    number = struct.unpack_from(order + "H", data, 18)[0]
    machine = _MACHINES.get(number, f"machine {number}")
    if machine == "ppc64le" and order == ">":
        machine = "ppc64"
    image = _Image(data, order, wide)
    libraries = [image.string(value) for tag, value in image.dynamic if tag == _DT_NEEDED]
    versions = [
        tuple(map(int, found.groups()))
        for name in image.versions()
        if (found := re.fullmatch(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?", name))
    ]
    glibc = max(versions, default=None)
    return Needs(machine, (glibc[0], glibc[1]) if glibc else None, any("musl" in name for name in libraries))


class _Image:
    """The loadable part of an ELF file."""

    def __init__(self, data: bytes, order: str, wide: bool) -> None:
        self.data, self.order = data, order
        offset = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)[0]
        size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
        self.segments: list[tuple[int, int, int]] = []  # address, offset, size in the file
        self.dynamic: list[tuple[int, int]] = []
        dynamic = None
        for index in range(count):
            kind, start, address, length = self._segment(offset + index * size, wide)
            if kind == _PT_LOAD:
                self.segments.append((address, start, length))
            elif kind == _PT_DYNAMIC:
                dynamic = (start, length)
        if dynamic:
            self.dynamic = list(self._entries(*dynamic, wide))
        self.strings = self._offset(dict(self.dynamic).get(_DT_STRTAB))

    def _segment(self, at: int, wide: bool) -> tuple[int, int, int, int]:
        if wide:
            kind, _flags, start, address, _physical, length = struct.unpack_from(self.order + "IIQQQQ", self.data, at)
        else:
            kind, start, address, _physical, length = struct.unpack_from(self.order + "IIIII", self.data, at)
        return kind, start, address, length

    def _entries(self, start: int, length: int, wide: bool) -> Iterator[tuple[int, int]]:
        form = self.order + ("qQ" if wide else "iI")
        step = struct.calcsize(form)
        for at in range(start, start + length - step + 1, step):
            tag, value = struct.unpack_from(form, self.data, at)
            if tag == 0:
                return
            yield tag, value

    def _offset(self, address: int | None) -> int | None:
        if address is not None:
            for base, start, length in self.segments:
                if base <= address < base + length:
                    return start + address - base
        return None

    def string(self, index: int) -> str:
        if self.strings is None:
            raise ElfError("has no string table")
        start = self.strings + index
        end = self.data.find(b"\0", start)
        if end < 0 or start >= len(self.data):
            raise ElfError("is cut short or damaged")
        return self.data[start:end].decode("ascii", "replace")

    def versions(self) -> Iterator[str]:
        """Names of the symbol versions that are needed of other libraries, such as GLIBC_2.17."""
        table = dict(self.dynamic)
        need = self._offset(table.get(_DT_VERNEED))
        if need is None:
            return
        for _index in range(min(table.get(_DT_VERNEEDNUM, 0), 4096)):
            _version, count, _file, first, following = struct.unpack_from(self.order + "HHIII", self.data, need)
            at = need + first
            for _inner in range(count):
                _hash, _flags, _other, name, step = struct.unpack_from(self.order + "IHHII", self.data, at)
                yield self.string(name)
                at += step
            need += following
