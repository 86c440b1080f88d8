# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporter over real sockets, on an empty host in a scratch directory. Python 3.9 syntax."""

import base64
import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils import exporter, relay

pytest.importorskip("prometheus_client", reason="the hosts' Debian package has it; the oldest Python here does not")
from prometheus_client.parser import text_string_to_metric_families

PASSWORD = "correct horse"
TRIED = [("ann", PASSWORD), ("ann", "new"), ("bob", PASSWORD)]


@pytest.fixture
def serve(layout, monkeypatch):
    """Start an exporter with a configuration; its port."""
    monkeypatch.setattr(exporter, "every", lambda *_args: None)
    servers = []

    def start(**config):
        server = exporter.serve(dict({"address": "127.0.0.1", "port": 0}, **config), layout, "1.2.3")
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that it has signed itself."""
    paths = {"certificate": str(tmp_path / "certificate.pem"), "key": str(tmp_path / "key.pem")}
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=host", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", paths["key"], "-out", paths["certificate"]],
        check=True, capture_output=True,
    )  # fmt: skip
    return paths


@pytest.fixture
def users(tmp_path):
    """Write a file of these users and passwords, as the role does, in one go; its path."""
    path = tmp_path / "users.json"

    def write(**passwords):
        new = tmp_path / "users.json.new"
        new.write_text(json.dumps({name: exporter.password_hash(given, "salt") for name, given in passwords.items()}))
        new.replace(path)
        return str(path)

    return write


def ask(port, path="/metrics", *, user=None, password=PASSWORD, tls=None):
    if tls:
        context = ssl.create_default_context(cafile=tls["certificate"])
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    token = base64.b64encode(("%s:%s" % (user, password)).encode()).decode()
    connection.request("GET", path, headers={"Authorization": "Basic " + token} if user else {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_a_scrape_gives_what_prometheus_reads(serve):
    status, text = ask(serve())
    assert status == 200
    found = families(text)
    assert found["agentfactory_build_info"].samples[0].labels == {"version": "1.2.3"}
    assert found["agentfactory_collect_errors"].type == "counter"
    assert found["agentfactory_collect_errors"].samples[0].value == 0


@pytest.mark.parametrize(
    ("path", "status"), [("/", 200), ("/metrics?x=1", 200), ("/etc/passwd", 404), ("/metrics/", 404)]
)
def test_paths(serve, path, status):
    assert ask(serve(), path)[0] == status


@pytest.mark.parametrize(
    ("user", "password", "status"),
    [(None, "", 401), ("ann", PASSWORD, 200), ("ann", "wrong", 401), ("bob", PASSWORD, 401), ("ann", "", 401)],
)
def test_who_may_ask(serve, users, user, password, status):
    port = serve(users=users(ann=PASSWORD))
    for _again in range(2):
        assert ask(port, user=user, password=password)[0] == status


def test_a_password_is_worked_out_once_however_many_come_with_it(users, monkeypatch):
    """And whoever else comes in between: each agent's page is asked for with it."""
    path, count, work = users(ann="annannann", bob="bobbobbob"), [], exporter.password_hash
    monkeypatch.setattr(exporter, "password_hash", lambda *arguments: count.append(arguments) or work(*arguments))
    gate, together = exporter.Gate(path), threading.Barrier(8, timeout=60)

    def come(name):
        together.wait()
        admitted.append(gate.admits("Basic " + base64.b64encode(("%s:%s" % (name, name * 3)).encode()).decode()))

    admitted = []
    threads = [threading.Thread(target=come, args=(name,)) for name in ("ann", "bob") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert admitted == [True] * 8
    assert sorted(count) == [("annannann", "salt"), ("bobbobbob", "salt")]


@pytest.mark.parametrize("header", ["", "Basic", "Basic \xff", "Basic !!!", "Bearer x", "Basic " + "A" * 5000])
def test_nonsense_is_not_let_in(users, header):
    assert not exporter.Gate(users(ann=PASSWORD)).admits(header)


def test_a_new_password_holds_from_the_next_request_on(serve, users):
    """Also for who was let in a moment ago."""
    port = serve(users=users(ann=PASSWORD))
    assert ask(port, user="ann")[0] == 200
    users(ann="new", bob=PASSWORD)
    assert [ask(port, user=user, password=password)[0] for user, password in TRIED] == [401, 200, 200]
    users(bob="new")
    assert [ask(port, user=user, password=password)[0] for user, password in TRIED] == [401, 401, 401]


@pytest.mark.parametrize("text", [None, "", '{"ann'], ids=["missing", "empty", "cut"])
def test_where_nobody_is_known_nobody_is_let_in(serve, users, tmp_path, text):
    port = serve(users=users(ann=PASSWORD))
    path = tmp_path / "users.json"
    path.unlink() if text is None else path.write_text(text)
    assert ask(port, user="ann")[0] == 401


def test_tls(serve, certificate):
    port = serve(**certificate)
    status, text = ask(port, tls=certificate)
    assert status == 200
    (ends,) = families(text)["agentfactory_certificate_expiry_timestamp_seconds"].samples
    assert ends.labels == {"path": certificate["certificate"]}
    assert 0 < ends.value - time.time() <= 86400
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(port)


def test_certificates_of_others_are_told_of_where_they_are(serve, certificate, tmp_path):
    """As Prometheus' own, which lies with its key in one file."""
    there, gone = tmp_path / "server.pem", tmp_path / "gone.pem"
    there.write_text("".join(Path(certificate[name]).read_text() for name in ("certificate", "key")))
    text = ask(serve(more_certificates=[str(there), str(gone)]))[1]
    (ends,) = families(text)["agentfactory_certificate_expiry_timestamp_seconds"].samples
    assert (ends.labels, ends.value) == ({"path": str(there)}, exporter.expiry(certificate["certificate"]))


PASSED_ON = relay.Answer(200, b"moves_total 7\n", "text/plain; version=0.0.4", "identity")
AGENTS_PATH = relay.PATH % "arm@0"


@pytest.fixture
def relayed(monkeypatch):
    """What the relay was asked; it has one agent."""
    asked = []

    def answer(_self, path, headers):
        asked.append((path, headers.get(relay.PATIENCE)))
        return PASSED_ON if path == AGENTS_PATH else relay.Answer(404, b"")

    monkeypatch.setattr(relay.Relay, "answer", answer)
    return asked


def test_agents_pages_have_the_exporters_tls_and_password(serve, users, certificate, relayed):
    port = serve(users=users(ann=PASSWORD), relay=True, **certificate)
    assert ask(port, AGENTS_PATH, user="ann", password="wrong", tls=certificate)[0] == 401
    assert ask(port, AGENTS_PATH, tls=certificate)[0] == 401
    assert relayed == []
    assert ask(port, AGENTS_PATH + "?a=b", user="ann", tls=certificate) == (200, PASSED_ON.body.decode())
    assert ask(port, "/agents/leg@0/metrics", user="ann", tls=certificate)[0] == 404
    assert relayed == [(AGENTS_PATH, None), ("/agents/leg@0/metrics", None)]


def test_what_is_passed_on_keeps_its_form(serve, relayed):
    connection = http.client.HTTPConnection("127.0.0.1", serve(relay=True), timeout=60)
    connection.request("GET", AGENTS_PATH, headers={relay.PATIENCE: "10"})
    answer = connection.getresponse()
    told = [answer.getheader("Content-" + name) for name in ("Type", "Encoding", "Length")]
    assert told == [PASSED_ON.kind, PASSED_ON.encoding, str(len(PASSED_ON.body))]
    assert relayed == [(AGENTS_PATH, "10")]


def test_it_passes_nothing_on_unless_it_is_told_to(serve, relayed):
    assert ask(serve(), AGENTS_PATH) == (404, "not found\n")
    assert relayed == []


def test_agents_that_keep_silent_leave_it_threads_of_its_own(serve, monkeypatch):
    go_on, asked = threading.Event(), threading.Semaphore(0)

    def silent(_page, _headers):
        asked.release()
        assert go_on.wait(60)
        return PASSED_ON

    monkeypatch.setattr(exporter, "REQUEST_SECONDS", 60)
    monkeypatch.setattr(relay, "find", lambda *_arguments: relay.Page(1, "/"))
    monkeypatch.setattr(relay, "fetch", silent)
    port, answers = serve(relay=True), []
    waiting = [
        threading.Thread(target=lambda: answers.append(ask(port, AGENTS_PATH)[0])) for _n in range(relay.AT_ONCE)
    ]
    for thread in waiting:
        thread.start()
    for _thread in waiting:
        assert asked.acquire(timeout=60)
    assert ask(port, AGENTS_PATH)[0] == 503
    assert ask(port)[0] == 200
    go_on.set()
    for thread in waiting:
        thread.join()
    assert answers == [200] * relay.AT_ONCE


def test_who_opens_a_connection_and_says_nothing_keeps_nobody_waiting(serve, certificate):
    port = serve(**certificate)
    with socket.create_connection(("127.0.0.1", port)):
        assert ask(port, tls=certificate)[0] == 200


def test_many_who_say_nothing_are_sent_away_in_the_end(serve, monkeypatch):
    monkeypatch.setattr(exporter, "REQUEST_SECONDS", 2)
    monkeypatch.setattr(exporter, "MOST_REQUESTS", 2)
    port = serve()
    silent = [socket.create_connection(("127.0.0.1", port), timeout=60) for _number in range(4)]
    for connection in silent:
        with connection:
            assert connection.recv(1) == b""
    assert ask(port)[0] == 200


@pytest.mark.parametrize("secure", [False, True], ids=["http", "tls"])
def test_who_says_a_byte_now_and_then_is_sent_away_too(serve, certificate, monkeypatch, secure):
    """Each byte is a new wait: the deadline is of them all."""
    monkeypatch.setattr(exporter, "REQUEST_SECONDS", 2)
    port = serve(**(certificate if secure else {}))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        if secure:
            context = ssl.create_default_context(cafile=certificate["certificate"])
            connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
        connection.settimeout(0.05)
        connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        deadline = time.monotonic() + 60
        with connection, contextlib.suppress(ConnectionError, ssl.SSLError):
            while not ended(connection):
                assert time.monotonic() < deadline
                connection.sendall(b"x")


def ended(connection):
    """Whether the other side has closed it, after a short look."""
    try:
        return connection.recv(1) == b""
    except socket.timeout:
        return False


def test_a_new_configuration_ends_it(tmp_path, monkeypatch):
    looks, ended = [], []
    monkeypatch.setattr(exporter, "every", lambda _seconds, look: looks.append(look))
    monkeypatch.setattr(exporter.os, "_exit", ended.append)
    (tmp_path / "config.json").write_text("{}")
    exporter.end_when_changed([str(tmp_path / "config.json")])
    looks[0]()
    assert ended == []
    os.utime(tmp_path / "config.json", (1, 1))
    looks[0]()
    assert ended == [0]


def test_a_collection_that_fails_is_an_error_and_the_next_is_asked_again(serve, monkeypatch):
    port = serve()
    with monkeypatch.context() as broken:
        broken.setattr(exporter.Watch, "samples", lambda _self: 1 / 0)
        assert ask(port)[0] == 500
    assert ask(port)[0] == 200


def test_it_listens_on_addresses_of_ipv6_too(serve):
    """This one is of IPv4 as IPv6 writes it, since not every machine has an address of IPv6."""
    assert ask(serve(address="::ffff:127.0.0.1"))[0] == 200
