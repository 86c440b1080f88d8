# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes: each looks once and says what it saw. Waiting is a loop around them; it lives in `activation`."""

import itertools
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

from . import credentials

BODY = 2048
Pid = Union[int, str]


class Seen(NamedTuple):
    """One look of one probe. What the agent answered is in `detail` only where it is not healthy; it may hold a secret."""

    healthy: bool
    probe: str
    detail: str


class Listener(NamedTuple):
    """A listening TCP socket: where, and the user id that owns it (``/proc/net/tcp``, see proc(5))."""

    address: str
    port: int
    uid: int
    inode: int = 0


def parse_listeners(text: str) -> "list[Listener]":
    """The listening sockets in the format of ``/proc/<pid>/net/tcp`` and ``tcp6``."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split() if " 0A " in line else ()  # of very many lines, most are not of listeners
        if len(fields) > 7 and fields[3] == "0A":
            address, port = fields[1].rsplit(":", 1)
            inode = int(fields[9]) if len(fields) > 9 else 0
            found.append(Listener(_address(address), int(port, 16), int(fields[7]), inode))
    return found


def _address(text: str) -> str:
    """Each 32-bit word of the address is printed in the host's byte order."""
    raw = b"".join(int(text[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def listeners(pid: Pid = "self") -> "Iterator[Listener]":
    """Listening sockets in the network namespace of a process. Each of the two files is read when it is its turn: it costs 1 ms."""
    for name in ("tcp", "tcp6"):
        try:
            yield from parse_listeners(Path("/proc/%s/net/%s" % (pid, name)).read_text())
        except OSError:
            continue


def _reachable(address: str) -> "tuple[str, ...]":
    """Where to connect to reach a listener. One on all IPv6 addresses has IPv4 ones too, where IPv6 is switched off."""
    address = address.removeprefix("::ffff:")
    return {"0.0.0.0": ("127.0.0.1",), "::": ("::1", "127.0.0.1")}.get(address, (address,))


def connect(port: int, timeout: float, pid: Pid = "self") -> "tuple[Optional[socket.socket], str]":
    """A connection to whatever listens on `port`, or what stands in the way."""
    problem = "nothing listens on port %d" % port
    listed = (a for item in listeners(pid) if item.port == port for a in _reachable(item.address))
    # Nearly always it is on loopback; on a busy host, the list of sockets is long.
    for address in itertools.chain(["127.0.0.1"], listed):
        # not create_connection: that imports an encoding for international names
        connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            connection.settimeout(timeout)
            connection.connect((address, port))
            return connection, ""
        except ConnectionRefusedError:
            connection.close()
        except OSError as error:
            connection.close()
            problem = "port %d: %s" % (port, error.strerror or error)
            if isinstance(error, socket.timeout):
                break
    return None, problem


def tcp(port: int, *, timeout: float = 2, pid: Pid = "self") -> Seen:
    connection, problem = connect(port, timeout, pid)
    if connection:
        connection.close()
    return Seen(not problem, "tcp port %d" % port, problem or "accepts connections")


def http(port: int, path: str, status: int, *, timeout: float = 5, pid: Pid = "self") -> Seen:
    """One HTTP/1.0 request (RFC 1945: no keep-alive, no chunks); healthy when the status code is the wanted one."""
    name = "http port %d %s" % (port, path)
    deadline = time.monotonic() + timeout
    connection, problem = connect(port, timeout, pid)
    if not connection:
        return Seen(False, name, problem)
    try:
        with connection:
            connection.sendall(b"GET %s HTTP/1.0\r\nHost: localhost:%d\r\n\r\n" % (path.encode(), port))
            answer = b""
            while len(answer) < BODY:
                connection.settimeout(
                    max(deadline - time.monotonic(), 0.001)
                )  # of all of the answer, not of each piece
                piece = connection.recv(BODY)
                if not piece:
                    break
                answer += piece
    except OSError as error:
        return Seen(False, name, "no answer: %s" % (error.strerror or error))
    match = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    if not match:
        return Seen(False, name, "the answer is not HTTP: %s" % _printable(credentials.head(_text(answer), 80)))
    body = _text(answer).partition("\r\n\r\n")[2].strip()
    if int(match[1]) == status:
        return Seen(True, name, "status %d" % status)
    return Seen(False, name, "status %s (wanted %d) %s" % (match[1].decode(), status, credentials.head(body, 300)))


def _text(answer: bytes) -> str:
    """An answer, of which no more than `BODY` bytes or so were read."""
    return answer.decode(errors="replace") + (credentials.CUT if len(answer) >= BODY else "")


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def command(
    argv: "list[str]",
    *,
    timeout: float,
    uid: int,
    gid: int,
    groups: "list[int]",
    environment: "dict[str, str]",
    directory: str,
) -> Seen:
    """Run a probe command as the instance's user, in its groups; healthy when it exits with 0 in time."""
    name = "command %s" % os.path.basename(argv[0])
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
            user=uid, group=gid, extra_groups=groups, env=environment, cwd=directory, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Seen(False, name, "did not end within %g s" % timeout)
    except OSError as error:
        return Seen(False, name, error.strerror or str(error))
    if done.returncode == 0:
        return Seen(True, name, "exit status 0")
    output = credentials.tail(done.stdout.decode(errors="replace").strip(), 300)
    return Seen(False, name, "exit status %d %s" % (done.returncode, output))


def look(facts: "dict[str, Any]", *, pid: int, run_command: Any) -> Seen:
    """Ask every probe of a release's manifest once, in order; the first that fails speaks, else the last.

    `facts` is the release's ``release.json``; `run_command` takes the command probe's mapping and returns Seen.
    """
    health, ports = facts["manifest"]["health"], facts["ports"]
    seen = Seen(True, "process", "runs")
    if health["notify"]:
        seen = Seen(True, "notify", "READY=1")
    if health["tcp"]:
        seen = tcp(ports[health["tcp"]["port"]], pid=pid)
    if seen.healthy and health["http"]:
        probe = health["http"]
        seen = http(ports[probe["port"]], probe["path"], probe["status"], pid=pid)
    if seen.healthy and health["command"]:
        seen = run_command(health["command"])
    return seen
