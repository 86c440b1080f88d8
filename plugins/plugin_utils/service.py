# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running an activation on a host and following it to its end, with progress."""

import time
from typing import Any, Protocol

from .remote import Remote, RemoteError

DONE = {
    "activate": "is healthy",
    "enable": "starts at boot",
    "confine": "is confined again",
    "stop": "is stopped",
    "shelve": "is stopped, as before",
    "remove": "is removed",
    "purge": "has no state any more",
    "deactivate": "is off again",
}


class Task(Protocol):
    """What is needed of the action."""

    _task: Any

    def remote(self) -> Remote: ...
    def request(self, operation: str, **more: Any) -> dict[str, Any]: ...
    def keep(self) -> int: ...
    def tell(self, line: str) -> None: ...


class Service:
    """One change of state of a host's agents. `switched` says afterwards whether anything was changed on the host."""

    def __init__(self, task: Task) -> None:
        self._action = task
        self.switched = False

    def run(self, state: str, *, fail: bool = True, **more: Any) -> dict[str, Any]:
        """Bring the host's agents to `state`; the task's result. With `fail`, failures raise RemoteError."""
        remote = self._action.remote()
        request = self._action.request("activate", state=state, keep=self._action.keep(), **more)
        answer = remote.call(request)
        if request["check"]:
            return dict(self._planned(answer["steps"]), missing=answer.get("missing", []))
        self.switched = bool(answer["steps"])
        gone = [f"{agent_id}: this run removed it, and cannot bring it back" for agent_id in answer.get("gone", [])]
        told: dict[str, str] = {}
        began = time.monotonic()
        while not answer["done"]:
            self._progress(answer["steps"], told)
            if time.monotonic() - began > answer["allowed"]:
                raise RemoteError(_wedged(answer))
            answer = remote.call(dict(request, op="follow"))
        return self._outcome(answer, gone, fail=fail)

    def _planned(self, steps: list[dict[str, Any]]) -> dict[str, Any]:
        lines = [f"{name(step)}: {step['action']} {arrow(step)}".rstrip() for step in steps]
        for line in lines:
            self._action.tell("would " + line)
        return {"changed": bool(lines), "changes": lines}

    def _progress(self, steps: list[dict[str, Any]], told: dict[str, str]) -> None:
        """Say in which phase each unfinished step is, when that has changed."""
        for step in steps:
            phase = step.get("note") or step["phase"]
            if step["phase"] != "done" and told.get(name(step)) != phase:
                told[name(step)] = phase
                self._action.tell(f"{name(step)}: {phase} ...")

    def _outcome(self, answer: dict[str, Any], gone: list[str], *, fail: bool) -> dict[str, Any]:
        steps = answer["steps"]
        if answer.get("interrupted"):
            raise RemoteError(
                "the host was restarted in the middle of the activation; the last proven releases run. Run this again"
            )
        lines = [self._line(step) for step in steps]
        for line in lines:
            self._action.tell(line)
        failures = [f"{name(step)}: {step['message']}" for step in steps if step["result"] in ("failed", "undone")]
        failures += gone
        result = {
            "changed": bool(steps),
            "changes": lines,
            "missing": answer.get("missing", []),
            "instances": [
                {
                    key: step.get(key)
                    for key in ("agent", "instance", "action", "from", "to", "result", "message", "gap", "evidence")
                }
                for step in steps
            ],
        }
        if not failures:
            return result
        if fail:
            raise RemoteError("\n".join(failures))
        return dict(result, failures=failures)

    def _line(self, step: dict[str, Any]) -> str:
        if step["result"] != "ok":
            return f"{name(step)}: {step['result'].upper()}: {step['message']}"
        gap = f" after {step['gap']:.1f} s" if step.get("gap") is not None else ""
        return f"{name(step)}: {arrow(step)} {DONE[step['action']]}{gap}".replace(":  ", ": ")


def _wedged(answer: dict[str, Any]) -> str:
    at = ", ".join(f"{name(step)}: {step['phase']}" for step in answer["steps"] if step["phase"] != "done")
    return (
        f"the activation on this host has not come to an end within {answer['allowed']:.0f} s ({at or 'on its way back'}), and is not "
        "waited for any longer. It goes on by itself if it can: see systemctl status agentfactory-activation there, then run this again"
    )


def name(step: dict[str, Any]) -> str:
    return f"{step['agent']}@{step['instance']}"


def arrow(step: dict[str, Any]) -> str:
    """``old -> new`` of an activation, the one release of a restart, else nothing."""
    if step["action"] != "activate":
        return ""
    return step["to"] if step["from"] in (None, step["to"]) else f"{step['from']} -> {step['to']}"
