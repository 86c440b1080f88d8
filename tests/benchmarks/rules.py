# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rules cost: a real Prometheus with the role's rules, and simulated hosts that say what our exporter and agents would say.

It has seen minutes of them, not days: expressions over a day find what there is.
"""

import json
import re
import shutil
import statistics
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import contenders  # makes the collection importable
import yaml
from measure import BenchError

from ansible_collections.agentfactory.core.plugins.module_utils import metrics

RULES = contenders.ROOT / "roles" / "monitoring" / "files" / "rules"
SIZES = (1000, 10000)
A_HOST, INSTANCES = 100, 10
INTERVAL = 15
WINDOW = 240
"""Seconds: some groups are evaluated once a minute."""
ADDRESS = "127.0.0.1:9491"
# What agents have in common; everything else grows or stays by their number.
LEVELS = {
    "up": "1", "wanted": "1", "healthy": "1", "drift": "0", "start_time_seconds": "1", "memory_limit_bytes": "134217728",
    "cpu_limit_cores": "1", "tasks_limit": "64", "oom_kills": "0", "restarts": "0", "egress_refused_packets": "0",
    "last_progress_timestamp_seconds": "%(now)d", "memory_bytes": "%(level)d",
}  # fmt: skip
GROUP = re.compile(
    r'^prometheus_rule_group_(last_duration|interval)_seconds\{rule_group="[^"]*;([^"]+)"\} (\S+)$', re.MULTILINE
)


@dataclass(frozen=True)
class Load:
    """Of one number of agents: seconds that each group's evaluation took (the median), and how often it is evaluated (s)."""

    groups: dict[str, float]
    intervals: dict[str, float]
    series: int

    @property
    def share(self) -> float:
        """Of one core, if groups were evaluated one after the other."""
        return sum(self.groups[name] / self.intervals[name] for name in self.groups)

    @property
    def worst(self) -> float:
        """The part of its interval that the slowest group takes."""
        return max(self.groups[name] / self.intervals[name] for name in self.groups)


def compare(work: Path) -> dict[int, Load]:
    return {count: _load(work / f"rules-{count}", count) for count in SIZES}


def _load(place: Path, count: int) -> Load:
    program = shutil.which("prometheus")
    if not program:
        raise BenchError("prometheus is not installed: tools/packages bench")
    hosts = [f"h{number}" for number in range(count // A_HOST)]
    with _hosts(hosts) as port:
        _configure(place, hosts, port)
        command = [
            program, f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data", f"--web.listen-address={ADDRESS}",
        ]  # fmt: skip
        with open(place / "log", "wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            return _watch(process, place)
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(place / "data", ignore_errors=True)


def _watch(process: "subprocess.Popen[bytes]", place: Path) -> Load:
    """The durations that Prometheus tells of each group, once it has scraped a while; the medians of them."""
    seen: dict[str, list[float]] = {}
    intervals: dict[str, float] = {}
    end, text = time.monotonic() + WINDOW, ""
    while time.monotonic() < end:
        time.sleep(INTERVAL)
        if process.poll() is not None:
            raise BenchError(f"Prometheus ended: {(place / 'log').read_text()[-2000:]}")
        with urllib.request.urlopen(f"http://{ADDRESS}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        for what, group, value in GROUP.findall(text):
            if what == "interval":
                intervals[group] = float(value)
            elif end - time.monotonic() < WINDOW / 2:  # the first half only fills it
                seen.setdefault(group, []).append(float(value))
    (series,) = re.findall(r"^prometheus_tsdb_head_series (\S+)$", text, re.MULTILINE)
    return Load({group: statistics.median(values) for group, values in seen.items()}, intervals, int(float(series)))


def _configure(place: Path, hosts: list[str], port: int) -> None:
    shutil.rmtree(place, ignore_errors=True)
    (place / "rules").mkdir(parents=True)
    for path in RULES.glob("*.yml"):
        shutil.copy(path, place / "rules")
    (place / "rules" / "expected.yml").write_text(
        json.dumps({"groups": [{"name": "agentfactory_fleet", "rules": _expected(hosts)}]})
    )
    targets = [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {"host": host, "environment": "bench", "__metrics_path__": f"/{host}"},
        }
        for host in hosts
    ]
    times = {"scrape_interval": f"{INTERVAL}s", "evaluation_interval": f"{INTERVAL}s"}

    def at(path: str) -> list[dict[str, object]]:
        return [{**one, "labels": {**one["labels"], "__metrics_path__": path}} for one in targets]

    # The agents of a host are one target: what they say is as much, and they are fewer to ask.
    jobs = [
        {"job_name": job, "static_configs": asked}
        for job, asked in (("agentfactory", targets), ("node", at("/node")), ("agents", at("/agents")))
    ]
    document = {"global": times, "rule_files": ["rules/*.yml"], "scrape_configs": jobs}
    (place / "prometheus.yml").write_text(yaml.safe_dump(document))


def _expected(hosts: list[str]) -> list[dict[str, object]]:
    """As the fleet's expectations have it: a rule for each instance."""
    names = [f"a{number}" for number in range(A_HOST // INSTANCES)]
    common = {"environment": "bench", "version": "1.0.0"}
    return [
        {
            "record": "agentfactory_fleet_agent", "expr": "vector(1)",
            "labels": {**common, "host": host, "agent": name, "agent_id": f"{name}@{instance}"},
        }
        for host in hosts for name in names for instance in range(INSTANCES)
    ]  # fmt: skip


# -- simulated hosts --------------------------------------------------------------------------------------------------


def _own_page() -> str:
    """What these agents say themselves: of their requests."""
    lines = []
    for number in range(A_HOST):
        agent = f"a{number // INSTANCES}"
        labels = f'agent="{agent}",agent_id="{agent}@{number % INSTANCES}"'
        lines += [f"http_server_request_duration_seconds_{name}{{{labels}}} %(counter)d" for name in ("count", "sum")]
    return "\n".join(lines) + "\n"


def _page() -> str:
    """What a host with A_HOST agents says, with ``%(now)d`` and the like where values change."""
    lines = ["agentfactory_collect_timestamp_seconds %(now)d"]
    for number in range(A_HOST):
        agent = f"a{number // INSTANCES}"
        labels = f'agent="{agent}",agent_id="{agent}@{number % INSTANCES}"'
        for name, (kind, _help, more) in metrics.AGENT_FAMILIES.items():
            family = f"agentfactory_agent_{name}" + ("_total" if kind == "counter" else "")
            value = LEVELS.get(name, f"%({kind})d")
            if name == "state":
                lines += [f'{family}{{{labels},state="{state}"}} {int(state == "running")}' for state in metrics.STATES]
                continue
            extra = "".join(f',{label}="1.0.0"' for label in more)
            lines.append(f"{family}{{{labels}{extra}}} {value}")
    return "\n".join(lines) + "\n"


@contextmanager
def _hosts(names: list[str]) -> Iterator[int]:
    """A server that is all these hosts; its port."""
    pages = {"/node": "node 1\n", "/agents": _own_page()}
    page = _page()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            now, own = time.time(), hash(self.path) % 100
            values = {"now": now, "gauge": own, "counter": now * (own + 1), "level": 6e7 + 1e5 * own + 1e6 * (now % 7)}
            body = (pages.get(self.path, page) % values).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def table(loads: dict[int, Load]) -> str:
    base = loads[min(loads)]
    lines = [
        f"### The rules, evaluated every {INTERVAL} s", "",
        "| agents | series | of a core | the slowest group, of its interval | evaluation time, of that with the fewest |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for count, load in loads.items():
        lines.append(
            f"| {count} | {load.series} | {load.share:.1%} | {load.worst:.1%} | {load.share / base.share:.1f} |"
        )
    return "\n".join(lines)
