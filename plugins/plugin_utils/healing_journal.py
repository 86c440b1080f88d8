# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the healer did and did not do, on the controller: one JSON line a decision, only ever appended.

It is what the limits go by, so that a restart does not forget them; and it is where what concerns a host that is down is kept.
"""

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

DEFAULT = "~/.local/state/agentfactory/healing"
READ = 4 << 20
"""bytes at its end that are read: thousands of decisions"""


class JournalError(RuntimeError):
    """The journal cannot be kept: then nothing may be done."""


class Journal:
    """The file ``healing.jsonl`` in a directory that is made where it is missing; for its owner only."""

    def __init__(self, directory: str) -> None:
        self.directory = os.path.expanduser(directory)
        self.path = os.path.join(self.directory, "healing.jsonl")

    def append(self, decide: Callable[[list[dict[str, Any]]], Mapping[str, Any]]) -> dict[str, Any]:
        """Add what `decide` makes of the records so far, with nobody in between; returns it."""
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with open(descriptor, "r+b", buffering=0) as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                text = _tail(stream)
                made = dict(decide(_records(text)))
                torn = b"\n" if text and not text.endswith(b"\n") else b""  # a crash may have cut the last line off
                stream.write(torn + json.dumps(made, sort_keys=True).encode() + b"\n")
                os.fsync(stream.fileno())
        except OSError as error:
            raise JournalError(f"{self.path}: {error.strerror}: without it nothing is healed") from error
        return made


def _tail(stream: Any) -> bytes:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - READ))
    return bytes(stream.read())


def _records(text: bytes) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines():
        try:
            item = json.loads(line)
        except ValueError:
            continue
        if isinstance(item, dict) and {"at", "host", "agent_id", "outcome"} <= item.keys():
            found.append(item)
    return found
