# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers for people, as lines."""

from collections.abc import Iterator

from .answer import Answer
from .order import Step

_SHOWN = 200


def percent(millionths: int) -> str:
    """712345 -> "71.23 %", rounded up: a use is never told too low."""
    hundredths = -(-millionths // 100)
    return f"{hundredths // 100}.{hundredths % 100:02d} %"


def lines(answer: Answer) -> list[str]:
    """The whole answer: what is to be done, how good it is, in which order; or why it cannot be done."""
    return [*_head(answer), *problems(answer), *_steps(answer)]


def step(one: Step) -> str:
    """`move thermostat@3 h1 -> h2`"""
    places = {
        "remove": f"from {one.source}",
        "new": f"on {one.target}",
        "restart": f"on {one.target} ({one.source} is lost)",
    }
    return f"{one.kind} {one.instance} {places.get(one.kind, f'{one.source} -> {one.target}')}"


def _head(answer: Answer) -> Iterator[str]:
    placed = sum(len(there) for there in answer.placement.values())
    count = {kind: sum(s.kind == kind for s in answer.changes) for kind in ("move", "restart", "new", "remove")}
    parts = ", ".join(f"{number} {kind}" for kind, number in count.items() if number) or "nothing to do"
    yield f"{placed} instances on {answer.hosts} hosts: {parts}"
    if not answer.without:
        proof = "proven: none needs fewer" if answer.proven else f"{answer.gaps['moves']} apart"
        yield f"moves {answer.moves}, at best {answer.bounds.moves} ({proof}); by {answer.method}"
        yield (
            f"highest use {percent(answer.max_utilisation)}, at best {percent(answer.bounds.max_utilisation)}"
            f" ({percent(answer.gaps['max_utilisation'])} apart); hosts in use {answer.hosts}, at best {answer.bounds.hosts}"
        )
    for name, skew in answer.relaxed.items():
        yield f"{name} could not be spread evenly: zones differ by up to {skew}"
    yield from (f"assumed: {line}" for line in answer.assumptions)


def problems(answer: Answer) -> Iterator[str]:
    """Why it cannot be carried out, one reason a line."""
    for short in answer.without:
        certain = "" if short.certain else " (none was found, which is no proof)"
        yield f"no place for {len(short.indexes)} of {short.agent}: {short.reason}: {short.text}{certain}"
    yield from (f"stuck: {instance} has state of its own and does not move" for instance in answer.stuck)
    for lost in answer.losses:
        homeless = ", ".join(f"{count} of {name}" for name, count in lost.homeless.items())
        yield f"if {lost.host} is lost, there is no room for {homeless}"
    yield from (
        f"deadlocked: {step(one)}: no order was found that has room on the way" for one in answer.order.deadlocked
    )


def _steps(answer: Answer) -> Iterator[str]:
    for number, one in enumerate(answer.order.steps[:_SHOWN], 1):
        yield f"{number:3}. {step(one)}"
    if len(answer.order.steps) > _SHOWN:
        yield f"     and {len(answer.order.steps) - _SHOWN} more"
