# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every call is a new process on the host: what most have no use for is not imported. Python 3.9 syntax."""

import shutil
import subprocess
import sys
from pathlib import Path

from ansible_collections.agentfactory.core.plugins.module_utils import layout

COSTLY = (
    "dataclasses",
    "inspect",
    "ipaddress",
    "encodings.idna",
    "agentfactory_host.info",
    "agentfactory_host.metrics",
)


def imported(program):
    """What a Python has imported at the end of a program, started as on a host."""
    done = subprocess.run(
        [sys.executable, "-IS", "-c", program + "; import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )  # fmt: skip
    return set(done.stdout.split())


def test_a_call_imports_nothing_costly_for_nothing(tmp_path):
    (tmp_path / "agentfactory_host").mkdir()
    for path in Path(layout.__file__).parent.glob("*.py"):
        shutil.copy(path, tmp_path / "agentfactory_host")
    ours = imported("import sys; sys.path.insert(0, %r); from agentfactory_host import host" % str(tmp_path))
    assert "agentfactory_host.activation" in ours
    assert (ours - imported("import pathlib")).isdisjoint(COSTLY)  # Python 3.11's pathlib imports ipaddress itself
