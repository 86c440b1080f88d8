# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured of a host's agents: the families, and a watch that gives their samples cheaply, scrape after scrape.

A look at a running agent reads /proc and control groups only. systemd is asked, in one call, about what has changed since, and
about everything now and then. Probes and the search for drift take longer, so they are done apart from scrapes (`probe`,
`audit`). What cannot be read is no sample. Names and units: https://prometheus.io/docs/practices/naming/.
"""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Optional

from . import activator, cgroup, egress, info, release, truth
from .files import read_json
from .layout import Instance, Layout, instances
from .systemd import Systemd, number

EVERYTHING_SECONDS = 30
STALE_HEALTH_SECONDS = 90
STATES = ("running", "proving", "stopped", "failed", "crash-looping", "not-activated")
AGENT = ("agent", "agent_id")

# name: (kind, help, labels beside AGENT); counters without their suffix _total
AGENT_FAMILIES = {
    "info": ("gauge", "What the agent runs; always 1.", ("version", "release", "content")),
    "state": ("gauge", "1 for the state that the agent is in, 0 for every other.", ("state",)),
    "up": ("gauge", "Whether the main process of a release runs.", ()),
    "wanted": ("gauge", "Whether the agent is to run, by this host's record.", ()),
    "healthy": ("gauge", "Whether the probes of the release that runs were passed when they were last tried.", ()),
    "drift": ("gauge", "In how many ways the agent differs from this host's record of it.", ()),
    "restarts": ("counter", "Automatic restarts since the unit was started.", ()),
    "start_time_seconds": ("gauge", "When the agent's process was started (Unix time).", ()),
    "last_progress_timestamp_seconds": ("gauge", "When anything was last written in the agent's state (Unix time).", ()),
    "cpu_seconds": ("counter", "CPU time used since the start.", ()),
    "cpu_limit_cores": ("gauge", "CPU time that the agent may use each second.", ()),
    "cpu_periods": ("counter", "Periods in which the CPU limit was enforced.", ()),
    "cpu_throttled_periods": ("counter", "Periods in which the agent was held back by its CPU limit.", ()),
    "memory_bytes": ("gauge", "Memory that the agent uses: its control group's, without file cache that can be given up.", ()),
    "memory_limit_bytes": ("gauge", "Memory at which the agent is killed.", ()),
    "oom_kills": ("counter", "Processes killed at the memory limit since the start.", ()),
    "tasks": ("gauge", "Processes and threads.", ()),
    "tasks_limit": ("gauge", "Processes and threads that the agent may have.", ()),
    "network_receive_bytes": ("counter", "IP traffic to the agent since the start.", ()),
    "network_transmit_bytes": ("counter", "IP traffic of the agent since the start.", ()),
    "egress_refused_packets": ("counter", "Packets that the agent's permissions.outbound refused.", ()),
}  # fmt: skip
HOST_FAMILIES = {
    "capability": ("gauge", "Whether a kind of value can be read on this host, where there is an agent to read it of.",
                   ("capability",)),
    "activation_start_timestamp_seconds": ("gauge", "When the activation began that is under way (Unix time).", ()),
    "collect_timestamp_seconds": ("gauge", "When the values here were collected (Unix time).", ()),
    "collect_duration_seconds": ("gauge", "How long that took.", ()),
    "collect_errors": ("counter", "Agents that could not be looked at.", ()),
}  # fmt: skip
CAPABILITIES = {
    "cpu": "cpu_seconds", "throttling": "cpu_periods", "memory": "memory_bytes", "oom": "oom_kills", "tasks": "tasks",
    "network": "network_transmit_bytes",
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One value of a family (its name without the prefix ``agentfactory_``)."""

    family: str
    value: float
    labels: "dict[str, str]" = field(default_factory=dict)


@dataclass
class Known:
    """What the watch remembers of one instance. `born` tells whether its process is still the same."""

    state: "dict[str, str]"
    pid: int = 0
    born: Optional[str] = None
    running: Optional[str] = None
    facts: "dict[str, Any]" = field(default_factory=dict)
    health: Optional[bool] = None
    probed: float = 0.0
    drift: Optional[int] = None
    refused: Optional[int] = None


class Watch:
    """This host's agents. `samples`, `probe` and `audit` may be called from different threads."""

    def __init__(self, layout: Layout, systemd: Systemd) -> None:
        self.layout, self._systemd = layout, systemd
        self._known: dict[str, Known] = {}
        self._asked_everything, self._errors = float("-inf"), 0
        self._lock = threading.Lock()

    # -- a scrape -------------------------------------------------------------------------------------------------

    def samples(self) -> "list[Sample]":
        """Everything, as it is now."""
        began, now = time.monotonic(), time.time()
        found: list[Sample] = []
        for instance, known in self._refresh():
            try:
                found += self._of(instance, known)
            except (OSError, ValueError, KeyError):
                self._errors += 1
        found += self._capabilities(found)
        intent = activator.read_intent(self.layout)
        if intent and not intent["done"] and "at" in intent:
            found.append(Sample("activation_start_timestamp_seconds", intent["at"]))
        found.append(Sample("collect_errors", self._errors))
        found.append(Sample("collect_timestamp_seconds", now))
        found.append(Sample("collect_duration_seconds", time.monotonic() - began))
        return found

    def _refresh(self) -> "list[tuple[Instance, Known]]":
        """The instances there are, each with what is known of it: asked anew where its process is another one."""
        here = instances(self.layout)
        with self._lock:
            everything = time.monotonic() - self._asked_everything > EVERYTHING_SECONDS
            changed = [i for i in here if everything or self._has_changed(i)]
            states = truth.states(changed, self._systemd)
            rules = egress.listing() if everything and here else None
            for instance in changed:
                self._learn(instance, states[instance.id], rules)
            if everything:
                self._asked_everything = time.monotonic()
            self._known = {i.id: self._known[i.id] for i in here}
            return [(i, self._known[i.id]) for i in here]

    def _has_changed(self, instance: Instance) -> bool:
        known = self._known.get(instance.id)
        return known is None or not known.pid or truth.start_time(known.pid) != known.born

    def _learn(self, instance: Instance, state: "dict[str, str]", rules: Optional[str]) -> None:
        before = self._known.get(instance.id) or Known(state)
        pid = int(state.get("MainPID") or 0) if state.get("ActiveState") == "active" else 0
        running = truth.running_release(instance, pid) if pid else None
        name = running if running not in (None, truth.UNKNOWN) else release.proven(instance)
        same = pid and pid == before.pid
        self._known[instance.id] = Known(
            state, pid, truth.start_time(pid) if pid else None, running, release.read(instance, name) if name else {},
            before.health if same else None, before.probed if same else 0.0, before.drift,
            before.refused if rules is None else egress.refused_in(rules, instance),
        )  # fmt: skip

    def _of(self, instance: Instance, known: Known) -> "Iterator[Sample]":
        labels = {"agent": instance.agent, "agent_id": instance.id}
        for name, value in self._values(instance, known).items():
            if value is not None:
                yield Sample("agent_" + name, value, labels)
        facts = known.facts
        yield Sample(
            "agent_info", 1,
            dict(labels, version=facts.get("version", ""), release=facts.get("release", ""), content=facts.get("content", "")),
        )  # fmt: skip
        current = info.state_of(known.running, instance.proof_file.exists(), release.proven(instance), known.state)
        for state in STATES:
            yield Sample("agent_state", int(state == current.replace(" ", "-")), dict(labels, state=state))

    def _values(self, instance: Instance, known: Known) -> "dict[str, Optional[float]]":
        staged = read_json(instance.staged) or {}
        limits = known.facts.get("resources", {})
        values: dict[str, Optional[float]] = {
            "up": int(bool(known.running)), "wanted": int(staged.get("state") == "started"), "drift": known.drift,
            "restarts": number(known.state.get("NRestarts")), "egress_refused_packets": known.refused,
            "last_progress_timestamp_seconds": newest_change(instance.state),
            "cpu_limit_cores": limits.get("cpu"), "memory_limit_bytes": limits.get("memory"), "tasks_limit": limits.get("tasks"),
        }  # fmt: skip
        if known.running:
            fresh = time.monotonic() - known.probed < STALE_HEALTH_SECONDS
            values["healthy"] = int(known.health) if known.health is not None and fresh else None
            values["start_time_seconds"] = started_at(known.born)
            values.update(vars(cgroup.usage(known.pid)))
            values["network_receive_bytes"] = number(known.state.get("IPIngressBytes"))
            values["network_transmit_bytes"] = number(known.state.get("IPEgressBytes"))
        return values

    def _capabilities(self, found: "list[Sample]") -> "Iterator[Sample]":
        """Of which running agents a value is missing is seen from here: an absent sample alone says nothing."""
        running = sum(1 for s in found if s.family == "agent_up" and s.value)
        for name, value in CAPABILITIES.items() if running else ():
            read = sum(1 for s in found if s.family == "agent_" + value)
            yield Sample("capability", int(read >= running), {"capability": name})

    # -- apart from scrapes ---------------------------------------------------------------------------------------

    def probe(self) -> None:
        """Try the probes of everything that runs. It takes as long as the agents take to answer."""
        for instance, known in self._refresh():
            if known.running and known.facts:
                known.health = truth.probe(instance, known.facts, known.pid).healthy
                known.probed = time.monotonic()

    def audit(self) -> None:
        """Compare everything with this host's own record of it."""
        once = truth.Once()
        for instance, known in self._refresh():
            now = truth.look(instance, known.state, once=once)
            known.drift = len(info.own_drift(instance, now, known=bool(known.facts)))


def newest_change(directory: Any) -> Optional[float]:
    """When a directory or anything directly in it was last written (Unix time); None where it cannot be read."""
    try:
        with os.scandir(directory) as entries:
            times = [entry.stat(follow_symlinks=False).st_mtime for entry in entries]
        return max(times + [os.stat(directory).st_mtime])
    except OSError:
        return None


def started_at(born: Optional[str]) -> Optional[float]:
    """The Unix time of a process's start in clock ticks since boot."""
    if born is None:
        return None
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return round(booted + int(born) / os.sysconf("SC_CLK_TCK"), 2)
