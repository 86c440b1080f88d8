# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one more host would buy, on top of a plan."""

from dataclasses import replace
from typing import Any

from ..placement import Answer, PlacementError
from ..placement.questions import one_more

NAME = "one more"  # no host is called that: it has a space


def bought(answer: Answer, like: str) -> dict[str, Any]:
    """By a host that has what `like` has, in its zone. Each is [without it, with it]: `room` for how many more of each agent, beside what
    the plan places; hosts that can be drained, each alone; hosts whose loss the others cannot take; instances without a place."""
    planned = replace(answer.problem, current=answer.placement)
    model = next((host for host in planned.hosts if host.name == like), None)
    if model is None:
        raise PlacementError([f"one_more: {like} is no host of an agent with count"])
    found = one_more(planned, replace(model, name=NAME, state="active"))
    return {
        "like": like, "hosts": [len(planned.hosts), len(planned.hosts) + 1],
        "room": {name: list(counts) for name, counts in found.room.items()},
        "drainable": list(found.drainable), "unsafe": list(found.unsafe), "without": list(found.without),
    }  # fmt: skip
