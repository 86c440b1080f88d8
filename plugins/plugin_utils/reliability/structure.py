# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Availability of k of n instances that share hosts and zones, exactly: the failure domains are a tree.

A domain that is down takes all below it down; units fail independently of each other otherwise. The number of instances that
are down is distributed as the convolution over a domain's members, and with the domain's own state mixed in. Only products
and sums of positive numbers are formed, so an unavailability of 1e-15 has as many digits as one of 0.1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from .answer import ReliabilityError
from .repair import Crews, log_weights

INSTANCE = "instance"
MOST_WORK = 10**9  # multiplications, at worst: a minute or two

Row = list[float]
Table = list[Row]  # [h][i]: the probability that h units that crews repair, and i instances, are down


@dataclass(frozen=True)
class Chance:
    """How a unit is found in the long run: `down` + `up` is 1. `mtbf` and `mttr` are seconds up and seconds down, where known."""

    down: float
    up: float
    mtbf: float | None = None
    mttr: float | None = None

    @classmethod
    def of_unavailability(cls, down: float) -> "Chance":
        return cls(down, 1 - down)

    @classmethod
    def of_times(cls, mtbf: float, mttr: float) -> "Chance":
        return cls(mttr / (mtbf + mttr), mtbf / (mtbf + mttr), mtbf, mttr)


UP = Chance(0.0, 1.0)
DOWN = Chance(1.0, 0.0)


@dataclass(frozen=True)
class Node:
    """A failure domain with what is in it, or (kind ``instance``) one instance. Other kinds are yours: zone, rack, host."""

    kind: str
    name: str
    chance: Chance
    members: tuple["Node", ...] = ()

    @property
    def size(self) -> int:
        """How many instances it holds."""
        return 1 if self.kind == INSTANCE else sum(member.size for member in self.members)

    def units(self, kind: str) -> list["Node"]:
        """All units of a kind in it, in order."""
        found = [self] if self.kind == kind else []
        return found + [unit for member in self.members for unit in member.units(kind)]


def fleet(zones: Sequence[Node]) -> Node:
    """The root: itself always up."""
    return Node("fleet", "", UP, tuple(zones))


@dataclass(frozen=True)
class Long:
    """The shares of time, in the long run, in which enough instances are up, and in which they are not."""

    availability: float
    unavailability: float


def k_of_n(root: Node, needed: int, crews: Crews | None = None) -> Long:
    """At least `needed` of the tree's instances up. ReliabilityError: crews have nothing to repair, or it is too large."""
    size = root.size
    check_work(root, crews)
    rows = table(root, crews.level if crews else None)
    if needed <= 0:
        return Long(1.0, 0.0)
    if needed > size:
        return Long(0.0, 1.0)
    weights = log_weights(len(rows) - 1, crews.number if crews else len(rows))
    totals = [math.fsum(row) for row in rows]
    shift = max(weight + math.log(total) for weight, total in zip(weights, totals, strict=True) if total > 0)
    scales = [math.exp(weight - shift) if total > 0 else 0.0 for weight, total in zip(weights, totals, strict=True)]
    most_down = size - needed
    up = math.fsum(scale * math.fsum(row[: most_down + 1]) for scale, row in zip(scales, rows, strict=True))
    down = math.fsum(scale * math.fsum(row[most_down + 1 :]) for scale, row in zip(scales, rows, strict=True))
    return Long(up / (up + down), down / (up + down))


def check_work(root: Node, crews: Crews | None) -> None:
    units = len(root.units(crews.level)) if crews else 0
    if crews and not units:
        raise ReliabilityError(f"crews.level: there is no {crews.level}")
    if (root.size / 2 * max(1.0, units / 2)) ** 2 > MOST_WORK:
        crewed = f" on {units} units that crews repair" if crews else ""
        raise ReliabilityError(
            f"{root.size} instances{crewed} are more than can be worked out exactly in reasonable time"
        )


def convolve(a: Row, b: Row) -> Row:
    """The distribution of a sum."""
    if len(a) > len(b):
        a, b = b, a
    out = [0.0] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        if x:
            out[i : i + len(b)] = [o + x * y for o, y in zip(out[i : i + len(b)], b, strict=True)]
    return out


def _convolve(a: Table, b: Table) -> Table:
    width = len(a[0]) + len(b[0]) - 1
    out = [[0.0] * width for _h in range(len(a) + len(b) - 1)]
    others = [_nonzero(row) for row in b]
    for i, (first, x) in enumerate(_nonzero(row) for row in a):
        for j, (second, y) in enumerate(others):
            if x and y:
                begin, z = first + second, convolve(x, y)
                row = out[i + j]
                row[begin : begin + len(z)] = [o + more for o, more in zip(row[begin : begin + len(z)], z, strict=True)]
    return out


def _nonzero(row: Row) -> tuple[int, Row]:
    """From the first entry that is not 0 to the last, and where that begins: where crews repair instances, most of a row is 0."""
    filled = [i for i, x in enumerate(row) if x]
    return (filled[0], row[filled[0] : filled[-1] + 1]) if filled else (0, [])


def inner(node: Node, crewed: str | None = None) -> Table:
    """What is down in it while it is up itself."""
    return [[1.0, 0.0]] if node.kind == INSTANCE else product(node.members, crewed)


def product(nodes: Sequence[Node], crewed: str | None = None) -> Table:
    """What is down in several, by halves: large convolutions are then few."""
    if not nodes:
        return [[1.0]]
    if len(nodes) == 1:
        return table(nodes[0], crewed)
    half = len(nodes) // 2
    return _convolve(product(nodes[:half], crewed), product(nodes[half:], crewed))


def table(node: Node, crewed: str | None = None) -> Table:
    """What is down in it and below, as a table over how many `crewed` units and how many instances are."""
    inside = inner(node, crewed)
    width, step = len(inside[0]), int(node.kind == crewed)
    out = [[0.0] * width for _h in range(len(inside) + step)]
    for h, row in enumerate(inside):
        for i, x in enumerate(row):
            out[h][i] += node.chance.up * x
        out[h + step][-1] += node.chance.down * math.fsum(row)
    return out


def independent(root: Node) -> Node:
    """The same instances, each as often down as here, but as if none shared anything with another: what a binomial takes for granted."""
    return fleet(list(_loose(root, UP)))


def _loose(node: Node, above: Chance) -> "list[Node]":
    here = Chance(above.down + above.up * node.chance.down, above.up * node.chance.up)
    if node.kind == INSTANCE:
        return [replace(node, chance=here)]
    return [unit for member in node.members for unit in _loose(member, here)]


def running(row: Row) -> Row:
    """Its sums so far."""
    return list(accumulate(row))
