# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make ``ansible_collections.agentfactory.core`` importable from the working tree.

Each environment holds a link to it. Where ansible-core is installed its own finder imports the collection, as in a
real run, so that plugins loaded by name and modules imported by path are the same objects. The hosts' oldest Python
(`make unit-py39`) has no ansible-core: there the link on ``sys.path`` is all that is needed. Python 3.9 syntax.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = next(
    (path for path in (Path(sys.prefix) / "collections", ROOT / ".venv" / "collections") if path.exists()), None
)
if COLLECTIONS is None:
    raise RuntimeError("no environment with the collection in it: run `make setup`, then .venv/bin/pytest")

os.environ.setdefault("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
sys.path.insert(0, str(COLLECTIONS))

try:
    from ansible.plugins.loader import init_plugin_loader
except ImportError:
    pass
else:
    init_plugin_loader([str(COLLECTIONS)])
