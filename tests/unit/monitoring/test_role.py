# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role says to settings with which Grafana or Prometheus could not, or should not, be asked: before anything is changed."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import certifi
import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from .. import ansible_programs, prometheus_server

ROLE = ansible_programs.ROOT / "roles/monitoring"
GRAFANA = {
    "grafana_prometheus_url": "https://prometheus.example.org",
    "grafana_username": "grafana",
    "grafana_password": "geheim",
}
BEYOND = {"prometheus_address": "0.0.0.0:9090", "web_certificate": "c", "web_key": "k", "web_password": "geheim"}
ELSEWHERE = {"grafana_prometheus_url": "https://prometheus.example.org", "grafana_username": "grafana"}
REFUSED = [
    ("dashboards", {**GRAFANA, "grafana_prometheus_url": "http://127.0.0.1:9090"}, "goes over the network in clear"),
    ("dashboards", {**GRAFANA, "grafana_password": "ge$heim"}, "contains a $"),
    ("dashboards", {**GRAFANA, "grafana_username": ""}, "one is given and the other is not"),
    ("dashboards", {**GRAFANA, "grafana_password": ""}, "one is given and the other is not"),
    # The operator's password is for the role's own Prometheus, and for no other.
    ("dashboards", {**BEYOND, "web_password": "ge$heim"}, "contains a $"),
    ("dashboards", {**BEYOND, "web_password": "ge$heim", **ELSEWHERE}, "one is given and the other is not"),
    ("server", {**BEYOND, "web_password": ""}, "0.0.0.0:9090 can be reached from elsewhere, by anybody"),
    ("server", {"alertmanager_address": ":9093", "web_open": False}, ":9093 can be reached from elsewhere, by anybody"),
    ("server", {**BEYOND, "web_certificate": "", "web_key": ""}, "would go over the network in clear"),
    ("server", {**BEYOND, "web_certificate": "", "web_key": "", "web_open": True}, "would go over the network in clear"),
    ("server", {**BEYOND, "web_key": ""}, "go together"),
    ("server", {"password": "geheim"}, "goes over the network in clear"),
    ("hosts", {"more_users": {"former": "geheim"}}, "without a password everybody is let in"),
    (
        "hosts",
        {"certificate": "c", "password": "geheim", "username": "me", "more_users": {"me": "heim"}},
        "the same name has one password",
    ),
    ("server_check", {"routes": [{"receiver": "nowhere"}]}, "undefined receiver"),
    ("server_check", {"scrape_configs": [{"job_name": "node"}]}, "multiple scrape configs with job name"),
]  # fmt: skip
# As the plugin would make it; server_check asks for what is expected of it.
FLEET = {
    "agentfactory": {
        "hosts": {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}},
        "vars": {"agentfactory_agents": [], "agentfactory_artifacts": "/nowhere", "agentfactory_environment": "lab"},
    }
}


def test_what_is_refused(tmp_path: Path) -> None:
    prometheus_server.needed("promtool")
    prometheus_server.needed("amtool")
    blocks = [
        {
            "block": [{"ansible.builtin.include_role": {"name": "agentfactory.core.monitoring", "tasks_from": entry}}],
            "rescue": [{"ansible.builtin.set_fact": {"said": "{{ said + [ansible_failed_result | to_json] }}"}}],
            "vars": {f"monitoring_{name}": value for name, value in bad.items()},
        }
        for entry, bad, _words in REFUSED
    ]
    told = {"ansible.builtin.copy": {"content": "{{ said | to_json }}", "dest": str(tmp_path / "said")}}
    play = {"hosts": "localhost", "gather_facts": False, "vars": {"said": []}, "tasks": [*blocks, told]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(FLEET))
    done = ansible_programs.run(tmp_path, "ansible-playbook", "-v", "-i", "hosts.yml", "play.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((tmp_path / "said").read_text())
    assert len(said) == len(REFUSED)
    for message, (_entry, _bad, words) in zip(said, REFUSED, strict=True):
        assert words in message
    assert "heim" not in done.stdout + done.stderr


def test_a_refused_reload_is_told_until_it_is_taken(tmp_path: Path, start_alertmanager: Callable[[str], str]) -> None:
    """amtool lets it pass, and Alertmanager stays ready. Here it also stands for Prometheus: the metric differs by its prefix only."""
    authority = tmp_path / "ca.pem"
    shutil.copy(certifi.where(), authority)
    people = {"url": "https://127.0.0.1:9/", "http_config": {"tls_config": {"ca_file": str(authority)}}}
    told = {"route": {"receiver": "people"}, "receivers": [{"name": "people", "webhook_configs": [people]}]}
    url = start_alertmanager(yaml.safe_dump(told))
    address = url.removeprefix("http://")
    reload = {"ansible.builtin.uri": {"url": f"{url}/-/reload", "method": "POST", "status_code": [200, 500]}}
    look = {"ansible.builtin.include_role": {"name": "agentfactory.core.monitoring", "tasks_from": "server_in_force"}}
    keep = {"ansible.builtin.set_fact": {"said": "{{ said + [ansible_failed_result.msg] }}"}}
    tried = [reload, {"block": [look], "rescue": [keep]}]
    tasks = [
        {"ansible.builtin.command": f"mv {authority} {authority}.away"}, *tried,
        {"ansible.builtin.command": f"mv {authority}.away {authority}"}, *tried,
        {"ansible.builtin.copy": {"content": "{{ said | to_json }}", "dest": str(tmp_path / "said")}},
    ]  # fmt: skip
    given = {"said": [], "monitoring_prometheus_address": address, "monitoring_alertmanager_address": address}
    play = {"hosts": "localhost", "gather_facts": False, "vars": given, "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(FLEET))
    done = ansible_programs.run(tmp_path, "ansible-playbook", "-v", "-i", "hosts.yml", "play.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    (message,) = json.loads((tmp_path / "said").read_text())
    assert message.startswith("prometheus-alertmanager and prometheus refused the new configuration")


def test_a_certificate_with_anothers_key_is_not_put_in_place(tmp_path: Path) -> None:
    for name in ("one", "other"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
             "-subj", "/CN=host", "-keyout", f"{name}.key", "-out", f"{name}.pem"], check=True, capture_output=True, cwd=tmp_path,
        )  # fmt: skip
    placed = tmp_path / "placed.pem"
    placed.write_text("the former pair")
    bring = {"name": "agentfactory.core.monitoring", "tasks_from": "hosts_certificate"}
    keep = {
        "ansible.builtin.copy": {"content": "{{ ansible_failed_result | to_json }}", "dest": str(tmp_path / "said")}
    }
    given = {
        "monitoring_certificate": str(tmp_path / "one.pem"), "monitoring_key": str(tmp_path / "other.key"),
        "__monitoring_certificate_file": str(placed),
    }  # fmt: skip
    block = {"block": [{"ansible.builtin.include_role": bring}], "rescue": [keep], "vars": given}
    (tmp_path / "play.yml").write_text(
        yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": [block]}])
    )
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(FLEET))
    done = ansible_programs.run(tmp_path, "ansible-playbook", "-i", "hosts.yml", "play.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert placed.read_text() == "the former pair"
    assert "failed to validate" in (tmp_path / "said").read_text()


@pytest.mark.parametrize(
    ("address", "listens", "asked"),
    [
        ("0.0.0.0", "0.0.0.0", "127.0.0.1"),
        ("::", "[::]", "[::1]"),
        ("2001:db8::7", "[2001:db8::7]", "[2001:db8::7]"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
    ],
)
def test_where_the_exporters_listen_and_are_asked(address: str, listens: str, asked: str) -> None:
    values = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    names = ("__monitoring_listens_at", "__monitoring_asked_at")
    known = {"monitoring_listen_address": address, **{name: trust_as_template(values[name]) for name in names}}
    known |= {"monitoring_node_exporter_port": 9100, "__monitoring_node_exporter_web": ""}
    templar = Templar(DataLoader(), variables=known)
    text = templar.template(trust_as_template((ROLE / "templates/node-exporter.j2").read_text()))
    assert f"--web.listen-address={listens}:9100 " in str(text)
    assert templar.template(trust_as_template("{{ __monitoring_asked_at }}")) == asked
