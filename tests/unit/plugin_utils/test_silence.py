# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Silences in a real Alertmanager; a small server of the test's own stands for what is none."""

import http.server
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import silence

from .. import ports

QUIET = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


def ask(url: str, path: str, document: object = None) -> object:
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(f"{url}/api/v2/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        body = answer.read()
    return json.loads(body) if body else None


def silenced(url: str, **labels: str) -> bool:
    """Whether an alert with these labels reaches nobody."""
    ask(url, "alerts", [{"labels": labels}])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for alert in ask(url, "alerts"):  # type: ignore[attr-defined]
            if alert["labels"] == labels and alert["status"]["state"] != "unprocessed":
                return bool(alert["status"]["silencedBy"])
        time.sleep(0.05)
    raise AssertionError("the alert did not arrive")


def test_the_agents_of_the_hosts_are_silenced_until_it_is_lifted(alertmanager: str) -> None:
    found = silence.begin(silence.connection(alertmanager, {}), ["h1", "h.2"], "lab", "ann", "run-1")
    assert silenced(alertmanager, alertname="AgentDown", host="h1", environment="lab", n="1")
    assert silenced(alertmanager, alertname="AgentUnhealthy", host="h.2", environment="lab", n="1")
    for name, host, environment in [
        ("HostDown", "h1", "lab"), ("AgentDown", "h11", "lab"), ("AgentDown", "hx2", "lab"), ("AgentDown", "h1", "production"),
    ]:  # fmt: skip
        assert not silenced(alertmanager, alertname=name, host=host, environment=environment, n="1")
    (kept,) = [s for s in ask(alertmanager, "silences") if s["id"] == found]  # type: ignore[attr-defined]
    assert (kept["createdBy"], kept["comment"]) == ("ann", "agentfactory.core: rollout run-1")
    lasts = datetime.fromisoformat(kept["endsAt"]) - datetime.fromisoformat(kept["startsAt"])
    assert 14 * 60 < lasts.total_seconds() <= 15 * 60
    silence.lift(silence.connection(alertmanager, {}), found)
    assert not silenced(alertmanager, alertname="AgentDown", host="h1", environment="lab", n="2")


def test_it_is_renewed_for_each_wave(alertmanager: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = silence.connection(alertmanager, {})
    first = silence.begin(there, ["h5"], "lab", "ann", "run-2")
    before = ask(alertmanager, f"silence/{first}")
    monkeypatch.setattr(silence, "WAVE", 2 * silence.WAVE)
    assert silence.renew(there, first) == first
    after = ask(alertmanager, f"silence/{first}")
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    later = datetime.fromisoformat(after["endsAt"]) - datetime.fromisoformat(before["endsAt"])
    assert later.total_seconds() > 14 * 60
    same = ("id", "matchers", "startsAt", "createdBy", "comment")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    # A wave that took too long, or somebody who lifted it: then it begins again.
    silence.lift(there, first)
    second = silence.renew(there, first)
    assert silenced(alertmanager, alertname="AgentDown", host="h5", environment="lab", n="1")
    silence.lift(there, second)
    with pytest.raises(silence.SilenceError, match="status 404"):
        silence.renew(there, "00000000-0000-0000-0000-000000000000")


def test_lifting_what_is_not_there_is_told(alertmanager: str) -> None:
    with pytest.raises(silence.SilenceError, match="silence not found"):
        silence.lift(silence.connection(alertmanager, {}), "00000000-0000-0000-0000-000000000000")


@pytest.fixture
def pretender() -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    """Something that is no Alertmanager: its URL, and what it answers next."""
    answers: list[tuple[int, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = answers.pop()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [(200, b"<html>", "not JSON"), (200, b"{}", "names no silence"), (200, b"", "names no silence"), (500, b"oh", "status 500: oh"),
     (302, b"", "status 302")],
)  # fmt: skip
def test_what_is_no_alertmanager_is_told(
    pretender: tuple[str, list[tuple[int, bytes]]], status: int, body: bytes, told: str
) -> None:
    url, answers = pretender
    answers.append((status, body))
    with pytest.raises(silence.SilenceError, match=told):
        silence.begin(silence.connection(url, {}), ["h1"], "lab", "ann", "run-1")


def test_nobody_there_is_told() -> None:
    with ports.closed() as port:
        there = silence.connection(f"http://127.0.0.1:{port}", {})
        with pytest.raises(silence.SilenceError, match="Connection refused"):
            silence.begin(there, ["h1"], "lab", "ann", "run-1")


@pytest.mark.parametrize(
    ("url", "options", "told"),
    [("http://ann:geheim@h:9093", {}, "do not belong into it"), ("http://h:9093", {"user": "ann"}, r"user\. Supported parameters"),
     ("http://h:9093", {"password_file": "/nowhere"}, "username"), ("https://h:9093", {"ca_path": "/nowhere"}, "ca_path: /nowhere"),
     ("http://h:9093", {"username": "ann", "password_file": "/nowhere"}, "password_file: /nowhere"),
     ("http://h:9093", "geheim", "must be a mapping"), ("http://h:9093", ["geheim"], "must be a mapping")],
)  # fmt: skip
def test_what_nobody_can_be_asked_with_is_told(url: str, options: object, told: str) -> None:
    with pytest.raises(silence.SilenceError, match=told) as error:
        silence.connection(url, options)
    assert "geheim" not in str(error.value)
    assert "agentfactory_alertmanager: " in str(error.value)


def test_one_that_speaks_tls_and_wants_a_password(
    start_alertmanager: Callable[..., str], secured: Any, tmp_path: Path
) -> None:
    """The options are those of prometheus_query, and so is what protects it."""
    plain = start_alertmanager(QUIET, f"--web.config.file={secured.folder}/web.yml")
    url = plain.replace("http:", "https:")
    (tmp_path / "password").write_text(secured.options["password"] + "\n")
    options = {**secured.options, "password_file": str(tmp_path / "password")}
    del options["password"], options["url"]
    there = silence.connection(url, options)
    found = silence.begin(there, ["h1"], "lab", "ann", "run-1")
    silence.lift(there, found)
    wrong = silence.connection(url, {**options, "username": "stranger"})
    with pytest.raises(silence.SilenceError, match="status 401"):
        silence.lift(wrong, found)
    with pytest.raises(silence.SilenceError, match="TLS: "):
        silence.lift(silence.connection(url, {}), found)
