# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libraries' byte code is kept, also where Ansible imports them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

LIBRARIES = Path(__file__).resolve().parents[3] / "plugins"
PROGRAM = """
import importlib, json, sys
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader([sys.argv[1]])
package = "ansible_collections.agentfactory.core.plugins."
found = [importlib.import_module(package + name) for name in ("plugin_utils.run", "module_utils.layout")]
print(json.dumps([[module.__file__, module.__cached__] for module in found]))
"""


def test_ansible_imports_the_libraries_with_their_byte_code(tmp_path: Path) -> None:
    core = tmp_path / "ansible_collections" / "agentfactory" / "core"
    for library in ("plugin_utils", "module_utils"):
        shutil.copytree(
            LIBRARIES / library, core / "plugins" / library, ignore=shutil.ignore_patterns("__pycache__", "lab")
        )
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    for source, cached in json.loads(done.stdout):
        assert Path(source).is_relative_to(core)
        assert Path(cached).is_file()
