# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as rows of one table. Pure: from what agent_info returned of each host to text."""

from collections.abc import Iterable, Mapping
from typing import Any

COLUMNS = ("host", "agent id", "release", "content", "state", "health", "uptime", "restarts", "cpu", "memory")


def rows(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row an instance, in the hosts' order; a host that did not answer is a row too. Values keep their units (s, bytes)."""
    found: list[dict[str, Any]] = []
    for host, result in results.items():
        if "instances" not in result:
            state = "unreachable" if result.get("unreachable") else "failed"
            found.append({"host": host, "state": state, "health": str(result.get("msg", "no answer")), "drift": []})
        found += [{"host": host, **item} for item in result.get("instances", [])]
    return found


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row as a person reads it."""
    if "agent_id" not in row:
        return [row["host"], "-", "-", "-", row["state"], row["health"][:60], "-", "-", "-", "-"]
    content = f"{row['content'][:12]} " if row.get("content") else ""
    return [
        row["host"], row["agent_id"], row["release"] or "-", content + ("drifted" if row["drift"] else "as declared"),
        row["state"], _health(row), _duration(row["uptime_seconds"]),
        "-" if row["restarts"] is None else str(row["restarts"]), _share(row["cpu_seconds"], row["uptime_seconds"]),
        _size(row["memory_bytes"]),
    ]  # fmt: skip


def table(found: Iterable[Mapping[str, Any]]) -> str:
    """The table, and below it why each instance that is not as it should be is not."""
    listed = list(found)
    lines = [[name.upper() for name in COLUMNS]] + [cells(row) for row in listed]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    for row in listed:
        reasons = list(row["drift"]) + ([row["health"]] if "agent_id" in row and _health(row) == "NOT HEALTHY" else [])
        if reasons and "agent_id" in row:
            text.append(f"{row['host']} {row['agent_id']}: {'; '.join(reasons)}")
    return "\n".join(printable(line) for line in text)


def printable(line: str) -> str:
    """What somebody else said, without what would move the cursor, colour the terminal or turn the text around."""
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "?" for letter in line)


def _health(row: Mapping[str, Any]) -> str:
    if row["healthy"]:
        return "healthy"
    return "-" if row["state"] in ("stopped", "missing", "not activated") else "NOT HEALTHY"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _share(cpu: float | None, uptime: float | None) -> str:
    """Mean use of one core since the start, in percent."""
    return f"{cpu / uptime * 100:.1f} %" if cpu is not None and uptime else "-"


def _size(octets: int | None) -> str:
    return "-" if octets is None else f"{octets / 2**20:.1f} MiB"
