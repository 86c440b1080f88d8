# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Prometheus for the tests, with a few samples of the past, and none that it collects itself; and a real browser."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from .. import prometheus_server
from .browser import Browser, running

# 1790000000 is 2026-09-21 14:13:20 UTC
SAMPLES = """\
# TYPE room_temperature gauge
room_temperature{room="kitchen"} 19.5 1790000000
room_temperature{room="kitchen"} 20.5 1790000060
room_temperature{room="cellar"} NaN 1790000000
room_temperature{room="cellar"} NaN 1790000060
room_temperature{room="attic"} +Inf 1790000060
room_temperature{room="igloo"} -Inf 1790000060
"""
# Of the last hour before 1790000100, each five minutes: an agent that uses a quarter of a core and ever more memory, was restarted
# once, and has a namesake in another environment.
for _name, _kind, _values in (
    ("agentfactory_agent_cpu_seconds_total", "counter", [75.0 * number for number in range(13)]),
    ("agentfactory_agent_memory_bytes", "gauge", [1e6 * number for number in range(13)]),
    ("agentfactory_agent_restarts_total", "counter", [float(number >= 9) for number in range(13)]),
):
    SAMPLES += f"# TYPE {_name.removesuffix('_total')} {_kind}\n"
    for _environment in ("home", "lab"):
        _labels = f'host="h1",agent="arm",agent_id="arm@0",environment="{_environment}"'
        SAMPLES += "".join(f"{_name}{{{_labels}}} {v} {1789996500 + 300 * n}\n" for n, v in enumerate(_values))
LOAD_START, LOAD_END = 1790000000, 1790007200


def _load() -> str:
    """Two hours of an agent's metrics, each quarter of a minute: 5 requests a second and instance, but 10 in the last half hour's first
    third. Each takes 60 ms of work. ``young`` is there since 20 minutes, ``quiet`` has hardly a request, and the only instance of ``moved``
    went to another host half an hour before the end."""
    counted: dict[str, list[str]] = {"planner": [], "young": [], "quiet": [], "moved": []}
    busy, seconds, buckets, sums, counts = [], [], [], [], []
    total = 0.0
    for at in range(LOAD_START, LOAD_END + 1, 15):
        rate = 10 if LOAD_END - 1800 <= at < LOAD_END - 1200 else 5
        total += 15 * rate
        for instance in ("1", "2"):
            labels = f'agent="planner",instance="{instance}"'
            counted["planner"].append(f"agent_requests_total{{{labels}}} {total} {at}")
            busy.append(f"agent_busy{{{labels}}} {rate * 0.06} {at}")
            seconds.append(f"agent_busy_seconds_total{{{labels}}} {total * 0.06} {at}")
            for bound, part in (("0.05", 0.4), ("0.1", 0.9), ("0.5", 0.94), ("+Inf", 1.0)):
                buckets.append(f'agent_duration_seconds_bucket{{{labels},le="{bound}"}} {total * part} {at}')
            sums.append(f"agent_duration_seconds_sum{{{labels}}} {total * 0.08} {at}")
            counts.append(f"agent_duration_seconds_count{{{labels}}} {total} {at}")
        moved = f'agent="moved",host="{"old" if at < LOAD_END - 1800 else "new"}"'
        counted["moved"].append(f"agent_requests_total{{{moved}}} {total} {at}")
        busy.append(f"agent_busy{{{moved}}} {rate * 0.06} {at}")
        if at > LOAD_END - 1200:
            counted["young"].append(f'agent_requests_total{{agent="young"}} {total} {at}')
        counted["quiet"].append(f'agent_requests_total{{agent="quiet"}} {(at - LOAD_START) // 300} {at}')
    families = [
        ("agent_requests counter", [line for lines in counted.values() for line in lines]),
        ("agent_busy gauge", busy),
        ("agent_busy_seconds counter", seconds),
        ("agent_duration_seconds histogram", buckets + sums + counts),
    ]
    return "".join(f"# TYPE {family}\n" + "".join(f"{line}\n" for line in lines) for family, lines in families)


SAMPLES += _load() + "# EOF\n"
USER, PASSWORD = "operator", "pa:ss wort"
BCRYPT = "$2b$04$6xgCYjfDW89vyhEWUXBUMOk36vr.tJwTiION06sHC0cI67qhac.xG"  # of that password
WEB_CONFIG = f"""\
tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: authority.pem
basic_auth_users:
  {USER}: {BCRYPT}
"""


MONTH = 720  # hours
THERMOSTATS = {"home-1": (range(200, 202), range(0), 500), "home-2": (range(300, 303), range(300, 303), MONTH)}


def a_month_of_thermostats() -> str:
    """A sample an hour of two instances. home-1: an outage at 200, a restart at 500 that only the counter tells; home-2: a planned stop."""
    families: dict[str, list[str]] = {}
    for host, (down, unwanted, restarted) in THERMOSTATS.items():
        labels = f'{{agent="thermostat",agent_id="thermostat@0",host="{host}"}}'
        for hour in range(MONTH):
            values = {"up": hour not in down, "wanted": hour not in unwanted, "restarts_total": hour > restarted}
            for name, value in values.items():
                line = f"agentfactory_agent_{name}{labels} {int(value)} {1790000000 + 3600 * hour}"
                families.setdefault(name, []).append(line)
    return "\n".join(line for lines in families.values() for line in lines) + "\n# EOF\n"


@dataclass(frozen=True)
class Secured:
    """A Prometheus that wants TLS, a client's certificate, a user and a password; and all that as options."""

    url: str
    folder: Path

    @property
    def options(self) -> dict[str, str]:
        files = {"ca_path": "authority.pem", "client_cert": "client.pem", "client_key": "client.key"}
        paths = {name: str(self.folder / file) for name, file in files.items()}
        return {"url": self.url, "username": USER, "password": PASSWORD, **paths}


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL."""
    with _running(tmp_path_factory.mktemp("prometheus")) as address:
        yield f"http://{address}"


@pytest.fixture(scope="session")
def thermostats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one that has scraped two instances of an agent for a month."""
    with _running(tmp_path_factory.mktemp("thermostats"), samples=a_month_of_thermostats()) as address:
        yield f"http://{address}"


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    signed = ["-CA", "authority.pem", "-CAkey", "authority.key", "-addext", "subjectAltName=IP:127.0.0.1"]
    for name, more in {"authority": [], "server": signed, "client": signed}.items():
        _certificate(folder, name, *more)
    (folder / "web.yml").write_text(WEB_CONFIG)
    with _running(folder, "--web.config.file=web.yml") as address:
        yield Secured(f"https://{address}", folder)


def _certificate(folder: Path, name: str, *more: str) -> None:
    # keyUsage: Python 3.13 wants it of each that may be an authority, which by OpenSSL's default these all may
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    about = ["-subj", f"/CN={name}", "-addext", "keyUsage=keyCertSign,digitalSignature", "-keyout", f"{name}.key"]
    command = ["openssl", "req", "-x509", *kind, *about, "-out", f"{name}.pem", *more]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium."""
    driver, program = shutil.which("chromedriver"), shutil.which("chromium")
    if not driver or not program:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("no chromium with its driver here: tools/packages unit")
    with running(str(driver), str(program), tmp_path_factory.mktemp("browser")) as found:
        yield found


@contextmanager
def _running(folder: Path, *options: str, samples: str = SAMPLES) -> Iterator[str]:
    """Run one that has these samples and scrapes nothing; gives its address as soon as it answers."""
    (folder / "prometheus.yml").write_text("global: {}\n")
    prometheus_server.backfill(folder, samples)
    with prometheus_server.running(folder, *options) as address:
        yield address
