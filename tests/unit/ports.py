# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports on this machine for tests that cannot let the kernel choose when the server starts. Python 3.9 syntax."""

import contextlib
import secrets
import socket


def free():
    """One where nobody listens; below those that the kernel gives to connections, so that nobody gets it by chance before it is used."""
    while True:
        port = 15000 + secrets.randbelow(15000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def closed():
    """One where nobody listens, and nobody else can for as long."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
