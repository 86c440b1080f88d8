# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is told of what, by the role's own template: amtool walks the routes, a real Alertmanager groups and inhibits."""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).resolve().parents[3] / "roles/monitoring"
PEOPLE: dict[str, Any] = {
    "monitoring_receivers": [
        {"name": "nobody"},
        {"name": "on-call", "webhook_configs": [{"url": "http://127.0.0.1:9/"}]},
        {"name": "tickets", "webhook_configs": [{"url": "http://127.0.0.1:9/"}]},
        {"name": "lab", "webhook_configs": [{"url": "http://127.0.0.1:9/"}]},
    ],
    "monitoring_routes": [
        {"matchers": ["environment = lab"], "receiver": "lab"},
        {"matchers": ["severity = page"], "receiver": "on-call"},
        {"matchers": ['severity =~ "ticket|info"', "alertname != MonitoringWatchdog"], "receiver": "tickets"},
    ],
}


def rendered(folder: Path, **variables: Any) -> Path:
    """The configuration that the role writes."""
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    loader = DataLoader()
    trusted = {name: trust_as_template(value) if isinstance(value, str) else value for name, value in defaults.items()}
    template = trust_as_template((ROLE / "templates/alertmanager.yml.j2").read_text(encoding="utf-8"))
    path = folder / "alertmanager.yml"
    path.write_text(str(Templar(loader, variables={**trusted, **variables}).template(template)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def amtool() -> Callable[..., str]:
    program = shutil.which("amtool")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("amtool is not installed: tools/packages unit")

    def call(*arguments: object) -> str:
        done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    return call


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rendered(tmp_path_factory.mktemp("routes"), **PEOPLE)


def test_with_the_defaults_nobody_is_told(amtool, tmp_path):
    path = rendered(tmp_path)
    assert "SUCCESS" in amtool("check-config", path)
    assert amtool("config", "routes", "test", f"--config.file={path}", "severity=page") == "nobody"


def test_the_guides_example_loads_and_pages(amtool, tmp_path):
    text = (ROLE.parents[1] / "docs/monitoring.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(monitoring_receivers:.*?)```", text, re.DOTALL)
    path = rendered(tmp_path, **yaml.safe_load(example))
    assert "SUCCESS" in amtool("check-config", path)
    told = {
        labels: amtool("config", "routes", "test", f"--config.file={path}", *labels)
        for labels in (
            ("severity=page", "environment=lab"),
            ("severity=page", "environment=prod"),
            ("severity=page",),
            ("severity=ticket", "environment=prod"),
            ("severity=info", "environment=prod"),
            ("severity=info", "alertname=MonitoringWatchdog"),
        )
    }
    assert list(told.values()) == ["nobody", "on-call", "on-call", "tickets", "nobody", "heartbeat"]
    often = [route for route in yaml.safe_load(path.read_text())["route"]["routes"] if route["receiver"] == "heartbeat"]
    assert [route["repeat_interval"] for route in often] == ["5m"]  # by default it is hours


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"alertname": "AgentDown", "severity": "page", "environment": "production"}, "on-call"),
        ({"alertname": "AgentDown", "severity": "page", "environment": "lab"}, "lab"),
        ({"alertname": "AgentDrift", "severity": "ticket", "environment": "production"}, "tickets"),
        ({"alertname": "AgentCpuThrottled", "severity": "info", "environment": "production"}, "tickets"),
        ({"alertname": "MonitoringWatchdog", "severity": "info"}, "nobody"),
    ],
)
def test_routes_by_severity_and_environment(amtool, configuration, labels, receiver):
    given = [f"{name}={value}" for name, value in labels.items()]
    assert amtool("config", "routes", "test", f"--config.file={configuration}", *given) == receiver


def alert(
    name: str,
    host: str = "h1",
    *,
    severity: str = "page",
    agent: str = "",
    instance: str = "0",
    environment: str = "prod",
):
    labels = {"alertname": name, "environment": environment, "severity": severity}
    labels.update({"host": host} if host else {})
    labels.update({"agent": agent} if agent else {})
    labels.update({"agent_id": f"{agent}@{instance}"} if agent and host else {})
    return labels


# (alert, who may keep it quiet: Alertmanager names one of them)
TOLD: list[tuple[dict[str, str], set[str]]] = [
    (alert("HostDown"), set()),
    (alert("AgentDown", agent="arm"), {"HostDown"}),
    (alert("HostDiskFull"), {"HostDown"}),
    (alert("MonitoringCollectorStale", severity="ticket"), {"HostDown"}),
    (alert("HostDown", environment="lab"), set()),
    (alert("HostMaintenance", "h2", severity="info"), set()),
    (alert("HostDown", "h2"), {"HostMaintenance"}),
    (alert("CertificateExpires", "h2"), {"HostMaintenance"}),
    (alert("AgentDown", "h2", agent="arm"), {"HostMaintenance", "HostDown"}),
    (alert("AgentDown", "h3", agent="arm"), set()),
    (alert("AgentUnhealthy", "h3", agent="arm", instance="1"), set()),
    (alert("AgentDrift", "h3", agent="arm", severity="ticket"), set()),
    (alert("AgentQuorumLost", "", agent="arm"), set()),
    (alert("AgentDown", "h3", agent="ear"), set()),
    (alert("AgentDown", "h3", agent="ear", instance="1"), set()),
    (alert("AgentDown", "h5", agent="ear"), set()),
    (alert("AgentUnhealthy", "h5", agent="ear", instance="1"), set()),
    (alert("AgentDown", "h5", agent="ear", environment="stage"), set()),
    (alert("HostClockSkew", "h3", severity="ticket"), set()),
    (alert("HostClockSkew", "h5", severity="ticket"), set()),
    (alert("AgentDown", "h4", agent="arm", environment="lab"), set()),
]


@pytest.fixture(scope="module")
def told(start_alertmanager, configuration):
    """A question to an Alertmanager with this configuration, which knows all of TOLD."""
    url = start_alertmanager(configuration.read_text(encoding="utf-8"))

    def ask(path: str, data: bytes | None = None) -> Any:
        request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    ask("/api/v2/alerts", json.dumps([{"labels": labels} for labels, _by in TOLD]).encode())
    return ask


def settled(look: Callable[[], Any], expected: Any) -> None:
    """Alertmanager takes alerts first, and inhibits and groups them thereafter."""
    deadline = time.monotonic() + 60
    while (seen := look()) != expected and time.monotonic() < deadline:
        time.sleep(0.1)
    assert seen == expected


def test_who_is_kept_quiet_by_whom(told):
    expected = {tuple(sorted(labels.items())): by for labels, by in TOLD}
    assert len(expected) == len(TOLD)

    def quiet() -> dict[tuple[tuple[str, str], ...], set[str]]:
        """Who keeps each alert quiet: all of those that may, where it is one of them."""
        found = told("/api/v2/alerts")
        names = {item["fingerprint"]: item["labels"]["alertname"] for item in found}
        seen = {}
        for item in found:
            key, by = tuple(sorted(item["labels"].items())), {names[one] for one in item["status"]["inhibitedBy"]}
            may = expected.get(key, set())
            seen[key] = may if by and by <= may else by
        return seen

    settled(quiet, expected)


def test_an_alert_is_told_together_of_all_instances_of_an_agent(told):
    """On whatever hosts: what all of them need may be gone. And of all hosts, where it is of a host."""

    def groups() -> set[tuple[str, str, int]]:
        found = told("/api/v2/alerts/groups")
        ours = [
            item
            for item in found
            if item["labels"].get("agent") == "ear" or item["labels"]["alertname"] == "HostClockSkew"
        ]
        return {(item["labels"]["alertname"], item["labels"]["environment"], len(item["alerts"])) for item in ours}

    expected = {
        ("AgentDown", "prod", 3),
        ("AgentUnhealthy", "prod", 1),
        ("AgentDown", "stage", 1),
        ("HostClockSkew", "prod", 2),
    }
    settled(groups, expected)
