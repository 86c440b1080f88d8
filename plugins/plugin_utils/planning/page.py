# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as one page of HTML with plots, that needs nothing else. The drawing is plain arithmetic; the template lays it out."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import page
from . import text

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 420, 200, 56, 28, 12
Point = tuple[float, float]


def model(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows."""
    return {
        "plan": plan, "question": text.question(plan), "summary": text.summary(plan),
        "quality": text.quality(plan),
        "agents": (text.AGENT_TITLES, [text.agent_cells(agent) for agent in plan["agents"]]),
        "hosts": (text.HOST_TITLES, [text.host_cells(host) for host in plan["hosts"]]),
        "losses": [text.loss(one) for one in plan["losses"]],
        "bought": list(text.bought(plan["one_more"])) if plan["one_more"] else [],
        "plots": [plot for agent in plan["agents"] for plot in _plots(agent)],
        "bars": [_bar(host) for host in plan["hosts"]],
        "width": WIDTH, "height": HEIGHT,
    }  # fmt: skip


def _plots(agent: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Time against the number of instances with the promise's line, and unavailability against it."""
    curve, slo, found = agent.get("curve", []), agent.get("slo"), []
    times = [(point["instances"], point["seconds"]) for point in curve if point["seconds"] is not None]
    if times:
        name = slo["measure"] if slo else "response.p95"
        found.append(plot(f"{agent['name']}: {name} in seconds", times, agent["count"], slo["below"] if slo else None))
    down = [(point["instances"], point["unavailability"]) for point in curve if point["unavailability"]]
    if down:
        budget = _budget(agent)
        found.append(plot(f"{agent['name']}: part of the time without enough", down, agent["count"], budget, log=True))
    return found


def _budget(agent: Mapping[str, Any]) -> float | None:
    said = agent["availability"]
    return said["unavailability"] / said["budget_share"] if said["budget_share"] else None


def plot(title: str, points: Sequence[Point], now: int, line: float | None, *, log: bool = False) -> dict[str, Any]:
    """A line with its points, the planned number marked, and a promise as a line across. Pixels, from the top left."""
    values = [y for _x, y in points] + ([line] if line else [])
    low, high = (min(values), max(values)) if log else (0.0, max(values))
    scale = _logarithmic(low, high) if log else lambda value: value / (high or 1)
    first, last = points[0][0], points[-1][0]

    def place(x: float, y: float) -> Point:
        across = (x - first) / ((last - first) or 1)
        return round(LEFT + (WIDTH - LEFT - TOP) * across, 1), round(
            HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * scale(y), 1
        )

    dots = [(*place(x, y), x, f"{y:.3g}", x == now) for x, y in points]
    return {
        "title": title,
        "d": "M" + "L".join(f"{x} {y}" for x, y, *_rest in dots),
        "dots": dots,
        "promise": None if line is None else (place(first, line)[1], f"{line:.3g}"),
        "ticks": [(place(first, y)[1], f"{y:.2g}") for y in (low, high)],
        "names": [(dots[0][0], f"{first:g}"), (dots[-1][0], f"{last:g}")],
        "label": f"{title}: " + ", ".join(f"{x:g}: {said}" for _x, _y, x, said, _now in dots),
    }  # fmt: skip


def _logarithmic(low: float, high: float) -> Callable[[float], float]:
    span = math.log(high / low) or 1.0
    return lambda value: math.log(value / low) / span


def _bar(host: Mapping[str, Any]) -> dict[str, Any]:
    """Pixels out of 300 for the whole room."""
    found: dict[str, Any] = {"name": host["name"]}
    for key in ("before", "after"):
        value = host[key]
        found[key] = (300 if value is None else round(300 * min(value, 1.0)), text.share(value))
    return found


def render(plan: Mapping[str, Any]) -> str:
    template, own = page.template("plan", script=False)
    return str(template.render(model(plan), **own))
