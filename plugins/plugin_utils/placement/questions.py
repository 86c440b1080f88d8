# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator asks of a fleet: what can I drain, where do more go, what is the biggest I can place, what would one more host buy?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from . import bounds, evict
from .answer import Answer
from .grid import build
from .problem import Agent, Host, PlacementError, Problem
from .solve import solve
from .state import State

_SHAPE = "asked-for"


@dataclass(frozen=True)
class Drains:
    """`alone`: host -> the answer if it alone were drained. `together`: hosts that can be drained at once, and `answer` for them.

    No host can be added to `together`; another choice of hosts may be larger, but none has more than `most`.
    """

    alone: dict[str, Answer]
    together: list[str]
    answer: Answer
    most: int


def drains(problem: Problem, names: Iterable[str] | None = None) -> Drains:
    """Which of the hosts (default: all that are active) can be drained, each alone and how many together. One answer a host and more."""
    active = [host.name for host in problem.hosts if host.state == "active"]
    asked = active if names is None else [name for name in names if name in active]
    alone = {name: solve(drained(problem, [name]), proof=False) for name in asked}
    together: list[str] = []
    answer = solve(problem, proof=False)
    for name in sorted(
        (name for name in asked if alone[name].possible), key=lambda name: (alone[name].moves, asked.index(name))
    ):
        found = solve(drained(problem, [*together, name]), proof=False)
        if found.possible:
            together.append(name)
            answer = found
    return Drains(alone, together, answer, len(active) - bounds.hosts(build(problem)))


def drained(problem: Problem, names: Iterable[str]) -> Problem:
    """The problem with these hosts to be emptied."""
    return _with_state(problem, names, "drained")


def failed(problem: Problem, names: Iterable[str]) -> Problem:
    """The problem with these hosts lost."""
    return _with_state(problem, names, "failed")


def _with_state(problem: Problem, names: Iterable[str], state: Literal["drained", "failed"]) -> Problem:
    chosen = set(names)
    unknown = chosen - {host.name for host in problem.hosts}
    if unknown:
        raise PlacementError([f"there is no host {name}" for name in sorted(unknown)])
    hosts = tuple(replace(host, state=state) if host.name in chosen else host for host in problem.hosts)
    return replace(problem, hosts=hosts)


def more(problem: Problem, agent: str, count: int, *, proof: bool | None = None) -> Answer:
    """Where `count` more of an agent go, and what moves for them."""
    agents = tuple(replace(a, count=a.count + count) if a.name == agent else a for a in problem.agents)
    return solve(replace(problem, agents=agents), proof=proof)


@dataclass(frozen=True)
class Biggest:
    """`pieces`: free amounts of a host that no other host has more of in everything, host -> amounts.

    `as_is` and `with_moves`: the largest instance of the asked shape, in percent of it, that fits without and with moves.
    """

    pieces: dict[str, dict[str, int]]
    as_is: int
    with_moves: int
    answer: Answer | None


def biggest(
    problem: Problem, needs: Mapping[str, int], *, hosts: tuple[str, ...] | None = None, most: int = 1600
) -> Biggest:
    """The biggest instance that can still be placed, of the shape `needs`; up to `most` percent of it."""
    grid = build(problem)
    state = State(grid)
    state.load(grid.kept)
    inside = [p for p, host in enumerate(problem.hosts) if grid.active[p] and (hosts is None or host.name in hosts)]
    free = {
        problem.hosts[p].name: {
            resource: max(0, grid.room[p][r] - state.used[p][r] - state.hold[p][r])
            for r, resource in enumerate(grid.resources)
        }
        for p in inside
    }
    pieces = {name: mine for name, mine in free.items() if not any(_covers(other, mine) for other in free.values())}
    as_is = max(
        (min((piece.get(r, 0) * 100 // n for r, n in needs.items() if n), default=0) for piece in free.values()),
        default=0,
    )
    as_is = min(most, as_is)
    low, high, answer = as_is, most, None
    while low < high:
        middle = (low + high + 1) // 2
        shape = Agent(_SHAPE, 1, {r: -(-n * middle // 100) for r, n in needs.items()}, hosts)
        found = solve(replace(problem, agents=(*problem.agents, shape)), proof=False)
        if found.possible:
            low, answer = middle, found
        else:
            high = middle - 1
    return Biggest(pieces, as_is, low, answer)


def _covers(other: Mapping[str, int], mine: Mapping[str, int]) -> bool:
    return all(other[r] >= n for r, n in mine.items()) and other != mine


@dataclass(frozen=True)
class OneMore:
    """What a host more buys, each (without it, with it): `room` for how many more of each agent; hosts that can be drained; instances
    without a place; hosts whose loss the others could not take."""

    room: dict[str, tuple[int, int]]
    drainable: tuple[int, int]
    without: tuple[int, int]
    unsafe: tuple[int, int]


def one_more(problem: Problem, host: Host) -> OneMore:
    """What `host`, which is not one of the problem's, would change. An agent that names its hosts may run on it too."""
    agents = tuple(a if a.hosts is None else replace(a, hosts=(*a.hosts, host.name)) for a in problem.agents)
    larger = replace(problem, hosts=(*problem.hosts, host), agents=agents)
    before, after = solve(problem, proof=False), solve(larger, proof=False)
    guarded = [solve(replace(p, host_loss=True), proof=False) for p in (problem, larger)]
    easy = [
        sum(answer.possible for answer in drains(p, [h.name for h in problem.hosts]).alone.values())
        for p in (problem, larger)
    ]
    room_before, room_after = room(problem, before), room(larger, after)
    return OneMore(
        {name: (count, room_after[name]) for name, count in room_before.items()},
        (easy[0], easy[1]),
        (sum(len(s.indexes) for s in before.without), sum(len(s.indexes) for s in after.without)),
        (len(guarded[0].losses), len(guarded[1].losses)),
    )


def room(problem: Problem, answer: Answer) -> dict[str, int]:
    """How many more of each agent fit beside the placement of an answer, each agent for itself and without moves.

    By room, hosts and `max_per_host`; the spread over zones is not looked at.
    """
    grid = build(replace(problem, current=answer.placement), answer.relaxed)
    state = State(grid)
    evict.keep(state)
    found = {}
    for agent, one in enumerate(problem.agents):
        mark = len(state.trail)
        if one.max_per_host is None:
            grid.limit[agent] = one.count + sum(sum(row) for row in grid.avail) + 1
        for host in grid.allowed[agent]:
            while any(grid.need[agent]) and state.fits(agent, host):
                state.add(agent, host)
        found[one.name] = len(state.trail) - mark
        state.back(mark)
    return found
