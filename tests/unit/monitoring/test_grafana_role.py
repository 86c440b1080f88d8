# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role says to settings with which Grafana could not, or should not, ask Prometheus: before anything is changed."""

import json
import sys
from pathlib import Path

import yaml

from .. import ansible_programs

GOOD = {"prometheus_url": "https://prometheus.example.org", "username": "grafana", "password": "geheim"}
REFUSED = [
    ({"prometheus_url": "http://127.0.0.1:9090"}, "goes over the network in clear"),
    ({"password": "ge$heim"}, "contains a $"),
    ({"username": ""}, "one is given and the other is not"),
    ({"password": ""}, "one is given and the other is not"),
]


def test_what_is_refused(tmp_path: Path) -> None:
    blocks = [
        {
            "block": [{"ansible.builtin.include_role": {"name": "agentfactory.core.monitoring", "tasks_from": "dashboards"}}],
            "rescue": [{"ansible.builtin.set_fact": {"said": "{{ said + [ansible_failed_result.msg] }}"}}],
            "vars": {f"monitoring_grafana_{name}": value for name, value in {**GOOD, **bad}.items()},
        }
        for bad, _words in REFUSED
    ]  # fmt: skip
    told = {"ansible.builtin.copy": {"content": "{{ said | to_json }}", "dest": str(tmp_path / "said")}}
    play = {"hosts": "localhost", "gather_facts": False, "vars": {"said": []}, "tasks": [*blocks, told]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    command = ("ansible-playbook", "-v", "-i", "localhost,", "-c", "local", "play.yml")
    done = ansible_programs.run(tmp_path, *command, ANSIBLE_PYTHON_INTERPRETER=sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((tmp_path / "said").read_text())
    assert len(said) == len(REFUSED)
    for message, (_bad, words) in zip(said, REFUSED, strict=True):
        assert words in message
    assert "heim" not in done.stdout + done.stderr
