# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every answer carries, and the error of an input that no answer can be given to."""

import math
import re
from dataclasses import dataclass
from typing import Any

MINUTES_PER_MONTH = 30 * 24 * 60.0  # the 30 days that a service level is commonly agreed over
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
LEAST_FROM_AVAILABILITY = 1e-9  # below it, 1 - a number near 1 has not six digits any more


class ReliabilityError(Exception):
    """What was given has no answer, or would get a wrong one; the message begins with where it stands."""


@dataclass(frozen=True)
class Basis:
    """What an answer rests on. `window` is seconds (None: none was observed), `samples` what was counted, `confidence` 0 to 1."""

    method: str
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    window: float | None = None
    samples: int = 0
    confidence: float | None = None


@dataclass(frozen=True)
class Interval:
    """An estimate with its bounds; None: there is no estimate or no such bound, never infinity."""

    estimate: float | None
    low: float | None
    high: float | None


def seconds(where: str, given: Any) -> float:
    """A duration, as ``90``, ``"90s"``, ``"1.5h"``, ``"30d"``; seconds without a unit."""
    match = re.fullmatch(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([smhdw]?)\s*", str(given))
    try:
        found = float(match[1]) * UNITS[match[2] or "s"] if match else math.nan
    except ValueError:
        found = math.nan
    if isinstance(given, bool) or not math.isfinite(found) or found <= 0:
        raise ReliabilityError(
            f"{where}: {given!r} is no duration above 0, as 90s, 15m, 4h, 30d or a number of seconds"
        )
    return found


def share(where: str, given: Any) -> float:
    """A number from 0 to 1."""
    try:
        found = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        found = math.nan
    if not 0 <= found <= 1:
        raise ReliabilityError(f"{where}: {given!r} is no number from 0 to 1")
    return found


def complement(where: str, availability: Any) -> float:
    """The unavailability that a given availability means; an error where the number has lost its digits."""
    found = 1 - share(where, availability)
    if 0 < found < LEAST_FROM_AVAILABILITY:
        raise ReliabilityError(
            f"{where}: {availability!r} is too near 1 to have six digits of what is left: give unavailability"
        )
    return found


def in_words(duration: float) -> str:
    """A duration for people, to three digits: ``12.5 d``."""
    for unit, length in (("d", UNITS["d"]), ("h", UNITS["h"]), ("min", UNITS["m"])):
        if duration >= 2 * length:
            return f"{duration / length:.3g} {unit}"
    return f"{duration:.3g} s"
