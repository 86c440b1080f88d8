# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that once was, as if it were now: past and present of a real Prometheus.

`dashboards/recorded.txt` is what a Prometheus of the lab had (its /federate) while an agent was down and an update under way, on Debian
bullseye, bookworm and trixie; only what dashboards and rules ask for is kept. `conventions.txt` is written by hand. Counters go on
growing, by what they had in an hour; what tells a time is as long ago as it was.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from ..prometheus_server import backfill, promtool, running

HERE = Path(__file__).parent / "dashboards"
RULES = Path(__file__).resolve().parents[3] / "roles/monitoring/files/rules"
SAMPLE = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)(\{.*\})? (\S+)")
COUNTER = re.compile(r".*_(total|sum|count|bucket)$")
CLOCK = ("node_time_seconds", "agentfactory_collect_timestamp_seconds")
INSTANT = re.compile(r".*_timestamp_seconds$|.*_(start|boot)_time_seconds$|ALERTS_FOR_STATE$")
# Anomalies compare with the day before: of these the past is long.
LONG = (
    "agentfactory_agent_cpu_seconds_total", "agentfactory_agent_memory_bytes", "agentfactory_agent_network_receive_bytes_total",
    "agentfactory_agent_network_transmit_bytes_total", "http_server_request_duration_seconds_count",
    "http_server_request_duration_seconds_sum",
)  # fmt: skip
HOURS = 31
BLOCK = 2 * 3600
"""Seconds. Of Prometheus, aligned with the clock."""

Samples = list[tuple[str, str, float]]
"""Name, series, value"""


def read() -> Samples:
    lines = [line for name in ("recorded", "conventions") for line in (HERE / f"{name}.txt").read_text().splitlines()]
    found = [match for line in lines if (match := SAMPLE.fullmatch(line))]
    return [(match[1], match[1] + (match[2] or ""), float(match[3])) for match in found]


def values(samples: Samples, now: float) -> Callable[[str, float, float], float]:
    """What a sample is at a time: (name, value that was recorded, time)."""
    recorded_at = max(value for name, _series, value in samples if name in CLOCK)

    def value(name: str, recorded: float, at: float) -> float:
        if COUNTER.match(name):
            return recorded * (1 + (at - now + HOURS * 3600) / 3600)
        if name in CLOCK:
            return recorded - recorded_at + at
        return recorded - recorded_at + now if INSTANT.match(name) else recorded

    return value


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """The address of one with the collection's rules, which scrapes that fleet; rules are evaluated every second."""
    samples, now = read(), time.time() // 1
    value = values(samples, now)

    def line(name: str, series: str, recorded: float, at: float) -> str:
        return f"{series} {value(name, recorded, at):.17g}"

    past = []
    for name, series, recorded in samples:
        times = [*range(-HOURS * 3600, -900, 60)] if name in LONG else []
        times += range(-900, 1, 15)
        past += [f"{line(name, series, recorded, now + at)} {now + at}\n" for at in times]
    backfill(folder, "".join(past) + "# EOF\n")
    _record_yesterday(folder, _put_rules(folder / "rules"), now)

    def page() -> str:
        return "".join(line(*sample, time.time()) + "\n" for sample in samples)

    with _served(page) as port:
        # What was recorded without these labels (by rules) stays so.
        own = [
            {"source_labels": ["job"], "regex": "fleet", "target_label": label, "replacement": ""}
            for label in ("instance", "job")
        ]
        scrape = {
            "job_name": "fleet", "honor_labels": True,
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}], "metric_relabel_configs": own,
        }  # fmt: skip
        times = {"scrape_interval": "2s", "evaluation_interval": "1s"}
        _write(folder / "prometheus.yml", {"global": times, "rule_files": ["rules/*.yml"], "scrape_configs": [scrape]})
        with running(folder) as address:
            yield address


def _put_rules(folder: Path) -> list[dict[str, str]]:
    """The role's rules, but evaluated every second; those that record what anomalies are looked for in."""
    folder.mkdir()
    signals = []
    for path in RULES.glob("*.yml"):
        document = yaml.safe_load(path.read_text())
        for group in document["groups"]:
            group["interval"] = "1s"
            signals += [rule for rule in group["rules"] if rule.get("record") == "agentfactory:signal"]
        _write(folder / path.name, document)
    return signals


def _record_yesterday(folder: Path, signals: list[dict[str, str]], now: float) -> None:
    """What these rules would have recorded. From a block's beginning: promtool ends at a block that no evaluation falls into."""
    _write(folder / "yesterday.yml", {"groups": [{"name": "yesterday", "interval": "5m", "rules": signals}]})
    _write(folder / "prometheus.yml", {})
    with running(folder) as address:
        start = (int(now) - HOURS * 3600) // BLOCK * BLOCK
        span = ["--start", str(start), "--end", str(int(now) - 600), "--output-dir", "data"]
        promtool(folder, "tsdb", "create-blocks-from", "rules", *span, "--url", f"http://{address}", "yesterday.yml")


def _write(path: Path, document: object) -> None:
    path.write_text(yaml.safe_dump(document))


@contextmanager
def _served(page: Callable[[], str]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
