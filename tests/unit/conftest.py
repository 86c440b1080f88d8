# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all unit tests share. Python 3.9 syntax."""

import os
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest
from hypothesis import HealthCheck, settings

from . import ports

# No deadline: on a busy machine with two cores it measures the neighbours. In CI the same examples each time, so that
# a failure there is a failure here; elsewhere new ones.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session")
def start_alertmanager(tmp_path_factory):
    """Start a real Alertmanager with this configuration; its URL. It ends with the tests.

    With more options it may want a password and TLS: then it is there when it listens.
    """
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Alertmanager is not installed: tools/packages unit")
    started = []

    def start(configuration, *options):
        place = tmp_path_factory.mktemp("alertmanager")
        (place / "config.yml").write_text(configuration)
        port = ports.free()
        url = "http://127.0.0.1:%d" % port
        with open(place / "log", "wb") as log:
            process = subprocess.Popen(
                [program, "--config.file=%s/config.yml" % place, "--storage.path=%s" % place, "--cluster.listen-address=",
                 "--web.listen-address=" + url[len("http://"):], *options], stdout=log, stderr=log,
            )  # fmt: skip
        started.append(process)
        deadline = time.monotonic() + 120
        while True:
            try:
                if options:
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
                else:
                    urllib.request.urlopen(url + "/-/ready", timeout=5).close()
                return url
            except OSError:
                assert process.poll() is None, (place / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(60)


@pytest.fixture(scope="session")
def alertmanager(start_alertmanager):
    """The URL of a real Alertmanager that tells nobody."""
    return start_alertmanager("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
