# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Prometheus' programs come from, on a trixie host: archives by path and by URL, going back, and packages.

Upstream's own archives cannot be had by tests without a way out. These are packed in their layout from Debian's programs: bookworm's as
the older versions, trixie's as the newer ones. (Debian's Alertmanager reads its templates from a file, and upstream's has them in itself:
the host gets that file.)
"""

import hashlib
import http.server
import re
import shutil
import ssl
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from .harness import Fleet, Host, Lab, Result, until

FILES = {
    "node_exporter": {"node_exporter": "prometheus-node-exporter"},
    "prometheus": {"prometheus": "prometheus", "promtool": "promtool"},
    "alertmanager": {"alertmanager": "prometheus-alertmanager", "amtool": "amtool"},
}
DOWNLOAD = """set -e
rm -rf /var/tmp/debs && mkdir /var/tmp/debs && cd /var/tmp/debs && apt-get update -qq
apt-get download -qq prometheus prometheus-alertmanager prometheus-node-exporter 2>/dev/null
apt-get download -qq promtool 2>/dev/null || true  # a package of its own only in trixie
for deb in *.deb; do dpkg-deb -x "$deb" .; done; rm *.deb
"""
TEMPLATES = """set -e
mkdir -p /usr/share/prometheus
cp -r /var/tmp/debs/usr/share/prometheus/alertmanager /usr/share/prometheus/
rm -rf /var/tmp/debs
"""


class Programs:
    """Archives of both generations, and runs of the playbook for the trixie host alone."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet, self.folder, self.host = fleet, folder, fleet.lab.hosts[2]
        _bullseye, self.older, self.newer = fleet.lab.on_all(
            lambda host: {} if host.release == "bullseye" else self._pack(host)
        )
        self.certificate = folder / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
             "/CN=loopback", "-addext", f"subjectAltName=IP:127.0.0.1,IP:{self.host.address}",
             "-addext", "keyUsage=keyCertSign,digitalSignature", "-keyout", folder / "key.pem", "-out", self.certificate],
            check=True, capture_output=True,
        )  # fmt: skip

    def _pack(self, host: Host) -> dict[str, dict[str, Any]]:
        """Archives of a host's release of Debian, as the role is told of them by path."""
        host.sh(DOWNLOAD)
        given = {}
        for name, files in FILES.items():
            said = host.sh(f"/var/tmp/debs/usr/bin/{next(iter(files.values()))} --version 2>&1")
            version = re.search(r"version (\d+\.\d+\.\d+)", said)
            assert version, said
            top = f"{name}-{version[1]}.linux-amd64"
            archive = self.folder / f"{top}.tar.gz"
            with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
                for file, original in files.items():
                    place = self.folder / f"{host.release}-{file}"
                    subprocess.run(
                        ["podman", "cp", f"{host.container}:/var/tmp/debs/usr/bin/{original}", place], check=True
                    )
                    packed.add(place, f"{top}/{file}")
            digest = hashlib.sha256(archive.read_bytes()).hexdigest()
            file = f"{self.folder}/{name}-{{version}}.linux-{{arch}}.tar.gz"
            given[name] = {"version": version[1], "file": file, "sha256": {"amd64": digest}}
        host.sh(TEMPLATES)
        return given

    def run(self, archives: dict[str, Any], *arguments: str) -> Result:
        variables = self.folder / "variables.yml"
        addresses = {
            "monitoring_web_certificate": str(self.certificate),
            "monitoring_web_key": str(self.folder / "key.pem"),
            "monitoring_web_ca": str(self.certificate),
            "monitoring_web_password": "password-of-the-operator",
            "monitoring_prometheus_address": "0.0.0.0:9090",
            "monitoring_alertmanager_address": "0.0.0.0:9093",
            "monitoring_evaluation_interval": "2s",
            "monitoring_scrape_interval": "2s",
        }
        variables.write_text(
            yaml.safe_dump({"monitoring_archives": archives, "monitoring_hosts": self.host.name, **addresses})
        )
        env = {"XDG_CACHE_HOME": str(self.folder / "cache"), "SSL_CERT_FILE": str(self.certificate)}
        return self.fleet.run("monitor", "--limit", self.host.name, "-e", f"@{variables}", *arguments, env=env)

    def runs(self, generation: dict[str, dict[str, Any]]) -> bool:
        """Whether all three programs run in these versions, and Prometheus reaches the others."""
        names = {
            "prometheus": "prometheus",
            "prometheus-alertmanager": "alertmanager",
            "prometheus-node-exporter": "node_exporter",
        }
        for unit, name in names.items():
            said = self.host.sh(f"/proc/$(systemctl show --value -p MainPID {unit})/exe --version 2>&1", check=False)
            if f"version {generation[name]['version']}" not in said:
                return False
        said = self.get(9090, "/api/v1/query?query=count(up==1)")
        # Prometheus itself, Alertmanager, and both exporters of the one host that the fleet has
        return [item["value"][1] for item in (said or {"data": {"result": []}})["data"]["result"]] == ["4"]

    def get(self, port: int, path: str) -> Any:
        """What Prometheus or Alertmanager says over TLS to who knows the password; None while it says nothing."""
        try:
            answer = requests.get(
                f"https://{self.host.address}:{port}{path}", auth=("operator", "password-of-the-operator"),
                verify=str(self.certificate), timeout=10,
            )  # fmt: skip
        except requests.RequestException:
            return None
        return answer.json() if answer.ok else None


@pytest.fixture(scope="module")
def programs(module_fleet: Fleet, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    trixie = lab.hosts[2].name
    made = Programs(module_fleet.write({}, managed=trixie), tmp_path_factory.mktemp("programs"))
    yield made
    made.run({}, "-e", "monitoring_state=absent").ok()
    assert made.host.sh("ls -d /opt/agentfactory-* 2>/dev/null", check=False) == ""


def test_bullseyes_server_is_refused_before_anything_is_changed(programs: Programs) -> None:
    bullseye = programs.fleet.lab.hosts[0].name
    refused = programs.fleet.run("monitor", "--limit", bullseye, "-e", f"monitoring_hosts={bullseye}").failed()
    assert "is too old: prometheus 2.42 is the oldest that works" in refused.verdict(bullseye)
    assert refused.changed == 0


def test_an_archive_with_another_digest_is_refused_before_anything_is_changed(programs: Programs) -> None:
    wrong = {**programs.newer, "node_exporter": {**programs.newer["node_exporter"], "sha256": {"amd64": "0" * 64}}}
    refused = programs.run(wrong).failed()
    assert "monitoring_archives: node_exporter.sha256" in refused.output
    assert refused.changed == 0
    assert programs.host.sh("ls -d /opt/agentfactory-* 2>/dev/null", check=False) == ""


def test_from_files_on_the_controller(programs: Programs) -> None:
    check = programs.run(programs.older, "--check").ok()
    assert check.changed
    programs.run(programs.older).ok()
    until(lambda: programs.runs(programs.older), "the older versions run")
    again = programs.run(programs.older).ok()
    assert again.changed == 0, again.output


def test_an_update_from_a_url(programs: Programs) -> None:
    answer = partial(http.server.SimpleHTTPRequestHandler, directory=str(programs.folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(programs.certificate, programs.folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"https://127.0.0.1:{server.server_address[1]}"
    by_url = {
        name: {**one, "file": base + one["file"].removeprefix(str(programs.folder))}
        for name, one in programs.newer.items()
    }
    programs.run(by_url).ok()
    server.shutdown()
    server.server_close()
    until(lambda: programs.runs(programs.newer), "the newer versions run")


def test_back_to_what_the_host_has_kept(programs: Programs) -> None:
    shutil.rmtree(programs.folder / "cache")
    for archive in programs.folder.glob("*.tar.gz"):
        archive.unlink()
    programs.run(programs.older).ok()
    until(lambda: programs.runs(programs.older), "the older versions run again")


def test_packages_instead(programs: Programs) -> None:
    programs.run({}).ok()
    until(lambda: programs.runs(programs.newer), "trixie's versions run")
    # Prometheus tells again each minute what goes on.
    until(lambda: programs.get(9093, "/api/v2/alerts"), "an alert has come to trixie's Alertmanager")
    assert programs.host.sh("ls /etc/systemd/system/prometheus*.service 2>/dev/null", check=False) == ""
