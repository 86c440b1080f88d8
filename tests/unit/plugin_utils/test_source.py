# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources: what of a directory belongs to an agent, and which archives are refused."""

import hashlib
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import source
from ansible_collections.agentfactory.core.plugins.plugin_utils.tree import (
    Entry,
    PackageError,
    list_problem,
    path_problem,
)


def write(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path, encoding="utf-8")
    return root


def test_walk_leaves_out_what_never_belongs(tmp_path: Path) -> None:
    kept = ["agent.yml", "bin/run", "pkg/__init__.py", "pkg/build/x.py", "pkg/dist.py", "tests/test_a.py"]
    write(
        tmp_path,
        *kept,
        ".git/config",
        "pkg/__pycache__/a.pyc",
        "a.pyc",
        ".venv/bin/python",
        "dist/a.whl",
        "build/b",
        "agent.lock",
        "x.egg-info/PKG",
        "pkg/.DS_Store",
        ".env",
        "pkg/.env.local",
        ".netrc",
        ".ssh/id_ed25519",
    )
    assert sorted(source.walk(tmp_path)) == kept


def test_agentignore(tmp_path: Path) -> None:
    write(tmp_path, "a/notes.md", "notes.md", "docs/a", "src/docs/b", "keep")
    (tmp_path / ".agentignore").write_text("# comment\n\nnotes.md\n/docs\n", encoding="utf-8")
    assert sorted(source.walk(tmp_path)) == ["keep", "src/docs/b"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("!.streamlit", [".gitignore", "pkg/.streamlit/config.toml"]),
        ("!.streamlit\n.streamlit", [".gitignore"]),
        ("!.env", [".env", ".gitignore", "pkg/.env"]),
        (".gitignore", []),
    ],
)
def test_a_hidden_name_belongs_to_an_agent_that_says_so(tmp_path: Path, line: str, found: list[str]) -> None:
    write(
        tmp_path, ".gitignore", ".env", "pkg/.env", "pkg/.streamlit/config.toml", "pkg/.streamlit/.env", ".git/config"
    )
    (tmp_path / ".agentignore").write_text(line + "\n", encoding="utf-8")
    assert sorted(source.walk(tmp_path)) == found


@pytest.mark.parametrize("line", ["!b", "!.*", "!.a/b", "!.e?v", "!.", "!", "a/**"])
def test_a_line_that_is_not_understood(tmp_path: Path, line: str) -> None:
    (tmp_path / ".agentignore").write_text(f"a\n{line}\n", encoding="utf-8")
    with pytest.raises(PackageError, match="line 2"):
        source.walk(tmp_path)


@pytest.mark.parametrize(
    ("path", "link", "problem"),
    [
        ("a", "b", ""),
        ("a/b", "../c", ""),
        ("a/b/c", "../../x/y", ""),
        ("a", "../b", "out of"),
        ("a/b", "../../c", "out of"),
        ("a", "/etc/passwd", "out of"),
        ("a/b/c", "up/../../x", "out of"),
        ("a", "", "out of"),
        ("a", ".", ""),
        ("../a", None, "plain relative"),
        ("/a", None, "plain relative"),
        ("a//b", None, "plain relative"),
        ("a/./b", None, "plain"),
        ("", None, "plain"),
        ("a\\b", None, "plain"),
        ("a\nb", None, "control"),
        ("a\udc80", None, "control"),
        ("a", "b\n", "control"),
        (".agentfactory/x", None, "its own"),
        ("x/.agentfactory", None, ""),
        ("...", None, ""),
    ],
)
def test_paths(path: str, link: str | None, problem: str) -> None:
    found = path_problem(path, link)
    assert problem in found
    assert bool(problem) == bool(found)


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (["a", "b/c", "b/d"], ""),
        (["a", "a"], "listed twice"),
        (["a", "a/b"], "has others below it"),
        (["a/b/c", "a/b"], "below it"),
        (["a/b", "ab"], ""),
        (["../a"], "plain"),
    ],
)
def test_lists(paths: list[str], problem: str) -> None:
    found = list_problem([{"path": path} for path in paths])
    assert problem in found
    assert bool(problem) == bool(found)


def test_links_and_devices_of_a_directory(tmp_path: Path) -> None:
    write(tmp_path, "a/b")
    (tmp_path / "a" / "link").symlink_to("b")
    assert source.walk(tmp_path)["a/link"] == Entry(link="b")
    (tmp_path / "out").symlink_to("/etc/passwd")
    with pytest.raises(PackageError, match="link out of the artifact"):
        source.walk(tmp_path)
    (tmp_path / "out").unlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PackageError, match="neither a file"):
        source.walk(tmp_path)


def test_plain_layout() -> None:
    tree = {
        path: Entry(b"") for path in ["agent.yml", "requirements.txt", "bin/run", "main.py", "pkg/bin/x", "tests/a.py"]
    }
    python: dict[str, Any] = {"runtime": {"type": "python"}}
    assert sorted(source.plain(tree, python)) == ["bin/run", "site-packages/main.py", "site-packages/pkg/bin/x"]
    assert sorted(source.plain(tree, {"runtime": {"type": "executable"}})) == ["bin/run", "main.py", "pkg/bin/x"]


def tar(**changes: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with tarfile.open(path, "w:gz") as archive:
            for name, more in (("good", {}), (changes.get("name", "x"), changes)):
                member = tarfile.TarInfo(name)
                data = b"data" if more.get("type", tarfile.REGTYPE) == tarfile.REGTYPE else b""
                member.size, member.mode = len(data), 0o755
                for key, value in more.items():
                    setattr(member, key, value)
                archive.addfile(member, io.BytesIO(data))

    return make


def zipped(name: str, data: bytes = b"data", mode: int = 0o100755, twice: bool = False) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for _time in range(1 + twice):
                item = zipfile.ZipInfo(name)
                item.external_attr = mode << 16
                archive.writestr(item, data)

    return make


def fetch(tmp_path: Path, make: Callable[[Path], None]) -> dict[str, Entry]:
    make(tmp_path / "source")
    digest = hashlib.sha256((tmp_path / "source").read_bytes()).hexdigest()
    manifest = {"name": "tool", "source": {"file": "source", "sha256": digest}}
    (tmp_path / "scratch").mkdir()
    return source.fetch(manifest, str(tmp_path / "agent.yml"), tmp_path / "scratch")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (tar(name="../x"), "plain relative"),
        (tar(name="/x"), "plain relative"),
        (tar(mode=0o4755), "setuid"),
        (tar(mode=0o2755), "setgid"),
        (tar(type=tarfile.CHRTYPE), "neither a file"),
        (tar(type=tarfile.FIFOTYPE), "neither a file"),
        (tar(type=tarfile.SYMTYPE, linkname="/etc/passwd"), "link out"),
        (tar(type=tarfile.SYMTYPE, linkname="../x"), "link out"),
        (tar(type=tarfile.LNKTYPE, linkname="../x"), "plain relative"),
        (zipped("../x"), "plain relative"),
        (zipped("x", mode=0o104755), "setuid"),
        (zipped("x", mode=stat.S_IFCHR | 0o600), "device"),
        (zipped("x", b"../y", stat.S_IFLNK | 0o777), "link out"),
    ],
)
def test_unsafe_archives(tmp_path: Path, make: Callable[[Path], None], problem: str) -> None:
    with pytest.raises(PackageError, match=problem):
        fetch(tmp_path, make)


@pytest.mark.parametrize("make", [tar(name="./x", mode=0o644), zipped("good")])
def test_good_archives(tmp_path: Path, make: Callable[[Path], None]) -> None:
    found = fetch(tmp_path, make)
    assert found["good"].read() == b"data"
    assert found["good"].mode == "755"


def test_one_executable(tmp_path: Path) -> None:
    found = fetch(tmp_path, lambda path: path.write_text("#!/bin/sh\n", encoding="utf-8") and None)
    assert list(found) == ["bin/tool"]
    assert found["bin/tool"].mode == "755"


def test_wrong_digest_and_missing_file(tmp_path: Path) -> None:
    manifest = {"name": "t", "source": {"file": "x", "sha256": "0" * 64}}
    with pytest.raises(PackageError, match="cannot be read: No such file"):
        source.fetch(manifest, str(tmp_path / "agent.yml"), tmp_path)
    write(tmp_path, "x")
    with pytest.raises(PackageError, match=r"source.sha256: 'x' has [0-9a-f]{64}"):
        source.fetch(manifest, str(tmp_path / "agent.yml"), tmp_path)
    manifest["source"]["file"] = "http://192.0.2.1/x"  # type: ignore[index]
    with pytest.raises(PackageError, match="only https is possible, not http"):
        source.fetch(manifest, str(tmp_path / "agent.yml"), tmp_path)
