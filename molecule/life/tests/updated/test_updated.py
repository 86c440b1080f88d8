# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the update of one agent of two."""

import pytest


@pytest.mark.parametrize("port", [18080, 18081])
def test_code_and_configuration_are_the_new_ones(agent, port):
    said = agent(port)
    assert (said["version"], said["config"]) == ("1.1.0", {"greeting": "good evening"})


def test_both_releases_are_kept(host):
    releases = host.file("/opt/agentfactory/agents/probe-agent/0/releases").listdir()
    assert sorted(name.split("-")[0] for name in releases) == ["1.0.0", "1.1.0"]


def test_the_other_agent_was_left_alone(host):
    assert len(host.file("/opt/agentfactory/agents/thermostat/0/releases").listdir()) == 1
    history = host.file("/var/lib/agentfactory/.factory/history.jsonl").content_string.splitlines()
    assert len([line for line in history if '"thermostat@0"' in line]) == 1
