# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose turn it is where a port passes from one instance of a host to another. Nothing here changes anything."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Optional

from . import release
from .errors import HostError
from .layout import Instance, Layout


class Claim(NamedTuple):
    """The ports that an instance has, and those that it is to have."""

    agent: str
    id: str
    has: "frozenset[int]"
    wants: "frozenset[int]"


def ports(instance: Instance, name: Optional[str]) -> "frozenset[int]":
    """Those of a release; none where there is no release."""
    return frozenset(release.read(instance, name).get("ports", {}).values()) if name else frozenset()


def claim(instance: Instance, booted: Optional[str], runs: Any, wants: "Iterable[int]") -> Claim:
    """That of an instance with the release that it boots, which has its ports where it `runs`."""
    return Claim(instance.agent, instance.id, ports(instance, booted) if runs else frozenset(), frozenset(wants))


def waits(claims: "list[Claim]") -> "dict[str, set[str]]":
    """agent id -> the agent ids that have a port now which it is to get."""
    return {c.id: {o.id for o in claims if o.id != c.id and (c.wants - c.has) & o.has} for c in claims}


def order(claims: "list[Claim]") -> "dict[str, tuple[int, int]]":
    """agent id -> the turn of its agent, and its own turn within the agent (from 0): each comes after those it waits for.

    Raises HostError where they wait for each other.
    """
    of = {one.id: one.agent for one in claims}
    agents: dict[str, set[str]] = {agent: set() for agent in of.values()}
    within: dict[str, set[str]] = {}
    for agent_id, others in waits(claims).items():
        agents[of[agent_id]] |= {of[other] for other in others} - {of[agent_id]}
        within[agent_id] = {other for other in others if of[other] == of[agent_id]}
    by_agent, by_instance = _ranks(agents), _ranks(within)
    return {one.id: (by_agent[one.agent], by_instance[one.id]) for one in claims}


def _ranks(needs: "dict[str, set[str]]") -> "dict[str, int]":
    if not any(needs.values()):
        return dict.fromkeys(needs, 0)
    from graphlib import CycleError, TopologicalSorter  # hardly ever

    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError as error:
        raise HostError(
            "%s: each would get a port that the next one has now, so none can be first. Give one of them another port, deploy, "
            "and then what is meant" % " -> ".join(reversed(error.args[1]))
        ) from None
    found: dict[str, int] = {}
    rank = 0
    while sorter.is_active():
        ready = sorter.get_ready()
        found.update(dict.fromkeys(ready, rank))
        sorter.done(*ready)
        rank += 1
    return found


def arrange(layout: Layout, steps: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """The steps of an intent in the order in which their ports become free.

    One with a ``rank`` waits for the agents of a lower one. A removal that ``yields`` has a port that is needed before it is its turn.
    """
    claims = []
    for step in steps:
        instance = Instance(layout, step["agent"], step["instance"])
        wants = ports(instance, step["to"]) if step["action"] == "activate" else ()
        claims.append(claim(instance, step["from"], step["was_running"], wants))
    leaving = {one.id for one, step in zip(claims, steps) if step["action"] == "remove"}
    needed = set().union(*waits(claims).values())
    turns = order([one for one in claims if one.id not in leaving])
    arranged = []
    for one, step in zip(claims, steps):
        rank, own = turns.get(one.id, (0, 0))
        step = dict(step, rank=rank) if rank else step
        arranged.append((rank, own, dict(step, yields=True) if one.id in leaving & needed else step))
    return [step for _rank, _own, step in sorted(arranged, key=lambda item: item[:2])]
