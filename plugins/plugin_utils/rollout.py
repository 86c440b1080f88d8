# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of a rollout: waves, budget of failures, what is undone. Pure functions over the ledger's records."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from . import moves
from .fleet_fields import DEFAULT_ROLLOUT, ROLLBACKS, Rollout

__all__ = [
    "DEFAULT_ROLLOUT",
    "Plan",
    "Rollout",
    "batches",
    "failed",
    "most_cautious",
    "plan",
    "resolve",
    "stopped",
    "undo",
    "wave_line",
    "wave_of",
    "waves_of",
]

Records = Mapping[str, Mapping[str, Any]]
"""host -> its last record of one phase"""
BAD = ("failed", "unreachable")
_SHOWN = 20


class Plan(TypedDict):
    """A rollout decided: the pending hosts in order, and how many of them go in each wave."""

    phase: str
    hosts: list[str]
    batches: list[int]
    max_failures: int
    rollback: str
    environment: str
    silent: list[str]
    """hosts of which staging wrote nothing: their connection broke before it could"""
    failures: int
    """hosts that failed or were silent while staging: they count against the budget"""
    lost: list[str]
    """hosts that a plan takes for lost: nothing is activated there, and that one cannot be reached counts against nothing"""
    reason: str | None
    """why nothing is activated at all; hosts and batches are as they would have been"""
    leaving: moves.Leavings
    """what leaves a host otherwise than with its wave"""


def resolve(waves: Iterable[int | str], count: int) -> list[int]:
    """Cumulative numbers of hosts out of `count`: strictly growing, percent rounded up, the last one is `count`."""
    found: list[int] = []
    for wave in waves:
        size = math.ceil(count * int(wave.rstrip("%")) / 100) if isinstance(wave, str) else wave
        size = min(size, count)
        if size > (found[-1] if found else 0):
            found.append(size)
    if count and (not found or found[-1] < count):
        found.append(count)
    return found


def batches(waves: Iterable[int | str], count: int) -> list[int]:
    """The sizes of the waves: each at least 1, together `count`."""
    reached = resolve(waves, count)
    return [size - before for size, before in zip(reached, [0, *reached], strict=False)]


def most_cautious(rollouts: Iterable[Rollout], count: int) -> Rollout:
    """The strictest of each part: the smallest first waves, the fewest failures, the widest undo."""
    given = list(rollouts) or [DEFAULT_ROLLOUT]
    return {
        "waves": min((one["waves"] for one in given), key=lambda waves: resolve(waves, count)),
        "max_failures": min(one["max_failures"] for one in given),
        "rollback": min((one["rollback"] for one in given), key=ROLLBACKS.index),
    }


def plan(begin: Mapping[str, Any], staged: Records) -> Plan:
    """Decide the rollout from what staging found."""
    lost = begin.get("lost", [])
    hosts = [host for host in begin.get("hosts", []) if host not in lost]
    order = {host: index for index, host in enumerate(hosts)}
    pending = sorted(
        (host for host, record in staged.items() if record["status"] == "pending" and host not in lost),
        key=lambda host: order.get(host, len(order)),
    )
    chosen = most_cautious((one for host in pending for one in staged[host].get("rollouts", {}).values()), len(pending))
    silent_hosts = [host for host in hosts if host not in staged]
    failures = len(silent_hosts) + sum(
        record["status"] in BAD for host, record in staged.items() if not _expected(host, record, lost)
    )
    reason = _too_many_removals(begin, staged)
    if reason is None and pending:
        reason = _spent(failures, chosen["max_failures"], "while staging")
    return {
        "phase": "plan",
        "environment": begin.get("environment", ""),
        "hosts": pending,
        "batches": batches(chosen["waves"], len(pending)),
        "max_failures": chosen["max_failures"],
        "rollback": chosen["rollback"],
        "silent": silent_hosts,
        "failures": failures,
        "lost": lost,
        "reason": reason,
        "leaving": moves.foreseen(begin.get("planned", {}), begin.get("portable", ()), staged),
    }


def _expected(host: str, record: Mapping[str, Any], lost: Iterable[str]) -> bool:
    """Whether it was known before that a host cannot be staged."""
    return record["status"] == "unreachable" and host in lost


def _too_many_removals(begin: Mapping[str, Any], staged: Records) -> str | None:
    """What a plan moves or removes was reviewed with it, and does not count."""
    planned = begin.get("planned", {})
    count = sum(
        agent_id not in planned.get(host, {})
        for host, record in staged.items()
        for agent_id in record.get("removals", [])
    )
    allowed = begin.get("max_removals", 1)
    confirmed = begin.get("confirm_removals")
    if count <= max(allowed, confirmed or 0):
        return None
    return (
        f"{count} agents would be removed and max_removals is {allowed}: nothing was activated. "
        f"If that is meant, run it again with -e confirm_removals={count}"
    )


def _spent(failures: int, allowed: int, where: str) -> str | None:
    if failures <= allowed:
        return None
    many = "1 host" if failures == 1 else f"{failures} hosts"
    return f"{many} failed {where} and max_failures is {allowed}"


def waves_of(planned: Plan) -> list[list[str]]:
    """The hosts of each wave."""
    hosts = iter(planned["hosts"])
    return [[next(hosts) for _host in range(size)] for size in planned["batches"]]


def wave_of(planned: Plan, host: str) -> int | None:
    """The wave of a host, from 0; None where it has none."""
    return next((index for index, hosts in enumerate(waves_of(planned)) if host in hosts), None)


def wave_line(planned: Plan, wave: int) -> str:
    """`Wave 2 of 3: h2 h3`."""
    return f"Wave {wave + 1} of {len(planned['batches'])}: {names(waves_of(planned)[wave])}"


def names(hosts: Sequence[str]) -> str:
    """The first hosts by name, the others by number."""
    return " ".join(hosts[:_SHOWN]) + (f" and {len(hosts) - _SHOWN} more" if len(hosts) > _SHOWN else "")


def stopped(planned: Plan, activated: Records, host: str | None = None) -> str | None:
    """Why nothing more may be activated, else None.

    With `host`, a host of an earlier wave that wrote nothing counts as failed: its connection broke before it could.
    """
    if planned["reason"] is not None:
        return planned["reason"]
    bad = {name for name, record in activated.items() if record["status"] in BAD}
    if host is not None and (wave := wave_of(planned, host)):
        bad.update(name for hosts in waves_of(planned)[:wave] for name in hosts if name not in activated)
    return _spent(planned["failures"] + len(bad), planned["max_failures"], "so far")


def silent(planned: Plan, activated: Records) -> list[str]:
    """Hosts that were to be activated, wrote nothing, and were not left out because the rollout had stopped."""
    if planned["reason"] is not None:
        return []
    reached = -1
    for index, hosts in enumerate(waves_of(planned)):
        if any(host in activated for host in hosts):
            reached = index
    return [host for hosts in waves_of(planned)[: reached + 1] for host in hosts if host not in activated]


def undo(planned: Plan, activated: Records) -> list[str]:
    """The hosts to take back, in order: those that were switched and that the rollout's `rollback` covers."""
    bad = {host for host, record in activated.items() if record["status"] in BAD} | set(silent(planned, activated))
    over = planned["reason"] is None and planned["failures"] + len(bad) > planned["max_failures"]
    if not over or planned["rollback"] == "none":
        return []
    waves = waves_of(planned)
    if planned["rollback"] == "wave":
        waves = [hosts for hosts in waves if any(host in bad for host in hosts)][-1:]
    return [host for hosts in waves for host in hosts if activated.get(host, {}).get("switched")]


def failed(planned: Plan, staged: Records, activated: Records, *after: Records) -> list[str]:
    """The hosts that the verdict is about: the failed ones, also of the phases `after` activation, else, where nothing was allowed to
    start, the pending."""
    missed = {host: record for host, record in staged.items() if not _expected(host, record, planned["lost"])}
    bad = {host for phase in (missed, activated, *after) for host, record in phase.items() if record["status"] in BAD}
    bad.update(silent(planned, activated), planned["silent"])
    found = [host for host in dict.fromkeys([*planned["hosts"], *staged, *planned["silent"]]) if host in bad]
    return found or (planned["hosts"] if planned["reason"] is not None else [])
