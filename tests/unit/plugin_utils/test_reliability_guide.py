# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide's examples, under ansible-playbook and with a real Prometheus, print what the guide says that they do."""

import re
import textwrap
from pathlib import Path

import pytest
import yaml

from .. import ansible_programs

EXAMPLE = re.compile(r"^```yaml\n(.*?)^```\n\n((?:    [^\n]*\n|\n(?=    ))+)", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Tasks that are followed by their output, and that output."""
    guide = (ansible_programs.ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    return [(tasks, textwrap.dedent(output)) for tasks, output in EXAMPLE.findall(guide)]


def play(folder: Path, url: str, *options: str) -> str:
    tasks = [task for text, _output in examples() for task in yaml.safe_load(text)]
    variables = {"agentfactory_prometheus_url": url}
    (folder / "play.yml").write_text(
        yaml.safe_dump([{"hosts": "h1", "gather_facts": False, "vars": variables, "tasks": tasks}], sort_keys=False)
    )
    (folder / "hosts").write_text("h1 ansible_host=h1.invalid\n")
    command = ("ansible-playbook", "-i", "hosts", "play.yml", *options)
    done = ansible_programs.run(folder, *command, COLUMNS="200", ANSIBLE_CALLBACK_RESULT_FORMAT="yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("options", [[], ["--check"]])
def test_the_guide_shows_what_its_examples_print(tmp_path: Path, thermostats: str, options: list[str]) -> None:
    told = play(tmp_path, thermostats, *options)
    assert len(examples()) == 3
    for _tasks, output in examples():
        assert " ".join(output.split()) in " ".join(told.split())
    assert "changed=0" in told
