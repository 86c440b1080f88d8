# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporter: a daemon on each host that gives Prometheus what `metrics` measures. It needs prometheus-client, and only it does.

``exporter CONFIG``, a JSON file: ``{"address", "port", "certificate", "key", "users", "more_certificates": [path], "relay": true}``;
`certificate`, `key` and `users` are paths. Without a certificate it speaks plain HTTP; without users,
``{name: "salt$scrypt in hex"}``, it asks for no password; with `relay` it also answers for the agents' own pages.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import socket
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Collection, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Optional, Union

from .layout import Layout
from .metrics import AGENT, AGENT_FAMILIES, HOST_FAMILIES, Watch
from .relay import AT_ONCE, Answer, Relay
from .systemd import Systemd

PREFIX = "agentfactory_"
PROBE_SECONDS, AUDIT_SECONDS = 15, 300
REQUEST_SECONDS, MOST_REQUESTS = 10, 16 + AT_ONCE
LOOK_SECONDS = 30
NOT_FOUND = Answer(404, b"not found\n")
# name: (kind, help, labels) of all that is given
FAMILIES: "dict[str, tuple[str, str, tuple[str, ...]]]" = {
    **{"agent_" + name: (kind, text, AGENT + more) for name, (kind, text, more) in AGENT_FAMILIES.items()},
    **HOST_FAMILIES,
    "build_info": ("gauge", "The version of this exporter; always 1.", ("version",)),
}


class Collector:
    """For prometheus_client's registry: the samples of a watch as metric families."""

    def __init__(self, watch: Watch, version: str, certificates: "Collection[str]" = ()) -> None:
        self._watch, self._version, self._certificates = watch, version, certificates

    def collect(self) -> "Iterable[Any]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        kinds = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}
        families = {
            name: kinds[kind](PREFIX + name, text, labels=labels)
            for name, (kind, text, labels) in FAMILIES.items()
        }  # fmt: skip
        for sample in self._watch.samples():
            labels = FAMILIES[sample.family][2]
            families[sample.family].add_metric([sample.labels[label] for label in labels], sample.value)
        families["build_info"].add_metric([self._version], 1)
        for certificate in self._certificates:
            ends = expiry(certificate)
            if ends is not None:
                families["certificate_expiry_timestamp_seconds"].add_metric([certificate], ends)
        return [family for family in families.values() if family.samples]


def expiry(certificate: str) -> Optional[float]:
    """When the first certificate in a file (PEM) ends, Unix time; None where there is none, or Python cannot tell."""
    try:
        decoded = ssl._ssl._test_decode_cert(certificate)  # type: ignore[attr-defined]  # the only way in the standard library
        return float(ssl.cert_time_to_seconds(decoded["notAfter"]))
    except (AttributeError, KeyError, OSError, ValueError):
        return None


def exposition(watch: Watch, version: str, certificates: "Collection[str]" = ()) -> bytes:
    """What is answered to a scrape, in Prometheus' text format."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(watch, version, certificates))
    return bytes(generate_latest(registry))


def password_hash(password: str, salt: str) -> str:
    """``salt$scrypt`` (RFC 7914; N 16384, r 8, p 1), as the configuration has it."""
    return "%s$%s" % (salt, hashlib.scrypt(password.encode(), salt=salt.encode(), n=16384, r=8, p=1).hex())


class Gate:
    """Basic authentication (RFC 7617) of the users in a file, as it is at each request: a new password needs no new process.

    What was let in is remembered by its hash, for as long as the file stays as it is: scrypt is slow on purpose.
    And takes 16 MiB: one at a time.
    """

    def __init__(self, path: str) -> None:
        self._path, self._let_in, self._one_at_a_time = path, dict[str, bytes](), threading.Lock()

    def admits(self, header: Optional[str]) -> bool:
        if not self._path:
            return True
        try:
            name, _colon, password = base64.b64decode((header or "").removeprefix("Basic ")).decode().partition(":")
            file = Path(self._path).read_bytes()
            wanted = json.loads(file).get(name)
        except (OSError, ValueError):
            return False
        if wanted is None:
            return False
        said = hmac.new(file, (header or "").encode(), "sha256").digest()
        if hmac.compare_digest(said, self._let_in.get(name, b"")):
            return True
        with self._one_at_a_time:
            if hmac.compare_digest(said, self._let_in.get(name, b"")):  # somebody has come with it in the meantime
                return True
            if not hmac.compare_digest(password_hash(password, wanted.partition("$")[0]), wanted):
                return False
            self._let_in[name] = said
            return True


def handler(gate: Gate, page: "Callable[[], bytes]", relay: Optional[Relay]) -> "type[BaseHTTPRequestHandler]":
    """Answers ``GET /metrics`` with `page`, ``GET /`` with a way there, and the rest with what `relay` has."""

    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS

        def do_GET(self) -> None:
            if not gate.admits(self.headers.get("Authorization")):
                return self._answer(401, b"a user name and a password are needed\n", "text/plain")
            path = self.path.partition("?")[0]
            if path == "/":
                return self._answer(200, b'<a href="/metrics">metrics</a>\n', "text/html")
            if path != "/metrics":
                return self._answer(*(relay.answer(path, self.headers) if relay else NOT_FOUND))
            try:
                text = page()
            except Exception:
                traceback.print_exc()
                return self._answer(500, b"the values could not be collected; see the journal\n", "text/plain")
            return self._answer(200, text, "text/plain; version=0.0.4; charset=utf-8")

        def _answer(self, status: int, body: "Union[bytes, bytearray]", kind: str, encoding: str = "") -> None:
            self.send_response(status)
            for name, value in (("Type", kind), ("Encoding", encoding)):
                if value:
                    self.send_header("Content-" + name, value)
            self.send_header("Content-Length", str(len(body)))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="agentfactory"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:  # a line a scrape is no news
            pass

    return Handler


class Server(ThreadingHTTPServer):
    """The handshake is each connection's own thread's: who does not finish it keeps nobody waiting."""

    daemon_threads = True
    request_queue_size = 64
    tls: "Optional[ssl.SSLContext]" = None

    def __init__(self, address: "tuple[str, int]", *arguments: Any) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, *arguments)
        self._free = threading.BoundedSemaphore(MOST_REQUESTS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Whoever comes when all threads are taken is sent away; and nobody keeps one for long."""
        if self._free.acquire(timeout=1):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            with request.dup() as line:  # TLS takes the connection out of `request`
                deadline = threading.Timer(REQUEST_SECONDS, _cut, [line])
                deadline.daemon = True
                deadline.start()
                try:
                    super().process_request_thread(request, client_address)
                finally:
                    deadline.cancel()
        finally:
            self._free.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls:
            request.settimeout(REQUEST_SECONDS)
            try:
                request = self.tls.wrap_socket(request, server_side=True)
            except OSError:  # also ssl.SSLError: not our business who speaks something else
                return
        super().finish_request(request, client_address)
        if self.tls:
            request.close()


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def every(seconds: float, work: "Callable[[], None]") -> None:
    """Do it again and again in a thread of its own, whatever happens."""

    def loop() -> None:
        while True:
            began = time.monotonic()
            try:
                work()
            except Exception:
                traceback.print_exc()
            time.sleep(max(1.0, seconds - (time.monotonic() - began)))

    threading.Thread(target=loop, daemon=True).start()


def serve(config: "dict[str, Any]", layout: Layout, version: str) -> Server:
    """The server, bound and with its threads started; the caller runs ``serve_forever``."""
    watch, relay = Watch(layout, Systemd()), Relay(layout) if config.get("relay") else None
    own = [config["certificate"]] if config.get("certificate") else []
    certificates = own + config.get("more_certificates", [])
    server = Server(
        (config["address"], config["port"]),
        handler(Gate(config.get("users", "")), lambda: exposition(watch, version, certificates), relay),
    )
    if config.get("certificate"):
        server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.tls.minimum_version = ssl.TLSVersion.TLSv1_2
        server.tls.load_cert_chain(config["certificate"], config["key"])
    every(PROBE_SECONDS, watch.probe)
    every(AUDIT_SECONDS, watch.audit)
    return server


def end_when_changed(files: "list[str]") -> None:
    """systemd starts a new one then, with the configuration or the certificate that has been put there."""

    def written() -> "list[float]":
        return [os.stat(path).st_mtime for path in files]

    before = written()

    def look() -> None:
        if written() != before:
            os._exit(0)

    every(LOOK_SECONDS, look)


def main(argv: "list[str]") -> None:
    config = json.loads(Path(argv[1]).read_text())
    server = serve(config, Layout(), argv[2] if len(argv) > 2 else "unknown")
    end_when_changed([argv[1]] + [config[name] for name in ("certificate", "key") if config.get(name)])
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv)
