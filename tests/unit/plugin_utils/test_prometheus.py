# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against a real Prometheus; against a small server of the test's own for what a real one will not do."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus import Client, Connection, Question, moment
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_answer import (
    Answer,
    NoAnswer,
    PrometheusError,
    TimedOut,
    Unavailable,
)

from .. import ports

NOW = "1790000060"
NO_CERTIFICATE, PLAIN = {"client_cert": None, "client_key": None}, {"url": "http"}
NONE = dict.fromkeys(
    ("ca_path", "client_cert", "client_key", "username", "password", "password_file", "token", "token_file")
)


def connection(url: str, **options: Any) -> Connection:
    return Connection.of({"timeout": 20.0, "validate_certs": True, **NONE, "url": url, **options})


def ask(url: str, query: str, *, sleeps: list[float] | None = None, **options: Any) -> Answer:
    """Ask at the time of the samples; where it would pause, that is only noted."""
    times = {name: options.pop(name) for name in ("time", "start", "end", "step") if name in options} or {"time": NOW}
    return Client(connection(url, **options), sleep=(sleeps if sleeps is not None else []).append).ask(
        Question(query, **times)
    )


# -- a real one ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "kind", "series"),
    [
        ('room_temperature{room="kitchen"}', "vector", [{"labels": {"__name__": "room_temperature", "room": "kitchen"}, "value": 20.5}]),
        ('room_temperature{room="nowhere"}', "vector", []),
        ("sum by (room) (room_temperature{room=~'c.*'})", "vector", [{"labels": {"room": "cellar"}, "value": "NaN"}]),
        ("sum(room_temperature{room='attic'})", "vector", [{"labels": {}, "value": "+Inf"}]),
        ("sum(room_temperature{room='igloo'})", "vector", [{"labels": {}, "value": "-Inf"}]),
        ("1 / 3", "scalar", [{"labels": {}, "value": 1 / 3}]),
        ("0/0", "scalar", [{"labels": {}, "value": "NaN"}]),
        ("'NaN is a word too'", "string", [{"labels": {}, "value": "NaN is a word too"}]),
        (
            'room_temperature{room="kitchen"}[2m]',
            "matrix",
            [{
                "labels": {"__name__": "room_temperature", "room": "kitchen"}, "value": 20.5,
                "samples": [[1790000000.0, 19.5], [1790000060.0, 20.5]],
            }],
        ),
    ],
)  # fmt: skip
def test_results_of_all_types_have_one_shape(prometheus: str, query: str, kind: str, series: list[dict]) -> None:
    answer = ask(prometheus, query)
    assert answer.type == kind
    assert answer.series == [dict(item, time=1790000060.0) for item in series]


@pytest.mark.parametrize("start", ["1790000000", "2026-09-21T14:13:20Z", "2026-09-21 16:13:20+02:00"])
def test_a_range_has_samples(prometheus: str, start: str) -> None:
    answer = ask(prometheus, "sum(room_temperature{room=~'cellar|kitchen'}) by (room)", start=start, end=NOW, step="1m")
    assert answer.type == "matrix"
    assert {item["labels"]["room"]: item["samples"] for item in answer.series} == {
        "kitchen": [[1790000000.0, 19.5], [1790000060.0, 20.5]],
        "cellar": [[1790000000.0, "NaN"], [1790000060.0, "NaN"]],
    }


def test_a_range_ends_now_by_default(prometheus: str) -> None:
    client = Client(connection(prometheus))
    now = client.ask(Question("time()")).series[0]["value"]
    answer = client.ask(Question("vector(1)", start=str(now - 60), step="30"))
    assert [value for _time, value in answer.series[0]["samples"]] == [1.0, 1.0, 1.0]


def test_a_query_may_be_longer_than_a_url(prometheus: str) -> None:
    rooms = "|".join(f"room-{number}" for number in range(10000))
    assert len(ask(prometheus, f'room_temperature{{room=~"kitchen|{rooms}"}}').series) == 1


@pytest.mark.parametrize(
    ("query", "options", "kind", "words"),
    [
        ("up{", {}, "bad_data", "parse error"),
        ("up", {"start": "0", "end": NOW, "step": "1"}, "bad_data", "exceeded maximum resolution"),
        ("up", {"start": NOW, "end": "0", "step": "1"}, "bad_data", "end timestamp must not be before start"),
        ("up", {"start": "0", "end": NOW, "step": "often"}, "bad_data", '"step"'),
        ('vector(1) + on() label_replace(vector(1), "a", "b", "", "") * on() group_left() room_temperature', {}, "execution", "matching"),
        ("up", {"time": "yesterday"}, "", "time: 'yesterday' is neither"),
        ("up", {"time": "2026-09-21T14:13:20"}, "", "with its zone"),
        ("up", {"time": "nan"}, "", "neither seconds"),
    ],
)  # fmt: skip
def test_the_api_says_what_is_wrong_with_a_question(
    prometheus: str, query: str, options: dict, kind: str, words: str
) -> None:
    with pytest.raises(PrometheusError) as error:
        ask(prometheus, query, **options)
    assert error.value.kind == kind
    assert words in str(error.value)
    assert not isinstance(error.value, Unavailable)


def test_moments() -> None:
    assert {moment("time", text) for text in ("1790000060", "1.79000006e9", "2026-09-21T14:14:20.000Z")} == {
        "1790000060.000"
    }


def test_tls_a_client_certificate_and_a_password_let_us_in(secured: Any) -> None:
    assert ask(query="1", **secured.options).type == "scalar"


def test_verification_can_be_switched_off(secured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(secured.options, ca_path=None, validate_certs=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", options["client_cert"])  # which must not switch it on
    assert ask(query="1", **options).type == "scalar"


def test_files_hold_password_and_the_key_beside_its_certificate(secured: Any, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(secured.options["password"] + "\n")
    (tmp_path / "both").write_bytes(b"".join((secured.folder / f"client.{end}").read_bytes() for end in ("pem", "key")))
    options = dict(secured.options, password=None, password_file="password", client_cert="both", client_key=None)
    options["ca_path"] = os.path.relpath(options["ca_path"], tmp_path)
    given = {"timeout": 20.0, "validate_certs": True, **NONE, **options}
    answer = Client(Connection.of(given, lambda path: str(tmp_path / path))).ask(Question("1"))
    assert answer.type == "scalar"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "wrong-secret"}, "status 401: it does not know who asks (with the basic credentials given)"),
        ({"username": None, "password": None}, "status 401: it does not know who asks (no credentials were given)"),
        ({"ca_path": None}, "TLS: "),
        ({"ca_path": "server.key"}, "TLS: "),
        (NO_CERTIFICATE, "TLS: "),
        ({"client_cert": "server.pem"}, "TLS: KEY_VALUES_MISMATCH"),
        ({"ca_path": "missing.pem"}, "ca_path: "),
        (
            PLAIN,
            "status 400, and this is no answer of the API (it is not JSON): 'Client sent an HTTP request",
        ),
    ],
)
def test_whom_it_does_not_let_in(secured: Any, change: dict, words: str) -> None:
    options = dict(secured.options, **change)
    for name in ("ca_path", "client_cert"):
        if options[name]:
            options[name] = str(secured.folder / options[name])
    if options["url"] == "http":
        options["url"] = secured.url.replace("https", "http")
    sleeps: list[float] = []
    with pytest.raises(PrometheusError) as error:
        ask(query="1", sleeps=sleeps, **options)
    assert "secret" not in str(error.value)
    if change in (NO_CERTIFICATE, PLAIN) and sleeps:
        return  # these two the server refuses and cuts off: where that comes first, its words are lost, and it is tried again
    assert words in str(error.value)
    assert sleeps == []


# -- what a real one will not do ----------------------------------------------------------------------------------------

GOOD = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}})


def http(status: int, body: str | bytes = "", *, length: int | None = None, **headers: str) -> bytes:
    raw = body if isinstance(body, bytes) else body.encode()
    lines = [f"HTTP/1.1 {status} So", "Connection: close", f"Content-Length: {len(raw) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


class Pretender(ThreadingHTTPServer):
    """Answers with the bytes it was given, one after the other and the last for ever; closes the connection after each.

    An answer that ends with HANG is followed by silence until the client goes away.
    """

    HANG = b"<hang>"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[bytes] = []
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Pretender

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        self.wfile.write(answer.removesuffix(Pretender.HANG))
        if answer.endswith(Pretender.HANG):
            self.connection.recv(1)
        self.close_connection = True

    do_GET = do_POST

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def pretender() -> Iterator[Pretender]:
    with Pretender() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "bad",
    [
        http(503, "Service Unavailable"),
        http(503, '{"status": "error", "errorType": "unavailable", "error": "TSDB not ready"}'),
        http(502, "<html>no backend</html>"),
        b"",
        http(200, GOOD[:20], length=len(GOOD)),
    ],
    ids=["503", "503 of the API", "502", "no answer at all", "cut in the middle"],
)
def test_nobody_there_is_tried_again_with_growing_pauses(pretender: Pretender, bad: bytes) -> None:
    sleeps: list[float] = []
    pretender.answers = [bad, bad, http(200, GOOD)]
    assert ask(pretender.url, "1", sleeps=sleeps).series == [{"labels": {}, "time": 1.0, "value": 2.0}]
    assert sleeps == [0.5, 1.0]
    pretender.answers = [bad]
    with pytest.raises(Unavailable, match=f"^{pretender.url}: "):
        ask(pretender.url, "1")
    assert len(pretender.seen) == 6


def test_a_closed_port_is_unavailable() -> None:
    sleeps: list[float] = []
    with ports.closed() as port, pytest.raises(Unavailable, match="Connection refused"):
        ask(f"http://127.0.0.1:{port}", "1", sleeps=sleeps)
    assert sleeps == [0.5, 1.0]


def test_an_unknown_name_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"http://prometheus\.invalid:9090: \w+"):
        ask("http://prometheus.invalid:9090", "1")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (http(200, "<html>hello</html>"), NoAnswer, "status 200, and this is no answer of the API (it is not JSON): '<html>hello</html>'"),
        (http(200, ""), NoAnswer, "(it is not JSON): nothing"),
        (http(200, "{}"), NoAnswer, "it has no status of success or error"),
        (http(404, "404 page not found"), NoAnswer, "status 404"),
        (http(418, GOOD), NoAnswer, "status 418 with an answer"),
        (http(200, b"\x1f\x8bjunk", Content_Encoding="gzip"), NoAnswer, "cannot be decoded"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", NoAnswer, "does not speak HTTP"),
        (http(503, '{"status": "error", "errorType": "timeout", "error": "query timed out"}'), PrometheusError, "timeout: query timed out"),
        (http(422, '{"status": "error"}'), PrometheusError, "unknown: unknown"),
        (http(403, "no"), PrometheusError, "status 403: it does not allow this"),
        (http(307, Location="http://Ada:pw@else.example.net/x?key=1"), PrometheusError, "sends us to http://else.example.net/x; "),
        (http(302, Location="/login"), PrometheusError, "sends us to /login; "),
        (Pretender.HANG, TimedOut, "no answer within 4 s"),
        (http(200, "{", length=100) + Pretender.HANG, TimedOut, "no whole answer within 4 s"),
    ],
)  # fmt: skip
def test_other_failures_are_not_tried_again(pretender: Pretender, answer: bytes, kind: type, words: str) -> None:
    pretender.answers = [answer]
    with pytest.raises(PrometheusError) as error:
        ask(pretender.url, "1", timeout=4 if Pretender.HANG in answer else 20)
    assert error.value.__class__ is kind
    assert words in str(error.value)
    assert len(pretender.seen) == 1


def test_a_server_without_post_is_asked_by_get_from_then_on(pretender: Pretender) -> None:
    pretender.answers = [http(405, "no"), http(200, GOOD)]
    client = Client(connection(pretender.url + "/prefix/"))
    for _time in range(2):
        client.ask(Question("a + b", time="1"))
    assert [method for method, *_rest in pretender.seen] == ["POST", "GET", "GET"]
    paths = {path for method, path, *_rest in pretender.seen if method == "GET"}
    assert paths == {"/prefix/api/v1/query?query=a+%2B+b&time=1.000&timeout=20.000"}


def test_warnings_are_passed_on(pretender: Pretender) -> None:
    pretender.answers = [http(200, json.dumps(dict(json.loads(GOOD), warnings=["a part is missing"])))]
    assert ask(pretender.url, "1").warnings == ["a part is missing"]


def test_credentials_follow_no_redirect(pretender: Pretender) -> None:
    pretender.answers = [http(308, Location=pretender.url + "/elsewhere")]
    with pytest.raises(PrometheusError, match="sends us to"):
        ask(pretender.url, "1", token="geheim")
    assert [path for _method, path, *_rest in pretender.seen] == ["/api/v1/query"]


def test_what_is_sent_as_credentials(pretender: Pretender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    pretender.answers = [http(200, GOOD)]
    for options in (
        {}, {"token": "given"}, {"token_file": str(tmp_path / "token")}, {"username": "Ada", "password": "pä:ss"},
    ):  # fmt: skip
        ask(pretender.url, "1", **options)
    assert [headers.get("Authorization") for _method, _path, headers, _body in pretender.seen] == [
        None, "Bearer given", "Bearer from-a-file", "Basic QWRhOnDDpDpzcw==",
    ]  # fmt: skip


@pytest.mark.parametrize("options", [{"token": "geheim"}, {"username": "Ada", "password": "geheim"}])
@pytest.mark.parametrize(
    "answer",
    [
        http(400, '{"status": "error", "errorType": "geheim", "error": "no geheim QWRhOmdlaGVpbQ=="}'),
        http(500, "geheim " * 20 + "QWRhOmdlaGVpbQ=="),
        http(500, "x" * 96 + "geheim"),
        http(302, Location="/geheim"),
        http(401, "geheim"),
    ],
)
def test_secrets_are_not_in_errors(pretender: Pretender, options: dict, answer: bytes) -> None:
    """Not even where a server sends them back."""
    pretender.answers = [answer]
    with pytest.raises(PrometheusError) as error:
        ask(pretender.url, "1", **options)
    text = f"{error.value} {error.value!r} {connection(pretender.url, **options)!r}"
    assert "gehe" not in text
    assert "token" in options or "QWRhOmdlaGVpbQ" not in text


def test_secrets_are_not_in_warnings(pretender: Pretender) -> None:
    pretender.answers = [http(200, json.dumps(dict(json.loads(GOOD), warnings=["geheim is late"])))]
    assert ask(pretender.url, "1", token="geheim").warnings == ["******** is late"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "prometheus.example.net:9090"}, "url: must be as"),
        ({"url": "ftp://prometheus.example.net"}, "url: must be as"),
        ({"url": "http://"}, "url: must be as"),
        ({"url": "http://[::1"}, "url: must be as"),
        ({"url": "http://h:port"}, "url: must be as"),
        ({"url": "http://h/?a=b"}, "url: must be as"),
        ({"url": "http://Ada:geheim@h:9090"}, "url: a user's name and password do not belong"),
        ({"token": "geheim\nX: y"}, "token: "),
        ({"token": ""}, "token: "),
        ({"token_file": "/missing"}, "token_file: /missing: No such file"),
        ({"username": "Ada"}, "username: needs a password"),
        ({"username": "A:da", "password": "geheim"}, "username: needs a password, and may have no colon"),
        ({"timeout": 0.0}, "timeout: "),
    ],
)
def test_options_that_cannot_be(options: dict, words: str) -> None:
    with pytest.raises(PrometheusError) as error:
        connection(**({"url": "http://h"} | options))
    assert str(error.value).startswith(words)
    assert "geheim" not in str(error.value)
