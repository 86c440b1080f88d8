# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An edit after packaging is seen; what is no source is not."""

import os
from pathlib import Path

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import freshness

PACKAGED = 1_000_000.0


@pytest.mark.parametrize(
    ("path", "touched"),
    [
        ("agent.yml", True),
        ("src/agent/main.py", True),
        ("agent.lock", False),  # packaging writes it itself
        ("src/agent/__pycache__/main.cpython-313.pyc", False),
        (".git/index", False),
        (".venv/bin/python", False),
        ("dist/agent.whl", False),
    ],
)
def test_only_newer_sources_count(tmp_path: Path, path: str, touched: bool) -> None:
    for name in ("agent.yml", "README.md", path):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (PACKAGED - 5, PACKAGED - 5))
    assert not freshness.touched_since(str(tmp_path), PACKAGED)
    os.utime(tmp_path / path, (PACKAGED + 5, PACKAGED + 5))
    assert freshness.touched_since(str(tmp_path), PACKAGED) is touched


def test_packaging_without_a_change_renews_the_time(tmp_path: Path) -> None:
    assert freshness.packaged_at(str(tmp_path), "toy") == 0
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/index.json").write_text("{}")
    os.utime(tmp_path / "toy/index.json", (PACKAGED, PACKAGED))
    freshness.found_unchanged(str(tmp_path), "toy")
    assert freshness.packaged_at(str(tmp_path), "toy") > PACKAGED
