# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests look at the hosts from inside (by podman, without SSH) and ask the agents from outside, as their clients do."""

import json
import urllib.request

import pytest

HOSTS = ["podman://molecule-1", "podman://molecule-2", "podman://molecule-3"]


def pytest_generate_tests(metafunc):
    """testinfra reads the hosts from each file; here they are the same for all."""
    metafunc.module.testinfra_hosts = HOSTS


@pytest.fixture
def agent(host):
    """agent(port, path) -> the JSON or text that an agent of this host answers."""
    address = host.check_output("hostname -I").split()[0]

    def ask(port, path="/"):
        with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=5) as answer:
            body = answer.read().decode()
            return json.loads(body) if answer.headers["Content-Type"] == "application/json" else body

    return ask
