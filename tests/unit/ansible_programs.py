# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's own programs, as somebody runs them in a folder: with this collection, and nothing else of who runs the tests."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = next(path for path in (Path(sys.prefix) / "collections", ROOT / ".venv" / "collections") if path.exists())
BIN = Path(sys.executable).parent


def run(folder: Path, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment, such as ``ansible-playbook``, to its end; `environment` comes on top of the usual one."""
    usual = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_LOCALHOST_WARNING": "0",
    }  # fmt: skip
    return subprocess.run(
        [str(BIN / program), *arguments], check=False, cwd=folder, env={**usual, **environment},
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
