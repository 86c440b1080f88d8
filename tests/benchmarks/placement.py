# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placing generated fleets: time, memory and the gap to the bounds, beside what others would do with the same instances.

Each measurement is a process of its own: `python tests/benchmarks/placement.py CASE HOSTS INSTANCES LOAD CONTENDER` prints one as JSON.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SIZES = ((50, 300), (300, 3_000), (1_000, 10_000))
LOADS = (0.7, 0.85, 0.92)
SEED = 1
OURS, EXACT = "ours", "ours with HiGHS"
CASES = {
    "anew": "Placed anew: the highest use, of the bound's",
    "drain": "5 % of the hosts drained, of a fleet that grew without a plan: moves",
    "pack": "On as few hosts as possible",
}


@dataclass(frozen=True)
class Seen:
    """One measurement: CPU seconds and bytes; what was reached and its bound; how many have no place."""

    seconds: float
    memory: int
    found: int
    bound: int
    unplaced: int


def question(case: str, hosts: int, instances: int, load: float) -> Any:
    import fleets

    made = fleets.fleet(hosts, instances, load, SEED)
    return fleets.drained(replace(made, current=fleets.grown(made, SEED)), 5, SEED) if case == "drain" else made


def measure(case: str, hosts: int, instances: int, load: float, who: str) -> Seen:
    problem = question(case, hosts, instances, load)
    began = time.process_time()
    found, bound, unplaced = _run(case, problem, who)
    seconds = time.process_time() - began
    return Seen(seconds, _peak(), found, bound, unplaced)


def _peak() -> int:
    """The most memory that this process had, in bytes. (getrusage's figure begins with that of the process that forked it.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def _run(case: str, problem: Any, who: str) -> tuple[int, int, int]:
    from schedulers import SCORES, schedule

    from ansible_collections.agentfactory.core.plugins.plugin_utils.placement import bounds, check, grid, pack, solve

    if case == "pack" and who == OURS:
        packing = pack.fewest_hosts(problem)
        return packing.hosts, packing.bound, sum(map(len, packing.without.values()))
    if who in (OURS, EXACT):
        answer = solve(problem, proof=who == EXACT)
        wrong = [one for one in check(problem, answer.placement, answer.relaxed) if one.rule != "missing"]
        if wrong:
            raise AssertionError(wrong)
        unplaced = sum(len(short.indexes) for short in answer.without)
        if case == "anew":
            return answer.max_utilisation, answer.bounds.max_utilisation, unplaced
        return answer.moves, answer.bounds.moves, unplaced
    state, unplaced = schedule(problem, SCORES[who])
    numbers = grid.build(problem)
    if case == "drain":
        return state.moves - unplaced, sum(numbers.away), unplaced
    if case == "pack":
        return sum(bool(there) for there in state.on), bounds.hosts(numbers), unplaced
    return max(map(state.level, range(len(state.used)))), bounds.utilisation(numbers, numbers.stuck), unplaced


def contenders(case: str, hosts: int) -> list[str]:
    from schedulers import SCORES

    exact = [EXACT] if case == "drain" and hosts <= 300 else []
    return [OURS, *exact, *SCORES]


def in_a_process(case: str, hosts: int, instances: int, load: float, who: str) -> Seen:
    argv = [sys.executable, "-B", __file__, case, str(hosts), str(instances), str(load), who]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=ROOT)
    return Seen(**json.loads(done.stdout))


def table(case: str, hosts: int, instances: int, load: float, *, say: Any) -> tuple[list[str], dict[str, Seen]]:
    rows, found = [], {}
    for who in contenders(case, hosts):
        seen = found[who] = in_a_process(case, hosts, instances, load, who)
        gap = f"{(seen.found / seen.bound - 1) * 100:.2f} %" if seen.bound and not seen.unplaced else "-"
        value = f"{seen.found / 10_000:.2f} %" if case == "anew" else str(seen.found)
        rows.append(
            f"| {hosts:,} x {instances:,} | {load} | {who} | {value} | {gap} | {seen.unplaced} "
            f"| {seen.seconds:.2f} | {seen.memory / 1e6:.0f} |"
        )
        say(f"  {case} {hosts} x {instances} at {load}, {who}: {value}, gap {gap}, {seen.seconds:.2f} s")
    return rows, found


def compare(*, quick: bool, say: Any) -> tuple[list[str], list[Any]]:
    """The tables, and the bars with what was seen."""
    import report

    parts, bars = [], []
    for case, title in CASES.items():
        rows: list[str] = []
        for hosts, instances in SIZES[:1] if quick else SIZES:
            for load in LOADS[1:2] if case == "pack" or hosts > 300 else LOADS:
                lines, found = table(case, hosts, instances, load, say=say)
                rows += lines
                bars += _bars(report.Bar, case, hosts, load, found)
        head = "| hosts x instances | load | | found | above the bound | without a place | CPU s | MB |"
        parts.append("\n".join([f"### {title}", "", head, "|---|---|---|---|---|---|---|---|", *rows]))
    return parts, bars


def _bars(make: Any, case: str, hosts: int, load: float, found: dict[str, Seen]) -> list[Any]:
    ours, what = found[OURS], f"{case}, {hosts} hosts at {load}"
    gap = (ours.found / ours.bound - 1) * 100
    if case == "pack":
        return [make(f"{what}: hosts above the bound", "<=", 10, gap, "%")]
    if hosts == 1_000:
        most, seconds = (1.5, 15) if case == "anew" else (0, 2)
        return [
            make(f"{what}: above the bound", "<=", most, gap, "%"),
            make(f"{what}: CPU", "<=", seconds, ours.seconds, "s"),
            make(f"{what}: memory", "<=", 100, ours.memory / 1e6, "MB"),
        ]
    if case == "drain" and load <= 0.85:
        exact = found[EXACT]
        return [
            make(f"{what}: moves with HiGHS above the optimum", "<=", 0, (exact.found / exact.bound - 1) * 100, "%"),
            make(f"{what}: moves without, above the optimum", "<=", 10, (ours.found / exact.found - 1) * 100, "%"),
        ]
    return []


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / ".venv/collections"))
    case_, hosts_, instances_, load_, who_ = sys.argv[1:]
    print(json.dumps(vars(measure(case_, int(hosts_), int(instances_), float(load_), who_))))
