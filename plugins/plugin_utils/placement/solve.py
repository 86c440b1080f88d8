# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer: who goes where, in which order, how far from the best that can be, or why not.

What counts, in this order: everybody has a place; zones as even as they can be; as few moves as possible; the lowest highest use.
"""

from dataclasses import dataclass, field, replace

from . import bounds, evict, exact, explain, heuristic, order
from .answer import Answer
from .balance import Balance
from .bounds import Bounds
from .grid import PPM, Grid, build
from .loss import Loss, losses
from .problem import EVEN_SKEW, PlacementError, Problem
from .state import State

_ENOUGH = PPM // 1000  # a highest use within a thousandth of the bound is not improved any more
_SMALL = 600  # columns up to which the lowest use, and how many of too many can be placed, is looked for exactly
_ROUNDS = 4
_CEILINGS = (98, 95, 92, 90, 87, 84, 80, 75, 70, 60, 50)  # percent of each host, tried in turn to survive a loss


@dataclass
class _Found:
    """A state, and what is known of it."""

    state: State
    least: int
    """a lower bound of its moves"""
    relaxed: dict[str, int] = field(default_factory=dict)
    exact: bool = False
    no_room: bool = False
    """proven: not everything can be placed"""
    use: int = 0
    """a lower bound of the highest use with so few moves, where the exact search has one"""

    @property
    def key(self) -> tuple[int, int]:
        return sum(self.state.missing), self.state.moves


def solve(problem: Problem, *, proof: bool | None = None) -> Answer:
    """Place everything. `proof`: whether HiGHS is asked too; None: where it is installed. PlacementError where it is not."""
    if proof and not exact.installed():
        raise PlacementError(["proof: needs the Python package highspy, which is not installed"])
    proof = exact.installed() if proof is None else proof
    found = _search(problem, proof=proof)
    lost: list[Loss] = []
    if problem.host_loss and not any(found.state.missing):
        found, lost = _survive(found)
    _balance(found, proof=proof)
    if lost:
        lost = losses(found.state)
    return _answer(problem, found, lost)


def _search(problem: Problem, *, proof: bool) -> _Found:
    """Where agents that want to be spread evenly have no place, let go of that as little as makes a difference.

    That is found without the exact search, which then has a look at the result. Where it is not found, the exact search is asked too: only
    that there is no room without any even spread proves that there is none.
    """
    best = _place(build(problem), proof=proof, relaxed={})
    free: dict[str, int] = {}
    while True:
        lacking = {
            agent.name: agent.count
            for agent, count in zip(problem.agents, best.state.missing, strict=True)
            if count and agent.spread == "even" and agent.name not in free
        }
        if not lacking:
            break
        free |= lacking
        found = _place(build(problem, free), proof=False, relaxed=dict(free))
        if found.key[0] >= best.key[0]:
            break
        best = found
    no_room, asked = best.no_room, False
    even = {agent.name: agent.count for agent in problem.agents if agent.spread == "even"}
    if proof and even and best.key[0]:
        found = _place(build(problem, even), proof=True, relaxed=even)
        no_room, asked = found.no_room, found.key[0] < best.key[0]
        best = found if asked else best
    if best.relaxed:
        best = _as_even_as_possible(problem, best, proof=asked)
        best = _place(best.state.grid, proof=True, relaxed=best.relaxed) if proof else best
    return replace(best, no_room=no_room)


def _as_even_as_possible(problem: Problem, best: _Found, *, proof: bool) -> _Found:
    """The smallest difference of zones with which as many are placed as with any. `proof`: only the exact search finds them."""
    low, high = EVEN_SKEW + 1, max(best.relaxed.values())
    while low < high:
        middle = (low + high) // 2
        relaxed = {name: min(middle, count) for name, count in best.relaxed.items()}
        found = _place(build(problem, relaxed), proof=proof, relaxed=relaxed)
        if found.key[0] <= best.key[0]:
            best, high = found, middle
        else:
            low = middle + 1
    return best


def _place(grid: Grid, *, proof: bool, relaxed: dict[str, int]) -> _Found:
    """The best of a few ways: level, tight, each with ejection chains; then exactly, where that is possible."""
    away = sum(grid.away)
    base = State(grid)
    least = away + evict.keep(base)
    tries = []
    for tight in (False, True):
        state = _start(base)
        left = heuristic.place(state, tight=tight)
        tries.append((state, left))
        if not left and state.moves == least:
            return _Found(state, least, relaxed)
    done = []
    hopeless = bounds.hopeless(grid)
    for state, left in reversed(tries):
        chains = heuristic.Chains(state, heuristic.TOTAL // (20 if hopeless else 1))
        failed: set[int] = set()
        for agent in left:
            if agent not in failed and not chains.insert(agent):
                failed.add(agent)
        heuristic.go_home(state)
        evict.even(state)
        done.append(_Found(state, least, relaxed))
        if done[-1].key == (0, least):
            break
    best = min(done, key=lambda found: found.key)
    size = exact.Question.size(grid)
    if not proof or best.key == (0, least) or (size > _SMALL and hopeless):
        return best
    return _exactly(best) if size <= exact.COLUMNS else _neighbourhoods(best)


def _start(base: State) -> State:
    """A copy to go on with."""
    return State(base.grid).load(base.counts())


def _exactly(found: _Found) -> _Found:
    grid = found.state.grid
    result = exact.Question(grid, found.relaxed).fewest_moves()
    heavy = sum(grid.count) + 1
    least = max(found.least, sum(grid.away) + result.bound) if result.bound < heavy else found.least
    state = found.state
    better = _valid(grid, result)
    if better is not None and (sum(better.missing), better.moves) < found.key:
        state = better
    return replace(found, state=state, least=least, exact=result.optimal, no_room=result.bound >= heavy)


def _valid(grid: Grid, result: exact.Exact) -> State | None:
    """The exact search's answer, where its rounded numbers are within the rules."""
    if result.counts is None:
        return None
    state = State(grid).load(result.counts)
    over = any(there.get(agent, 0) > grid.limit[agent] for there in state.on for agent in there)
    if over or min(state.missing, default=0) < 0 or any(state.short(h) for h, use in enumerate(grid.active) if use):
        return None
    return state


def _neighbourhoods(found: _Found) -> _Found:
    """Solve parts exactly, in turn: hosts that somebody had to leave or came to, and those with most room."""
    grid = found.state.grid
    width = max(1, exact.Question.size(grid) // max(1, len(grid.avail)))
    many = max(4, exact.COLUMNS // 4 // width)
    for turn in range(_ROUNDS):
        state = found.state
        touched = {
            h for agent, there in enumerate(grid.kept) for h, n in there.items() if state.on[h].get(agent, 0) < n
        }
        rest = sorted(
            (h for h, active in enumerate(grid.active) if active and h not in touched),
            key=lambda h: (state.level(h), h),
        )
        hosts = sorted(touched)[: many // 2]
        hosts += rest[turn * many // 2 :][: many - len(hosts)]
        result = exact.Question(grid, found.relaxed, hosts, state.counts()).fewest_moves(quick=True)
        better = _valid(grid, result)
        if better is not None and (sum(better.missing), better.moves) < found.key:
            found = replace(found, state=better)
        if found.key == (0, found.least):
            break
    return found


def _survive(found: _Found) -> tuple[_Found, list[Loss]]:
    """The first of ever lower ceilings under which whatever host is lost finds room elsewhere; else what is lost as it is."""
    lost = losses(found.state)
    if not lost:
        return found, []
    grid = found.state.grid
    for percent in _CEILINGS:
        other = _place(grid.with_ceiling(percent * PPM // 100), proof=False, relaxed=found.relaxed)
        if any(other.state.missing):
            break
        Balance(other.state, 0).run()
        other.state.grid = grid
        if not losses(other.state):
            return replace(other, least=found.least), []
    return found, lost


def _balance(found: _Found, *, proof: bool) -> None:
    """Lower the highest use among placements with as many moves. Where a loss must be survived, only if it still is."""
    state = found.state
    if any(state.missing):
        return
    before = state.counts()
    bound = _use_bound(found)
    guarded = state.grid.problem.host_loss
    Balance(state, bound + bound * _ENOUGH // PPM).run()
    size = exact.Question.size(state.grid)
    if proof and not guarded and size <= _SMALL and _highest(state) > bound + bound * _ENOUGH // PPM:
        away = sum(state.grid.away)
        result = exact.Question(state.grid, found.relaxed).lowest_use(state.moves - away, quick=True)
        better = _valid(state.grid, result)
        if better is not None and (sum(better.missing), better.moves, _highest(better)) < (*found.key, _highest(state)):
            found.state = better
        found.use = _highest(found.state) if result.optimal else result.bound
        found.exact = found.exact or result.optimal
    if guarded and losses(found.state) and not losses(State(state.grid).load(before)):
        found.state = State(state.grid).load(before)


def _use_bound(found: _Found) -> int:
    """With so few moves that nobody had a choice, all the others stay where they are."""
    grid, moves = found.state.grid, found.state.moves
    forced = moves == sum(grid.away) and not any(found.state.missing)
    kept = grid.kept if forced else [there if fixed else {} for there, fixed in zip(grid.kept, grid.fixed, strict=True)]
    return bounds.utilisation(grid, kept)


def _highest(state: State) -> int:
    return max((state.level(host) for host, active in enumerate(state.grid.active) if active), default=0)


def _answer(problem: Problem, found: _Found, lost: list[Loss]) -> Answer:
    state = found.state
    grid = state.grid
    placement, without = order.instances(grid, state.counts())
    changes = order.changes(grid, placement)
    stuck = [
        f"{agent.name}@{index}"
        for agent in problem.agents
        for index, host in problem.current.get(agent.name, {}).items()
        if agent.state == "fixed" and index < agent.count and host in _not_home(problem, agent.hosts)
    ]
    return Answer(
        problem=problem,
        placement=placement,
        changes=changes,
        order=order.order(grid, changes),
        without=explain.shortages(state, without, proven=found.no_room),
        stuck=stuck,
        relaxed=_relaxed(found),
        losses=lost,
        moves=state.moves,
        max_utilisation=_highest(state),
        hosts=sum(bool(there) for there in state.on),
        bounds=Bounds(found.least, max(found.use, _use_bound(found)), bounds.hosts(grid)),
        method="search, and HiGHS" if found.exact else "search",
        assumptions=_assumptions(problem),
    )


def _relaxed(found: _Found) -> dict[str, int]:
    """By how much the zones of those differ that could not be spread evenly."""
    state = found.state
    seen = {agent.name: evict.difference(state, a) for a, agent in enumerate(state.grid.problem.agents)}
    return {name: seen[name] for name in found.relaxed if seen[name] > EVEN_SKEW}


def _not_home(problem: Problem, hosts: tuple[str, ...] | None) -> set[str]:
    return {h.name for h in problem.hosts if h.state != "active" or (hosts is not None and h.name not in hosts)}


def _assumptions(problem: Problem) -> list[str]:
    return [
        f"{agent.name} says nothing of {resource}: counted as 0"
        for agent in problem.agents
        for resource in problem.resources
        if resource in ("cpu", "memory") and resource not in agent.needs
    ]
