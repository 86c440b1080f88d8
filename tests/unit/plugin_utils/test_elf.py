# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What compiled files need, and which targets refuse them."""

import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils import elf
from ansible_collections.agentfactory.core.plugins.plugin_utils.elf import ElfError, Needs
from ansible_collections.agentfactory.core.plugins.plugin_utils.target import Target, TargetError

BASE = 0x10000


def make(machine: int, versions: list[str], needed: list[str], *, wide: bool = True, order: str = "<") -> bytes:
    """A shared library's headers: one loaded segment, and a dynamic section that asks for these."""
    strings = b"\0"
    at = {}
    for name in [*versions, *needed]:
        at[name] = len(strings)
        strings += name.encode() + b"\0"
    header, entry = (64, 56) if wide else (52, 32)
    table = header + 2 * entry
    need = table + len(strings)
    dynamic = need + 16 + 16 * len(versions)
    word = "Q" if wide else "I"
    tags = [(1, at[name]) for name in needed] + [(5, BASE + table)]
    if versions:
        tags += [(0x6FFFFFFE, BASE + need), (0x6FFFFFFF, 1)]
    tail = b"".join(struct.pack(order + word * 2, *tag) for tag in [*tags, (0, 0)])
    total = dynamic + len(tail)
    ident = elf.MAGIC + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    if wide:
        head = struct.pack(order + "HHIQQQIHHHHHH", 3, machine, 1, 0, header, 0, 0, header, entry, 2, 0, 0, 0)
        segments = struct.pack(order + "IIQQQQQQ", 1, 5, 0, BASE, 0, total, total, 1) + struct.pack(
            order + "IIQQQQQQ", 2, 6, dynamic, BASE + dynamic, 0, len(tail), len(tail), 1
        )
    else:
        head = struct.pack(order + "HHIIIIIHHHHHH", 3, machine, 1, 0, header, 0, 0, header, entry, 2, 0, 0, 0)
        segments = struct.pack(order + "IIIIIIII", 1, 0, BASE, 0, total, total, 5, 1) + struct.pack(
            order + "IIIIIIII", 2, dynamic, BASE + dynamic, 0, len(tail), len(tail), 6, 1
        )
    first = struct.pack(order + "HHIII", 1, len(versions), 0, 16, 0)
    rest = b"".join(struct.pack(order + "IHHII", 0, 0, 2, at[name], 16) for name in versions)
    return ident + head + segments + strings + first + rest + tail


@pytest.mark.parametrize(
    ("data", "needs"),
    [
        (
            make(62, ["GLIBC_2.2.5", "GLIBC_2.17", "GLIBC_2.9", "GLIBCXX_3.4.29"], ["libc.so.6"]),
            Needs("amd64", (2, 17)),
        ),
        (make(183, ["GLIBC_2.34"], ["libc.so.6"]), Needs("arm64", (2, 34))),
        (make(183, [], ["libc.musl-aarch64.so.1"]), Needs("arm64", None, musl=True)),
        (make(40, ["GLIBC_2.4"], ["libc.so.6"], wide=False), Needs("arm", (2, 4))),
        (make(22, ["GLIBC_2.28"], [], order=">"), Needs("s390x", (2, 28))),
        (make(62, ["GLIBC_PRIVATE"], []), Needs("amd64")),
        (make(8, [], []), Needs("machine 8")),
    ],
)
def test_needs(data: bytes, needs: Needs) -> None:
    assert elf.needs(data) == needs


def test_this_python() -> None:
    found = elf.needs(Path(sys.executable).read_bytes())
    assert found.glibc is None or found.glibc >= (2, 2)
    assert not found.machine.startswith("machine")


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"MZ" + bytes(100), make(62, ["GLIBC_2.17"], ["libc.so.6"])[:150]])
def test_damaged(data: bytes) -> None:
    with pytest.raises(ElfError):
        elf.needs(data)


@given(st.binary(max_size=300), st.integers(4, 290))
def test_any_bytes(noise: bytes, start: int) -> None:
    whole = make(62, ["GLIBC_2.17"], ["libc.so.6"])
    for data in (elf.MAGIC + noise, whole[:start] + noise[: len(whole) - start] + whole[start + len(noise) :]):
        try:
            elf.needs(data)
        except ElfError:
            pass


@pytest.mark.parametrize(
    ("target", "needs", "reason"),
    [
        ("linux/amd64+glibc2.31+py3.9", Needs("amd64", (2, 31)), ""),
        ("linux/amd64+glibc2.31+py3.9", Needs("amd64", (2, 32)), "needs glibc 2.32"),
        ("linux/amd64+glibc2.31+py3.9", Needs("arm64", (2, 17)), "is for arm64"),
        ("linux/amd64+glibc2.31+py3.9", Needs("amd64", None, musl=True), "is linked against musl"),
        ("linux/amd64+musl+py3.9", Needs("amd64", (2, 17)), "is linked against glibc"),
        ("linux/amd64+musl", Needs("amd64", None, musl=True), ""),
        ("linux/amd64", Needs("amd64", (2, 99)), ""),
        ("linux/amd64", Needs("amd64"), ""),
    ],
)
def test_refuses(target: str, needs: Needs, reason: str) -> None:
    assert Target.parse(target).refuses(needs) == reason


@pytest.mark.parametrize(
    ("target", "platform"),
    [
        ("linux/amd64+glibc2.31+py3.9", "x86_64-manylinux_2_31"),
        ("linux/amd64+glibc2.41+py3.13", "x86_64-manylinux_2_40"),
        ("linux/amd64+glibc2.30+py3.13", "x86_64-manylinux_2_28"),
        ("linux/arm64+glibc2.36+py3.11", "aarch64-manylinux_2_36"),
        ("linux/arm64+musl+py3.11", "aarch64-unknown-linux-musl"),
    ],
)
def test_uv_platform(target: str, platform: str) -> None:
    assert Target.parse(target).uv_platform() == platform


@pytest.mark.parametrize(
    "target", ["linux/amd64+glibc2.12+py3.9", "linux/riscv64+glibc2.36+py3.11", "linux/amd64+py3.9"]
)
def test_no_uv_platform(target: str) -> None:
    with pytest.raises(TargetError):
        Target.parse(target).uv_platform()


def test_bad_target() -> None:
    with pytest.raises(TargetError, match="is not a target"):
        Target.parse("windows/amd64")
