# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HAProxy before three small real HTTP servers, and a real Prometheus that scrapes it, both as docs/monitoring.md says, and with
the collection's rules. `make test` installs them; CI may not go without.
"""

import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.agentfactory.core.plugins.plugin_utils import prometheus

from .. import ports, prometheus_server
from ..prometheus_server import needed

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "roles/monitoring/files/rules"
PASSWORD = "password-of-the-scrape"
SERVERS = {"host-1": "192.0.2.1:8080", "host-2": "192.0.2.2:8080", "host-3": "192.0.2.3:8080"}
HAPROXY = "# /etc/haproxy/haproxy.cfg"
METRICS, CLIENTS, CERTIFICATE = "192.0.2.20:8405", "192.0.2.20:80", "/etc/haproxy/metrics.pem"
# What Debian's own haproxy.cfg says above; and a page without servers, as many have, which nobody may be told of.
DEFAULTS = """
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
"""
PAGE = "192.0.2.20:9000"
STATISTICS = f"\nlisten statistics\n    bind {PAGE}\n    stats enable\n"


def documented(begins: str, instead: Mapping[str, str]) -> str:
    """The guide's example that begins so, with these texts instead of its own."""
    guide = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    (text,) = re.findall(rf"```\w*\n({re.escape(begins)}.*?)```", guide, re.DOTALL)
    for theirs, ours in instead.items():
        assert theirs in text, theirs
        text = text.replace(theirs, ours)
    return str(text)


def configuration(places: Mapping[str, str], users: Mapping[str, str]) -> str:
    """The guide's lines for haproxy.cfg with other places and users."""
    (line,) = re.findall(r"    user prometheus .*\n", documented(HAPROXY, {}))
    lines = "".join(f"    user {name} password {_hash(password)}\n" for name, password in users.items())
    return documented(HAPROXY, {**places, line: lines})


def _hash(password: str) -> str:
    """As the guide says."""
    done = subprocess.run(["openssl", "passwd", "-5", password], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def scraped(places: Mapping[str, str]) -> list[dict[str, Any]]:
    """The guide's monitoring_scrape_configs with other places."""
    document: dict[str, list[dict[str, Any]]] = yaml.safe_load(documented("monitoring_scrape_configs:", places))
    return document["monitoring_scrape_configs"]


class Balanced:
    """All of it; which servers are there, and whether HAProxy is, each test says first."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._program = folder, needed("haproxy")
        self._haproxy: subprocess.Popen[bytes] | None = None
        self._servers: dict[str, ThreadingHTTPServer] = {}
        theirs, ours = [*SERVERS.values(), METRICS, CLIENTS, PAGE], set[int]()
        while len(ours) < len(theirs):
            ours.add(ports.free())
        self._places = {place: f"127.0.0.1:{port}" for place, port in zip(theirs, ours, strict=True)}
        self._write()

    def _write(self) -> None:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
             "/CN=loopback", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "ca.pem"],
            cwd=self._folder, check=True, capture_output=True,
        )  # fmt: skip
        (self._folder / "metrics.pem").write_text(
            (self._folder / "ca.pem").read_text() + (self._folder / "key.pem").read_text()
        )
        (self._folder / "passwords").mkdir()
        (self._folder / "passwords/prometheus").write_text(PASSWORD)
        page = STATISTICS.replace(PAGE, self._places.pop(PAGE))
        places = {**self._places, CERTIFICATE: "metrics.pem", "inter 2s": "inter 500ms"}
        lines = configuration(places, {"prometheus": PASSWORD})
        (self._folder / "haproxy.cfg").write_text(DEFAULTS + lines + page)
        files = {"/etc/prometheus/agentfactory/": f"{self._folder}/", "{{ monitoring_username }}": "prometheus"}
        jobs = scraped({METRICS: self._places[METRICS], **files})
        times = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        rules = [self._rules(name) for name in ("base.yml", "balancer.yml")]
        document = {"global": times, "rule_files": rules, "scrape_configs": jobs}
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(document))

    def _rules(self, name: str) -> str:
        """Rules of the role that wait for a second only: promtool tests how long they do."""
        document = yaml.safe_load((RULES / name).read_text())
        for group in document["groups"]:
            for rule in group["rules"]:
                rule.update({"for": "1s"} if "for" in rule else {})
        (self._folder / name).write_text(yaml.safe_dump(document))
        return name

    @contextmanager
    def running(self) -> Iterator["Balanced"]:
        with prometheus_server.running(self._folder) as address:
            self.client = prometheus.Client(prometheus.Connection(f"http://{address}"))
            try:
                yield self
            finally:
                self.be(servers=(), haproxy=False)

    def be(self, *, servers: Iterable[str] = tuple(SERVERS), haproxy: bool = True) -> None:
        """Have these servers run and no others, and HAProxy or not."""
        for name in set(self._servers) - set(servers):
            server = self._servers.pop(name)
            server.shutdown()
            server.server_close()
        for name in set(servers) - set(self._servers):
            host, port = self._places[SERVERS[name]].split(":")
            server = self._servers[name] = ThreadingHTTPServer((host, int(port)), Answer)
            threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        if self._haproxy and not haproxy:
            self._haproxy.terminate()
            self._haproxy.wait(60)
            self._haproxy = None
        elif haproxy and not self._haproxy:
            self._haproxy = self._start()
            self.until(lambda: self.request() != 0, "HAProxy serves")

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [self._program, "-db", "-f", "haproxy.cfg"]
        checked = subprocess.run([*command, "-c"], cwd=self._folder, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        with open(self._folder / "haproxy.log", "ab") as log:
            return subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)

    def request(self) -> int:
        """As a client: the status; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self._places[CLIENTS]}/", timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def values(self, query: str, label: str) -> dict[str, float]:
        """By one label of theirs."""
        series = self.client.ask(prometheus.Question(query)).series
        return {one["labels"].get(label, ""): float(one["value"]) for one in series}

    def until(self, look: Callable[[], bool], what: str) -> None:
        """Until it is so; meanwhile there is traffic."""
        deadline = time.monotonic() + 120
        while not look():
            assert time.monotonic() < deadline, what
            self.request()
            time.sleep(0.05)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_OPTIONS = do_HEAD = do_GET

    def log_message(self, *_arguments: object) -> None:
        pass
