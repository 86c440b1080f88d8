# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the exporter costs a host of 1 to 100 agents, beside two others in the same minutes; and what an agent costs Prometheus."""

import json
import re
import shutil
import statistics
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contenders import ROOT, run
from measure import BenchError, Host

AGENT = ROOT / "tests" / "fixtures" / "agents" / "faulty-agent"
PORT = 25000
COUNTS = (1, 20, 50, 100)
AT_ONCE = 10
"""Agents of one name are started one after the other, those of different names at once."""
INTERVAL, SCRAPES = 15, 8
"""As Prometheus scrapes with the role's defaults: what an exporter does between scrapes counts too."""
OURS = "agentfactory-exporter"
EXPORTERS = {OURS: 9472, "prometheus-node-exporter": 9100, "prometheus-process-exporter": 9256}
# One group an agent, as far as it can tell them apart: by the user.
PROCESSES = '{"process_names": [{"name": "{{.Username}}", "cmdline": [".+"]}]}'
INSTALL = f"""
set -eu
export DEBIAN_FRONTEND=noninteractive
mkdir -p /etc/bench
echo '{PROCESSES}' >/etc/bench/processes.yml
echo 'ARGS="--config.path /etc/bench/processes.yml"' >/etc/default/prometheus-process-exporter
apt-get install -y -qq -o Dpkg::Options::=--force-confold --no-install-recommends prometheus-process-exporter >/dev/null
systemctl restart prometheus-process-exporter
"""
# CPU in clock ticks, its children's too, and the memory that is its own (PSS, kB).
LOOK = """
for unit in %s; do
    pid=$(systemctl show --property MainPID --value $unit)
    echo "$unit $(sed 's/.*) //' /proc/$pid/stat | cut -d' ' -f12-15) $(awk '/^Pss:/ {print $2}' /proc/$pid/smaps_rollup)"
done
getconf CLK_TCK
"""


@dataclass(frozen=True)
class Exporter:
    """What one exporter cost in a window: CPU seconds a scrape, seconds that a scrape took, memory and answer in bytes."""

    cpu: float
    took: float
    memory: float
    size: int
    series: int


Costs = dict[int, dict[str, Exporter]]
"""number of agents -> exporter -> cost"""


def compare(work: Path, host: Host, say: Callable[[str], None]) -> Costs:
    """Deploy more and more agents on the host, and scrape all exporters of it as Prometheus would."""
    found: Costs = {}
    for count in COUNTS:
        fleet = _fleet(work, host, count)
        run(["ansible-playbook", "agentfactory.core.deploy", "-i", str(fleet)])
        if not found:
            run(["ansible-playbook", "agentfactory.core.monitor", "-i", str(fleet), "-e", "monitoring_hosts=nobody"])
            host.inside(INSTALL)
        found[count] = _window(host)
        ours = found[count][OURS]
        say(
            f"  exporter {count} agents: cpu {ours.cpu * 1000:.1f} ms a scrape, {ours.memory / 1e6:.0f} MB, {ours.series} series"
        )
    return found


def _fleet(work: Path, host: Host, count: int) -> Path:
    place = work / "fleet-exporter"
    place.mkdir(exist_ok=True)
    agents = {}
    for number in range(min(count, AT_ONCE)):
        name = f"m{number}"
        source = work / "src" / name
        if not source.exists():
            shutil.copytree(AGENT, source)
            manifest = source / "agent.yml"
            changed = manifest.read_text().replace("name: faulty-agent", f"name: {name}")
            manifest.write_text(changed.replace("health:\n", "health:\n  start_timeout: 300\n"))
        instances = len(range(number, count, AT_ONCE))
        agents[name] = {
            "version": "1.0.0", "hosts": host.name, "instances": instances, "source": f"../src/{name}",
            "ports": {"http": PORT + 10 * number}, "rollout": {"waves": ["100%"]},
        }  # fmt: skip
    fleet = place / "fleet.yml"
    fleet.write_text(json.dumps({
        "plugin": "agentfactory.core.fleet", "inventory": "../lab/hosts.yml", "environment": "bench", "managed": host.name,
        "artifacts": "../artifacts", "agents": agents,
    }, indent=1))  # fmt: skip
    run(["ansible-playbook", "agentfactory.core.package", "-i", str(fleet)])
    return fleet


def _window(host: Host) -> dict[str, Exporter]:
    """Scrape all exporters in the same minutes; the first time is not counted, as they look at everything then."""
    pages = {unit: _scrape(host, unit)[1] for unit in EXPORTERS}
    took: dict[str, list[float]] = {unit: [] for unit in EXPORTERS}
    before = _look(host)
    for _scrape_number in range(SCRAPES):
        began = time.monotonic()
        for unit in EXPORTERS:
            seconds, pages[unit] = _scrape(host, unit)
            took[unit].append(seconds)
        time.sleep(max(0.0, INTERVAL - (time.monotonic() - began)))
    after = _look(host)
    return {
        unit: Exporter(
            (after[unit][0] - before[unit][0]) / SCRAPES, statistics.median(took[unit]), after[unit][1], len(page),
            len(re.findall(rb"^[^#\n]", page, re.MULTILINE)),
        )
        for unit, page in pages.items()
    }  # fmt: skip


def _scrape(host: Host, unit: str) -> tuple[float, bytes]:
    began = time.monotonic()
    with urllib.request.urlopen(f"http://{host.address}:{EXPORTERS[unit]}/metrics", timeout=30) as answer:
        page = bytes(answer.read())
    return time.monotonic() - began, page


def _look(host: Host) -> dict[str, tuple[float, float]]:
    """unit -> CPU seconds so far, memory in bytes"""
    *lines, hertz = host.inside(LOOK % " ".join(EXPORTERS)).splitlines()
    found = {}
    for line in lines:
        unit, *numbers = line.split()
        if len(numbers) != 5:
            raise BenchError(f"{unit} does not run: {line}")
        found[unit] = (sum(map(int, numbers[:4])) / int(hertz), int(numbers[4]) * 1024.0)
    return found


def table(costs: Costs) -> str:
    """Ours, and the others as parts of it."""
    names = {OURS: "ours", **{unit: unit.removeprefix("prometheus-") for unit in EXPORTERS if unit != OURS}}
    lines = [
        "### The exporter, scraped every 15 s", "",
        "| agents on the host | | CPU a scrape | of node exporter's | a scrape takes | memory | series | bytes |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for count, exporters in costs.items():
        node = exporters["prometheus-node-exporter"]
        for unit, cost in exporters.items():
            lines.append(
                f"| {count} | {names[unit]} | {cost.cpu * 1000:.0f} ms | {cost.cpu / node.cpu:.2f} | {cost.took * 1000:.0f} ms "
                f"| {cost.memory / 1e6:.0f} MB | {cost.series} | {cost.size} |"
            )
    few, many = min(costs), max(costs)
    series, size = (
        (getattr(costs[many][OURS], field) - getattr(costs[few][OURS], field)) / (many - few)
        for field in ("series", "size")
    )
    return "\n".join([*lines, "", f"One agent more: {series:.0f} series, {size:.0f} bytes of a scrape."])


def of_50(costs: Costs) -> float:
    """What has a bar: a scrape of 50 agents, in ms of CPU."""
    return costs[50][OURS].cpu * 1000
