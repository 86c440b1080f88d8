# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's library.

Ansible keeps the byte code of plugins, but compiles what a collection's plugins import anew in every run. So the modules of both
libraries are found here first, and loaded by Python's own loader, which keeps theirs too.
"""

import os
import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location

_PLUGINS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PLACES = {
    f"{__name__.rpartition('.')[0]}.{library}": os.path.join(_PLUGINS, library)
    for library in ("plugin_utils", "module_utils")
}


class _Finder:
    """A meta path finder for the modules of the two packages."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        package, _dot, module = name.rpartition(".")
        file = os.path.join(_PLACES.get(package, ""), f"{module}.py")
        return spec_from_file_location(name, file) if package in _PLACES and os.path.isfile(file) else None


sys.meta_path.insert(0, _Finder)
