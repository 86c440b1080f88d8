# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured: real processes and files in a scratch directory; systemd's answers are given. Python 3.9 syntax."""

import contextlib
import os
import time

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils import (
    activation,
    activator,
    cgroup,
    egress,
    files,
    health,
    history,
    metrics,
    release,
    systemd,
    truth,
)

USED = cgroup.Usage(2.5, 10, 4, 4096, 1, 3)
RULES = """table inet agentfactory {
\tchain %s {
\t\tip daddr { 192.0.2.0/24, 198.51.100.7 } accept
\t\tmeta l4proto tcp counter packets 5 bytes 300 reject with tcp reset
\t\tcounter packets 2 bytes 90 reject with icmpx admin-prohibited
\t}
}
"""


class Answers(systemd.Systemd):
    """A service manager that knows what it is told, and counts how often it is asked."""

    def __init__(self):
        super().__init__()
        self.units, self.asked = {}, []

    def show(self, units):
        names = list(units)
        if names:
            self.asked.append(names)
        gone = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "MainPID": "0"}
        return {name: self.units.get(name, gone) for name in names}


@pytest.fixture
def manager():
    return Answers()


@pytest.fixture
def watch(layout, manager, monkeypatch):
    monkeypatch.setattr(cgroup, "usage", lambda _pid: USED)
    monkeypatch.setattr(egress, "listing", lambda *_args: "")
    return metrics.Watch(layout, manager)


@pytest.fixture
def running(instance, spec, lay, process, active, manager):
    """An agent that runs, as staging and activation leave it."""
    name = lay(instance, spec(resources={"cpu": 0.5, "memory": 1000, "tasks": 64}))
    release.judge(instance, name, release.GOOD, {})
    files.write_atomic(instance.unit_file, release.unit_text(instance, name))
    files.write_json(instance.staged, {"release": name, "state": "started", "environment": "lab"})
    activation.enable(instance)
    instance.state.mkdir(parents=True)
    pid = process(AGENT_RELEASE=name)
    manager.units[instance.unit] = dict(active(pid), NRestarts="2", IPIngressBytes="70", IPEgressBytes="[not set]")
    return pid


def values(samples):
    """family -> value of what has no labels but the agent's; family{label} for the rest."""
    found = {}
    for sample in samples:
        more = [v for k, v in sorted(sample.labels.items()) if k not in metrics.AGENT]
        found[sample.family + ("{%s}" % ",".join(more) if more else "")] = sample.value
    return found


def end(pid):
    """Kill a process, and see that it has ended."""
    os.kill(pid, 9)
    deadline = time.monotonic() + 60
    while truth.start_time(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_host_without_agents_says_that_it_was_looked_at(watch):
    collected = {"collect_errors", "collect_timestamp_seconds", "collect_duration_seconds"}
    assert set(values(watch.samples())) == collected | {"probe_timestamp_seconds"}


def test_everything_of_an_agent_that_runs(watch, running, instance):
    found = values(watch.samples())
    expected = {
        "agent_up": 1, "agent_wanted": 1, "agent_restarts": 2, "agent_cpu_seconds": 2.5, "agent_cpu_periods": 10,
        "agent_cpu_throttled_periods": 4, "agent_memory_bytes": 4096, "agent_oom_kills": 1, "agent_tasks": 3,
        "agent_cpu_limit_cores": 0.5, "agent_memory_limit_bytes": 1000, "agent_tasks_limit": 64,
        "agent_network_receive_bytes": 70, "agent_state{running}": 1, "agent_state{stopped}": 0,
        "agent_info{c,1.0-aaaaaaaaaaaa,1.0}": 1, "capability{cpu}": 1, "capability{network}": 0, "collect_errors": 0,
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected
    assert sum(value for name, value in found.items() if name.startswith("agent_state")) == 1
    assert abs(found["agent_start_time_seconds"] - time.time()) < 3600
    assert found["agent_last_progress_timestamp_seconds"] == instance.state.stat().st_mtime


def disabled_by_hand(instance):
    instance.wants.unlink()


def by_stop(instance):
    """What the verb `stop` does to files."""
    disabled_by_hand(instance)
    done(instance, "stop")


def enabled_by_hand(instance):
    done(instance, "stop")


def stopped_before(instance):
    """It was started again since, and then disabled by hand."""
    by_stop(instance)
    done(instance, "activate")


def not_updated(instance):
    """An activation of what was stopped failed, and left it so."""
    by_stop(instance)
    done(instance, "activate", "undone")


def never_activated(instance):
    files.remove(instance.unit_file)
    instance.wants.unlink()


def in_its_first_proof(instance):
    """An activation that ended midway."""
    never_activated(instance)
    files.write_atomic(instance.proof_file, b"")


def without_its_unit(instance):
    files.remove(instance.unit_file)


def done(instance, action, result="ok"):
    history.append(instance.layout, {"run": "r1"}, instance.id, action, before=None, after=None, result=result)


def declared_stopped(instance):
    files.write_json(instance.staged, dict(files.read_json(instance.staged), state="stopped"))


@pytest.mark.parametrize(
    ("what", "wanted"),
    [
        (lambda _stopped_by_hand: None, 1),
        (disabled_by_hand, 1),
        (by_stop, 0),
        (enabled_by_hand, 1),
        (stopped_before, 1),
        (not_updated, 0),
        (in_its_first_proof, 1),
        (without_its_unit, 1),
        (declared_stopped, 0),
    ],
)
def test_what_was_stopped_by_its_verb_is_not_wanted(watch, running, instance, manager, what, wanted):
    manager.units.clear()
    what(instance)
    found = values(watch.samples())
    assert (found["agent_up"], found["agent_wanted"]) == (0, wanted)


@pytest.mark.parametrize("stage", [lambda _started: None, declared_stopped])
def test_what_was_never_activated_is_neither_wanted_nor_unwanted(watch, running, instance, manager, stage):
    """A rollout stages on every host, and comes to the last one in its last wave: nothing is down there."""
    manager.units.clear()
    never_activated(instance)
    stage(instance)
    found = values(watch.samples())
    assert (found["agent_up"], found["agent_state{not-activated}"]) == (0, 1)
    assert "agent_wanted" not in found


@pytest.mark.parametrize("family", ["healthy", "drift", "network_transmit_bytes", "egress_refused_packets"])
def test_what_is_not_known_is_no_sample(watch, running, family):
    assert "agent_" + family not in values(watch.samples())


@pytest.mark.parametrize(
    ("kept", "kills"), [("oom_kill 1\noom_kill 2\n", 4), ("", 1), ("oom_kill", 1), ("nonsense 1 x\ny", 1)]
)
def test_what_was_killed_before_the_last_start_counts_too(watch, running, instance, kept, kills):
    instance.oom_kills.write_text(kept)
    assert values(watch.samples())["agent_oom_kills"] == kills


def test_an_agent_that_is_down_has_no_usage(watch, running, instance, manager):
    manager.units[instance.unit] = {
        "LoadState": "loaded",
        "ActiveState": "failed",
        "SubState": "failed",
        "MainPID": "0",
    }
    found = values(watch.samples())
    assert (found["agent_up"], found["agent_wanted"], found["agent_state{failed}"]) == (0, 1, 1)
    assert "agent_cpu_seconds" not in found
    assert "agent_start_time_seconds" not in found
    assert not [name for name in found if name.startswith("capability")]


def test_systemd_is_asked_about_what_changed_and_about_everything_now_and_then(
    watch, running, instance, manager, process, active, monkeypatch
):
    watch.samples()
    watch.samples()
    assert manager.asked == [[instance.unit]]
    end(running)
    manager.units[instance.unit] = active(process(AGENT_RELEASE="1.0-aaaaaaaaaaaa"))
    assert values(watch.samples())["agent_restarts"] == 0
    assert len(manager.asked) == 2
    monkeypatch.setattr(metrics, "EVERYTHING_SECONDS", -1)
    watch.samples()
    assert len(manager.asked) == 3


def test_refused_packets_are_counted(watch, running, instance, monkeypatch):
    monkeypatch.setattr(egress, "listing", lambda *_args: RULES % instance.user)
    assert values(watch.samples())["agent_egress_refused_packets"] == 7


@pytest.mark.parametrize("healthy", [True, False])
def test_health_is_what_was_last_seen_of_this_process(
    watch, running, instance, manager, process, active, monkeypatch, healthy
):
    monkeypatch.setattr(health, "look", lambda *_args, **_more: health.Seen(healthy, "http", ""))
    watch.probe()
    found = values(watch.samples())
    assert (found["agent_healthy"], found["capability{health}"]) == (healthy, 1)
    manager.units[instance.unit] = active(process(AGENT_RELEASE="1.0-aaaaaaaaaaaa"))
    end(running)
    assert "agent_healthy" not in values(watch.samples())


def test_a_probe_command_is_not_run_from_here(instance, spec, lay, process, active, manager, watch, monkeypatch):
    monkeypatch.setattr(health, "command", lambda *_args, **_more: pytest.fail("it was run"))
    name = lay(instance, spec(health={"tcp": None, "command": {"argv": ["probe"], "timeout": 2}}))
    manager.units[instance.unit] = active(process(AGENT_RELEASE=name))
    watch.probe()
    watch.audit()
    found = values(watch.samples())
    assert found["agent_up"] == 1
    assert "agent_healthy" not in found
    assert found["capability{health}"] == 0  # and it is said
    assert found["collect_errors"] == 0


def test_when_all_probes_were_tried_is_told(watch, running, monkeypatch):
    """Whoever waits for it: a scrape goes on meanwhile, with health that is too old to be told."""
    ages, began = [], time.monotonic() - 1000
    watch._tried_all = began

    def age():
        found = values(watch.samples())
        return found["collect_timestamp_seconds"] - found["probe_timestamp_seconds"]

    monkeypatch.setattr(health, "look", lambda *_args, **_more: ages.append(age()) or health.Seen(True, "http", ""))
    watch.probe()
    assert ages[0] >= 999
    assert age() <= time.monotonic() - began - 999


def test_old_health_is_not_told(watch, running, monkeypatch):
    monkeypatch.setattr(health, "look", lambda *_args, **_more: health.Seen(True, "http", ""))
    watch.probe()
    monkeypatch.setattr(metrics, "STALE_HEALTH_SECONDS", -1)
    assert "agent_healthy" not in values(watch.samples())


def test_drift_is_counted(watch, running, instance):
    watch.audit()
    before = values(watch.samples())["agent_drift"]
    files.write_atomic(instance.unit_file, instance.unit_file.read_bytes() + b"# changed\n")
    watch.audit()
    assert values(watch.samples())["agent_drift"] == before + 1


def test_what_was_stopped_by_its_verb_is_no_drift(watch, running, instance, manager):
    watch.audit()
    before = values(watch.samples())["agent_drift"]
    manager.units.clear()
    end(running)
    by_stop(instance)
    watch.audit()
    assert values(watch.samples())["agent_drift"] == before


def test_an_activation_under_way_is_told(watch, layout):
    activator.write_intent(layout, [], {"who": {"run": "r"}})
    assert abs(values(watch.samples())["activation_start_timestamp_seconds"] - time.time()) < 3600


def test_an_activation_that_a_reboot_has_ended_is_not_under_way(watch, layout, monkeypatch):
    activator.write_intent(layout, [], {"who": {"run": "r"}})
    monkeypatch.setattr(activator, "boot", lambda: "the next one")
    assert "activation_start_timestamp_seconds" not in values(watch.samples())


@pytest.mark.parametrize(
    ("written", "errors"), [("[1]", 0), ("{", 0), ('{"done": false, "at": 1}', 1), ('{"run": "r"}', 1)]
)
def test_a_damaged_record_of_an_activation_does_not_hide_the_agents(watch, running, layout, written, errors):
    path = activator.intent_path(layout)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written)
    found = values(watch.samples())
    assert (found["agent_up"], found["collect_errors"]) == (1, errors)
    assert "activation_start_timestamp_seconds" not in found


def test_one_agent_that_cannot_be_read_does_not_hide_the_others(watch, running, instance, layout):
    broken = layout.agents / "broken" / "0"
    (broken / "releases").mkdir(parents=True)
    (broken / "staged.json").mkdir()
    found = watch.samples()
    assert values(found)["collect_errors"] == 1
    assert {s.labels["agent"] for s in found if s.family == "agent_up"} == {"robot-arm"}


def test_what_breaks_a_look_is_counted_and_keeps_nobody_else_from_being_looked_at(watch, running, layout, monkeypatch):
    (layout.agents / "broken" / "0" / "releases").mkdir(parents=True)
    monkeypatch.setattr(health, "look", lambda *_args, **_more: 1 / 0)
    learn = metrics.Watch._learn

    def learn_but_one(self, instance, *rest):
        if instance.agent == "broken":
            raise OSError("damaged")
        learn(self, instance, *rest)

    monkeypatch.setattr(metrics.Watch, "_learn", learn_but_one)
    watch.probe()
    found = watch.samples()
    assert values(found)["collect_errors"] >= 2
    assert {s.labels["agent"] for s in found if s.family == "agent_up"} == {"robot-arm"}


def test_what_vanishes_under_a_look_takes_nothing_else_along(tmp_path, monkeypatch):
    scan = os.scandir
    (tmp_path / "stays").touch()
    os.utime(tmp_path / "stays", (2e9, 2e9))
    (tmp_path / "goes").touch()

    @contextlib.contextmanager
    def scan_and_lose_one(place):
        with scan(place) as entries:
            found = list(entries)
        (tmp_path / "goes").unlink()
        yield iter(found)

    monkeypatch.setattr(metrics.os, "scandir", scan_and_lose_one)
    assert metrics.newest_change(tmp_path) == 2e9
    monkeypatch.undo()
    assert metrics.newest_change(tmp_path / "nothing") is None


def test_a_start_in_ticks_is_a_time():
    with open("/proc/self/stat") as stat:
        born = stat.read().rpartition(")")[2].split()[19]
    assert abs(metrics.started_at(born) - time.time()) < 3600
    assert metrics.started_at(None) is None


@pytest.mark.parametrize("name", sorted(metrics.AGENT_FAMILIES) + sorted(metrics.HOST_FAMILIES))
def test_families_are_named_as_prometheus_asks(name):
    kind, text, labels = {**metrics.AGENT_FAMILIES, **metrics.HOST_FAMILIES}[name]
    assert kind in ("gauge", "counter")
    assert not name.endswith("_total")
    assert text.endswith(".")
    assert isinstance(labels, tuple)
