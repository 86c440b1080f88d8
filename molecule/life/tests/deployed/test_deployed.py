# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the first deploy."""

import pytest

IDS = ["probe-agent@0", "probe-agent@1", "thermostat@0"]


@pytest.mark.parametrize("agent_id", IDS)
def test_it_runs_starts_at_boot_and_has_a_user_and_a_state_of_its_own(host, agent_id):
    unit = host.service(f"agentfactory-{agent_id}").systemd_properties
    shown = {key: unit[key] for key in ("ActiveState", "SubState", "UnitFileState", "NRestarts")}
    assert shown == {"ActiveState": "active", "SubState": "running", "UnitFileState": "enabled", "NRestarts": "0"}
    assert host.user(unit["User"]).gecos == agent_id
    state = host.file(f"/var/lib/agentfactory/{agent_id.replace('@', '/')}")
    assert (state.user, state.mode) == (unit["User"], 0o700)


@pytest.mark.parametrize(("port", "instance"), [(18080, "0"), (18081, "1")])
def test_each_instance_answers_on_its_port(agent, port, instance):
    said = agent(port)
    assert (said["id"], said["version"], said["environment"]) == (f"probe-agent@{instance}", "1.0.0", "molecule")
    assert said["config"] == {"greeting": "hello"}


def test_the_thermostat_has_reached_the_broker_with_its_secret(agent):
    assert agent(8080, "/healthz")["version"] == "1.4.2"


def test_no_secret_is_in_the_unit_or_the_environment(host):
    seen = host.check_output("systemctl cat 'agentfactory-probe-agent@*'; cat /proc/[0-9]*/environ | tr '\\0' '\\n'")
    assert "of-the-first-version" not in seen
