# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What contributes to an unavailability: importance by Birnbaum, and criticality.

Birnbaum's importance of a unit is the probability that it decides: the fleet is down if it is, and up if it is. (Birnbaum, On the
importance of different components in a multicomponent system, 1968.) Criticality is the share of the unavailability that
would be gone if the unit never failed: Birnbaum's times the unit's own unavailability over the fleet's. Shares overlap, so
they need not add up to 1.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from .repair import Crews
from .structure import DOWN, INSTANCE, UP, Chance, Node, Row, fleet, inner, k_of_n, product, running


@dataclass(frozen=True)
class Contribution:
    """One unit: how often it is down itself, and how much that matters."""

    kind: str
    name: str
    unavailability: float
    birnbaum: float
    criticality: float


def contributions(root: Node, needed: int, crews: Crews | None = None) -> list[Contribution]:
    """Of each zone, host and instance; the largest criticality first."""
    return ranked(weighed(root, needed, crews), k_of_n(root, needed, crews).unavailability)


def weighed(root: Node, needed: int, crews: Crews | None = None) -> list[tuple[Node, float, float]]:
    """Each unit with its importance by Birnbaum and its own unavailability."""
    if crews:
        return list(_crewed(root, needed, crews))
    return [(node, decides, node.chance.down) for node, decides in birnbaum(root, needed)]


def ranked(units: Sequence[tuple[Node, float, float]], unavailability: float) -> list[Contribution]:
    """What they contribute to the fleet's `unavailability`."""
    found = []
    for node, decides, down in units:
        share = min(1.0, decides * down / unavailability) if unavailability else 0.0
        found.append(Contribution(node.kind, node.name, down, decides, share))
    return sorted(found, key=lambda one: (-one.criticality, -one.birnbaum, one.kind, one.name))


def birnbaum(root: Node, needed: int) -> Iterator[tuple[Node, float]]:
    """Of each unit, where nothing waits for a crew. What is passed down the tree is the probability that one instance more that is
    down in a unit decides, when j of its are: so a difference of two unavailabilities is never formed by subtraction."""
    yield from _below(root.members, [float(j == root.size - needed) for j in range(root.size)])


def _below(nodes: Sequence[Node], decides: Row) -> Iterator[tuple[Node, float]]:
    """`decides` of several units together; what their siblings contribute is mixed in on the way to each."""
    if len(nodes) > 1:
        half = len(nodes) // 2
        left, right = nodes[:half], nodes[half:]
        yield from _below(left, _correlate(decides, product(right)[0]))
        yield from _below(right, _correlate(decides, product(left)[0]))
    elif nodes:
        node = nodes[0]
        most = running(inner(node)[0])
        yield node, sum(x * y for x, y in zip(decides, most, strict=False))
        yield from _below(node.members, [node.chance.up * x for x in decides])


def _correlate(decides: Row, others: Row) -> Row:
    left = len(decides) - len(others) + 1
    out = [0.0] * left
    for s, x in enumerate(others):
        if x:
            out = [o + x * y for o, y in zip(out, decides[s : s + left], strict=True)]
    return out


def _crewed(root: Node, needed: int, crews: Crews) -> Iterator[tuple[Node, float, float]]:
    """By working everything out anew with a unit always up, and always down (among what is then likely for the others)."""
    units = root.units(crews.level)
    shares = {unit.chance: down_share(units, index, crews) for index, unit in enumerate(units)}
    known: dict[object, float] = {}
    for path, node in _paths(root):
        alike = _shapes(root, path)
        if alike not in known:
            up = k_of_n(_with(root, path, UP), needed, crews).unavailability
            known[alike] = k_of_n(_with(root, path, DOWN), needed, crews).unavailability - up
        yield node, known[alike], shares[node.chance] if node.kind == crews.level else node.chance.down


def down_share(units: Sequence[Node], index: int, crews: Crews) -> float:
    """How often one of the units that crews repair is down: longer than by itself, for it may have to wait."""
    alone = [Node("unit", unit.name, unit.chance) for unit in units]
    alone[index] = replace(alone[index], members=(Node(INSTANCE, "", UP),))
    return k_of_n(fleet(alone), 1, Crews("unit", crews.number)).unavailability


def _paths(node: Node, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Node]]:
    for index, member in enumerate(node.members):
        yield (*path, index), member
        yield from _paths(member, (*path, index))


def _shapes(node: Node, path: tuple[int, ...]) -> tuple[object, ...]:
    """What tells a unit from another but for names: itself, and the domains around it."""
    below = _shapes(node.members[path[0]], path[1:]) if path else ()
    return (_shape(node), *below)


@lru_cache(maxsize=10_000)
def _shape(node: Node) -> object:
    return node.kind, node.chance, tuple(sorted(Counter(_shape(member) for member in node.members).items(), key=repr))


def _with(node: Node, path: tuple[int, ...], chance: Chance) -> Node:
    if not path:
        return replace(node, chance=chance)
    members = list(node.members)
    members[path[0]] = _with(members[path[0]], path[1:], chance)
    return replace(node, members=tuple(members))
