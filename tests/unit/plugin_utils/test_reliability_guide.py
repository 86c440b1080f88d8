# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide's examples, under ansible-playbook and with a real Prometheus, print what the guide says that they do."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
COLLECTIONS = next(path for path in (Path(sys.prefix) / "collections", ROOT / ".venv" / "collections") if path.exists())
EXAMPLE = re.compile(r"^```yaml\n(.*?)^```\n\n((?:    [^\n]*\n|\n(?=    ))+)", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Tasks that are followed by their output, and that output."""
    guide = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    return [(tasks, textwrap.dedent(output)) for tasks, output in EXAMPLE.findall(guide)]


def play(folder: Path, url: str, *options: str) -> str:
    tasks = [task for text, _output in examples() for task in yaml.safe_load(text)]
    variables = {"agentfactory_prometheus_url": url}
    (folder / "play.yml").write_text(
        yaml.safe_dump([{"hosts": "h1", "gather_facts": False, "vars": variables, "tasks": tasks}], sort_keys=False)
    )
    (folder / "hosts").write_text("h1 ansible_host=h1.invalid\n")
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8", "COLUMNS": "200",
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
    }  # fmt: skip
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts", "play.yml", *options]
    done = subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("options", [[], ["--check"]])
def test_the_guide_shows_what_its_examples_print(tmp_path: Path, thermostats: str, options: list[str]) -> None:
    told = play(tmp_path, thermostats, *options)
    assert len(examples()) == 3
    for _tasks, output in examples():
        assert " ".join(output.split()) in " ".join(told.split())
    assert "changed=0" in told
