# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a source was touched since it was packaged: cheap enough to ask at every deploy.

An edit without a new version must not go unseen; what it is worth, packaging finds out by content.
"""

import os
from collections.abc import Collection, Mapping
from typing import Any

from ansible.errors import AnsibleError

from .hidden import BUILDS_GO_BY, IGNORE_FILE, kept

_NOT_SOURCE = {"__pycache__", "dist", "build", "venv", "node_modules"}


def unpackaged(fleet: Mapping[str, Any], chosen: Collection[str] | None) -> list[dict[str, str]]:
    """Of a fleet's variables: what has no artifact, or whose source was touched since, as ``{name, version, source}``; only `chosen`."""
    sources = fleet.get("agentfactory_sources", {})
    wanted = {
        name: version
        for name, version in fleet.get("agentfactory_versions", {}).items()
        if version and name in sources and (chosen is None or name in chosen)
    }
    if not wanted:
        return []
    from .artifact import ArtifactError, Artifacts

    artifacts = Artifacts(str(fleet["agentfactory_artifacts"]))
    try:
        return [
            {"name": str(name), "version": str(version), "source": str(sources[name])}
            for name, version in wanted.items()
            if version not in artifacts.versions(name) or _edited(artifacts.root, name, version, str(sources[name]))
        ]
    except ArtifactError as error:
        raise AnsibleError(str(error)) from error


def _edited(artifacts: str, name: str, version: str, source: str) -> bool:
    """Whether the source of this very version was touched after it was packaged."""
    if not touched_since(source, packaged_at(artifacts, name)):
        return False
    from .manifest import ManifestError, load

    try:
        return bool(load(source)["version"] == version)
    except ManifestError:
        return True  # packaging says what is wrong with it


def touched_since(source: str, when: float) -> bool:
    """Whether anything below the directory `source` is newer than `when` (Unix s). What is not packaged does not count.

    Of a file that was deleted, moved in or renamed, its directory tells.
    """
    shown = {IGNORE_FILE, BUILDS_GO_BY}

    def counts(name: str) -> bool:
        return name not in _NOT_SOURCE and (not name.startswith(".") or name in shown)

    for folder, names, files in os.walk(source):
        if IGNORE_FILE in files:
            shown |= kept(folder)
        names[:] = filter(counts, names)
        paths = [folder, *(os.path.join(folder, name) for name in files if counts(name))]
        if any(_changed(path) > when for path in paths):
            return True
    return False


def packaged_at(artifacts: str, name: str) -> float:
    """When the agent was last packaged or found to be as packaged (Unix s); 0 where it never was."""
    return _changed(os.path.join(artifacts, name, "index.json"))


def packaged_since(artifacts: str, name: str, when: float) -> None:
    """Note that the source as it was at `when` (Unix s), before it was read, is what was packaged."""
    os.utime(os.path.join(artifacts, name, "index.json"), (when, when))


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
