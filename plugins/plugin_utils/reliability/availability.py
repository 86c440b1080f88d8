# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The availability of a fleet, in the words of an operator: minutes a month, the error budget, what contributes, what to doubt."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .answer import MINUTES_PER_MONTH, Basis, in_words
from .importance import Contribution, ranked, weighed
from .repair import Crews
from .structure import INSTANCE, Node, independent, k_of_n

YEAR = 365.25 * 86400
SLOW = MINUTES_PER_MONTH * 60 / 2  # seconds; what takes longer to settle is not seen in the mean of a month


@dataclass(frozen=True)
class Availability:
    """In the long run, `needed` of `instances` being enough. Times are seconds; `outages_per_year` and `outage` are None where
    not all units have times, or crews repair. `if_independent` is the unavailability that a model without shared domains claims."""

    needed: int
    instances: int
    availability: float
    unavailability: float
    nines: float | None
    minutes_per_month: float
    budget_share: float | None
    outages_per_year: float | None
    outage: float | None
    if_independent: float | None
    contributors: tuple[Contribution, ...]
    basis: Basis


def availability(root: Node, needed: int, *, crews: Crews | None = None, budget: float | None = None) -> Availability:
    """`budget` is the unavailability that is allowed. ReliabilityError where it is too large to be exact."""
    found = k_of_n(root, needed, crews)
    down = found.unavailability
    units = weighed(root, needed, crews)
    rate = None if crews else _outage_rate(units)
    return Availability(
        needed=needed,
        instances=root.size,
        availability=found.availability,
        unavailability=down,
        nines=-math.log10(down) if down else None,
        minutes_per_month=down * MINUTES_PER_MONTH,
        budget_share=down / budget if budget else None,
        outages_per_year=None if rate is None else rate * YEAR,
        outage=down / rate if rate else None,
        if_independent=None if crews else k_of_n(independent(root), needed).unavailability,
        contributors=tuple(ranked(units, down)),
        basis=Basis(_method(crews), _assumptions(root, crews), _doubts(root, needed, crews, down)),
    )


def _all(node: Node) -> list[Node]:
    return [node] + [unit for member in node.members for unit in _all(member)]


def _outage_rate(units: Sequence[tuple[Node, float, float]]) -> float | None:
    """Outages of the fleet a second: each unit fails once in mtbf + mttr, and ends the service if it then decides."""
    rates = []
    for node, decides, _down in units:
        if node.chance.mtbf is not None and node.chance.mttr is not None:
            rates.append(decides / (node.chance.mtbf + node.chance.mttr))
        elif node.chance.down:
            return None
    return math.fsum(rates)


def _method(crews: Crews | None) -> str:
    exact = "exact: convolution over the tree of failure domains, summing the unavailability itself"
    return exact + (
        f"; at most {crews.number} {crews.level}s in repair at a time (reversible Markov chain)" if crews else ""
    )


def _assumptions(root: Node, crews: Crews | None) -> tuple[str, ...]:
    found = [
        "a domain that is down takes down all in it; beyond that, units fail independently of each other",
        "the long run: shares of time, not the state at a given moment",
        "a month has 30 days",
    ]
    found += (
        ["crews share the work evenly among all that is down, one at most on each unit"]
        if crews
        else ["whatever is down is repaired at once"]
    )
    kinds = Counter(node.kind for node in _all(root)[1:] if not node.chance.down)
    found += [
        f"{count} {kind}s never fail" if count > 1 else f"a {kind} never fails" for kind, count in sorted(kinds.items())
    ]
    return tuple(found)


def _doubts(root: Node, needed: int, crews: Crews | None, down: float) -> tuple[str, ...]:
    found = []
    for node in _all(root)[1:]:
        chance, title = node.chance, f"{node.kind} {node.name}"
        if chance.mtbf is None or chance.mttr is None:
            continue
        if chance.mttr > chance.mtbf:
            found.append(f"{title}: is down longer than up; are mtbf and mttr in the right units?")
        settles = chance.mtbf * chance.mttr / (chance.mtbf + chance.mttr)
        if settles > SLOW:
            found.append(f"{title}: takes {in_words(settles)} to come near its long run, so a month may be far from it")
    shared = [node for node in _all(root)[1:] if node.kind != INSTANCE and node.size > 1]
    if shared and not any(node.chance.down for node in shared):
        found.append(
            "no host or zone that several instances share ever fails here, so what they would lose together is missing"
        )
    if needed > root.size:
        found.append(f"{needed} are needed and there are {root.size}: it is never up")
    if needed > 0 and down == 0 and root.size >= needed:
        found.append("the unavailability is below what a number can hold (1e-300), or nothing ever fails")
    return tuple(found)
