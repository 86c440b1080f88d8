# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that is monitored by the real exporters, Prometheus and Alertmanager of Debian, over TLS with a password, up to the
message that somebody gets. The receiver of that message is a small HTTP server beside Alertmanager.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
import yaml

from ansible_collections.agentfactory.core.plugins.plugin_utils import prometheus, silence

from .harness import ROOT, Fleet, Host, Result

PASSWORD, WEB_PASSWORD = "password-of-the-scrape", "password-of-the-operator"
FORMER = ("former", "password-of-before")
SCRAPE_SECONDS = 2
"""How often, and so also how long a scrape may take"""
RULES = ROOT / "roles" / "monitoring" / "files" / "rules"
RULES_ON_SERVER = "/etc/prometheus/agentfactory/rules"

RECEIVER = """
import http.server, json, time
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        received = time.time()
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open("/var/tmp/received.jsonl", "a") as log:
            log.write(json.dumps({**message, "received": received}) + "\\n")
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 9999), Receiver).serve_forever()
"""

GRAFANA = """
getent group grafana >/dev/null || groupadd --system grafana
mkdir -p /etc/grafana/provisioning/datasources /etc/grafana/provisioning/dashboards
printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' > /etc/systemd/system/grafana-server.service
systemctl daemon-reload
"""
NO_GRAFANA = """
systemctl disable --now --quiet grafana-server
rm -rf /etc/grafana /etc/systemd/system/grafana-server.service
groupdel grafana
systemctl daemon-reload
"""


class Monitored:
    """A fleet that is monitored; the server is the host with bookworm."""

    def __init__(
        self, fleet: Fleet, folder: Path, *, groups: tuple[str, ...] = ("monitoring",), **variables: Any
    ) -> None:
        self.fleet, self.server = fleet, fleet.lab.hosts[1]
        self.variables = folder / "monitoring.yml"
        self._write_inventory(folder, groups)
        self._write_variables(folder, variables)
        self._forget()

    def _write_inventory(self, folder: Path, groups: tuple[str, ...]) -> None:
        (lab,) = yaml.safe_load((self.fleet.lab.inventory / "hosts.yml").read_text()).values()
        self.fleet.hosts_file = folder / "hosts.yml"
        inventory = {"lab": lab, **{group: {"hosts": {self.server.name: {}}} for group in groups}}
        self.fleet.hosts_file.write_text(yaml.safe_dump(inventory))

    def _write_variables(self, folder: Path, more: dict[str, Any]) -> None:
        names = ",".join(f"IP:{host.address}" for host in self.fleet.lab.hosts)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "60", "-subj",
             "/CN=lab", "-addext", f"subjectAltName={names}",
             "-addext", "keyUsage=keyCertSign,digitalSignature", "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
        (folder / "password").write_text(WEB_PASSWORD + "\n")
        self.access = {"ca_path": certificate, "username": "operator", "password_file": str(folder / "password")}
        self.variables.write_text(
            yaml.safe_dump(
                {
                    "monitoring_certificate": certificate, "monitoring_key": key, "monitoring_ca": certificate,
                    "monitoring_web_certificate": certificate, "monitoring_web_key": key, "monitoring_web_password": WEB_PASSWORD,
                    "monitoring_password": PASSWORD, "monitoring_more_users": dict([FORMER]),
                    "monitoring_scrape_interval": f"{SCRAPE_SECONDS}s", "monitoring_evaluation_interval": "2s",
                    "monitoring_prometheus_address": "0.0.0.0:9090", "monitoring_alertmanager_address": "0.0.0.0:9093",
                    "monitoring_group_wait": "1s", "monitoring_group_interval": "5s",
                    "monitoring_receivers": [
                        {
                            "name": "people",
                            "webhook_configs": [
                                {
                                    "url": "http://127.0.0.1:9999/",
                                    "send_resolved": True,
                                    "http_config": {"basic_auth": {"username": "people", "password": PASSWORD}},
                                }
                            ],
                        }
                    ],
                    **more,
                }
            )
        )  # fmt: skip

    def say(self, **variables: Any) -> None:
        """Have these variables from now on."""
        self.variables.write_text(yaml.safe_dump({**yaml.safe_load(self.variables.read_text()), **variables}))

    def run(self, *arguments: str, fleet: Fleet | None = None) -> Result:
        """The playbook, for this fleet or for another one that shares the server."""
        return (fleet or self.fleet).run("monitor", "-e", f"@{self.variables}", *arguments)

    @contextmanager
    def receiver(self) -> Iterator["Monitored"]:
        """With somebody who gets the messages."""
        self.server.sh("cat > /var/tmp/receiver.py", data=RECEIVER)
        self.server.sh(
            "systemctl stop receiver 2>/dev/null; rm -f /var/tmp/received.jsonl; "
            "systemd-run --quiet --collect --unit=receiver python3 /var/tmp/receiver.py"
        )
        yield self
        self.server.sh("systemctl stop receiver")

    @contextmanager
    def grafana(self) -> Iterator[None]:
        """With what stands in for Grafana."""
        self.server.sh(GRAFANA)
        yield
        self.server.sh(NO_GRAFANA)

    def connection(self, port: int = 9090) -> prometheus.Connection:
        """To Prometheus, or to Alertmanager: both take the same, as an operator would give it in a variable."""
        return silence.connection(f"https://{self.server.address}:{port}", self.access)

    def get(self, port: int, path: str) -> Any:
        """What the API of Prometheus or Alertmanager says."""
        there = self.connection(port)
        answer = requests.get(there.url + path, timeout=there.timeout, **there.arguments())
        answer.raise_for_status()
        return answer.json()

    def ask(self, query: str) -> list[dict[str, Any]]:
        client = prometheus.Client(self.connection())
        return [dict(series) for series in client.ask(prometheus.Question(query)).series]

    def value(self, query: str) -> float | None:
        """Of the only series of an answer; None where there is none."""
        series = self.ask(query)
        assert len(series) <= 1, series
        return float(series[0]["value"]) if series else None

    def firing(self, alert: str, **labels: str) -> list[dict[str, Any]]:
        """The labels of what fires, as Prometheus sees it."""
        wanted = {"alertname": alert, "alertstate": "firing", **labels}
        matchers = ", ".join(f"{name}={json.dumps(value)}" for name, value in wanted.items())
        return [series["labels"] for series in self.ask(f"ALERTS{{{matchers}}}")]

    def messages(self) -> list[dict[str, Any]]:
        """Every alert in every message that the receiver got, with the message's group, and when it was received by its clock."""
        lines = self.server.sh("cat /var/tmp/received.jsonl 2>/dev/null", check=False).splitlines()
        return [
            {**item, "group": message["groupKey"], "received": message["received"]}
            for message in map(json.loads, lines) for item in message["alerts"]
        ]  # fmt: skip

    def received(self, alert: str, status: str, host: Host | None = None, agent_id: str = "") -> list[dict[str, Any]]:
        """What the receiver was told of an alert, by its fingerprint: the newest message of each."""
        labels = (
            {"alertname": alert} | ({"host": host.name} if host else {}) | ({"agent_id": agent_id} if agent_id else {})
        )
        found = {
            item["fingerprint"]: item for item in self.messages()
            if item["status"] == status and labels.items() <= item["labels"].items()
        }  # fmt: skip
        return list(found.values())

    def samples(self, series: str) -> list[tuple[float, float]]:
        """When the only series of an answer was what, in the last ten minutes; empty where there is none."""
        found = self.ask(f"{series}[10m]")
        assert len(found) <= 1, found
        return [(float(at), float(value)) for one in found for at, value in one["samples"]]

    def waits(self, alert: str) -> dict[str, float]:
        """What an alert has to wait for until it is told, at most, as Prometheus and Alertmanager themselves say that they run (s)."""
        config = yaml.safe_load(self.get(9090, "/api/v1/status/config")["data"]["yaml"])
        (job,) = (one for one in config["scrape_configs"] if one["job_name"] == "agentfactory")
        (group, rule), = (
            (group, rule) for group in self.get(9090, "/api/v1/rules?type=alert")["data"]["groups"]
            for rule in group["rules"] if rule["name"] == alert
        )  # fmt: skip
        route = yaml.safe_load(self.get(9093, "/api/v2/status")["config"]["original"])["route"]
        return {
            "scrape_interval": _seconds(job["scrape_interval"]), "evaluation_interval": float(group["interval"]),
            "for": float(rule["duration"]), "group_wait": _seconds(route["group_wait"]),
        }  # fmt: skip

    def pages(self, *, since: datetime, host: Host) -> list[dict[str, Any]]:
        """The pages about a host that began after a moment."""
        return [
            item for item in self.messages()
            if item["status"] == "firing" and item["labels"].get("host") == host.name
            and item["labels"]["severity"] == "page" and datetime.fromisoformat(item["startsAt"]) > since
        ]  # fmt: skip

    def _forget(self) -> None:
        """Begin without what an earlier file's tests have left here: series would be seen for five minutes, silences for longer."""
        places = "/var/lib/prometheus/metrics2 /var/lib/prometheus/alertmanager"
        self.server.sh(f"systemctl stop prometheus prometheus-alertmanager 2>/dev/null; rm -rf {places}")

    def hurry(self, minute: int, instead: Mapping[str, Mapping[str, str]]) -> None:
        """Load the rules of the role with a minute of `for` (and of a group's interval) of so many seconds.

        `instead`: by alert or record, what stands in its expression for what takes too long to wait for.
        """
        left = {(alert, text) for alert, texts in instead.items() for text in texts}
        for path in RULES.glob("*.yml"):
            document = yaml.safe_load(path.read_text())
            for group in document["groups"]:
                if "interval" in group:
                    group["interval"] = _shorter(group["interval"], minute)
                for rule in group["rules"]:
                    name = rule.get("alert") or rule["record"]
                    if "for" in rule:
                        rule["for"] = _shorter(rule["for"], minute)
                    for text, other in instead.get(name, {}).items():
                        assert text in rule["expr"], f"{name}: {text}"
                        rule["expr"] = rule["expr"].replace(text, other)
                        left.discard((name, text))
            self.server.sh(f"cat > {RULES_ON_SERVER}/{path.name}", data=yaml.safe_dump(document))
        assert not left, f"no such rule: {left}"
        self.server.sh(f"promtool check rules {RULES_ON_SERVER}/*.yml && systemctl reload prometheus")


def _seconds(duration: str) -> float:
    found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", duration)
    assert found, duration
    return 60.0 * int(found[1] or 0) + int(found[2] or 0)


def _shorter(duration: str, minute: int) -> str:
    found = re.fullmatch(r"(\d+)([mh])", duration)
    assert found, duration
    return f"{int(found[1]) * minute * (60 if found[2] == 'h' else 1)}s"
