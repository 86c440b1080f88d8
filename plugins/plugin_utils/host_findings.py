# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a host, whatever its agents do. Pure: from what `diagnosis` gathered."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .ends import MEBI, times, told_at

Facts = Mapping[str, Any]
FULL, NEARLY = 0.02, 0.10  # of a file system that is left
SKEW = 5  # seconds; certificates and tokens begin to fail
STARVED = {"cpu": 80, "memory": 10, "io": 60}  # percent of a minute that something waited for it


@dataclass(frozen=True)
class Finding:
    """`about` is an agent id or ``host``; `kind` is for programs, `text` and `next` are for people."""

    severity: str
    about: str
    kind: str
    text: str
    next: str = ""


def of_host(facts: Facts, now: float) -> Iterator[Finding]:
    host = facts["host"]
    for place in host["file_systems"]:
        yield from _file_system(place)
    available = host["memory"]["available"] / host["memory"]["total"] if host["memory"]["total"] else 1
    if available < 0.05:
        yield _of_host("warning", "memory", f"has only {available:.0%} of its memory left",
                       "see what uses it (systemd-cgtop -m); agents without resources.memory can take it all")  # fmt: skip
    for what, percent in host["pressure"].items():
        if (percent or 0) > STARVED[what]:
            yield _of_host("warning", f"pressure-{what}", f"waited for {what} during {percent:.0f} % of the last minute",
                           "probes may time out; see who uses it (systemd-cgtop)")  # fmt: skip
    ahead = host["time"] - now
    if abs(ahead) > SKEW:
        yield _of_host(
            "warning", "clock", f"its clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the controller's",
            "set one of them right (timedatectl): certificates and tokens depend on it",
        )  # fmt: skip
    kills = [kill for kill in host["kernel_kills"] if not kill["limit"]]
    if kills:
        yield _of_host("warning", "out-of-memory", f"ran out of memory {times(len(kills))}, last at {told_at(kills[-1]['at'])}",
                       "give its agents resources.memory, or move some of them away")  # fmt: skip
    yield from _run(facts)


def _run(facts: Facts) -> Iterator[Finding]:
    """What is done to the host at this moment."""
    activation, lease = facts["activation"], facts["lease"]
    if activation and activation["this_boot"]:
        yield _of_host("info", "activation", f"an activation is under way (run {activation['run']} by {activation['user']})",
                       "wait for its end, then diagnose again")  # fmt: skip
    elif activation:
        yield _of_host("warning", "interrupted", f"was restarted in the middle of an activation (run {activation['run']})",
                       "the last proven releases run; deploy again")  # fmt: skip
    elif lease:
        yield _of_host("info", "lease", f"is held by {lease['user']} on {lease['controller']} ({lease['reason']})")


def _file_system(place: Facts) -> Iterator[Finding]:
    path = place["path"]
    free = place["free"] / place["size"] if place["size"] else 1.0
    files = place["free_files"] / place["files"] if place["files"] else 1.0
    if place["read_only"]:
        yield _of_host("error", "read-only", f"the file system of {path} can only be read",
                       "see the kernel's log for why (journalctl -k); nothing can be deployed or recorded")  # fmt: skip
    elif min(free, files) < NEARLY:
        what = (
            f"{free:.1%} of its space ({place['free'] / MEBI:.0f} MiB)"
            if free <= files
            else f"{files:.1%} of its inodes"
        )
        full = min(free, files) < FULL
        yield _of_host("error" if full else "warning", "disk-full", f"the file system of {path} has only {what} left",
                       f"make room (du -xh {path} | sort -h | tail)")  # fmt: skip


def _of_host(severity: str, kind: str, text: str, next_: str = "") -> Finding:
    return Finding(severity, "host", kind, text, next_)
