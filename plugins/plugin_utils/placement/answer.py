# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes out: what is to be done, how good it is, or why it cannot be done."""

from dataclasses import dataclass, field

from .bounds import Bounds
from .explain import Shortage
from .grid import PPM
from .loss import Loss
from .order import Order, Step
from .problem import Problem


@dataclass(frozen=True)
class Answer:
    """What is to be done, and how good it is.

    `placement`: agent -> index -> host. `changes`: what differs from what runs; `order`: the same, in an order that overfills no
    host. `without`: agents with instances that have no place, and why; then there is nothing to carry out. `stuck`: instances with
    fixed state that should leave their host and cannot. `relaxed`: the skew of agents that could only be placed less evenly.
    `losses`: hosts whose loss the others cannot take (asked with `host_loss`). `moves`: restarts count as well; hops do not.
    `max_utilisation` in millionths; `hosts` that hold an instance. `proven`: no placement is better in `moves`.
    """

    problem: Problem
    placement: dict[str, dict[int, str]]
    changes: list[Step]
    order: Order
    without: list[Shortage]
    stuck: list[str]
    relaxed: dict[str, int]
    losses: list[Loss]
    moves: int
    max_utilisation: int
    hosts: int
    bounds: Bounds
    method: str
    assumptions: list[str] = field(default_factory=list)

    @property
    def possible(self) -> bool:
        """Whether it can be carried out as asked."""
        return not (self.without or self.stuck or self.losses or self.order.deadlocked)

    @property
    def proven(self) -> bool:
        return self.moves == self.bounds.moves

    @property
    def gaps(self) -> dict[str, int]:
        """How far from the bounds: moves, millionths of the bound of the highest use, hosts."""
        use = (self.max_utilisation - self.bounds.max_utilisation) * PPM // max(1, self.bounds.max_utilisation)
        return {
            "moves": self.moves - self.bounds.moves,
            "max_utilisation": max(0, use),
            "hosts": self.hosts - self.bounds.hosts,
        }
