# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changed between two versions of an artifact, as Ansible's diff."""

import re

from .artifact import ArtifactError, Artifacts
from .manifest import Manifest
from .tree import FileEntry


def before(artifacts: Artifacts, manifest: Manifest) -> list[FileEntry]:
    """The files of the same version, else of the newest other one."""
    versions = artifacts.versions(manifest["name"])
    if not versions:
        return []
    chosen = manifest["version"] if manifest["version"] in versions else max(versions, key=_natural)
    try:
        return artifacts.open(manifest["name"], chosen).images[0].files()
    except ArtifactError:
        return []


def _natural(version: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", version) if part]


def difference(manifest: Manifest, before: list[FileEntry], after: list[FileEntry]) -> dict[str, str]:
    """The lists of files as Ansible's diff: one line a file."""
    texts = [
        "".join(f"{item.get('link') or item['sha256'][:12]} {item['path']}\n" for item in files)
        for files in (before, after)
    ]
    name = f"{manifest['name']}: files"
    return {"before_header": name, "after_header": name, "before": texts[0], "after": texts[1]}
