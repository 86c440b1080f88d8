# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The relay and real agents, which answer over real sockets what they like. Python 3.9 syntax."""

import contextlib
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.module_utils import files, relay, release

PATH = relay.PATH % "robot-arm@0"
PAGE = b"arm_moves_total 7\n"


class Agent:
    """Listens on loopback and answers each connection by `behave(connection)`, once it has the request; in a thread each."""

    def __init__(self, behave):
        self.behave, self.requests = behave, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        with connection, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                piece = connection.recv(4096)
                if not piece:
                    return
                request += piece
            self.requests.append(request)
            self.behave(connection)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)  # a thread waits there
        self._listener.close()


@pytest.fixture
def agent(lay, instance, spec):
    """Make one that runs here as robot-arm@0, as staging and activation leave it; of bytes, it says them and hangs up."""
    made = []

    def start(behave):
        made.append(Agent(behave if callable(behave) else lambda connection: connection.sendall(behave)))
        runs(lay, instance, spec, made[-1].port)
        return made[-1]

    yield start
    for one in made:
        one.close()


def runs(lay, instance, spec, port, name="1.0-aaaaaaaaaaaa"):
    metrics = {"port": "http", "path": "/own/page?all=1"}
    lay(instance, spec(ports={"http": port}, metrics=metrics), name)
    files.write_atomic(instance.unit_file, release.unit_text(instance, name))


@pytest.fixture
def ask(layout):
    """What the relay answers."""
    asked = relay.Relay(layout)
    return lambda path=PATH, **headers: asked.answer(path, headers)


def whole(body, *headers):
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*sizes_and_chunks):
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(sizes_and_chunks)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (whole(PAGE, b"Content-Type: text/plain; version=0.0.4"), relay.Answer(200, PAGE, "text/plain; version=0.0.4")),
        (whole(b"\x1f\x8b", b"Content-Encoding: gzip"), relay.Answer(200, b"\x1f\x8b", "", "gzip")),
        (whole(b""), relay.Answer(200, b"", "")),
        (b"HTTP/1.0 200 OK\r\n\r\n" + PAGE, relay.Answer(200, PAGE, "")),
        (chunked(b"12\r\n", PAGE, b"\r\n0\r\n\r\n"), relay.Answer(200, PAGE, "")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + whole(PAGE), relay.Answer(200, PAGE, "")),
        (whole(PAGE, b"Content-Type: a\r\n Set-Cookie: b"), relay.Answer(200, PAGE, "a Set-Cookie: b")),
    ],
    ids=["plain", "packed", "empty", "until the end", "in pieces", "after a while", "folded"],
)
def test_a_page_is_passed_on(agent, ask, said, answer):
    agent(said)
    assert ask() == answer


def test_the_agent_is_asked_for_its_own_page_in_the_askers_form_and_learns_no_password(agent, ask):
    asked = agent(whole(PAGE))
    ask(**{"Accept": "text/plain\r\n X: y", "Accept-Encoding": "gzip", "Authorization": "Basic secret", "Cookie": "c"})
    assert asked.requests == [
        b"GET /own/page?all=1 HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n" % asked.port
        + b"Accept: text/plain X: y\r\nAccept-Encoding: gzip\r\n\r\n"
    ]


def forever(piece, first=b""):
    """Says it again and again until nobody listens any more."""

    def behave(connection):
        connection.sendall(first)
        while True:
            connection.sendall(piece)

    return behave


NOT_HTTP, TOO_LONG = b"the answer is not HTTP, or not whole: ", b"the page is longer than 1000000 bytes\n"
NO_PAGE = {
    "not there": (b"HTTP/1.1 404 Not Found\r\n\r\n", b"the agent answers with status 404\n"),
    "broken": (b"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\noh\n", b"the agent answers with status 500\n"),
    "a part": (b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\na", b"the agent answers with status 206\n"),
    "nothing": (b"", NOT_HTTP),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", NOT_HTTP),
    "no HTTP of ours": (b"HTTP/9 200 OK\r\n\r\n", NOT_HTTP),
    "half of it": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + PAGE, NOT_HTTP),
    "half a piece": (chunked(b"ff\r\n", PAGE), NOT_HTTP),
    "no size of a piece": (chunked(b"many\r\n", PAGE), NOT_HTTP),
    "a size below zero": (forever(bytes(65536), chunked(b"-1\r\n")), (NOT_HTTP, TOO_LONG)),  # as this Python takes it
    "a size below that": (forever(bytes(65536), chunked(b"-9\r\n")), NOT_HTTP),
    "a size beyond all": (chunked(b"f" * 40 + b"\r\n", PAGE), NOT_HTTP),
    "too long, it says": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", TOO_LONG),
    "too long": (forever(bytes(65536), b"HTTP/1.0 200 OK\r\n\r\n"), TOO_LONG),
    "too many pieces": (forever(b"1\r\na\r\n" * 1000, chunked()), TOO_LONG),
    "too long a status": (forever(bytes(65536)), NOT_HTTP),
    "too long a header": (forever(b"a" * 65536, b"HTTP/1.1 200 OK\r\n"), NOT_HTTP),
    "too many headers": (forever(b"A: b\r\n" * 1000, b"HTTP/1.1 200 OK\r\n"), NOT_HTTP),
    "wait, wait": (forever(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), TOO_LONG),
}


@pytest.mark.parametrize(("said", "words"), NO_PAGE.values(), ids=NO_PAGE)
def test_what_is_no_page_is_a_bad_gateway(agent, ask, monkeypatch, said, words):
    monkeypatch.setattr(relay, "MOST_BYTES", 1000000)
    agent(said)
    answer = ask()
    assert answer.status == 502
    assert answer.body.startswith(words)


def drips(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b"a")
        threading.Event().wait(0.05)


@pytest.mark.parametrize("behave", [lambda connection: connection.recv(1), drips], ids=["silent", "drop by drop"])
def test_who_does_not_answer_in_time_is_given_up(agent, ask, behave):
    """Each drop would be a new wait: the deadline is of them all."""
    agent(behave)
    assert ask(**{relay.PATIENCE: "0.5"}).status == 504


def test_where_it_sends_us_nobody_goes(agent, ask):
    elsewhere = agent(whole(b"of somebody else"))
    agent(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % elsewhere.port)
    answer = ask()
    assert (answer.status, answer.body) == (502, b"the agent answers with status 302\n")
    assert elsewhere.requests == []


def test_one_that_is_dead(ask, lay, instance, spec):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        runs(lay, instance, spec, port)
        answer = ask()
    assert (answer.status, answer.body) == (502, b"nothing listens on port %d\n" % port)


@pytest.mark.parametrize(
    "path",
    [
        "/agents/robot-arm@1/metrics", "/agents/robot-leg@0/metrics", "/agents/robot-arm@/metrics", "/agents/robot-arm/metrics",
        "/agents/robot-arm@0", "/agents/robot-arm@0/metrics/", "/agents/robot-arm@0/metrics\n", "/agents/robot-arm@0/healthz",
        "//agents/robot-arm@0/metrics", "http://127.0.0.1/agents/robot-arm@0/metrics", "/agents/robot-arm@0/../robot-arm@0/metrics",
        "/agents/../agents/robot-arm@0/metrics", "/agents/robot-arm@../metrics", "/agents/robot-arm@%30/metrics",
        "/agents/robot-arm@0@0/metrics", "/agents/@/metrics", "/agents/ROBOT-ARM@0/metrics", "", "*", "/agents/\xe4@0/metrics",
    ],
)  # fmt: skip
def test_only_agents_can_be_named(agent, ask, path):
    asked = agent(whole(PAGE))
    assert ask(path).status == 404
    assert asked.requests == []


def without_metrics(lay, instance, spec):
    lay(instance, spec(metrics=None))


def of_an_older_library(lay, instance, spec):
    made = spec()
    del made.manifest["metrics"]
    lay(instance, made)


def not_activated(lay, instance, spec):
    instance.unit_file.unlink()


@pytest.mark.parametrize("change", [without_metrics, of_an_older_library, not_activated])
def test_only_what_runs_here_and_has_a_page_is_asked(agent, ask, lay, instance, spec, change):
    asked = agent(whole(PAGE))
    change(lay, instance, spec)
    assert ask().status == 404
    assert asked.requests == []


def test_the_release_under_proof_is_the_one_that_runs(agent, ask, lay, instance, spec):
    before, now = agent(whole(b"before\n")), agent(whole(b"now\n"))
    runs(lay, instance, spec, now.port, "2.0-bbbbbbbbbbbb")
    instance.unit_file.rename(instance.releases / "unit")
    runs(lay, instance, spec, before.port)
    assert ask().body == b"before\n"
    instance.proof_file.parent.mkdir(parents=True)
    (instance.releases / "unit").rename(instance.proof_file)
    assert ask().body == b"now\n"


def test_so_many_are_asked_at_once_and_no_more(agent, ask, monkeypatch, layout):
    monkeypatch.setattr(relay, "AT_ONCE", 1)
    asked, go_on = threading.Event(), threading.Event()

    def behave(connection):
        asked.set()
        go_on.wait(60)
        connection.sendall(whole(PAGE))

    monkeypatch.setattr(relay, "SECONDS", 60)
    agent(behave)
    one_at_a_time, answers = relay.Relay(layout), []
    first = threading.Thread(target=lambda: answers.append(one_at_a_time.answer(PATH, {}).status))
    first.start()
    assert asked.wait(60)
    answers.append(one_at_a_time.answer(PATH, {}).status)
    go_on.set()
    first.join()
    answers.append(one_at_a_time.answer(PATH, {}).status)
    assert answers == [503, 200, 200]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 8), ("10", 8), ("30", 8), ("2", 1.6), ("0.5", 0.4), ("", 8), ("soon", 8), ("0", 8), ("-1", 8), ("nan", 8), ("inf", 8),
    ],
)  # fmt: skip
def test_it_waits_not_quite_as_long_as_prometheus(said, seconds):
    assert relay.patience(said) == pytest.approx(seconds)


PIECES = [
    b"HTTP/1.1 200 OK", b"HTTP/1.0 204 No", b"HTTP/1.1 100 C", b"\r\n", b"\n", b": ", b"Content-Length", b"Transfer-Encoding: chunked",
    b"5", b"-1", b"0x9", b"99999999999999999999", b"Content-Type: a\n b", b"Connection: keep-alive", b"\0", b"\xff", b"abcde",
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=24).map(b"".join))
def test_whatever_it_says_there_is_an_answer(said):
    asked = Agent(lambda connection: connection.sendall(said))
    try:
        answer = relay.fetch(relay.Page(asked.port, "/"), {})
    finally:
        asked.close()
    assert answer.status in (200, 502)
    assert all("\n" not in text and "\r" not in text for text in (answer.kind, answer.encoding))
