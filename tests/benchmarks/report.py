# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From costs to ratios, and from ratios to bars. Seconds are of one machine; ratios within one run are worth telling."""

import dataclasses
import operator
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from measure import Cost

Results = dict[str, dict[str, Cost]]
"""case -> contender -> the medians of its repetitions"""
TITLES = {
    "deploy": "First deploy of one agent", "noop": "The same again: nothing to do", "update": "Update: one file of 10 kB changed",
    "five": "First deploy of five agents", "five-noop": "Five agents again: nothing to do",
}  # fmt: skip


def median(costs: list[Cost]) -> Cost:
    fields = [field.name for field in dataclasses.fields(Cost)]
    return Cost(**{name: statistics.median(getattr(cost, name) for cost in costs) for name in fields})


@dataclass(frozen=True)
class Bar:
    """What is to be reached: `seen` compared with `bar`."""

    what: str
    compare: str
    bar: float
    seen: float
    unit: str = "x"

    @property
    def met(self) -> bool:
        compare: Callable[[float, float], bool] = {
            "<=": operator.le,
            "<": operator.lt,
            ">=": operator.ge,
            "=": operator.eq,
        }[self.compare]
        return compare(round(self.seen, 2), self.bar)

    def row(self) -> str:
        return f"| {self.what} | {self.compare} {self.bar:g} {self.unit} | {self.seen:.2f} {self.unit} | {'PASS' if self.met else 'MISS'} |"


def bars(results: Results, archive: int) -> Iterator[Bar]:
    """The bars of all cases that were run; `archive` is the size of the compressed artifact in bytes."""

    def ratio(field: str, case: str, other: str, *, of: str = "ours", case_of: str = "") -> float:
        return float(getattr(results[case][of], field)) / float(getattr(results[case_of or case][other], field))

    for case in ("noop", "five-noop"):
        if case in results:
            yield Bar(f"{case}: controller CPU, of the ping playbook", "<=", 1.25, ratio("cpu", case, "ping"))
            yield Bar(f"{case}: calls a host", "=", 1, results[case]["ours"].executions, "")
    if "deploy" in results:
        yield Bar("deploy: controller CPU, of the ping playbook", "<=", 1.8, ratio("cpu", "deploy", "ping"))
        yield Bar("deploy: host CPU, of the raw floor", "<=", 2, ratio("host_cpu", "deploy", "raw"))
        yield Bar(
            "deploy: sent beyond the compressed artifact",
            "<=",
            600,
            (results["deploy"]["ours"].sent - archive) / 1000,
            "kB",
        )
    if "update" in results:
        sent = results["update"]["ours"].sent / 1000
        yield Bar("update: sent in all", "<=", 500, sent, "kB")
        yield Bar(
            "update: sent beyond a run that changes nothing", "<=", 50, sent - results["noop"]["ours"].sent / 1000, "kB"
        )
    if "five-noop" in results:
        yield Bar(
            "five agents against one, noop: controller CPU",
            "<=",
            1.2,
            ratio("cpu", "five-noop", "ours", case_of="noop"),
        )
        yield Bar(
            "five agents against one, deploy: controller CPU", "<=", 1.6, ratio("cpu", "five", "ours", case_of="deploy")
        )
    for case in results:
        least = 15 if case == "five-noop" else 4
        yield Bar(
            f"{case}: controller CPU of the plain role, of ours", ">=", least, ratio("cpu", case, "ours", of="role")
        )
    for case in ("noop", "five-noop"):
        if case in results:
            yield Bar(f"{case}: host CPU, of pyinfra's", "<", 1, ratio("host_cpu", case, "pyinfra"))
    for case in results:
        yield Bar(f"{case}: wall time, of pyinfra's", "<", 1, ratio("wall", case, "pyinfra"))


def bar_table(found: list[Bar]) -> str:
    return "\n".join(["| what | bar | seen | |", "|---|---|---|---|", *(bar.row() for bar in found)])


def case_table(case: str, costs: dict[str, Cost]) -> str:
    """The contenders side by side: CPU and wall as multiples of ping's, host CPU of the raw floor's."""
    lines = [
        f"### {TITLES[case]}", "",
        "| | controller CPU (ping = 1) | host CPU (raw = 1) | wall (ping = 1) | sent a host, kB | connections | executions |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    ping, raw = costs["ping"], costs["raw"]
    for name, cost in costs.items():
        lines.append(
            f"| {name} | {cost.cpu / ping.cpu:.2f} | {cost.host_cpu / raw.host_cpu:.2f} | {cost.wall / ping.wall:.2f} "
            f"| {cost.sent / 1000:.0f} | {cost.connections:.1f} | {cost.executions:.1f} |"
        )
    return "\n".join(lines)


def growth_table(costs: dict[str, tuple[int, Cost]]) -> str:
    """label -> number of hosts and the cost of a run that changes nothing: a host's share, as multiples of that at 10 hosts."""
    base_count, base = next((n, cost) for n, cost in costs.values() if n > 1)
    lines = [
        "### Growth: a run that changes nothing, a host's share",
        "",
        "| hosts | controller CPU | memory |",
        "|---|---|---|",
    ]
    for label, (count, cost) in costs.items():
        cpu = cost.cpu / count / (base.cpu / base_count)
        memory = cost.memory / count / (base.memory / base_count)
        lines.append(f"| {label} | {cpu:.2f} | {memory:.2f} |")
    return "\n".join(lines)
