# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent to a host: the lists of files of the trees it lacks, and those files that it does not have yet."""

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from . import remote, run
from .artifact import ArtifactError, Artifacts, Image
from .declare import packaged


class Stock:
    """What there is to send of a host's agents. It remembers whose lists of files one host was already sent."""

    def __init__(self, agents: list[dict[str, Any]], artifacts: str) -> None:
        self._agents, self._artifacts = agents, artifacts
        self._trees: dict[str, list[dict[str, Any]]] = {}

    @cached_property
    def _images(self) -> dict[str, Image]:
        return images_by_tree(self._agents, self._artifacts)

    @property
    def depends_on_host(self) -> bool:
        """Whether only the host can say which of an agent's trees it needs. (Images of several platforms may have one.)"""
        return any(len({image["tree"] for image in agent["images"]}) != 1 for agent in self._agents)

    def everything(self) -> tuple[dict[str, Any], run.Kept]:
        """For a host that has nothing: the request's ``trees`` and ``blobs``, and the payload."""
        return self.lacking({"trees": [image["tree"] for agent in self._agents for image in agent["images"]]})

    def lacking(self, need: dict[str, Any]) -> tuple[dict[str, Any], run.Kept]:
        """For what a host said that it needs: ``{"trees": [...], "held": [...]}`` or ``{"files": [...]}``."""
        self._trees.update(lists(need.get("trees", []), self._images))
        missing = set(need["files"]) if "files" in need else None
        known, complete = known_in_run(self._agents, self._artifacts, need.get("held", []))
        if not complete and missing is None:
            missing = set()  # what it has of them, only the host can say
        wanted = blobs(self._trees, missing, known)
        return {"trees": self._trees, "blobs": wanted}, payload(wanted, list(self._trees), self._images)


def images_by_tree(agents: Iterable[dict[str, Any]], artifacts: str) -> dict[str, Image]:
    """The images of the declared versions by the digest of their tree."""
    found: dict[str, Image] = {}
    for agent in agents:
        for image in packaged(artifacts, agent["name"], agent["manifest"]["version"]).images:
            found.setdefault(image.tree, image)
    return found


def known_files(agents: Iterable[dict[str, Any]], artifacts: str, held: Iterable[str]) -> tuple[set[str], bool]:
    """The content that a host holding the trees `held` has, as far as our artifacts tell; and whether they tell it all."""
    wanted, files = set(held), set()
    store = Artifacts(artifacts)
    for agent in agents:
        for version in store.versions(agent["name"]) if wanted else []:
            try:
                images = packaged(artifacts, agent["name"], version).images
            except (ArtifactError, ValueError):
                continue
            for image in images:
                if image.tree in wanted:
                    wanted.discard(image.tree)
                    files |= {item["sha256"] for item in image.files() if "sha256" in item}
    return files, not wanted


def known_in_run(agents: list[dict[str, Any]], artifacts: str, held: list[str]) -> tuple[set[str], bool]:
    """The same, but looked up once in a rollout: most of its hosts hold the same, and each is asked in a process of its own."""

    def look() -> bytes:
        files, complete = known_files(agents, artifacts, held)
        return json.dumps([sorted(files), complete]).encode()

    if not held or not (rollout := run.current()):
        return known_files(agents, artifacts, held)
    question = repr((rollout, artifacts, sorted(agent["name"] for agent in agents), sorted(held)))
    files, complete = json.loads(bytes(run.kept("known-" + hashlib.sha256(question.encode()).hexdigest()[:32], look)))
    return set(files), complete


def lists(trees: Iterable[str], images: dict[str, Image]) -> dict[str, list[dict[str, Any]]]:
    """tree digest -> its file list."""
    return {tree: [dict(item) for item in images[tree].files()] for tree in trees}


def blobs(trees: dict[str, list[dict[str, Any]]], missing: set[str] | None, known: set[str]) -> list[list[Any]]:
    """``[[sha256, size], ...]`` to send: what the host named as `missing`, else all that it is not known to have."""
    sizes = {item["sha256"]: item["size"] for files in trees.values() for item in files if "sha256" in item}
    wanted = missing if missing is not None else set(sizes) - known
    return [[sha256, sizes[sha256]] for sha256 in sorted(wanted)]


def payload(wanted: list[list[Any]], trees: Iterable[str], images: dict[str, Image]) -> run.Kept:
    """The wanted files as one zlib stream, packed once a run however many hosts need the same ones."""
    if not wanted:
        return b""
    name = hashlib.sha256(repr(wanted).encode()).hexdigest()[:32]
    return run.kept(
        f"spool-{name}", lambda: remote.spool(_contents([sha256 for sha256, _size in wanted], trees, images))
    )


def _contents(order: list[str], trees: Iterable[str], images: dict[str, Image]) -> list[bytes]:
    found: dict[str, bytes] = {}
    for tree in trees:
        image = images[tree]
        here = {item["sha256"] for item in image.files() if "sha256" in item} & (set(order) - set(found))
        found.update(image.read(here))
    return [found[sha256] for sha256 in order]
