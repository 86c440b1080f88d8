# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of docs/capacity.md give what is printed there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.argspec import AGENT_CAPACITY
from ansible_collections.agentfactory.core.plugins.plugin_utils.capacity.study import study
from ansible_collections.agentfactory.core.plugins.plugin_utils.prometheus_argspec import PROMETHEUS_RULES

from .. import ansible_programs

GUIDE = (ansible_programs.ROOT / "docs/capacity.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(
    r"^## ([^\n]+)\n(?:(?!## )[^\n]*\n)*?```yaml\n(.*?)```\n\n((?:    [^\n]*\n)+)", re.MULTILINE | re.DOTALL
)
EXAMPLES = [(title, yaml.safe_load(given), output) for title, given, output in EXAMPLE.findall(GUIDE)]


def lines(output: str) -> list[str]:
    return [line[4:] for line in output.splitlines()]


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) == 7


@pytest.mark.parametrize(
    ("given", "output"), [example[1:] for example in EXAMPLES], ids=[example[0] for example in EXAMPLES]
)
def test_an_example_gives_what_is_printed(given: dict[str, Any], output: str) -> None:
    checked = ArgumentSpecValidator(AGENT_CAPACITY, **PROMETHEUS_RULES).validate(given)
    assert not checked.error_messages
    result = study(checked.validated_parameters)
    assert result["lines"] == lines(output)
    json.dumps(result)  # plain data


@pytest.mark.parametrize("mode", [[], ["--check"]])
def test_the_module(tmp_path: Path, mode: list[str]) -> None:
    _title, given, output = EXAMPLES[0]
    wrong = {"agents": [{"name": "a", "rate": 1}]}
    tasks = [
        {"agentfactory.core.agent_capacity": given, "register": "found"},
        {"agentfactory.core.agent_capacity": wrong, "register": "wrong", "ignore_errors": True},
        {"ansible.builtin.assert": {"that": ["found.lines == expected", "not found.changed", "wrong.msg == reason"]}},
    ]
    variables = {"expected": lines(output), "reason": "a: give rate and service_time, or metrics"}
    play = {"hosts": "all", "gather_facts": False, "vars": variables, "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    ran = ansible_programs.run(tmp_path, "ansible-playbook", "-i", "nowhere.example.net,", "play.yml", *mode)
    assert ran.returncode == 0, ran.stdout + ran.stderr
