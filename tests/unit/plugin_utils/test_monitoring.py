# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What monitoring learns from a fleet."""

import json
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import monitoring
from ansible_collections.agentfactory.core.plugins.plugin_utils.monitoring import Member

METRICS = {"arm": {"port": "http", "path": "/metrics"}, "ear": None}


@pytest.fixture(autouse=True)
def manifests(monkeypatch):
    def packaged(_root, name, _version):
        return SimpleNamespace(manifest={"metrics": METRICS[name]})

    monkeypatch.setattr(monitoring, "packaged", packaged)


def agent(name, *instances, state="started", version="1.0"):
    ports = {instance: {"http": 8080 + number} for number, instance in enumerate(instances)}
    return {"name": name, "version": version, "state": state, "instances": list(instances), "ports": ports}


def member(name, *agents, **variables):
    return Member.of(name, {"agentfactory_environment": "lab", "agentfactory_agents": list(agents), **variables})


@pytest.mark.parametrize(
    ("variables", "target"),
    [
        ({}, "h1:9100"),
        ({"ansible_host": "192.0.2.7"}, "192.0.2.7:9100"),
        ({"ansible_host": "192.0.2.7", "agentfactory_monitoring_address": "h1.example.org"}, "h1.example.org:9100"),
        ({"ansible_host": "2001:db8::1"}, "[2001:db8::1]:9100"),
    ],
)
def test_where_a_host_is_asked(variables, target):
    labels = {"host": "h1", "environment": "lab"}
    assert monitoring.hosts([member("h1", **variables)], 9100) == [{"targets": [target], "labels": labels}]


def test_agents_with_metrics_are_targets_on_their_own_ports():
    found = monitoring.agents([member("h1", agent("arm", "0", "1"), agent("ear", "0")), member("h2")], "dist")
    assert [(item["targets"], item["labels"]["agent_id"]) for item in found] == [
        (["h1:8080"], "arm@0"),
        (["h1:8081"], "arm@1"),
    ]
    assert found[0]["labels"]["__metrics_path__"] == "/metrics"


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::1"])
def test_the_exporter_that_passes_them_on_changes_no_label(address):
    host = member("h1", agent("arm", "0", "1"), ansible_host=address)
    direct, relayed = (monitoring.agents([host], "dist", port) for port in (None, 9472))
    assert [item["targets"] for item in relayed] == [[host.at(9472)]] * 2
    for one, other in zip(direct, relayed, strict=True):
        # Prometheus makes `instance` of the target's address where nothing else says what it is.
        assert other["labels"].pop("instance") == one["targets"][0]
        path = other["labels"].pop("__metrics_path__")
        assert path == f"/agents/{one['labels']['agent_id']}/metrics"
        assert one["labels"].pop("__metrics_path__") == "/metrics"
        assert other["labels"] == one["labels"]


@pytest.mark.parametrize("state", ["stopped", "absent"])
def test_what_is_not_to_run_is_no_target(state):
    assert monitoring.agents([member("h1", agent("arm", "0", state=state))], "dist") == []


def test_the_exporters_program_is_the_same_for_the_same_code_and_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = monitoring.exporter("1.2.3")
    with open(path, "rb") as archive:
        first = archive.read()
    assert monitoring.exporter("1.2.3") == path
    assert monitoring.exporter("1.2.4") != path
    with open(monitoring.exporter("1.2.3"), "rb") as archive:
        assert archive.read() == first
    (tmp_path / "config.json").write_text(json.dumps({"address": "no such address", "port": 1}))
    ran = subprocess.run(
        [sys.executable, "-I", path, str(tmp_path / "config.json")], capture_output=True, text=True, check=False
    )
    assert "agentfactory_host/exporter.py" in ran.stderr  # it came as far as its server
    assert "gaierror" in ran.stderr
