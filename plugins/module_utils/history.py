# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who changed what on this host, when, from, to, and how it ended: one JSON line a change, only ever appended."""

import json
import os
import time
from typing import Any, NamedTuple, Optional

from .files import canonical
from .layout import Layout


def append(layout: Layout, who: "dict[str, Any]", agent_id: str, action: str, *, before: Optional[str],
           after: Optional[str], result: str, **more: Any) -> None:  # fmt: skip
    """Record one change, with `more` about it. `who` is ``{"user", "run", "controller", ...}`` as the controller gave it."""
    record = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "who": who, "run": who.get("run"), "agent_id": agent_id,
        "action": action, "from": before, "to": after, "result": result, **more,
    }  # fmt: skip
    layout.factory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(layout.factory / "history.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # A crash may have cut the last line off: this one must not become a part of it.
        size = os.fstat(descriptor).st_size
        torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (b"\n" if torn else b"") + canonical(record) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(layout: Layout, *, last: Optional[int] = None) -> "list[dict[str, Any]]":
    """The newest `last` records (all by default), oldest first; a line cut off by a crash is left out."""
    try:
        lines = (layout.factory / "history.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []
    records = []
    for line in lines[-last:] if last else lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


class Switch(NamedTuple):
    """What one run did to an instance: the release before it (None: none), whether that ran, and the release after it."""

    before: Optional[str]
    was_running: bool
    after: str


def of_run(layout: Layout, run: str) -> "dict[str, Switch]":
    """What `run` switched, by agent id, from the first time to the last."""
    found: dict[str, Switch] = {}
    for record in read(layout):
        if record.get("run") == run and record["action"] == "activate" and record["result"] == "ok":
            first = found.get(record["agent_id"]) or Switch(record["from"], record.get("was_running", True), "")
            found[record["agent_id"]] = first._replace(after=record["to"])
    return found
