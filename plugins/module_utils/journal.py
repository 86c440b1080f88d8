# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the journal knows of a unit: when it was started, how it ended, what it said. See systemd.journal-fields(7).

systemd marks its messages with ids that do not depend on the language or the version (sd-messages.h).
"""

import json
import re
import time
from typing import Any, Optional

from .errors import HostError
from .systemd import run

STARTED = "39f53479d3a045ac8e11786248231fbf"
STOPPING = "de5b426a63be47a7b6ac3eaac82e2f6f"
ENDED = "7ad2d189f7e94e70a38c781354912448"
PROCESS_EXIT = "98e322203f7a4ed290d09fe03c09fe15"
RESULT = "d9b373ed55a64feb8242e02dbe79a49c"
RESTART = "5eb03494b6584870a536b337290809b3"
OUT_OF_MEMORY = "fe6faa94e7774663a0da52717891d8ef"
_KILL = re.compile(r"oom-kill:constraint=(\w+),.*task_memcg=\S*/([^/,\s]+),")


def entries(match: "list[str]", lines: int) -> "list[dict[str, Any]]":
    """The newest entries that match, oldest first. Raises HostError."""
    argv = ["journalctl", "--no-pager", "--quiet", "--all", "--output=json", "--lines=%d" % lines]
    return parse(run(argv + match, check=False, timeout=60))


def parse(text: str) -> "list[dict[str, Any]]":
    """journalctl's JSON lines. What is no text comes as a list of bytes, and a field that occurs twice as a list."""
    found = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # the last one may be cut off
            continue
        found.append({name: _text(value) for name, value in entry.items()})
    return found


def _text(value: Any) -> str:
    if isinstance(value, list):
        if all(isinstance(item, int) for item in value):
            return bytes(value).decode(errors="replace")
        return _text(value[-1])
    return "" if value is None else str(value)


def at(entry: "dict[str, Any]") -> float:
    """When an entry was received (Unix time)."""
    return int(entry["__REALTIME_TIMESTAMP"]) / 1e6


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def said(invocation: str, lines: int) -> "list[str]":
    """The last lines that one invocation wrote, each with its time."""
    found = entries(["_SYSTEMD_INVOCATION_ID=" + invocation], lines)
    return ["%s %s" % (stamp(at(e)), line) for e in found for line in e.get("MESSAGE", "").splitlines() or [""]]


def of_unit(unit: str, messages: int = 200) -> "list[dict[str, Any]]":
    """The last starts of a unit, as `invocations` tells them."""
    return invocations(entries(["_PID=1", "UNIT=" + unit], messages))


def invocations(messages: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """What systemd said of a unit, as its starts, oldest first.

    Each is ``{"invocation", "started", "ended", "code", "status", "result", "ordered", "helper", "oom"}``: Unix times; how the main
    process ended (``exited``, ``killed`` or ``dumped``, and its status or signal; None: as it should, or not yet); the unit's result;
    whether it was told to stop; whether it was a helper of its start that failed; whether the kernel killed for memory.
    """
    found: dict[str, dict[str, Any]] = {}
    for entry in messages:
        name = entry.get("INVOCATION_ID")
        if name:
            one = found.setdefault(name, {
                "invocation": name, "started": None, "ended": None, "code": None, "status": None, "result": None,
                "ordered": False, "helper": False, "oom": False,
            })  # fmt: skip
            one.update(_learnt(entry, one))
    return [one for one in found.values() if one["started"] or one["ended"]]


def _learnt(entry: "dict[str, Any]", before: "dict[str, Any]") -> "dict[str, Any]":
    kind, when = entry.get("MESSAGE_ID"), round(at(entry), 3)
    if kind == STARTED:
        return {"started": when}
    if kind == STOPPING:
        return {"ordered": before["ended"] is None}
    if kind == OUT_OF_MEMORY:
        return {"oom": True}
    if kind == PROCESS_EXIT:
        status = entry.get("EXIT_STATUS", "")
        helper = "Control process" in entry.get("MESSAGE", "")
        return {
            "ended": when,
            "code": entry.get("EXIT_CODE"),
            "status": int(status) if status.isdigit() else None,
            "helper": helper,
        }
    if kind == RESULT:
        result = entry.get("UNIT_RESULT")
        return {"ended": before["ended"] or when, "result": result, "oom": before["oom"] or result == "oom-kill"}
    if kind in (ENDED, RESTART):
        return {"ended": before["ended"] or when}
    return {}


def kernel_kills(lines: int = 100) -> "list[dict[str, Any]]":
    """Whom the kernel has killed for memory since it was started: ``{"at", "unit", "limit"}``, oldest first.

    `limit`: at a limit of its own, not since the host had none left. Empty where the kernel's log cannot be read (in a container).
    """
    try:
        return kills_in(entries(["--dmesg", "--grep=oom-kill:constraint"], lines))
    except HostError:
        return []


def kills_in(found: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """The same, from entries of the kernel."""
    matches = ((e, _KILL.search(e.get("MESSAGE", ""))) for e in found)
    return [{"at": round(at(e), 3), "unit": m[2], "limit": m[1] == "CONSTRAINT_MEMCG"} for e, m in matches if m]


def last(runs: "list[dict[str, Any]]", current: Optional[str]) -> "tuple[Optional[str], Optional[str]]":
    """The newest invocation, which is systemd's `current` one where it has one, and the one before it."""
    names = [one["invocation"] for one in runs if one["invocation"] != current]
    if current:
        return current, names[-1] if names else None
    return (names[-1] if names else None), (names[-2] if len(names) > 1 else None)
