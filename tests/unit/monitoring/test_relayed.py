# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Prometheus asks for agents' own pages, by the role's own template; promtool takes it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from .conftest import Promtool

ROLE = Path(__file__).resolve().parents[3] / "roles/monitoring"
GUARDED = {"monitoring_certificate": "/c", "monitoring_ca": "/ca", "monitoring_password": "geheim"}
ACCESS = {
    "scheme": "https",
    "tls_config": {"ca_file": "/etc/prometheus/agentfactory/ca.pem"},
    "basic_auth": {"username": "prometheus", "password_file": "/etc/prometheus/agentfactory/passwords/prometheus"},
}


def trusted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def rendered(**variables: Any) -> str:
    """What the role writes."""
    of_role = {}
    for name in ("defaults", "vars"):
        of_role |= trusted(yaml.safe_load((ROLE / name / "main.yml").read_text(encoding="utf-8")))
    template = trust_as_template((ROLE / "templates/prometheus.yml.j2").read_text(encoding="utf-8"))
    known = {**of_role, "inventory_hostname": "monitor", **variables}
    return str(Templar(DataLoader(), variables=known).template(template))


@pytest.mark.parametrize(
    ("variables", "access"),
    [
        ({}, {"scheme": "http"}),
        (GUARDED, ACCESS),
        ({**GUARDED, "monitoring_agents_relayed": True}, ACCESS),
        ({**GUARDED, "monitoring_agents_relayed": False}, {}),
        ({**GUARDED, "monitoring_agents_relayed": "false"}, {}),  # as -e has it
    ],
)
def test_who_is_asked_in_which_way(
    promtool: Promtool, tmp_path: Path, variables: dict[str, Any], access: dict[str, Any]
) -> None:
    (tmp_path / "prometheus.yml").write_text(rendered(**variables), encoding="utf-8")
    checked = promtool("check", "config", "--syntax-only", tmp_path / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout
    jobs = {job["job_name"]: job for job in yaml.safe_load((tmp_path / "prometheus.yml").read_text())["scrape_configs"]}
    given = {key: value for key, value in jobs["agents"].items() if key in ACCESS}
    assert given == access
    of_exporters = {key: value for key, value in jobs["agentfactory"].items() if key in ACCESS}
    assert of_exporters == (ACCESS if variables else {"scheme": "http"})
    # Whoever passes it on: it is an agent that speaks.
    assert jobs["agents"]["honor_timestamps"] is False
    assert jobs["agents"]["sample_limit"] == 5000
    assert jobs["agents"]["metric_relabel_configs"][0]["action"] == "drop"
