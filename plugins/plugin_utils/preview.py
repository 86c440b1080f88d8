# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What check mode would have packaged, kept for the rest of the run: so staging can be checked before anything was packaged.

The directory belongs to the main ansible-playbook process: packaging and staging are forks of it. Those of processes that
are gone are removed by the next one.
"""

import os
import re
import shutil

from . import run
from .whoami import started

_NAME = re.compile(r"preview-(\d+)-(\d+)")


def _of(pid: int) -> str:
    return os.path.join(run.directory(), f"preview-{pid}-{started(pid)}")


def make() -> str:
    """The directory of the process that forked this one. RunError where there can be none."""
    for entry in os.scandir(run.directory()):
        found = _NAME.fullmatch(entry.name)
        if found and started(int(found[1])) != found[2]:
            shutil.rmtree(entry.path, ignore_errors=True)
    return _of(os.getppid())


def find() -> list[str]:
    """The directories, at most one, of this run."""
    return [path for path in (_of(os.getppid()), _of(os.getpid())) if os.path.isdir(path)]
