# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""agent.lock: what it is made of, and when it is stale."""

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import lock, uv
from ansible_collections.agentfactory.core.plugins.plugin_utils.tree import PackageError

MANIFEST: dict[str, Any] = {"runtime": {"type": "python", "python": ">=3.9"}, "source": "."}
PINS = """\
a-b[extra]==1.0 ; python_full_version < '3.10' \\
    --hash=sha256:00
a-b[extra]==2.0 ; python_full_version >= '3.10' \\
    --hash=sha256:01 \\
    --hash=sha256:02
c==3
"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, bool]]:
    """Each resolution that was asked for; a requirement named `sdist` has no wheels."""
    made: list[tuple[str, str, bool]] = []

    def compile_lock(requirements: str, python: str, *, wheels_only: bool) -> str:
        made.append((requirements, python, wheels_only))
        if "sdist" in requirements and wheels_only:
            raise PackageError("no wheels")
        return "".join(f"{line}==1 \\\n    --hash=sha256:00\n" for line in requirements.splitlines())

    monkeypatch.setattr(uv, "compile_lock", compile_lock)
    return made


def test_split() -> None:
    mine, others = lock.Lock.parse("# a comment\n" + PINS).split("A_b")
    assert mine + others == PINS
    assert others == "c==3\n"


def test_round_trip(calls: list[tuple[str, str, bool]], tmp_path: Path) -> None:
    needs = lock.Needs(("x",), ("hatchling",), "3.9")
    made = lock.make(needs)
    assert made.dependencies == "x==1 \\\n    --hash=sha256:00\n"
    assert made.build == "hatchling==1 \\\n    --hash=sha256:00\n"
    assert not made.sdists
    assert [call[1:] for call in calls] == [("3.9", True), ("3.11", True)]
    (tmp_path / "agent.lock").write_text(made.text, encoding="utf-8")
    assert lock.read(tmp_path / "agent.lock", needs) == made


def test_sources_only_where_there_is_no_wheel(calls: list[tuple[str, str, bool]]) -> None:
    made = lock.make(lock.Needs(("sdist",), (), "3.9"))
    assert made.sdists
    assert made.build.startswith("setuptools==1")
    assert [call[2] for call in calls] == [True, False, True]


@pytest.mark.parametrize(
    "other",
    [
        lock.Needs(("x", "y"), (), "3.9"),
        lock.Needs((), (), "3.9"),
        lock.Needs(("x",), ("y",), "3.9"),
        lock.Needs(("x",), (), "3.10"),
    ],
)
def test_stale(calls: list[tuple[str, str, bool]], tmp_path: Path, other: lock.Needs) -> None:
    file = tmp_path / "agent.lock"
    file.write_text(lock.make(lock.Needs(("x",), (), "3.9")).text, encoding="utf-8")
    with pytest.raises(
        PackageError, match="does not belong to these dependencies any more: renew it with upgrade_lock=true"
    ):
        lock.read(file, other)


def test_no_lock(tmp_path: Path) -> None:
    assert lock.read(tmp_path / "agent.lock", lock.Needs(("x",), (), "3.9")) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "a==1\n# comment\n\nb>=2  # why\nc[x] ; python_version < '3.10'\n",
            ("a==1", "b>=2", "c[x] ; python_version < '3.10'"),
        ),
        ("", ()),
    ],
)
def test_requirements(tmp_path: Path, text: str, found: tuple[str, ...]) -> None:
    (tmp_path / "requirements.txt").write_text(text, encoding="utf-8")
    assert lock.of_directory(tmp_path, MANIFEST) == lock.Needs(found, (), "3.9")


@pytest.mark.parametrize(
    "line", ["-r other.txt", "-e .", "--index-url https://example.org", "a @ https://example.org/a.whl", "a==1 \\"]
)
def test_requirements_that_are_none(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.txt").write_text("a\n" + line + "\n", encoding="utf-8")
    with pytest.raises(PackageError, match="line 2: only plain requirements"):
        lock.of_directory(tmp_path, MANIFEST)


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        (
            '[project]\nname = "a"\ndependencies = ["b"]\nrequires-python = ">=3.10"\n[build-system]\nrequires = ["hatchling"]\n',
            lock.Needs(("b",), ("hatchling",), "3.10"),
        ),
        ('[project]\nname = "a"\n', lock.Needs((), ("setuptools>=61", "wheel"), "3.9")),
    ],
)
def test_pyproject(tmp_path: Path, text: str, needs: lock.Needs) -> None:
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert lock.of_directory(tmp_path, MANIFEST) == needs


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[project", "pyproject.toml: "),
        ("", "needs .project. with a name"),
        ('[project]\nname = "a"\ndynamic = ["dependencies"]\n', "listed there"),
        ('[project]\nname = "a"\nrequires-python = "3"\n', "requires-python: "),
        ('[project]\nname = "a"\nrequires-python = "<3"\n', "no Python fits"),
    ],
)
def test_bad_pyproject(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(PackageError, match=problem):
        lock.of_directory(tmp_path, MANIFEST)


def test_uv_says_why_without_passwords(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "uv"
    fake.write_text(
        "#!/bin/sh\necho 'cannot fetch https://user:word@example.org/simple' >&2\nexit 2\n", encoding="utf-8"
    )
    fake.chmod(0o755)
    monkeypatch.setattr(uv, "binary", lambda: str(fake))
    with pytest.raises(
        PackageError, match=r"resolving failed: uv said:\ncannot fetch https://\*\*\*@example.org/simple"
    ):
        uv.run(["x"], doing="resolving")
