# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who changed what on this host, when, from, to, and how it ended: one JSON line a change, only ever appended."""

import contextlib
import functools
import json
import os
import time
from collections.abc import Collection
from typing import Any, NamedTuple, Optional

from .files import canonical
from .layout import Layout, meant


def append(layout: Layout, who: "dict[str, Any]", agent_id: str, action: str, *, before: Optional[str],
           after: Optional[str], result: str, **more: Any) -> None:  # fmt: skip
    """Record one change, with `more` about it. `who` is ``{"user", "run", "controller", ...}`` as the controller gave it."""
    record = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "who": who, "run": who.get("run"), "agent_id": agent_id,
        "action": action, "from": before, "to": after, "result": result, **more,
    }  # fmt: skip
    layout.factory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(layout.factory / "history.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab") as stream:  # its write is of the whole, or an error
        # A crash or a full disk may have cut the last line off: this one must not become a part of it.
        size = os.fstat(descriptor).st_size
        torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
        stream.write((b"\n" if torn else b"") + canonical(record) + b"\n")
        stream.flush()
        os.fsync(descriptor)


def read(
    layout: Layout, *, last: Optional[int] = None, only: "Optional[Collection[str]]" = None
) -> "list[dict[str, Any]]":
    """The newest `last` records (all by default) of the agents in `only` (all: None), oldest first; without a line that a crash cut off."""
    try:
        lines = (layout.factory / "history.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []
    records: list[dict[str, Any]] = []
    for line in reversed(lines):
        if len(records) == last:
            break
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if meant(record["agent_id"], only):
                records.append(record)
    return records[::-1]


def stopped(layout: Layout, agent_id: str) -> bool:
    """Whether the last that was done to an instance was to stop it, or to leave it stopped as it was before."""
    try:
        seen = os.stat(layout.factory / "history.jsonl")
    except FileNotFoundError:
        return False
    return _last(layout, seen.st_mtime_ns, seen.st_size).get(agent_id) in ("stop", "shelve")


@functools.lru_cache(maxsize=1)
def _last(layout: Layout, _changed: int, _size: int) -> "dict[str, str]":
    """The last action on each instance that went well. Read anew when the file has another time or size: exporters ask often."""
    return {record["agent_id"]: record["action"] for record in read(layout) if record["result"] == "ok"}


class Switch(NamedTuple):
    """What one run did to an instance: the release before it (None: none), whether that ran, and the release after it.

    `after` is None where the run removed the instance; `stopped` where it stopped the release and changed nothing else.
    """

    before: Optional[str]
    was_running: bool
    after: Optional[str]
    stopped: bool = False


def of_run(layout: Layout, run: str) -> "dict[str, Switch]":
    """What `run` made of instances, by agent id, from the first time to the last; without what others changed since."""
    found: dict[str, Switch] = {}
    for record in read(layout):
        agent_id, action = record["agent_id"], record["action"]
        if record["result"] != "ok" or action not in ("activate", "shelve", "deactivate", "stop", "remove"):
            continue
        first = found.get(agent_id) or Switch(record["from"], record.get("was_running", True), None)
        if record.get("run") != run:
            if record["from"] != record["to"]:  # else it was only started again
                found.pop(agent_id, None)
        elif action == "activate":
            found[agent_id] = first._replace(after=record["to"], stopped=False)
        elif action == "stop":
            found[agent_id] = first._replace(after=record["from"], stopped=True)
        elif action == "remove":
            found[agent_id] = first._replace(after=None)
    return found
