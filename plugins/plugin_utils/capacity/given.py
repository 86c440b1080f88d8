# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of agent_capacity that an argument specification cannot check: what is in its dictionaries and lists."""

import math
from collections.abc import Mapping
from typing import Any

from .model import CapacityError

Options = Mapping[str, Any]


def checked(options: Options) -> dict[str, Any]:
    """The same options, with numbers where there are to be numbers. CapacityError names what is none, and what is not there."""
    agents = []
    for agent in options["agents"]:
        where = agent["name"]
        agents.append(
            {
                **agent,
                "calls": {name: _number(f"{where}: calls: {name}", times) for name, times in _items(agent["calls"])},
                "zones": {name: _whole(f"{where}: zones: {name}", count) for name, count in _items(agent["zones"])},
                "history": [_sample(where, sample) for sample in agent["history"] or ()],
            }
        )
    lose = {name: _whole(f"lose: {name}", count) for name, count in _items(options["lose"])}
    names = {agent["name"] for agent in agents}
    for name in lose:
        if name not in names:
            raise CapacityError(f"lose: there is no agent {name}")
    zone = options["lose_zone"]
    if zone and not any(zone in agent["zones"] for agent in agents):
        raise CapacityError(f"lose_zone: no agent has a zone {zone}")
    return {**options, "agents": agents, "lose": lose}


def _items(given: Options | None) -> list[tuple[str, Any]]:
    return list((given or {}).items())


def _number(where: str, value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise CapacityError(f"{where}: {value!r} is not a number of at least 0")
    return number


def _whole(where: str, value: object) -> int:
    number = _number(where, value)
    if number != int(number):
        raise CapacityError(f"{where}: {value!r} is not a whole number")
    return int(number)


def _sample(where: str, sample: list[Any]) -> tuple[float, float]:
    if len(sample) != 2:
        raise CapacityError(f"{where}: history: {sample!r} is not a time and a rate")
    at, rate = (_number(f"{where}: history", value) for value in sample)
    return at, rate
