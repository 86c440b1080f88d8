# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What check mode packaged for the rest of its run: found by it, by no other run, and removed after it."""

import os
from pathlib import Path

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import declare, preview, run, whoami
from ansible_collections.agentfactory.core.plugins.plugin_utils.package import Request, package

AGENT = """\
name: hello
version: "1.0.0"
command: [bin/hello]
health: {command: [bin/hello]}
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setattr(run, "directory", lambda: str(folder))
    declare.packaged.cache_clear()
    return folder


def source(folder: Path) -> Path:
    (folder / "hello" / "bin").mkdir(parents=True)
    (folder / "hello" / "agent.yml").write_text(AGENT)
    (folder / "hello" / "bin" / "hello").write_text("#!/usr/bin/env python3\n")
    return folder / "hello"


def test_what_a_check_would_package_is_there_for_the_rest_of_its_run_alone(runs: Path, tmp_path: Path) -> None:
    artifacts = tmp_path / "dist"
    with pytest.raises(declare.DeclarationError):
        declare.packaged(str(artifacts), "hello", "1.0.0")
    request = Request(
        str(source(tmp_path)), str(artifacts), ("linux/amd64+glibc2.36+py3.11",), check=True, preview=preview.make()
    )
    done = package(request)
    assert done.changed
    assert not artifacts.exists()
    assert declare.packaged(str(artifacts), "hello", "1.0.0").digest == done.digest
    with pytest.raises(declare.DeclarationError):
        declare.packaged(str(artifacts), "hello", "2.0.0")


def test_those_of_processes_that_are_gone_are_removed(runs: Path) -> None:
    gone, other = runs / "preview-4194305-1", runs / f"preview-{os.getpid()}-{whoami.started(os.getpid())}"
    for path in (gone, other):
        path.mkdir()
    assert preview.make() == str(runs / f"preview-{os.getppid()}-{whoami.started(os.getppid())}")
    assert sorted(runs.iterdir()) == [other]
