# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where instances run: as few moves as possible from what runs, then balance; with bounds, and an order of the moves.

    answer = solve(Problem(hosts=(Host("h1", {"cpu": 4000}), ...), agents=(Agent("a", 3, {"cpu": 250}), ...), current={"a": {0: "h1"}}))

Pure functions of plain data, whole numbers only, no names looked at: the same question has the same answer, whatever things are called.
"""

from .answer import Answer
from .check import Violation, check, check_order
from .loss import Loss
from .order import Order, Step
from .problem import Agent, Host, Placement, PlacementError, Problem
from .solve import solve

__all__ = [
    "Agent",
    "Answer",
    "Host",
    "Loss",
    "Order",
    "Placement",
    "PlacementError",
    "Problem",
    "Step",
    "Violation",
    "check",
    "check_order",
    "solve",
]
