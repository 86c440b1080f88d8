# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide for one's first agent, word for word: its files are written, its commands run, its answers seen."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from .harness import ROOT, Host, Lab

PAGE = ROOT / "docs" / "getting-started.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The tests bring hosts and an environment of their own.
NOT_RUN = re.compile(r"make |source |export |cd |ansible-playbook agentfactory\.core\.lab")
FAILS = "# fails"


@dataclass
class Command:
    """A line with a dollar sign of a console block, and what the page shows below it."""

    line: str
    shown: list[str]


def commands(text: str) -> list[Command]:
    found: list[Command] = []
    for language, body in BLOCK.findall(text):
        for line in body.splitlines() if language == "console" else []:
            if line.startswith("$ "):
                found.append(Command(line[2:], []))
            else:
                found[-1].shown.append(line)
    return found


def files(text: str) -> dict[str, str]:
    """Path to content of each block that begins with a comment naming a file."""
    found = {}
    for language, body in BLOCK.findall(text):
        if language in ("python", "yaml"):
            found[body.splitlines()[0].removeprefix("# ")] = body
    return found


@pytest.fixture
def home(lab: Lab, tmp_path: Path) -> Path:
    """The directory of the guide's reader, with the hosts' inventory where the lab would have written it."""
    for path, content in files(PAGE.read_text()).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "lab").symlink_to(lab.inventory)
    return tmp_path


def script(steps: list[Command], host: Host) -> str:
    """One shell for all commands, so that variables live; a line with number and exit code ends each one's output."""
    lines = []
    for number, step in enumerate(steps):
        line = step.line.replace("lab-1", host.name).replace(FAILS, "")
        lines.append(f"{{ {line.strip()}; }} 2>&1; code=$?; echo; echo @@ {number} $code")
    return "\n".join(lines)


def test_the_guide_works_as_written(lab: Lab, home: Path) -> None:
    text = PAGE.read_text()
    assert set(files(text)) == {"hello/hello.py", "hello/agent.yml", "fleet.yml"}
    steps = [step for step in commands(text) if not NOT_RUN.match(step.line) and "mkdir" not in step.line]
    environment = {
        **os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(lab.folder / "cp"),
    }  # fmt: skip
    try:
        done = subprocess.run(
            ["bash", "-c", script(steps, lab.hosts[0])],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        parts = re.split(r"^@@ (\d+) (\d+)\n", done.stdout, flags=re.MULTILINE)
        assert len(parts) == 3 * len(steps) + 1, done.stdout + done.stderr
        for step, output, code in zip(steps, parts[0::3], parts[2::3], strict=False):
            assert (code != "0") == (FAILS in step.line), f"$ {step.line}\n{output}exit code {code}"
            assert all(shown in output for shown in step.shown), f"$ {step.line}\n{output}"
        assert lab.on_all(Host.leftovers) == [[]] * len(lab.hosts)
    finally:
        lab.on_all(Host.wipe)


def test_the_guide_says_how_to_get_and_remove_the_hosts() -> None:
    """What the test above leaves out is still there, in this order."""
    left_out = [step.line for step in commands(PAGE.read_text()) if NOT_RUN.match(step.line)]
    assert left_out == [
        "make setup packages",
        "source .venv/bin/activate",
        "export ANSIBLE_CONFIG=$PWD/ansible.cfg",
        "cd ~/my-agents",
        "ansible-playbook agentfactory.core.lab",
        "ansible-playbook agentfactory.core.lab -e lab_state=absent",
    ]
