# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When to heat: pure functions and plain data, no clock, no broker."""

import math
from dataclasses import dataclass
from typing import Optional

from .config import SET_POINTS


@dataclass
class Room:
    """One room. Temperature in degrees Celsius; `read_at`: seconds of a monotonic clock, at first when the agent began.

    `heating` is unknown (None) until there is a reading or the broker tells what was last asked of the valve: so a
    restart or an update does not switch a warm room's heating."""

    read_at: float
    temperature: Optional[float] = None
    heating: Optional[bool] = None


def heat(temperature: float, set_point: float, hysteresis: float, heating: bool) -> bool:
    """On below set point - hysteresis, off above set point + hysteresis, in between as it is."""
    if temperature < set_point - hysteresis:
        return True
    if temperature > set_point + hysteresis:
        return False
    return heating


def decide(room: Room, *, set_point: float, hysteresis: float, stale_after: float, now: float) -> Optional[bool]:
    """Whether to heat the room, None: not known yet; never on the word of a sensor that has fallen silent."""
    if now - room.read_at > stale_after:
        return False
    if room.temperature is None:
        return room.heating
    return heat(room.temperature, set_point, hysteresis, bool(room.heating))


def parse_temperature(payload: bytes) -> Optional[float]:
    """A reading in degrees Celsius; None for anything that no room has."""
    try:
        value = float(payload)
    except ValueError:
        return None
    return value if math.isfinite(value) and -50 <= value <= 100 else None


def parse_set_point(payload: bytes) -> Optional[float]:
    """A set point in degrees Celsius; None when it is no number or outside the allowed range."""
    try:
        value = float(payload)
    except ValueError:
        return None
    return value if SET_POINTS[0] <= value <= SET_POINTS[1] else None
