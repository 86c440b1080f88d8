# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's HAProxy on a lab host before the first probe-agent of each, as docs/monitoring.md says."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..unit.monitoring import balanced
from .harness import ENVIRONMENT, PORT, Host, Lab

CLIENTS = 80
REMOVE = "apt-get purge -qq -y haproxy >/dev/null 2>&1; rm -rf /etc/haproxy"
INSTALL = f"{REMOVE}; apt-get install -qq -y --no-install-recommends haproxy >/dev/null"


def scraped(host: Host) -> list[dict[str, Any]]:
    """For monitoring_scrape_configs."""
    return balanced.scraped(
        {balanced.METRICS: f"{host.address}:8405", "host: balancer-1": f"host: {host.name}", "production": ENVIRONMENT}
    )


@contextmanager
def balancer(lab: Lab, host: Host, folder: Path, users: dict[str, str]) -> Iterator[None]:
    """It lets in these users and their passwords; certificate and key are the folder's."""
    places = {balanced.METRICS: f"{host.address}:8405", balanced.CLIENTS: f"{host.address}:{CLIENTS}"}
    servers = {
        theirs: f"{one.address}:{PORT}" for theirs, one in zip(balanced.SERVERS.values(), lab.hosts, strict=True)
    }
    pair = (folder / "certificate.pem").read_text() + (folder / "key.pem").read_text()
    host.sh(INSTALL)
    host.sh("umask 077; cat > /etc/haproxy/metrics.pem", data=pair)
    lines = balanced.configuration({**servers, **places}, users)
    host.sh("cat >> /etc/haproxy/haproxy.cfg && systemctl restart haproxy", data=lines)
    yield
    host.sh(REMOVE)
