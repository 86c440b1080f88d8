# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls to the host's library over any Ansible connection: one exec a call, everything over standard input.

The request, secrets and files go over stdin, never into argv or a module's arguments. The library is kept on the host by
its digest; a host that lacks it says so and gets it with the same request again. A check leaves nothing behind.
"""

import hashlib
import json
import shlex
import time
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from . import run, whoami

LIBRARY = Path(__file__).resolve().parent.parent / "module_utils"
NEEDS_LIBRARY = "AGENTFACTORY-NEEDS-LIBRARY"
ANSWER = "AGENTFACTORY-ANSWER "
INTERPRETER = "/usr/bin/python3"
BUSY_SECONDS = 900
Call = Callable[[], tuple[dict[str, Any], run.Kept]]

BOOTSTRAP = f"""
import json,os,sys,zlib
os.umask(0o022)
i=sys.stdin.buffer
h=json.loads(i.readline())
p="/opt/agentfactory/lib"
d=os.path.join(p,h["library"])
s=i.read(h["source"])
t=None
try:
    if not os.path.isdir(d):
        if not s:
            print("{NEEDS_LIBRARY}", os.path.isdir(p))
            sys.exit()
        import shutil,tempfile
        if not h["check"]:
            os.makedirs(p,exist_ok=True)
        t=tempfile.mkdtemp(prefix=".new-",dir=None if h["check"] else p)
        os.mkdir(t+"/agentfactory_host")
        for n,c in json.loads(zlib.decompress(s)).items():
            with open(t+"/agentfactory_host/"+n,"w") as f:
                f.write(c)
        if not h["check"]:
            os.chmod(t,0o755)
            os.sync()
            try:
                os.rename(t,d)
            except OSError:
                shutil.rmtree(t)
            t=None
    sys.path.insert(0,t or d)
    from agentfactory_host import host
    host.main(json.loads(zlib.decompress(i.read(h["request"]))),i,d)
finally:
    if t:
        shutil.rmtree(t)
"""


class RemoteError(Exception):
    """The host refused or failed; the text is for the operator."""


class Unpackaged(RemoteError):
    """The host runs nothing of what is packaged; `target` is its platform."""

    def __init__(self, text: str, target: str) -> None:
        super().__init__(text)
        self.target = target


class LibraryMissing(Exception):
    """The host does not have this version of the library yet. `used`: but it had another one, and may hold trees."""

    def __init__(self, used: bool) -> None:
        super().__init__()
        self.used = used


@cache
def library_sources() -> tuple[str, bytes]:
    """The digest of the host's library and its canonical JSON ``{file name: source}``."""
    sources = {path.name: path.read_text() for path in sorted(LIBRARY.glob("*.py"))}
    sources["__init__.py"] = ""
    data = json.dumps(sources, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(data).hexdigest()[:16], data


def library_packed() -> run.Kept:
    """What is sent of the library to a host that lacks it."""
    digest, sources = library_sources()
    return run.kept(f"library-{digest}", lambda: zlib.compress(sources, 6))


class Remote:
    """The host of one task. `execute` is the action's low-level exec: ``(command, stdin bytes) -> result mapping``."""

    def __init__(
        self,
        execute: Callable[[str, bytes], dict[str, Any]],
        interpreter: str | None,
        tell: Callable[[str], None],
    ) -> None:
        self._execute, self._tell = execute, tell
        chosen = interpreter if interpreter and interpreter.startswith("/") else INTERPRETER
        self._command = f"{shlex.quote(chosen)} -IS -c {shlex.quote(BOOTSTRAP)}"

    def call(
        self, request: dict[str, Any], payload: run.Kept = b"", *, to_new_host: Call | None = None
    ) -> dict[str, Any]:
        """One operation of the host's library. Waits while the host is busy with an activation that goes on by itself.

        A host that was never used needs no question first: `to_new_host` gives the request and payload to send with the library.
        Raises RemoteError with the host's message, or with what was printed where there is no answer.
        """
        deadline, told = time.monotonic() + BUSY_SECONDS, False
        while True:
            answer = self._once(request, payload, to_new_host)
            if "ok" in answer:
                return dict(answer["ok"])
            if "unpackaged" in answer:
                raise Unpackaged(answer["error"], answer["unpackaged"])
            if "error" in answer:
                raise RemoteError(answer["error"])
            gone = whoami.abandoned(answer.get("lease"))
            if gone and gone not in request["who"]["gone"]:
                request["who"]["gone"].append(gone)
                continue
            lease, who = answer.get("lease"), request["who"]
            theirs = lease and lease["run"] != who["run"] and not gone and not who["break_lease"]
            if theirs or time.monotonic() > deadline:
                raise RemoteError(answer["busy"])
            if not told:
                self._tell(f"waiting: {answer['busy']}")
                told = True
            time.sleep(1)

    def _once(self, request: dict[str, Any], payload: run.Kept, to_new_host: Call | None) -> dict[str, Any]:
        try:
            return self._exchange(request, payload, b"")
        except LibraryMissing as missing:
            if to_new_host and not missing.used:
                request, payload = to_new_host()
            return self._exchange(request, payload, library_packed())

    def _exchange(self, request: dict[str, Any], payload: run.Kept, source: run.Kept) -> dict[str, Any]:
        body = zlib.compress(json.dumps(request, separators=(",", ":")).encode(), 1)  # each fork does it anew
        header = {
            "library": library_sources()[0],
            "source": len(source),
            "request": len(body),
            "check": bool(request.get("check")),
        }
        data = b"".join((json.dumps(header).encode(), b"\n", source, body, payload))
        result = self._execute(self._command, data)
        for line in str(result.get("stdout", "")).splitlines():
            if line.startswith(ANSWER):
                try:
                    return dict(json.loads(line[len(ANSWER) :]))
                except ValueError:  # the connection was cut in the middle of it
                    break
            if line.startswith(NEEDS_LIBRARY) and not source:
                raise LibraryMissing(used=not line.endswith("False"))
        raise RemoteError(_no_answer(result))


def _no_answer(result: dict[str, Any]) -> str:
    """What to say when the host's library did not speak: no Python, no sudo, killed, full disk."""
    if result.get("rc") in (137, -9):
        return "the host gave no answer: the work there was killed (SIGKILL; out of memory?). Run this again, it goes on from there"
    shown = (str(result.get("stderr", "")) or str(result.get("stdout", ""))).strip().splitlines()[-6:]
    return f"the host gave no answer (exit status {result.get('rc')}): " + (" | ".join(shown) or "nothing was printed")


def spool(parts: Iterable[bytes]) -> bytes:
    """One zlib stream of many files."""
    packer = zlib.compressobj(6)
    return b"".join([packer.compress(part) for part in parts] + [packer.flush()])
