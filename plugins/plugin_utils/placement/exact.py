# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exact answer, and proofs, by the mixed-integer solver HiGHS (package highspy), where it is installed and the question small enough.

The model counts alike instances: x[a, h] of agent a on host h. Its results are rounded and go through the same `State` as
everything else; a result that breaks a rule there counts as none.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from .grid import PPM, Counts, Grid, skew_of
from .problem import Agent

COLUMNS = 9_000
NODES = 3_000
SECONDS = 120.0  # a guard for slow machines; where it does not strike results are deterministic


def installed() -> bool:
    return find_spec("highspy") is not None


@dataclass
class Exact:
    """`counts` is None where none was found. `optimal`: nothing is better; `bound` of the objective that was asked for."""

    counts: Counts | None
    optimal: bool
    bound: int


@dataclass
class _Model:
    """Columns and rows as lists."""

    cost: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[tuple[float, float, dict[int, float]]] = field(default_factory=list)

    def column(self, low: float, high: float, cost: float = 0.0, *, whole: bool = False) -> int:
        for values, value in ((self.cost, cost), (self.low, low), (self.high, high)):
            values.append(value)
        self.whole.append(whole)
        return len(self.cost) - 1

    def row(self, low: float, high: float, terms: dict[int, float]) -> None:
        self.rows.append((low, high, terms))


_INF = float("inf")


class Question:
    """The model of a grid. With `hosts` only those may change, and `base` says what is on the others."""

    def __init__(
        self, grid: Grid, relaxed: dict[str, int], hosts: list[int] | None = None, base: Counts | None = None
    ) -> None:
        self.grid, self.relaxed, self.base = grid, relaxed, base or [{} for _agent in grid.need]
        self.inside = set(range(len(grid.avail)) if hosts is None else hosts)
        self.model = _Model()
        self.x: dict[tuple[int, int], int] = {}
        self.missing: list[int] = []
        self.leave: list[int] = []
        self._columns()
        self._rooms()
        for position, agent in enumerate(grid.problem.agents):
            self._spread(position, agent)

    @staticmethod
    def size(grid: Grid) -> int:
        return sum(len(hosts) for hosts in grid.allowed)

    def _outside(self, agent: int) -> int:
        return sum(count for host, count in self.base[agent].items() if host not in self.inside)

    def _columns(self) -> None:
        grid, model = self.grid, self.model
        heavy = float(sum(grid.count) + 1)
        for agent, hosts in enumerate(grid.allowed):
            count = grid.count[agent] - self._outside(agent)
            terms = {}
            for host in hosts:
                if host not in self.inside:
                    continue
                kept = grid.kept[agent].get(host, 0)
                most = min(count, grid.limit[agent], self._most(agent, host))
                low = kept if grid.fixed[agent] else 0
                column = model.column(low, max(low, most), whole=True)
                self.x[agent, host] = column
                terms[column] = 1.0
                if kept:
                    left = model.column(0, kept, 1.0)
                    self.leave.append(left)
                    model.row(kept, _INF, {left: 1.0, column: 1.0})
            self.missing.append(model.column(0, count, heavy))
            model.row(count, count, terms | {self.missing[-1]: 1.0})

    def _most(self, agent: int, host: int) -> int:
        pairs = zip(self.grid.need[agent], self.grid.room[host], strict=True)
        return min((room // need for need, room in pairs if need), default=self.grid.count[agent])

    def _rooms(self) -> None:
        """The rows are scaled to a host's own room, so that the solver's tolerance means the same for bytes and pieces."""
        grid = self.grid
        on: dict[int, list[int]] = {}
        for agent, host in self.x:
            on.setdefault(host, []).append(agent)
        self.loads: list[tuple[int, int, dict[int, float]]] = []
        for host, agents in on.items():
            present = {a: self._present(a, host) for a in agents if grid.surge[a]}
            for resource in range(len(grid.resources)):
                stuck = sum(grid.need[a][resource] * there.get(host, 0) for a, there in enumerate(grid.stuck))
                room = grid.room[host][resource] - stuck
                terms = {self.x[a, host]: grid.need[a][resource] for a in agents if grid.need[a][resource]}
                if not terms:
                    continue
                scale = max(room, 1)
                scaled = {column: amount / scale for column, amount in terms.items()}
                self.model.row(-_INF, room / scale, scaled)
                self.loads.append((stuck, grid.avail[host][resource], {c: float(n) for c, n in terms.items()}))
                for agent, column in present.items():
                    need = grid.need[agent][resource]
                    if need:
                        self.model.row(-_INF, room / scale, scaled | {column: need / scale})

    def _present(self, agent: int, host: int) -> int:
        """A column that is 1 where the agent is on the host."""
        column = self.model.column(0, 1, whole=True)
        x = self.x[agent, host]
        self.model.row(-_INF, 0, {x: 1.0, column: -float(max(1, self.grid.count[agent]))})
        return column

    def _spread(self, position: int, agent: Agent) -> None:
        """Every zone at most skew above a level, and at least at it but where its hosts are full of this agent."""
        grid, skew = self.grid, skew_of(agent, self.relaxed)
        if skew is None or grid.fixed[position]:
            return
        zones: dict[int, list[int]] = {}
        for host in grid.allowed[position]:
            zones.setdefault(grid.zone[host], []).append(host)
        if len(zones) < 2:
            return
        count = grid.count[position]
        level = self.model.column(0, count, whole=True)
        for hosts in zones.values():
            outside = sum(n for host, n in self.base[position].items() if host in hosts and host not in self.inside)
            terms = {self.x[position, host]: 1.0 for host in hosts if host in self.inside}
            full = grid.limit[position] * len(hosts)
            self.model.row(-_INF, skew - outside, terms | {level: -1.0})
            if full >= count:
                self.model.row(-outside, _INF, terms | {level: -1.0})
            else:
                is_full = self.model.column(0, 1, whole=True)
                self.model.row(-outside, _INF, terms | {level: -1.0, is_full: float(count)})
                self.model.row(-outside, _INF, terms | {is_full: -float(full)})

    def fewest_moves(self, *, quick: bool = False) -> Exact:
        """As many placed as possible, then as few moves: `bound` is of the moves (of those of `kept`), where all can be placed."""
        found = _run(self.model, quick=quick)
        if found is None:
            return Exact(None, False, 0)
        values, optimal, bound = found
        return Exact(self._counts(values), optimal, max(0, int(-(-(bound - 1e-6) // 1))) if bound > -_INF else 0)

    def lowest_use(self, moves: int, *, quick: bool = False) -> Exact:
        """All placed with at most so many moves (of those of `kept`), and the lowest highest use: `bound` in millionths."""
        model = self.model
        for column in self.missing:
            model.high[column] = 0
        if self.leave:
            model.row(-_INF, moves, dict.fromkeys(self.leave, 1.0))
        model.cost = [0.0] * len(model.cost)
        top = model.column(0, 1, 1.0)
        for stuck, avail, terms in self.loads:
            scale = max(avail, 1)
            model.row(-_INF, -stuck / scale, {c: n / scale for c, n in terms.items()} | {top: -1.0})
        found = _run(model, quick=quick)
        if found is None:
            return Exact(None, False, 0)
        values, optimal, bound = found
        return Exact(self._counts(values), optimal, max(0, int(bound * PPM) - 1))

    def _counts(self, values: list[float]) -> Counts:
        found: Counts = [{h: n for h, n in there.items() if h not in self.inside} for there in self.base]
        for (agent, host), column in self.x.items():
            count = round(values[column])
            if count:
                found[agent][host] = count
        return found


@contextmanager
def _silenced() -> Iterator[None]:
    """The solver prints a banner when it is made, whatever its options are."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _run(model: _Model, *, quick: bool) -> tuple[list[float], bool, float] | None:
    """The best values found, whether they are optimal, and the bound of the objective; None where there are none."""
    highspy: Any = import_module("highspy")
    lp: Any = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(model.cost), len(model.rows)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = model.cost, model.low, model.high
    lp.row_lower_, lp.row_upper_ = [row[0] for row in model.rows], [row[1] for row in model.rows]
    starts, columns, values = [0], [], []
    for _low, _high, terms in model.rows:
        columns += list(terms)
        values += list(terms.values())
        starts.append(len(columns))
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = starts, columns, values
    kinds = highspy.HighsVarType
    lp.integrality_ = [kinds.kInteger if whole else kinds.kContinuous for whole in model.whole]
    with _silenced():
        solver: Any = highspy.Highs()
    share = 10 if quick else 1
    limits = {"mip_max_nodes": NODES // share, "time_limit": SECONDS / share, "mip_rel_gap": 0.0, "mip_abs_gap": 1e-6}
    for name, value in {"output_flag": False, "threads": 1, "random_seed": 1, **limits}.items():
        solver.setOptionValue(name, value)
    solver.passModel(lp)
    solver.run()
    info = solver.getInfo()
    if info.primal_solution_status != 2:  # feasible
        return None
    optimal = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return list(solver.getSolution().col_value), optimal, float(info.mip_dual_bound)
