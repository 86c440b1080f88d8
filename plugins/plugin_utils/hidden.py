# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hidden files of a source: `.env`, `.git`, `.venv` and their like are not the agent's, but for those that .agentignore names."""

import re
from pathlib import Path

IGNORE_FILE = ".agentignore"
BUILDS_GO_BY = ".gitignore"
KEEPS = re.compile(r"!(\.[^/*?\[\]]+)")
"""a line of .agentignore that keeps a hidden name"""


def kept(folder: str | Path) -> set[str]:
    """The hidden names that a directory's .agentignore keeps, and the one that builds of wheels go by."""
    try:
        lines = Path(folder, IGNORE_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return {BUILDS_GO_BY, *(found[1] for line in lines if (found := KEEPS.fullmatch(line.strip())))}
