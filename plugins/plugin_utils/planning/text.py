# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan for people: tables and lines."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_SHOWN = 40
Plan = Mapping[str, Any]


def report(plan: Plan) -> str:
    return "\n".join(lines(plan))


def lines(plan: Plan) -> Iterator[str]:
    yield from _head(plan)
    yield from table(AGENT_TITLES, [agent_cells(agent) for agent in plan["agents"]])
    if plan["hosts"]:
        yield ""
        yield from table(HOST_TITLES, [host_cells(host) for host in plan["hosts"][:_SHOWN]])
        if len(plan["hosts"]) > _SHOWN:
            yield f"and {len(plan['hosts']) - _SHOWN} hosts more"
    yield from _section("Moves, in this order", [step["text"] for step in plan["steps"]], numbered=True)
    yield from _section("Waiting for room, for the plan after this one", [step["text"] for step in plan["waiting"]])
    yield from _section("Fixed where they are, for they have state of their own", plan["fixed"])
    yield from _section("Losses that break a promise", [loss(one) for one in plan["losses"]])
    if plan["one_more"]:
        like = plan["one_more"]["like"]
        yield from _section(f"One more host like {like} would buy", bought(plan["one_more"]))
    yield from _section("Cannot be", plan["problems"])
    yield from _section("Warnings", plan["warnings"])
    yield from _section("Assumed", plan["assumptions"])


def bought(more: Mapping[str, Any]) -> Iterator[str]:
    """What one more host would buy, a line for each."""
    for name, (before, after) in more["room"].items():
        yield f"{name}: room for {before} more, then {after}"
    (drained, then), (all_of, _with_it) = more["drainable"], more["hosts"]
    yield f"hosts that can be drained, each alone: {drained} of {all_of}, then {then}"
    yield f"hosts whose loss the others cannot take: {more['unsafe'][0]}, then {more['unsafe'][1]}"
    if any(more["without"]):
        yield f"instances without a place: {more['without'][0]}, then {more['without'][1]}"


def _head(plan: Plan) -> Iterator[str]:
    said = question(plan)
    yield f"Plan of {plan['environment']}{': ' if said else ''}{said}"
    yield summary(plan)
    yield from filter(None, [quality(plan)])
    yield ""


def question(plan: Plan) -> str:
    """What it was planned for, beside what the fleet says."""
    asked = plan["asked"]
    said = [f"load x {asked['load_factor']:g}"] if asked["load_factor"] != 1 else []
    said += [f"drained: {', '.join(asked['drain'])}"] if asked["drain"] else []
    said += [f"lost: {', '.join(asked['failed'])}"] if asked["failed"] else []
    said += ["with room for the loss of any one host"] if asked["host_loss"] else []
    said += [f"what if zone {asked['lose_zone']} were lost"] if asked["lose_zone"] else []
    return "; ".join(said)


def summary(plan: Plan) -> str:
    """What is to be done, in a line."""
    if not plan["steps"]:
        if plan["problems"]:
            return "Nothing can be done: see below what cannot be"
        if plan["waiting"] or plan["fixed"]:
            return "Nothing can be done: what should move is fixed or waits for room"
        return "Nothing to do: everything is where it should be"
    kinds = {
        kind: sum(step["kind"] == kind for step in plan["steps"])
        for kind in ("new", "move", "hop", "restart", "remove")
    }
    parts = ", ".join(f"{number} {kind}" for kind, number in kinds.items() if number)
    went = plan["rollout"]
    took = f"{went['seconds']['least']:.0f} to {went['seconds']['most']:.0f} s"
    return f"{parts} on {len(went['hosts'])} hosts in {len(went['waves'])} waves, {took}"


def quality(plan: Plan) -> str:
    """How far the placement is from the lower bounds, in a line; empty where there is none."""
    moves, use = plan["moves"], plan["use"]
    if moves is None or plan["problems"]:
        return ""
    return (
        f"moves {moves['found']}, at best {moves['bound']} ({moves['gap']} apart); highest use {use['found']:.1%}, "
        f"at best {use['bound']:.1%} ({use['gap']:.1%} apart); by {moves['method']}"
    )


AGENT_TITLES = ("AGENT", "COUNT", "NEEDED", "USED", "PROMISE", "EXPECTED", "DOWN A MONTH", "OF BUDGET")
HOST_TITLES = ("HOST", "ZONE", "INSTANCES", "USED BEFORE", "AFTER", "ON THE WAY")


def agent_cells(agent: Mapping[str, Any]) -> list[str]:
    slo, down = agent.get("slo"), agent.get("availability")
    measure = slo["measure"] if slo else "response.p95"
    of, name = measure.split(".")
    expected = agent.get(of, {}).get(name)
    return [
        agent["name"],
        f"{agent['count']}{' (auto)' if agent['auto'] else ''}",
        "-" if agent["needed"] is None else str(agent["needed"]),
        "-" if "utilisation" not in agent else f"{agent['utilisation']:.0%}",
        "-" if not slo else f"{measure} <= {slo['below']:g} s",
        "-" if expected is None else f"{expected:.3g} s{'' if not slo else ' ok' if slo['kept'] else ' BROKEN'}",
        "-" if not down else f"{down['minutes_per_month']:.3g} min",
        "-" if not down or down["budget_share"] is None else f"{down['budget_share']:.3g} x",
    ]


def host_cells(host: Mapping[str, Any]) -> list[str]:
    numbers = host["instances"]
    state = "" if host["state"] == "active" else f" ({host['state']})"
    return [
        host["name"] + state, host["zone"] or "-", f"{numbers['before']} -> {numbers['after']}",
        *(share(host[key]) for key in ("before", "after", "peak")),
    ]  # fmt: skip


def share(value: float | None) -> str:
    return "no room" if value is None else f"{value:.0%}"


def loss(one: Mapping[str, Any]) -> str:
    """`zone a: planner: 2 are left of 3 needed`"""
    return f"{one['kind']} {one['name']}: " + "; ".join(f"{each['agent']}: {each['why']}" for each in one["breaks"])


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _section(title: str, found: Iterable[str], *, numbered: bool = False) -> Iterator[str]:
    given = list(found)
    if given:
        yield ""
        yield f"{title}:"
    for number, line in enumerate(given[:_SHOWN], 1):
        yield f"{number:3}. {line}" if numbered else f"  {line}"
    if len(given) > _SHOWN:
        yield f"  and {len(given) - _SHOWN} more"
