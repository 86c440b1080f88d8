# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured of a host's agents: the families, and a watch that gives their samples cheaply, scrape after scrape.

A look at a running agent reads /proc and control groups only. systemd is asked, in one call, about what has changed since, and
about everything now and then. Probes and the search for drift take longer, so they are done apart from scrapes (`probe`,
`audit`). What cannot be read is no sample. Names and units: https://prometheus.io/docs/practices/naming/.
"""

import contextlib
import itertools
import os
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Optional

from . import activator, cgroup, egress, health, history, info, release, truth
from .files import read_known
from .layout import Instance, Layout, instances
from .systemd import Systemd, number

EVERYTHING_SECONDS = 30
STALE_HEALTH_SECONDS = 90
MOST_ENTRIES = 1000
PROBES_AT_ONCE = 8
STATES = ("running", "proving", "stopped", "failed", "crash-looping", "not-activated")
AGENT = ("agent", "agent_id")

# name: (kind, help, labels beside AGENT); counters without their suffix _total
AGENT_FAMILIES = {
    "info": ("gauge", "What the agent runs; always 1.", ("version", "release", "content")),
    "state": ("gauge", "1 for the state that the agent is in, 0 for every other.", ("state",)),
    "up": ("gauge", "Whether the main process of a release runs.", ()),
    "wanted": ("gauge", "Whether the agent is to run, by this host's record; nothing before its first activation.", ()),
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
    "oom_kills": ("counter", "Processes killed at the memory limit.", ()),
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
    "certificate_expiry_timestamp_seconds": ("gauge", "When a certificate that is served on this host ends (Unix time).", ("path",)),
    "collect_timestamp_seconds": ("gauge", "When the values here were collected (Unix time).", ()),
    "collect_duration_seconds": ("gauge", "How long that took.", ()),
    "probe_timestamp_seconds": ("gauge", "When the last round of all agents' health probes ended (Unix time).", ()),
    "collect_errors": ("counter", "What could not be looked at: an agent, or what is written down of an activation.", ()),
}  # fmt: skip
CAPABILITIES = {
    "cpu": "cpu_seconds", "throttling": "cpu_periods", "memory": "memory_bytes", "oom": "oom_kills", "tasks": "tasks",
    "network": "network_transmit_bytes", "health": "healthy",
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
    refused: Optional[int] = None
    killed: int = 0

    @property
    def process(self) -> "tuple[int, Optional[str]]":
        """Pid and start: of two processes that start in one clock tick only the pid tells which is which."""
        return self.pid, self.born


@dataclass(frozen=True)
class Probed:
    """What the probes of one process saw, and when (monotonic seconds)."""

    process: "tuple[int, Optional[str]]"
    healthy: bool
    at: float


class Watch:
    """This host's agents. `samples`, `probe` and `audit` may be called from different threads."""

    def __init__(self, layout: Layout, systemd: Systemd) -> None:
        self.layout, self._systemd = layout, systemd
        self._known: dict[str, Known] = {}
        self._probed: dict[str, Probed] = {}
        self._drift: dict[str, int] = {}
        self._asked_everything, self._errors = float("-inf"), 0
        self._tried_all = time.monotonic()
        self._lock = threading.Lock()

    # -- a scrape -------------------------------------------------------------------------------------------------

    def samples(self) -> "list[Sample]":
        """Everything, as it is now."""
        began, now = time.monotonic(), time.time()
        found: list[Sample] = []
        for instance, known in self._refresh():
            with self._contained():
                found += self._of(instance, known)
        found += self._capabilities(found)
        with self._contained():
            found += self._activation()
        found.append(Sample("collect_errors", self._errors))
        found.append(Sample("collect_timestamp_seconds", now))
        found.append(Sample("collect_duration_seconds", time.monotonic() - began))
        found.append(Sample("probe_timestamp_seconds", now - (began - self._tried_all)))
        return found

    def _activation(self) -> "Iterator[Sample]":
        """One that a reboot has ended is not under way, though nobody has written down yet how it went."""
        intent = activator.read_intent(self.layout)
        if intent and not intent["done"] and "at" in intent and intent["boot"] == activator.boot():
            yield Sample("activation_start_timestamp_seconds", intent["at"])

    @contextlib.contextmanager
    def _contained(self) -> "Iterator[None]":
        """What cannot be looked at does not hide the rest; the journal says why."""
        try:
            yield
        except Exception:
            self._errors += 1
            traceback.print_exc(limit=-3)

    def _refresh(self) -> "list[tuple[Instance, Known]]":
        """The instances there are, each with what is known of it: asked anew where its process is another one."""
        here = instances(self.layout)
        with self._lock:
            everything = time.monotonic() - self._asked_everything > EVERYTHING_SECONDS
            changed = [i for i in here if everything or self._has_changed(i)]
            states = truth.states(changed, self._systemd)
            rules = egress.listing() if everything and here else None
            for instance in changed:
                with self._contained():
                    self._learn(instance, states[instance.id], rules)
            if everything:
                self._asked_everything = time.monotonic()
            for remembered in (self._known, self._probed, self._drift):
                for gone in set(remembered) - {i.id for i in here}:
                    del remembered[gone]
            return [(i, self._known[i.id]) for i in here if i.id in self._known]

    def _has_changed(self, instance: Instance) -> bool:
        known = self._known.get(instance.id)
        return known is None or not known.pid or truth.start_time(known.pid) != known.born

    def _learn(self, instance: Instance, state: "dict[str, str]", rules: Optional[str]) -> None:
        before = self._known.get(instance.id) or Known(state)
        pid = int(state.get("MainPID") or 0) if state.get("ActiveState") == "active" else 0
        running = truth.running_release(instance, pid) if pid else None
        name = running if running not in (None, truth.UNKNOWN) else release.proven(instance)
        self._known[instance.id] = Known(
            state, pid, truth.start_time(pid) if pid else None, running, release.read(instance, name) if name else {},
            before.refused if rules is None else egress.refused_in(rules, instance), kills_before(instance),
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
        limits = known.facts.get("resources", {})
        values: dict[str, Optional[float]] = {
            "up": int(bool(known.running)), "wanted": is_wanted(instance), "drift": self._drift.get(instance.id),
            "restarts": number(known.state.get("NRestarts")), "egress_refused_packets": known.refused,
            "last_progress_timestamp_seconds": newest_change(instance.state),
            "cpu_limit_cores": limits.get("cpu"), "memory_limit_bytes": limits.get("memory"), "tasks_limit": limits.get("tasks"),
        }  # fmt: skip
        if known.running:
            seen = self._probed.get(instance.id)
            if seen and seen.process == known.process and time.monotonic() - seen.at < STALE_HEALTH_SECONDS:
                values["healthy"] = int(seen.healthy)
            values["start_time_seconds"] = started_at(known.born)
            values.update(vars(cgroup.usage(known.pid)))
            if values["oom_kills"] is not None:
                values["oom_kills"] += known.killed
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
        """Try the probes of everything that runs, some at once. It takes as long as the agents take to answer."""
        with ThreadPoolExecutor(PROBES_AT_ONCE) as pool:
            list(pool.map(lambda item: self._probe(*item), self._refresh()))
        self._tried_all = time.monotonic()

    def _probe(self, instance: Instance, known: Known) -> None:
        """HTTP, TCP and readiness. A probe command is the activation's: from the exporter's sandbox it would see another host."""
        with self._contained():
            wanted = known.facts.get("manifest", {}).get("health", {})
            if known.running and (wanted.get("http") or wanted.get("tcp") or wanted.get("notify")):
                facts = dict(known.facts, manifest=dict(known.facts["manifest"], health=dict(wanted, command=None)))
                seen = health.look(facts, pid=known.pid, run_command=None)
                with self._lock:
                    self._probed[instance.id] = Probed(known.process, seen.healthy, time.monotonic())

    def audit(self) -> None:
        """Compare everything with this host's own record of it."""
        once = truth.Once()
        for instance, known in self._refresh():
            with self._contained():
                now = truth.look(instance, known.state, attempts=0, once=once)
                drift = len(info.own_drift(instance, now, known=bool(known.facts)))
                with self._lock:
                    self._drift[instance.id] = drift


def is_wanted(instance: Instance) -> Optional[int]:
    """1 if it is to run: staged as started, and not stopped by the verb, which takes the link of the unit away and is written down.

    What somebody disabled by hand is wanted. None before its first activation: a rollout puts it on all hosts before the first wave.
    """
    staged = read_known(instance.staged)
    enabled = os.path.lexists(instance.wants)
    if not (enabled or instance.proof_file.exists() or release.proven(instance)):
        return None
    return int(staged.get("state") == "started" and (enabled or not history.stopped(instance.layout, instance.id)))


def newest_change(directory: Any) -> Optional[float]:
    """When a directory or anything directly in it was last written (Unix time); None where it cannot be read.

    Of very many entries only some are looked at: how many there are is the agent's choice, and it costs everybody's scrape.
    """
    times = []
    try:
        with os.scandir(directory) as entries:
            for entry in itertools.islice(entries, MOST_ENTRIES):
                with contextlib.suppress(FileNotFoundError):  # gone in the meantime
                    times.append(entry.stat(follow_symlinks=False).st_mtime)
        return max(times + [os.stat(directory).st_mtime])
    except OSError:
        return None


def kills_before(instance: Instance) -> int:
    """How many processes were killed at the memory limit before the unit's last start, as the unit itself has kept it."""
    try:
        return sum(int(line.split()[1]) for line in instance.oom_kills.read_text().splitlines())
    except (OSError, ValueError, IndexError):
        return 0


def started_at(born: Optional[str]) -> Optional[float]:
    """The Unix time of a process's start in clock ticks since boot."""
    if born is None:
        return None
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return round(booted + int(born) / os.sysconf("SC_CLK_TCK"), 2)
