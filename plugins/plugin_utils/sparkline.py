# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A row of numbers as the path of a small line. Pure. The grammar is that of SVG 2, "Path data"."""

import math
from collections.abc import Sequence

WIDTH, HEIGHT = 96, 20
PAD = 2  # for half the line's width, and so that the highest point is seen as one
Value = float | None


def finite(values: Sequence[Value]) -> list[float]:
    """The numbers in it."""
    return [value for value in values if value is not None and math.isfinite(value)]


def path(values: Sequence[Value], *, width: int = WIDTH, height: int = HEIGHT) -> str:
    """From left to right, between zero at the bottom and the greatest value; empty where there is no number at all.

    What is None, NaN or infinite is a gap. A point with gaps on both sides is a line without length: a dot, where line ends are round.
    Below zero nothing is drawn: what is measured here is never negative.
    """
    numbers = finite(values)
    if not numbers:
        return ""
    top = max(numbers)
    drawn, pen_down = [], False
    for number, value in enumerate(values):
        if value is None or not math.isfinite(value):
            pen_down = False
            continue
        x = PAD + round((width - 2 * PAD) * number / max(len(values) - 1, 1))
        share = max(value, 0.0) / top if top > 0 else 0.0
        y = height - PAD - round((height - 2 * PAD) * share)
        alone = not pen_down and not _is_number(values, number + 1)
        drawn.append(f"{'L' if pen_down else 'M'}{x} {y}{'h0' if alone else ''}")
        pen_down = True
    return "".join(drawn)


def _is_number(values: Sequence[Value], number: int) -> bool:
    value = values[number] if number < len(values) else None
    return value is not None and math.isfinite(value)
