# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order within a rollout that carries out a plan: nothing leaves a host before it is proven where it goes.

An instance that moves is started and proven at its new place; only then is the old one removed. One with portable state, which must not
run twice, leaves first, but only where its new place is ready to take it. The same holds for what starts elsewhere since its host is lost:
where that host is reached all the same, it leaves there. Pure functions over the ledger's records.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict

Records = Mapping[str, Mapping[str, Any]]


class Leaving(TypedDict):
    """`when`: "first" before anything is activated, "with" its host's wave, "last" once it is proven on `to`."""

    when: str
    to: str | None


def leaving(steps: Iterable[Mapping[str, Any]], portable: Iterable[str]) -> dict[str, dict[str, Leaving]]:
    """host -> agent id -> how it leaves, of a plan's steps."""
    stops_first, found = set(portable), {}  # type: ignore[var-annotated]
    for step in steps:
        if step["from"] is None:
            continue
        when = "with" if step["to"] is None else "first" if step["agent"] in stops_first else "last"
        agent_id = f"{step['agent']}@{step['index']}"
        found.setdefault(step["from"], {})[agent_id] = Leaving(when=when, to=step["to"])
    return found


def due(
    planned: Mapping[str, Mapping[str, Leaving]], host: str, when: str, staged: Records, activated: Records
) -> list[str]:
    """Those of a host's removals whose turn it is; what no plan knows goes with the host's wave.

    The first ones only where the host that they move to was staged, and the last ones only where they are proven there, in this
    rollout or before it.
    """

    def ready(target: str) -> bool:
        return staged.get(target, {}).get("status") in ("pending", "unchanged")

    may: dict[str, Callable[[str], bool]] = {
        "first": ready,
        "with": lambda _to: True,
        "last": lambda to: _arrived(to, staged, activated),
    }
    found = []
    for agent_id in staged.get(host, {}).get("removals", []):
        how = planned.get(host, {}).get(agent_id, Leaving(when="with", to=None))
        if how["when"] == when and may[when](how["to"] or ""):
            found.append(agent_id)
    return found


def _arrived(target: str, staged: Records, activated: Records) -> bool:
    if target in activated:
        return bool(activated[target]["status"] == "ok")
    return bool(staged.get(target, {}).get("status") == "unchanged")


def adrift(
    planned: Mapping[str, Mapping[str, Leaving]], staged: Records, activated: Records, undone: Records, retired: Records
) -> list[tuple[str, str, str]]:
    """(agent id, host that it left, host where it is not) of what left first and is not proven, or was taken back, where it goes."""
    return [
        (agent_id, host, how["to"])
        for host, there in planned.items()
        for agent_id, how in there.items()
        if how["when"] == "first" and how["to"] and agent_id in staged.get(host, {}).get("removals", [])
        if retired.get(host, {}).get("status") == "ok"
        if how["to"] in undone or not _arrived(how["to"], staged, activated)
    ]


def carried_out(planned: Mapping[str, Any], silent: Iterable[str], activated: Records) -> bool:
    """Whether all of a rollout went well, so that its placement is the fleet's from now on."""
    well = all(activated.get(host, {}).get("status") == "ok" for host in planned["hosts"])
    return planned["reason"] is None and not planned["failures"] and not list(silent) and well
