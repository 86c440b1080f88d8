# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agents' own metrics pages, which the exporter gets on its host and passes on: over the network they have its TLS and its password.

Whoever asks can only name an agent. Where its page is, the release says that its unit runs (`metrics` of the manifest, and its ports).
Nothing that an agent answers costs more than SECONDS of a thread and MOST_BYTES, whatever it is.
"""

import http.client
import io
import re
import socket
import threading
import time
from email.message import Message
from typing import Any, NamedTuple, Optional, Union

from . import health, release
from .layout import Instance, Layout

PATH = "/agents/%s/metrics"
"""Where an agent id's page is to be had from the exporter."""
SECONDS, MOST_BYTES, AT_ONCE = 8.0, 4 * 1024 * 1024, 16
_ASKED = re.compile(PATH % "([a-z0-9-]+)@([a-z0-9-]+)")
NEGOTIATED = ("Accept", "Accept-Encoding")
PATIENCE = "X-Prometheus-Scrape-Timeout-Seconds"


class Page(NamedTuple):
    """Where an agent's metrics are on this host."""

    port: int
    path: str


class Answer(NamedTuple):
    """What is answered to a scrape: `kind` and `encoding` are Content-Type and Content-Encoding."""

    status: int
    body: "Union[bytes, bytearray]"
    kind: str = "text/plain"
    encoding: str = ""


class Relay:
    """The pages of a host's agents. Those that keep silent do not take the threads of the exporter's own page."""

    def __init__(self, layout: Layout) -> None:
        self._layout, self._free = layout, threading.BoundedSemaphore(AT_ONCE)

    def answer(self, path: str, headers: "Message[str, str]") -> Answer:
        """To a request for `path`, with its `headers`."""
        page = find(self._layout, path)
        if page is None:
            return _refusal(404, "no release runs here that names metrics of it")
        if not self._free.acquire(blocking=False):
            return _refusal(503, "%d agents are being asked already" % AT_ONCE)
        try:
            return fetch(page, headers)
        finally:
            self._free.release()


def find(layout: Layout, path: str) -> Optional[Page]:
    """The page that stands behind a path of ours; None where there is no such agent here, or it has none."""
    match = _ASKED.fullmatch(path)
    if not match:
        return None
    instance = Instance(layout, match[1], match[2])
    name = release.named_by(instance.proof_file) or release.proven(instance)
    facts = release.read(instance, name) if name else {}
    metrics = facts.get("manifest", {}).get("metrics")
    return Page(facts["ports"][metrics["port"]], metrics["path"]) if metrics else None


def fetch(page: Page, headers: "Message[str, str]") -> Answer:
    """Ask for a page as the asker would: in the form that it can read, and for as long as it waits."""
    deadline = time.monotonic() + patience(headers.get(PATIENCE))
    line, problem = health.connect(page.port, deadline - time.monotonic())
    if line is None:
        return _refusal(502, problem)
    with line:
        try:
            line.sendall(_request(page, headers))
            return _answer(_Pieces(line, deadline))
        except socket.timeout:
            return _refusal(504, "no whole answer in time")
        except _TooLong:
            return _refusal(502, "the page is longer than %d bytes" % MOST_BYTES)
        # Not in the agent's words, which may hold a secret. The last three: sizes that no program should be asked for.
        except (OSError, http.client.HTTPException, ValueError, ArithmeticError, MemoryError) as error:
            return _refusal(502, "the answer is not HTTP, or not whole: %s" % type(error).__name__)


def patience(said: Optional[str]) -> float:
    """How long to wait (s): not quite as long as Prometheus says that it does, so that it hears what became of it."""
    try:
        seconds = 0.8 * float(said or "")
    except ValueError:
        return SECONDS
    return seconds if 0 < seconds < SECONDS else SECONDS


def _request(page: Page, headers: "Message[str, str]") -> bytes:
    """Nothing but the form is passed on: the password is not the agent's."""
    lines = ["GET %s HTTP/1.1" % page.path, "Host: localhost:%d" % page.port, "Connection: close"]
    lines += ["%s: %s" % (name, _one_line(headers[name])) for name in NEGOTIATED if name in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _answer(pieces: Any) -> Answer:
    response = http.client.HTTPResponse(pieces)
    response.begin()
    if response.status != 200:  # also where it sends us elsewhere
        return _refusal(502, "the agent answers with status %d" % response.status)
    if (response.length or 0) > MOST_BYTES:
        raise _TooLong
    body = bytearray()  # which grows in its place: so many at once must have room in the exporter's memory
    while True:
        piece = response.read(65536)
        if not piece:
            break
        body += piece
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    kind, encoding = (_one_line(response.getheader("Content-" + name, "")) for name in ("Type", "Encoding"))
    return Answer(200, body, kind, encoding)


def _one_line(value: str) -> str:
    """A header's value that was folded could bring headers of its own."""
    return " ".join(value.split())


def _refusal(status: int, reason: str) -> Answer:
    return Answer(status, reason.encode() + b"\n")


class _TooLong(Exception):
    pass


class _Pieces(io.RawIOBase):
    """What comes over a connection until a deadline, and of that no more than a page may be long: headers and chunks' sizes count.

    The limits are of the whole, and here, under all that an answer can say of its own length.
    """

    def __init__(self, line: socket.socket, deadline: float) -> None:
        self._line, self._deadline, self._left = line, deadline, MOST_BYTES

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As of a socket, for HTTPResponse."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise socket.timeout
        self._line.settimeout(seconds)
        count = self._line.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise _TooLong
        return count
