# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as one page of HTML that needs nothing else. `model` is pure; `render` lays it out with the playbooks' template.

What agents say is outside input: everything is escaped, and the page's own policy lets nothing run or load but what it has.
"""

import base64
import hashlib
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..module_utils.files import write_atomic
from . import report, sparkline
from .trends import HOURS, Trends

Row = Mapping[str, Any]
TEMPLATES = Path(__file__).resolve().parents[2] / "playbooks" / "templates"
LEVELS = {"bad": ("✕", "wrong"), "warn": ("!", "to look at"), "off": ("○", "off"), "ok": ("✓", "well")}
"""From the worst to the best: a sign and a word for each, so that a colour alone never says it."""

SHOWN: dict[str, Callable[[float], str]] = {
    "restarts": "{:.0f}".format, "cpu": "{:.1%}".format, "memory": lambda octets: f"{octets / 2**20:.0f} MiB",
}  # fmt: skip
"""The kinds of trends with a line of their own, where they are not zero throughout, and how their values are written."""


def model(rows: Iterable[Row], *, now: float, environment: str = "", trends: Trends | None = None) -> dict[str, Any]:
    """What the template shows. `rows` are `report.rows`; `environment` is that of instances that do not say theirs."""
    trends = trends or Trends()
    listed = list(rows)
    silent = [_silent(row) for row in listed if "agent_id" not in row]
    shown = [_instance(row, environment, trends) for row in listed if "agent_id" in row]
    order = list(LEVELS)
    wrong = [item for item in shown if item["level"] in ("bad", "warn")]
    return {
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now)), "hours": HOURS, "note": report.printable(trends.note),
        "hosts": len({row["host"] for row in listed}), "instances": len(shown), "silent": silent,
        "counts": Counter(item["level"] for item in shown), "drifted": sum(bool(item["drift"]) for item in shown),
        "wrong": sorted(wrong, key=lambda item: order.index(item["level"])),
        "environments": _environments(shown), "levels": LEVELS,
    }  # fmt: skip


def level(row: Row) -> str:
    """How an instance is, of `LEVELS`."""
    if row["healthy"]:
        return "warn" if row["drift"] or row["state"] == "proving" else "ok"
    return "off" if row["state"] == "stopped" and "is declared started" not in row["drift"] else "bad"


def _silent(row: Row) -> dict[str, str]:
    return {"host": report.printable(row["host"]), "state": row["state"], "why": report.printable(row["health"])}


def _instance(row: Row, environment: str, trends: Trends) -> dict[str, Any]:
    known = trends.of(row["host"], row["agent_id"])
    _host, _id, release, _content, state, _health, uptime, restarts, cpu, memory = report.cells(row)
    health = "healthy" if row["healthy"] else report.printable(str(row["health"]))
    drift = [report.printable(text) for text in row["drift"]]
    return {
        "environment": report.printable(str(row.get("environment") or environment or "-")), "agent": row["agent"],
        "host": report.printable(row["host"]), "agent_id": row["agent_id"], "level": level(row), "state": state,
        "health": health, "release": release, "version": str(row["version"] or "-"), "drift": drift,
        "why": "; ".join(([] if row["healthy"] else [health]) + drift) or row["state"],
        "uptime": uptime, "restarts": restarts, "cpu": cpu, "memory": memory,
        "sparks": {kind: _spark(known[kind], kind) for kind in SHOWN if any(sparkline.finite(known.get(kind, [])))},
    }  # fmt: skip


def _spark(values: list[float | None], kind: str) -> dict[str, str]:
    """The line, and what it says in words."""
    low, high = (SHOWN[kind](edge(sparkline.finite(values))) for edge in (min, max))
    return {"d": sparkline.path(values), "label": f"last {HOURS} h: {low} to {high}"}


def _environments(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Environments, and in each its agents by name; an agent's instances the worst first."""
    tree: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for item in shown:
        tree.setdefault(item["environment"], {}).setdefault(item["agent"], []).append(item)
    return [
        {"name": name, "agents": [_agent(agent, items) for agent, items in sorted(agents.items())]}
        for name, agents in sorted(tree.items())
    ]


def _agent(name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    order = list(LEVELS)
    return {
        "name": name,
        "counts": Counter(item["level"] for item in items),
        "versions": Counter(item["version"] for item in items).most_common(),
        "rows": sorted(items, key=lambda item: order.index(item["level"])),
    }


@cache
def template(name: str, *, script: bool = True) -> tuple[Any, dict[str, str]]:
    """A page's template, and what it holds of our own: style, script, and the policy that lets only these two be used."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(TEMPLATES),
    )  # fmt: skip
    own = {"style": (TEMPLATES / "status.css").read_text(encoding="utf-8")}
    if (TEMPLATES / f"{name}.css").exists() and name != "status":
        own["style"] += (TEMPLATES / f"{name}.css").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src {_digest(own['style'])}; base-uri 'none'; form-action 'none'"
    if script:
        own["script"] = (TEMPLATES / f"{name}.js").read_text(encoding="utf-8")
        policy += f"; script-src {_digest(own['script'])}"
    return environment.get_template(f"{name}.html.j2"), own | {"policy": policy}


def render(shown: Mapping[str, Any]) -> str:
    """The page."""
    found, own = template("status")
    return str(found.render(shown, **own))


def write(path: Path, text: str) -> None:
    """The whole page or the one before. A new one is its owner's alone; one that is there keeps its mode."""
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
    write_atomic(path, text.encode(), mode)


def _digest(text: str) -> str:
    """As a content security policy names what is in the page itself (CSP Level 3)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
