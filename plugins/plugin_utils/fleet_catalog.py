# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a fleet finds the manifest of an agent's version: in its artifact, else in its source."""

import os
from typing import Any

from .artifact import ArtifactError, Artifacts


class Catalog:
    """The manifests of the artifacts under one root, and of sources."""

    def __init__(self, artifacts: str) -> None:
        self._root = artifacts
        self._artifacts = Artifacts(artifacts)

    def find(self, name: str, version: str, source: str | None) -> dict[str, Any]:
        """The manifest of `name` `version`; ValueError says what there is instead, one reason a line."""
        try:
            versions = self._artifacts.versions(name)
            if version in versions:
                return dict(self._artifacts.open(name, version).manifest)
        except ArtifactError as error:
            if source is None:
                raise ValueError(f"artifacts: {error}") from error
            versions = []
        there = f"{self._root} has {', '.join(versions)}" if versions else f"{self._root} has no artifact of {name}"
        if source is None:
            raise ValueError(f"version {version} is not packaged: {there}, and no source is given to package it from")
        return self._from_source(name, version, source, there)

    def _from_source(self, name: str, version: str, source: str, there: str) -> dict[str, Any]:
        from .manifest import ManifestError, load  # only here: Ansible compiles a collection's code in each run

        try:
            manifest: dict[str, Any] = load(os.path.join(source, "agent.yml"))
        except ManifestError as error:
            raise ValueError("\n".join(f"source: {line}" for line in error.problems)) from error
        if manifest["name"] != name:
            raise ValueError(f"source {source} is of agent {manifest['name']!r}")
        if manifest["version"] != version:
            found = f"source {source} is {manifest['version']}"
            raise ValueError(f"version {version} cannot be had: {found}, and {there}")
        return manifest
