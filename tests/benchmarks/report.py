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
    """What is to be reached: `seen` compared with `limit`."""

    what: str
    compare: str
    limit: float
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
        return compare(round(self.seen, 2), self.limit)

    def row(self) -> str:
        verdict = "PASS" if self.met else "MISS"
        return f"| {self.what} | {self.compare} {self.limit:g} {self.unit} | {self.seen:.2f} {self.unit} | {verdict} |"


def bars(results: Results, archive: int) -> Iterator[Bar]:
    """The bars of what was run; `archive` is the size of the compressed artifact in bytes."""

    def of(field: str, case: str, who: str = "ours") -> float:
        return float(getattr(results[case][who], field))

    def ratio(field: str, case: str, other: str) -> float:
        return of(field, case) / of(field, case, other)

    checks: list[tuple[str, str, float, str, Callable[[], float]]] = [
        ("noop: controller CPU, of ping's", "<=", 1.25, "x", lambda: ratio("cpu", "noop", "ping")),
        ("five-noop: controller CPU, of ping's", "<=", 1.25, "x", lambda: ratio("cpu", "five-noop", "ping")),
        ("noop: calls a host", "=", 1, "", lambda: of("executions", "noop")),
        ("five-noop: calls a host", "=", 1, "", lambda: of("executions", "five-noop")),
        ("deploy: controller CPU, of ping's", "<=", 1.8, "x", lambda: ratio("cpu", "deploy", "ping")),
        ("deploy: host CPU, of the raw floor's", "<=", 2, "x", lambda: ratio("host_cpu", "deploy", "raw")),
        ("deploy: sent beyond the artifact", "<=", 600, "kB", lambda: (of("sent", "deploy") - archive) / 1000),
        ("update: sent in all", "<=", 500, "kB", lambda: of("sent", "update") / 1000),
        ("update: sent beyond a no-op's", "<=", 50, "kB", lambda: (of("sent", "update") - of("sent", "noop")) / 1000),
        ("five-noop: controller CPU, of noop's", "<=", 1.2, "x", lambda: of("cpu", "five-noop") / of("cpu", "noop")),
        ("five: controller CPU, of deploy's", "<=", 1.6, "x", lambda: of("cpu", "five") / of("cpu", "deploy")),
        *(
            (f"{case}: controller CPU of the plain role, of ours", ">=", 15 if case == "five-noop" else 4, "x",
             lambda case=case: 1 / ratio("cpu", case, "role"))
            for case in TITLES
        ),
        *(
            (f"{case}: host CPU, of pyinfra's", "<", 1, "x", lambda case=case: ratio("host_cpu", case, "pyinfra"))
            for case in ("noop", "five-noop")
        ),
        *((f"{case}: wall time, of pyinfra's", "<", 1, "x", lambda case=case: ratio("wall", case, "pyinfra")) for case in TITLES),
    ]  # fmt: skip
    for what, compare, limit, unit, seen in checks:
        try:
            yield Bar(what, compare, limit, seen(), unit)
        except KeyError:  # one of the two was not run
            continue


def bar_table(found: list[Bar]) -> str:
    return "\n".join(["| what | bar | seen | |", "|---|---|---|---|", *(one.row() for one in found)])


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
