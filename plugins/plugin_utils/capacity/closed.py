# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A closed fleet: N agents that work by themselves for a while, then ask a gateway and wait for its answer. Exact mean value analysis.

M. Reiser and S. S. Lavenberg, "Mean-value analysis of closed multichain queuing networks", Journal of the ACM 27(2), 1980. For stations
of several servers the textbook's p(0) = 1 - sum of the others cancels to noise; here it is the product of
p(0 | n) = p(0 | n - 1) X(n) / X'(n), X' being the throughput of the network without that station (M. Reiser, "Mean value analysis and
convolution method for queue-dependent servers in closed queueing networks", Performance Evaluation 1(1), 1981): nothing is ever subtracted.
It solves the network once for each subset of such stations, of which there may be MANY_SERVERS.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .model import CapacityError

MANY_SERVERS = 6


@dataclass(frozen=True)
class Station:
    """``service``: seconds for one visit. ``visits``: in one round of an agent. A station of one or more servers, each alike."""

    name: str
    service: float
    servers: int = 1
    visits: float = 1.0

    @property
    def demand(self) -> float:
        return self.service * self.visits

    def __post_init__(self) -> None:
        if not (self.service > 0 and self.visits > 0 and self.servers >= 1):
            raise CapacityError(f"{self.name}: service and visits are numbers above 0, servers at least 1")


@dataclass(frozen=True)
class Round:
    """With ``population`` agents: rounds a second of all, seconds of a round but for the thinking, and of each station its seconds in a
    round, the mean number there and the utilisation of its servers."""

    population: int
    throughput: float
    response: float
    responses: Mapping[str, float]
    lengths: Mapping[str, float]
    utilisations: Mapping[str, float]


def closed(stations: Sequence[Station], think: float, population: int) -> list[Round]:
    """For 1, 2, ... population agents; ``think``: seconds that an agent works by itself in a round."""
    if population < 1 or think < 0 or not stations:
        raise CapacityError("closed: a population of at least 1, a think time of at least 0, and a station")
    if len({station.name for station in stations}) < len(stations):
        raise CapacityError("closed: two stations have one name")
    if sum(station.servers > 1 for station in stations) > MANY_SERVERS:
        raise CapacityError(f"closed: at most {MANY_SERVERS} stations of more than one server")
    return _solve(tuple(stations), think, population, {})


def throughputs(
    stations: Sequence[Station], think: float, population: int
) -> tuple[list[float], dict[str, list[float]]]:
    """For 1, 2, ... agents: rounds a second, and those of the network without each station; empty where nothing is left of it."""
    given, solved = tuple(stations), dict[tuple[str, ...], list[Round]]()
    whole = [found.throughput for found in _solve(given, think, population, solved)]
    return whole, {station.name: _without(station, given, think, population, solved) for station in given}


def knee(stations: Sequence[Station], think: float) -> float:
    """The population from which on the busiest station is what limits: N* = (think + demands) / largest demand of one server's share."""
    return (think + sum(s.demand for s in stations)) / max(s.demand / s.servers for s in stations)


Solved = dict[tuple[str, ...], list[Round]]


def _solve(stations: tuple[Station, ...], think: float, population: int, solved: Solved) -> list[Round]:
    key = tuple(station.name for station in stations)
    if key in solved:
        return solved[key]
    several = [station for station in stations if station.servers > 1]
    smaller = {s.name: _without(s, stations, think, population, solved) for s in several}
    # p[name][j]: the probability that j are at the station, for j below its servers
    p = {s.name: [1.0] + [0.0] * (s.servers - 1) for s in several}
    lengths = {station.name: 0.0 for station in stations}
    rounds = []
    for n in range(1, population + 1):
        times = {s.name: _time(s, lengths[s.name], p.get(s.name, [1.0])) for s in stations}
        response = sum(times.values())
        throughput = n / (think + response)
        lengths = {name: throughput * time for name, time in times.items()}
        for s in several:
            before = p[s.name]
            rest = smaller[s.name]
            empty = before[0] * throughput / rest[n - 1] if rest else 0.0
            p[s.name] = [empty] + [throughput * s.demand / j * before[j - 1] for j in range(1, s.servers)]
        used = {s.name: throughput * s.demand / s.servers for s in stations}
        rounds.append(Round(n, throughput, response, times, lengths, used))
    solved[key] = rounds
    return rounds


def _time(station: Station, length: float, p: Sequence[float]) -> float:
    """Seconds at it in a round, of one who finds it as it is with one agent less (the arrival theorem)."""
    free = sum((station.servers - 1 - j) * p[j] for j in range(station.servers - 1))
    return station.demand / station.servers * (1 + length + free)


def _without(
    station: Station, stations: tuple[Station, ...], think: float, population: int, solved: Solved
) -> list[float]:
    """Throughputs of the network without it; empty where nothing is left, in which nobody could be."""
    rest = tuple(other for other in stations if other.name != station.name)
    if rest:
        return [found.throughput for found in _solve(rest, think, population, solved)]
    return [n / think for n in range(1, population + 1)] if think else []
