# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the agent healthy? A pure function of what is known."""

from dataclasses import dataclass
from typing import Optional

LOOP_LIMIT = 10.0  # seconds after which a silent control loop counts as stuck; it ticks every second


@dataclass
class Signs:
    """Times are seconds of a monotonic clock; the control loop and the broker's callbacks write them."""

    ticked_at: float
    connected: bool = False
    lost_at: Optional[float] = None  # None: never connected yet
    refusal: Optional[str] = None  # why the broker said no


def problem(signs: Signs, *, grace: float, now: float) -> Optional[str]:
    """The reason why the agent is unhealthy, or None.

    Until the broker has accepted it once the agent is not healthy: a release with a wrong address or password must not
    pass for good. A broker that goes away later has `grace` seconds to come back, for a restart would not help."""
    if now - signs.ticked_at > LOOP_LIMIT:
        return f"control loop silent for {now - signs.ticked_at:.0f} s"
    if signs.connected:
        return None
    because = f": {signs.refusal}" if signs.refusal else ""
    if signs.lost_at is None:
        return f"not yet connected to the broker{because}"
    if now - signs.lost_at > grace:
        return f"broker lost for {now - signs.lost_at:.0f} s{because}"
    return None
