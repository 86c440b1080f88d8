# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the rollback: code, configuration and secret together."""

import hashlib

import pytest


@pytest.mark.parametrize("port", [18080, 18081])
def test_everything_is_as_before_the_update(agent, port):
    said = agent(port)
    assert (said["version"], said["config"]) == ("1.0.0", {"greeting": "hello"})
    assert said["secrets"] == {"token": hashlib.sha256(b"of-the-first-version").hexdigest()[:12]}


def test_the_proven_release_is_what_boots(host, agent):
    unit = host.file("/etc/systemd/system/agentfactory-probe-agent@0.service")
    assert f"AGENT_RELEASE={agent(18080)['release']}" in unit.content_string
