# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""make bench: what we cost against a raw floor, a ping playbook, a plain role and pyinfra, in one interleaved run; placement; and what
monitoring costs.
"""

import argparse
import json
import os
import shutil
import signal
import sys

import exporters
import placement
import report
import rules
from contenders import CASES, HERE, ROOT, Case, Site, deploy, inventory_of, run
from measure import BenchError, Cgroup, Cost, Host, each, measure

WORK = ROOT / "dist" / "bench"
STAGES = (("deploy", "noop", "update"), ("five", "five-noop"))
CONTENDERS = ("ping", "raw", "role", "pyinfra", "ours")
CASE_NAMES = (*CASES, "growth", "exporter", "rules", "placement")
WITHOUT_HOSTS = {"placement", "rules"}
LAB = "bench"


def lab(count: int, state: str = "present") -> None:
    extra = {
        "lab_name": LAB, "lab_count": count, "lab_releases": ["bookworm"], "lab_broker": False, "lab_state": state,
        "lab_inventory": str(WORK / "lab"),
    }  # fmt: skip
    run(["ansible-playbook", "playbooks/lab.yml", "-e", json.dumps(extra)])


def start(count: int, cgroups: Cgroup) -> Site:
    """A lab of that many hosts, whose sshd says what it does."""
    say(f"starting {count} hosts")
    lab(count)
    found, variables = inventory_of(WORK)
    hosts = []
    for item in found:
        shown = run(["podman", "inspect", "--format", "{{.State.Pid}}", item["container"]])
        hosts.append(Host(**item, pid=int(shown), cgroup=cgroups.of_container(int(shown))))
    each(hosts, "echo 'LogLevel VERBOSE' >/etc/ssh/sshd_config.d/bench.conf && systemctl reload ssh")
    return Site(WORK, hosts, variables)


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Bench:
    """One benchmark run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.cgroups = options, Cgroup()
        self.site = start(options.hosts, self.cgroups)
        self.site.prepare()
        self.samples: dict[str, dict[str, list[Cost]]] = {}

    def clean(self) -> None:
        each(self.site.hosts, (HERE / "clean.sh").read_text())

    def run_case(self, case: Case) -> None:
        """Every contender once."""
        for name, command in self.site.contenders().items():
            if name not in self.options.contenders:
                continue
            cost = measure(command(case), self.site.hosts, self.cgroups, WORK / "logs" / f"{case.name}-{name}.log")
            self.samples.setdefault(case.name, {}).setdefault(name, []).append(cost)
            say(
                f"  {case.name} {name}: cpu {cost.cpu:.2f} wall {cost.wall:.2f} host {cost.host_cpu:.2f} sent {cost.sent / 1000:.0f} kB"
            )

    def compare(self) -> report.Results:
        """Every contender in turn, case by case, as often as asked; the medians."""
        wanted = self.options.only
        for repetition in range(self.options.repeat):
            say(f"repetition {repetition + 1} of {self.options.repeat}")
            for stage in STAGES:
                names = [name for name in stage if any(later in wanted for later in stage[stage.index(name) :])]
                if not names:
                    continue
                self.clean()
                if not repetition:
                    run(
                        ["ansible-playbook", "-i", str(self.site.inventory), str(HERE / "ping.yml")]
                    )  # caches of this machine
                for name in names:
                    self.run_case(CASES[name])
        return {
            case: {name: report.median(costs) for name, costs in contenders.items()}
            for case, contenders in self.samples.items()
            if case in wanted
        }

    def exporters(self) -> exporters.Costs:
        """Monitoring, on one host."""
        self.clean()
        return exporters.compare(WORK, self.site.hosts[0], say)

    def growth(self) -> dict[str, tuple[int, Cost]]:
        """One agent on 1, 10, 30 hosts, and on 300 that are these under many names."""
        base = len(self.site.hosts)
        log = WORK / "logs" / "growth.log"
        runs = [("1", 1, ["--limit", self.site.hosts[0].name]), (str(base), base, [])]
        if not self.options.quick:
            self.site = start(30, self.cgroups)
            runs += [("30", 30, [])]
        runs += [("300 names", 300, [])]
        self.clean()
        run(deploy(self.site.grow(len(self.site.hosts))).argv)
        found: dict[str, tuple[int, Cost]] = {}
        for label, count, more in runs:
            fleet = self.site.grow(max(count, base))
            costs = [
                measure(deploy(fleet, *more), self.site.hosts, self.cgroups, log, memory=True)
                for _repetition in range(1 if count > 30 else self.options.repeat)
            ]
            found[label] = (count, report.median(costs))
            say(f"  growth {label}: cpu {found[label][1].cpu:.2f} memory {found[label][1].memory / 1e6:.0f} MB")
        return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("--hosts", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=list(CASE_NAMES), help=",".join(CASE_NAMES)
    )
    parser.add_argument(
        "--contenders", type=lambda text: text.split(","), default=list(CONTENDERS), help=",".join(CONTENDERS)
    )
    parser.add_argument("--quick", action="store_true", help="3 hosts, once, no growth to 30 hosts")
    parser.add_argument("--strict", action="store_true", help="a missed bar is an error")
    parser.add_argument("--keep", action="store_true", help="leave the lab for the next run")
    options = parser.parse_args()
    if options.quick:
        options.hosts, options.repeat = min(options.hosts, 3), 1
    unknown = (set(options.only) - set(CASE_NAMES)) | (set(options.contenders) - set(CONTENDERS))
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    options.contenders += ["ping", "raw"]  # what the others are measured by
    return options


def compare(options: argparse.Namespace) -> tuple[list[str], list[report.Bar]]:
    """Deploys on the lab's hosts: the tables, and the bars."""
    bench = Bench(options)
    results = bench.compare()
    archive = (WORK / "src" / "a1-1.0.0.tar.gz").stat().st_size
    parts = [
        f"Medians of {options.repeat} interleaved runs on {options.hosts} hosts (Debian bookworm), without SSH masters."
    ]
    parts += [report.case_table(case, costs) for case, costs in results.items()]
    found = list(report.bars(results, archive))
    if "exporter" in options.only:
        costs = bench.exporters()
        parts.append(exporters.table(costs))
        found.append(report.Bar("scrape of 50 agents: CPU", "<", 50, exporters.of_50(costs), "ms"))
    if "growth" in options.only:
        parts.append(report.growth_table(bench.growth()))
    return parts, found


def measured(options: argparse.Namespace) -> bool:
    """Run what was asked for and print the tables; whether every bar was met."""
    parts: list[str] = []
    found: list[report.Bar] = []
    if set(options.only) - WITHOUT_HOSTS:
        parts, found = compare(options)
    if "placement" in options.only:
        more, bars = placement.compare(quick=options.quick, say=say)
        parts, found = parts + more, found + bars
    if "rules" in options.only:
        say("rules: two Prometheus, some minutes each")
        parts.append(rules.table(rules.compare(WORK)))
    text = "\n\n".join([report.bar_table(found), *parts] if found else parts) + "\n"
    (WORK / "results.md").write_text(text)
    print(text)
    return all(one.met for one in found)


def main() -> int:
    options = arguments()
    on_hosts = bool(set(options.only) - WITHOUT_HOSTS)
    if on_hosts and os.getuid():
        say("needs root: it reads control groups, and the lab's hosts are on a bridge of this machine")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and what was started is ended
    for old in WORK.glob("*/"):
        if old.name != "lab":
            shutil.rmtree(old)
    (WORK / "logs").mkdir(parents=True, exist_ok=True)
    try:
        met = measured(options)
    except BenchError as error:
        say(str(error))
        return 1
    finally:
        if on_hosts and not options.keep:
            lab(0, "absent")
    return 1 if options.strict and not met else 0


if __name__ == "__main__":
    sys.exit(main())
