# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agents that call each other, as an open network (Jackson): what each gets, and which is full first when traffic grows.

J. R. Jackson, "Networks of waiting lines", Operations Research 5(4), 1957: with Poisson arrivals from outside and exponential times
each station is as an M/M/c by itself. With other times that is an approximation, and the answer of each station says its own method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .model import CapacityError

Calls = Mapping[str, Mapping[str, float]]
"""``calls[a][b]``: how many calls of b one request to a makes, on average."""


@dataclass(frozen=True)
class Limit:
    """Where an agent is full: at ``factor`` times the traffic from outside, if all before it in the order were enlarged."""

    agent: str
    factor: float
    utilisation: float


def rates(outside: Mapping[str, float], calls: Calls, measured: Mapping[str, float] | None = None) -> dict[str, float]:
    """The traffic equations: each agent's requests a second, from ``outside`` and from the others.

    Of the agents in ``measured`` that is known already, and what comes to them from outside is not asked for: see ``from_outside``.
    CapacityError where agents call others that are not there, or call each other without end.
    """
    names, measured = [*outside, *(name for name in measured or {} if name not in outside)], measured or {}
    for caller, called in calls.items():
        for name, times in called.items():
            if caller not in names or name not in names:
                raise CapacityError(f"calls: {caller} calls {name}, and one of them is not among the agents")
            if not 0 <= times < float("inf"):
                raise CapacityError(f"calls: {caller} calls {name} {times} times")
    matrix = [[float(a == b) - calls.get(b, {}).get(a, 0.0) for b in names] for a in names]
    # I - R has a solution of all ones that is positive exactly where calls come to an end
    if any(value is None or value <= 0 for value in solve(matrix, [1.0] * len(names))):
        looping = ", ".join(sorted(name for name in names if name in calls))
        raise CapacityError(
            f"calls: without end, more than one call comes back for each that is made (among {looping})"
        )
    for index, name in enumerate(names):
        if name in measured:
            matrix[index] = [float(name == other) for other in names]
    found = solve(matrix, [measured[name] if name in measured else outside[name] for name in names])
    return {name: value for name, value in zip(names, found, strict=True) if value is not None}


def from_outside(total: Mapping[str, float], calls: Calls) -> dict[str, float]:
    """What comes to each agent from outside, where ``total`` is what comes to it at all: less than nothing where the calls say more."""
    return {
        name: rate - sum(total[caller] * to.get(name, 0.0) for caller, to in calls.items())
        for name, rate in total.items()
    }


def solve(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float | None]:
    """Gauss with the largest pivot; None for all where the matrix is singular."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda index: abs(rows[index][column]))
        if abs(rows[pivot][column]) < 1e-12:
            return [None] * size
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for index in range(size):
            factor = rows[index][column] / rows[column][column]
            if index != column and factor:
                rows[index] = [a - factor * b for a, b in zip(rows[index], rows[column], strict=True)]
    return [row[-1] / row[index] for index, row in enumerate(rows)]


def saturation(utilisations: Mapping[str, float]) -> list[Limit]:
    """Who is full first when all traffic grows alike, and then who. An agent without traffic is never."""
    used = {name: value for name, value in utilisations.items() if value > 0}
    return [Limit(name, 1 / used[name], used[name]) for name in sorted(used, key=lambda name: (-used[name], name))]


def end_to_end(outside: Mapping[str, float], calls: Calls, responses: Mapping[str, float]) -> dict[str, float]:
    """Mean seconds from a request to its last answer, by the agent that it comes to, where calls are made one after another."""
    names = list(outside)
    matrix = [[float(a == b) - calls.get(a, {}).get(b, 0.0) for b in names] for a in names]
    found = solve(matrix, [responses[name] for name in names])
    return {name: value for name, value in zip(names, found, strict=True) if value is not None and outside[name] > 0}
