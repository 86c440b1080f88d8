# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real promtool. `make test` installs it; CI may not go without."""

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest

Promtool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    """Call it with arguments; what it printed is in `stdout`, with its errors."""
    if shutil.which("promtool") is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is not installed: tools/packages unit")
        pytest.skip("promtool is not installed: tools/packages unit")

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["promtool", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )

    return call
