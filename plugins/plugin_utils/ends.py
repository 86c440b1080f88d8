# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an agent ended, from systemd's record of its starts. Pure. See systemd.exec(5), "Process Exit Codes"."""

import calendar
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RECENT = 900  # seconds: restarts come at most five minutes apart
STORM = 3
MEBI = 2**20
WORDS = 200

# exit status: what systemd could not do, and what helps
SYSTEMD_EXITS = {
    200: ("its state directory cannot be entered (200/CHDIR)", "see /var/lib/agentfactory/<agent>, then deploy again"),
    203: ("its program cannot be executed (203/EXEC)",
          "is it in the artifact, executable, and made for this machine? does its interpreter exist here?"),
    208: ("its standard input cannot be set up (208/STDIN)", "see systemctl status of its unit"),
    216: ("a group of permissions.groups is not there (216/GROUP)", "make the group on this host, then start the agent"),
    217: ("its user is not there (217/USER)", "deploy again: the user is made anew"),
    218: ("its capabilities cannot be given (218/CAPABILITIES)", "this host does not allow what permissions.capabilities asks for"),
    226: ("its sandbox cannot be set up (226/NAMESPACE)",
          "a path of permissions.write is not there, or this host (a container?) does not allow mount namespaces"),
    228: ("its system call filter cannot be set up (228/SECCOMP)", "this host's kernel lacks seccomp"),
    238: ("its state directory cannot be made (238/STATE_DIRECTORY)", "is /var full or read-only?"),
    243: ("its secrets cannot be delivered (243/CREDENTIALS)",
          "they are missing, damaged, or were encrypted on another host: deploy again, they are staged anew"),
}  # fmt: skip
RESULTS = {
    "timeout": ("it was not ready within health.start_timeout, or did not stop in time",
                "read its last lines; raise start_timeout if it is slow here"),
    "watchdog": ("it did not feed its watchdog", "read its last lines: it hung"),
    "resources": ("systemd lacks what its start needs (a file of the release, a slice, memory)",
                  "deploy again; see systemctl status of its unit"),
}  # fmt: skip


@dataclass(frozen=True)
class Ends:
    """The last end that nobody ordered, and those like it: how often, since when, whether it goes on. Times in Unix s.

    `memory`: by whom it was killed for memory, as part of a sentence; `of_systemd`: what systemd could not do, and what helps.
    """

    last: Mapping[str, Any] | None = None
    count: int = 0
    since: float = 0
    still: bool = False
    lived: float | None = None
    memory: str = ""
    of_systemd: tuple[str, str] | None = None
    words: str = ""

    @classmethod
    def of(cls, instance: Mapping[str, Any], now: float) -> "Ends":
        """Of what `diagnosis` gathered of an instance; nothing where it has not ended by itself of late, or runs since then."""
        runs = instance.get("invocations") or []
        changed = _changed(instance)
        mine = [run for run in runs if run["ended"] and not run["ordered"] and run["ended"] >= changed]
        if not mine or (runs[-1]["ordered"] and runs[-1]["ended"]):  # it was stopped since
            return cls()
        down = instance["state"] in ("crash-looping", "failed")
        if not down and mine[-1]["ended"] < now - RECENT:
            return cls()
        alike = _alike(mine)
        last = alike[-1]
        memory = _memory(last, instance)
        lived = last["ended"] - last["started"] if last["started"] else None
        return cls(
            last=last, count=len(alike), since=alike[0]["ended"],
            still=down or sum(run["ended"] > now - RECENT for run in alike) >= STORM,
            lived=lived, memory=memory, of_systemd=None if memory else _of_systemd(last), words=_words(instance, last),
        )  # fmt: skip


def _changed(instance: Mapping[str, Any]) -> float:
    """The end of the second of its last deploy, rollback, start or stop: what ended before was another release, or is settled."""
    times = [
        calendar.timegm(time.strptime(change["at"], "%Y-%m-%dT%H:%M:%SZ")) for change in instance.get("history", [])
    ]
    return max(times, default=-1) + 1


def _alike(ends: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last of them that ended in the same way, without another in between."""
    found = [ends[-1]]
    for run in reversed(ends[:-1]):
        if (run["code"], run["status"]) != (ends[-1]["code"], ends[-1]["status"]):
            break
        found.insert(0, run)
    return found


def _memory(last: Mapping[str, Any], instance: Mapping[str, Any]) -> str:
    if last["oom"] or any(abs(kill["at"] - last["ended"]) < 5 for kill in instance.get("kernel_kills", [])):
        return "by the kernel for memory"
    limit = (instance.get("limits") or {}).get("memory")
    if (last["code"], last["status"], last["result"]) == ("killed", int(signal.SIGKILL), "signal") and limit:
        # cgroup v1 does not tell systemd, and in a container nobody sees the kernel's log
        return "with SIGKILL, most likely by the kernel for memory,"
    return ""


def _of_systemd(last: Mapping[str, Any]) -> tuple[str, str] | None:
    if last["helper"]:
        return "what prepares its start failed: " + how(
            last
        ), "see systemctl status of its unit: the firewall rules (nft)?"
    if last["code"] == "exited" and last["status"] in SYSTEMD_EXITS:
        return SYSTEMD_EXITS[last["status"]]
    return RESULTS.get(last["result"] or "")


def _words(instance: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    """The last line of the invocation that ended."""
    said = {instance.get("invocation_before"): "journal_before", instance.get("invocation"): "journal"}  # fmt: skip
    lines = instance.get(said.get(last["invocation"], ""), [])
    line = next((line for line in reversed(lines) if line.partition(" ")[2].strip()), "")
    return repr(line.partition(" ")[2].strip()[:WORDS]) if line else ""


def how(end: Mapping[str, Any]) -> str:
    """``exit status 1``, ``SIGSEGV`` ..."""
    if end["code"] in ("killed", "dumped"):
        try:
            return signal.Signals(end["status"]).name
        except ValueError:
            return f"signal {end['status']}"
    return f"exit status {end['status'] or 0}"


def told_at(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
