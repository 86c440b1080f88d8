# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide's examples print what the guide says that they print."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

GUIDE = Path(__file__).resolve().parents[4] / "docs/placement.md"
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?", re.DOTALL)


def test_every_example_prints_what_is_shown() -> None:
    names: dict[str, Any] = {}
    blocks = list(BLOCK.finditer(GUIDE.read_text(encoding="utf-8")))
    assert sum(bool(block["output"]) for block in blocks) >= 9
    for block in blocks:
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream):
            exec(compile(block["code"], str(GUIDE), "exec"), names)
        assert stream.getvalue() == (block["output"] or ""), block["code"]
