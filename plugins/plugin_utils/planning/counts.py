# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many of each agent with `count: auto`, and where they then go: what the load needs, and as many more as availability needs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..placement import Answer, PlacementError

if TYPE_CHECKING:
    from .decide import Deciding

MOST_MORE = 50  # instances beyond what the load needs, for a target of availability


def settle(deciding: "Deciding", running: Mapping[str, int]) -> Answer:
    """Counts of agents with `count: auto`: what the load needs, and then what availability needs on the hosts and zones there are."""
    auto = []
    for name, counted in deciding.inputs.fleet.counted.items():
        demand = deciding.demands.get(name)
        deciding.counts[name] = counted.count
        if counted.auto and demand:
            if demand.refused and not running[name]:
                raise PlacementError([f"agents.{name}.count: auto: {demand.refused}"])
            deciding.counts[name] = running[name] if demand.refused else demand.needed
            auto += [] if demand.refused or demand.budget is None or not deciding.domains.knows(name) else [name]
    answer = deciding.solve(deciding.counts)
    return answer if answer.without or not auto else _available(deciding, auto, answer)


def _available(deciding: "Deciding", auto: list[str], answer: Answer) -> Answer:
    """One more at a time while the target is missed. A whole second set without a gain shows that more do not help; who
    misses the target then gets the fewest that are as good. Who finds no room for one more keeps nobody else from it."""
    best: dict[str, tuple[float, int]] = {}
    missed: list[str] = []
    full: list[str] = []
    for _more in range(MOST_MORE):
        missed = []
        for name in auto:
            down, count = _unavailability(deciding, answer, name), deciding.counts[name]
            if name not in best or down < 0.99 * best[name][0]:
                best[name] = (down, count)
            missed += [name] if down > (deciding.demands[name].budget or 0) else []
        short = [n for n in missed if deciding.counts[n] - best[n][1] < deciding.demands[n].needed and n not in full]
        if not short:
            break
        together = _grown(deciding, answer, short)
        if together is not None:
            answer = together
            continue
        for name in short:
            alone = _grown(deciding, answer, [name]) if len(short) > 1 else None
            answer = alone or answer
            full += [] if alone else [name]
    if full:
        deciding.warnings.append(f"{', '.join(full)}: there is no room for one more, which the availability asks for")
    back = {name: best[name][1] for name in missed if best[name][1] < deciding.counts[name]}
    if back:
        deciding.counts |= back
        answer = deciding.solve(deciding.counts)
    return answer


def _grown(deciding: "Deciding", answer: Answer, names: list[str]) -> Answer | None:
    """With one more of each, which then is their count; None where there is no room for them."""
    counts = deciding.counts | {name: deciding.counts[name] + 1 for name in names}
    found = deciding.solve(counts)
    if found.without or (found.losses and not answer.losses):
        return None
    deciding.counts = counts
    return found


def _unavailability(deciding: "Deciding", answer: Answer, name: str) -> float:
    where = deciding.up(answer.placement[name])
    return deciding.domains.available(where, deciding.demands[name]).unavailability
