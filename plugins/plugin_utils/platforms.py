# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One platform more: a host that nothing was packaged for, as it was out of reach or is new, gets its images when it says so."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from ..module_utils.target import Target, fits
from . import run
from .declare import packaged
from .manifest import ManifestError, load


def extend(
    agents: list[dict[str, Any]], target: str, sources: Mapping[str, Any], artifacts: str, *, check: bool
) -> bool:
    """Package what of a host's agents lacks its platform `target`, and note their ``images``; False where that cannot be.

    `sources`: agent -> directory. A source that is at another version by now is left alone. With `check` nothing is written.
    """
    host = Target.parse(target)
    lacking = [a for a in agents if not any(fits(Target.parse(image["target"]), host) for image in a["images"])]
    if not all(_is_at(sources.get(agent["name"]), agent["manifest"]["version"]) for agent in lacking):
        return False
    for agent in lacking:
        agent["images"] = _images(str(sources[agent["name"]]), target, artifacts, check=check)
    packaged.cache_clear()
    return True


def _is_at(source: Any, version: str) -> bool:
    try:
        return source is not None and bool(load(str(source))["version"] == version)
    except ManifestError:
        return False


def _images(source: str, target: str, artifacts: str, *, check: bool) -> list[dict[str, str]]:
    """All that the artifact then holds. In a rollout the first host's fork makes it, and those of the others wait for that."""
    from .freshness import packaged_since
    from .package import Request, package

    def make() -> bytes:
        began = time.time()
        done = package(Request(source, artifacts, default_platforms=[target], check=check))
        if done.changed and not check:
            packaged_since(artifacts, done.name, began)
        return json.dumps(done.targets).encode()

    question = repr((run.current(), source, target, artifacts, check))
    made = run.kept("images-" + hashlib.sha256(question.encode()).hexdigest()[:32], make) if run.current() else make()
    return list(json.loads(bytes(made)))
