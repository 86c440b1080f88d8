# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An edit after packaging is seen; what is no source is not."""

import os
import time
import types
from pathlib import Path

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.agentfactory.core.plugins.action import agent_package
from ansible_collections.agentfactory.core.plugins.plugin_utils import freshness, package

from .test_package import BOOKWORM, write

PACKAGED = 1_000_000.0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source that was there before it was packaged."""
    for name in ("agent.yml", "README.md", "agent.lock", "src/agent/main.py", "src/agent/__pycache__/main.cpython-313.pyc",
                 ".git/index", ".venv/bin/python", "dist/agent.whl", ".env", ".gitignore", "src/.streamlit/config.toml",
                 ".agentignore"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("!.streamlit" if name == ".agentignore" else "x")
    return aged(tmp_path)


def aged(folder: Path) -> Path:
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (PACKAGED - 5, PACKAGED - 5))
    return folder


@pytest.mark.parametrize(
    ("path", "touched"),
    [
        ("agent.yml", True),
        ("src/agent/main.py", True),
        ("agent.lock", True),
        ("src/agent/__pycache__/main.cpython-313.pyc", False),
        (".git/index", False),
        (".venv/bin/python", False),
        ("dist/agent.whl", False),
        (".env", False),
        (".gitignore", True),
        (".agentignore", True),
        ("src/.streamlit/config.toml", True),
    ],
)
def test_only_newer_sources_count(source: Path, path: str, touched: bool) -> None:
    assert not freshness.touched_since(str(source), PACKAGED)
    os.utime(source / path, (PACKAGED + 5, PACKAGED + 5))
    assert freshness.touched_since(str(source), PACKAGED) is touched


@pytest.mark.parametrize(
    ("path", "touched"),
    [("src/agent/main.py", True), ("README.md", True), (".git/index", False), ("dist/agent.whl", False)],
)
def test_what_was_deleted_or_moved_in_is_seen(source: Path, path: str, touched: bool) -> None:
    content = (source / path).read_text()
    (source / path).unlink()
    assert freshness.touched_since(str(source), PACKAGED) is touched
    aged(source)
    (source / path).write_text(content)
    os.utime(source / path, (PACKAGED - 5, PACKAGED - 5))
    assert freshness.touched_since(str(source), PACKAGED) is touched


def test_without_a_source_nothing_was_touched(tmp_path: Path) -> None:
    """The controller that deploys need not have it."""
    assert not freshness.touched_since(str(tmp_path / "elsewhere"), PACKAGED)


def test_what_is_saved_while_it_is_packaged_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = write(tmp_path / "agent")
    options = dict.fromkeys(("default_platforms", "overwrite", "upgrade_lock"))
    options |= {"source": str(agent), "artifacts": str(tmp_path / "dist"), "platforms": [BOOKWORM]}

    def package_slowly(request: package.Request) -> package.Result:
        done = package.package(request)
        now = time.time()
        os.utime(agent / "demo.py", (now, now))
        return done

    class Packaging(agent_package.ActionModule):
        def __init__(self) -> None:
            self._loader = types.SimpleNamespace(path_dwim=str)
            self._task = types.SimpleNamespace(check_mode=False, diff=False)

        def validate_argument_spec(self, **_spec: object) -> tuple[None, dict[str, object]]:
            return None, options

    monkeypatch.setattr(ActionBase, "run", lambda *_args: {})
    assert Packaging().run()["changed"]
    assert not freshness.touched_since(str(agent), freshness.packaged_at(str(tmp_path / "dist"), "demo"))
    monkeypatch.setattr(agent_package, "package", package_slowly)
    assert not Packaging().run()["changed"]
    assert freshness.touched_since(str(agent), freshness.packaged_at(str(tmp_path / "dist"), "demo"))


def test_packaging_notes_when_it_began(tmp_path: Path) -> None:
    assert freshness.packaged_at(str(tmp_path), "toy") == 0
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/index.json").write_text("{}")
    freshness.packaged_since(str(tmp_path), "toy", PACKAGED)
    assert freshness.packaged_at(str(tmp_path), "toy") == PACKAGED
