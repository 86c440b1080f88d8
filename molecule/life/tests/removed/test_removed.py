# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After destroy with purge: nothing is left."""

import pytest


@pytest.mark.parametrize(
    "pattern",
    [
        "/opt/agentfactory",
        "/run/agentfactory",
        "/var/lib/agentfactory",
        "/etc/systemd/system/agentfactory-*",
        "/etc/systemd/system/*.wants/agentfactory-*",
        "/run/systemd/system/agentfactory-*",
        "/run/systemd/system.control/agentfactory-*",
    ],
)
def test_no_file(host, pattern):
    assert host.run(f"ls -d {pattern}").stdout == ""


def test_no_unit_and_no_slice(host):
    assert host.check_output("systemctl list-units --all --plain --no-legend 'agentfactory-*'") == ""


def test_no_user_and_no_group(host):
    assert host.run("getent passwd | grep ^af-").stdout == ""
    assert host.run("getent group | grep ^af-").stdout == ""


def test_no_firewall_rule(host):
    assert "agentfactory" not in host.check_output("nft list tables")


@pytest.mark.parametrize("port", [8080, 18080, 18081])
def test_no_listener(host, port):
    assert not host.socket(f"tcp://0.0.0.0:{port}").is_listening
