# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What monitoring says when something is wrong, on real hosts: agents that leak, spin, fall silent, vanish or talk nonsense; exporters
and hosts that are gone. And what it says when nothing is: nothing.

The rules are the role's, but nobody waits for hours here: a minute of their `for` is MINUTE seconds, and INSTEAD says which other
lengths are shorter. So these tests show that real series, from real hosts, meet the rules' expressions, routes and inhibitions; that the
lengths are right, promtool shows (tests/unit/monitoring). AgentDown with its real `for` is in test_monitoring.py.
"""

import json
import math
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from . import faults
from .harness import ENVIRONMENT, Fleet, Host, Shelf, until
from .monitored import Monitored

MINUTE = 3
# That a host is being changed is known to a rule some evaluations later, on a busy machine.
MINUTE_OF_UPDATE = 10
INSTEAD = {
    "AgentMemoryLeak": {"[3h]": "[30s]", "6 * 3600": "240", "> 3 * 3600": "> 30"},
    "agentfactory:signal": {"[5m]": "[20s]"},
    "agentfactory:signal:avg30m": {"[30m]": "[20s]"},
    "AgentSilent": {"[1d] offset 1d": "[90s] offset 90s", "> 900": "> 20", ">= 24": ">= 4"},
}
MEBIBYTE = 1024 * 1024
LEAK = 0.25 * MEBIBYTE
# name: (instances on a host, first port). Of six workers one spins and one is silent; of nine talkers eight talk nonsense; of three
# singles one leaks and one does a known amount of work. Guests listen on loopback only; one of two vanishes.
AGENTS = {"worker": (2, 18100), "talker": (3, 18110), "single": (1, 18120), "guest": (1, 18130)}
NONSENSE = ("garbage", "nan", "duplicates", "half", "huge", "labels", "long", "hang")
FAILED_SCRAPE = ("garbage", "half", "huge", "labels", "long", "hang")


class Agent:
    """An instance of faulty-agent."""

    def __init__(self, host: Host, name: str, instance: int) -> None:
        self.host, self.name, self.id = host, name, f"{name}@{instance}"
        self.port = AGENTS[name][1] + instance
        self.url = f"http://{host.address}:{self.port}"
        self.series = f'{{host="{host.name}", agent_id="{self.id}"}}'

    def own_series(self) -> str:
        """What it says of itself, without what Prometheus says of it."""
        return '{__name__!~"up|scrape_.*|ALERTS.*", job="agents", ' + self.series[1:]

    def do(self, fault: str, value: str = "") -> None:
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{fault}?{value}", method="POST"), timeout=30):
            pass

    def says(self) -> dict[str, Any]:
        return dict(self.host.get(self.port)[1])

    def fetch(self, count: int) -> None:
        with urllib.request.urlopen(f"{self.url}/bytes?{count}", timeout=60) as answer:
            assert len(answer.read()) == count


class Patients:
    """Who has which fault."""

    def __init__(self, hosts: list[Host]) -> None:
        first, second, third = hosts
        self.spinner, self.silent = Agent(third, "worker", 1), Agent(second, "worker", 0)
        self.leaker, self.burner = Agent(first, "single", 0), Agent(second, "single", 0)
        self.gone = Agent(third, "guest", 0)
        talkers = [Agent(host, "talker", instance) for host in hosts for instance in range(3)]
        self.talkers = dict(zip((*NONSENSE, "well"), talkers, strict=True))

    def fall_ill(self) -> None:
        self.leaker.do("hold", str(40 * MEBIBYTE))
        self.leaker.do("leak", str(LEAK))
        self.spinner.do("spin", "0.6")
        self.silent.do("silent")
        for kind in NONSENSE:
            self.talkers[kind].do("talk", kind)


def declare(fleet: Fleet, version: str) -> Fleet:
    hosts = [host.name for host in fleet.lab.hosts]
    where = {"guest": ":".join(hosts[1:])}
    return fleet.write(
        {
            name: {"version": version, "hosts": where.get(name, "all"), "instances": count, "ports": {"http": port}, "secrets": {}}
            for name, (count, port) in AGENTS.items()
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def monitored(module_fleet: Fleet, shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    made = Monitored(module_fleet, tmp_path_factory.mktemp("monitoring"))
    for name in AGENTS:
        for version in ("1.0.0", "1.1.0"):
            # An activation lasts so long that at least one scrape of each host sees it.
            command = ["bin/faulty-agent"] + ["127.0.0.1"] * (name == "guest")
            shelf.put("faulty-agent", version, name=name, command=command, health={"bake": 4})
    try:
        deploy = declare(module_fleet, "1.0.0").start("deploy")
        made.run().ok()
        deploy.end().ok()
        made.hurry(MINUTE_OF_UPDATE, INSTEAD)
        with made.receiver():
            yield made
    finally:
        made.run("-e", "monitoring_state=absent").ok()


@pytest.fixture(scope="module")
def ill(monitored: Monitored) -> Patients:
    """All that can be wrong with agents begins at once; each test waits for what is said of one of them."""
    monitored.hurry(MINUTE, INSTEAD)
    found = Patients(monitored.fleet.lab.hosts)
    found.fall_ill()
    monitored.fleet.run("destroy", "-e", "agents=guest", "-e", "purge=true", "--limit", found.gone.host.name).ok()
    return found


def test_a_rolling_update_pages_nobody(monitored: Monitored) -> None:
    """Not even with a `for` of twenty seconds."""
    count = len(monitored.ask("agentfactory_fleet_agent"))
    until(lambda: len(monitored.ask("agentfactory_agent_healthy == 1")) == count, "all agents are seen")
    began = time.time()
    declare(monitored.fleet, "1.1.0").deploy().ok()
    until(lambda: len(monitored.ask('agentfactory_agent_info{version="1.1.0"}')) == count, "all are updated")
    ago = f"[{int(time.time() - began) + 1}s]"
    assert len(monitored.ask(f"max_over_time(agentfactory:host_quiet{ago})")) == len(monitored.fleet.lab.hosts)
    assert monitored.ask(f'max_over_time(ALERTS{{severity="page", alertstate="firing"}}{ago})') == []


def test_agents_are_asked_by_the_exporter_of_their_host(monitored: Monitored) -> None:
    """Over TLS and with its password: so they may listen on loopback only."""
    for host in monitored.fleet.lab.hosts[1:]:
        assert host.get(AGENTS["guest"][1])[0] == 0
    until(lambda: len(monitored.ask('up{job="agents", agent="guest"} == 1')) == 2, "who listens on loopback is scraped")
    addresses = {host.name: host.address for host in monitored.fleet.lab.hosts}
    targets = monitored.get(9090, "/api/v1/targets?state=active")["data"]["activeTargets"]
    asked = [target for target in targets if target["scrapePool"] == "agents"]
    assert len(asked) == len(monitored.ask("agentfactory_fleet_agent"))
    for target in asked:
        labels, address = target["labels"], addresses[target["labels"]["host"]]
        port = AGENTS[labels["agent"]][1] + int(labels["agent_id"].partition("@")[2])
        assert target["scrapeUrl"] == f"https://{address}:9472/agents/{labels['agent_id']}/metrics"
        assert labels["instance"] == f"{address}:{port}"


def scraped(monitored: Monitored, agent: Agent, family: str) -> float:
    """The value as it is scraped from now on."""
    query = f"agentfactory_agent_{family}{agent.series}"
    asked = time.time()
    until(lambda: (monitored.value(f"timestamp({query})") or 0) > asked, f"{family} is scraped")
    return monitored.value(query) or 0


def test_the_values_are_those_of_a_known_load(monitored: Monitored, ill: Patients) -> None:
    """CPU and memory, within 5 %."""
    agent = ill.burner
    now = partial(scraped, monitored, agent)
    cpu, memory, said = now("cpu_seconds_total"), now("memory_bytes"), agent.says()
    agent.do("hold", str(40 * MEBIBYTE))
    agent.do("burn", "3")
    until(lambda: agent.says()["to_burn"] == 0, "all is burnt")
    assert now("memory_bytes") - memory == pytest.approx(40 * MEBIBYTE, rel=0.05)
    seen, told = now("cpu_seconds_total") - cpu, agent.says()["cpu"] - said["cpu"]
    assert told >= 3
    assert seen == pytest.approx(told, rel=0.05)


def test_the_traffic_is_that_of_a_known_load(monitored: Monitored, ill: Patients) -> None:
    """Within 5 %, once systemd was asked for it: twice a minute."""
    agent = ill.burner
    counted = monitored.value(f'agentfactory_capability{{host="{agent.host.name}", capability="network"}}')
    if counted != 1:
        pytest.skip(f"systemd on {agent.host.release} counts no IP traffic here")
    now = partial(scraped, monitored, agent, "network_transmit_bytes_total")
    sent = now()
    agent.fetch(40 * MEBIBYTE)
    until(lambda: now() - sent > 39 * MEBIBYTE, "the traffic is counted")
    assert now() - sent == pytest.approx(40 * MEBIBYTE, rel=0.05)


@pytest.mark.parametrize("kind", FAILED_SCRAPE)
def test_nonsense_costs_who_talks_it_its_samples_and_is_told(monitored: Monitored, ill: Patients, kind: str) -> None:
    agent = ill.talkers[kind]
    told = until(lambda: monitored.received("AgentMetricsAbsent", "firing", agent.host, agent.id), "it is told")
    assert told[0]["labels"]["severity"] == "ticket"
    until(lambda: not monitored.ask(f"last_over_time({agent.own_series()}[10s])"), "nothing that it says is taken")
    assert monitored.value(f"agentfactory_agent_healthy{agent.series}") == 1


def test_duplicates_are_taken_once_and_are_seen(monitored: Monitored, ill: Patients) -> None:
    """Prometheus counts them by itself from 2.53 on. Before, it says how many samples it was given, and there are fewer series."""
    agent = ill.talkers["duplicates"]
    twice = f"scrape_samples_post_metric_relabeling{agent.series} - on () count({agent.own_series()})"
    until(lambda: monitored.value(twice) == 1, "one sample was given twice")
    assert monitored.value(f"faulty_twice{agent.series}") in (1, 2)


def test_what_is_no_number_stays_where_it_was_said(monitored: Monitored, ill: Patients) -> None:
    """NaN is a value like another. What is counted over all instances of an agent leaves it out."""
    agent = ill.talkers["nan"]
    until(lambda: monitored.value(f"faulty_pressure{agent.series}") == 1, "what is said beside it is known")
    assert math.isnan(monitored.value(f"faulty_temperature{agent.series}") or 0)
    # It was said to be of the day of the epoch, and is taken for what is: when something was is not for an agent to say.
    until(lambda: monitored.value(f"faulty_yesterday{agent.series}") == 1, "its time is ours")
    rate = 'agentfactory:requests:rate5m{agent="talker"}'
    until(lambda: monitored.value(rate) == 0, "the requests of all talkers are a number")


def test_others_go_on_beside_nonsense(monitored: Monitored, ill: Patients) -> None:
    for kind in ("well", "nan", "duplicates"):
        series = f"up{ill.talkers[kind].series}"
        asked = time.time()
        until(lambda: (monitored.value(f"timestamp({series} == 1)") or 0) > asked, f"{kind} is scraped")  # noqa: B023
    count = 2 * len(monitored.fleet.lab.hosts)
    until(lambda: len(monitored.ask('up{job=~"node|agentfactory"} == 1')) == count, "all exporters are scraped")


def test_one_that_vanished_is_missed(monitored: Monitored, ill: Patients) -> None:
    (told,) = until(lambda: monitored.received("AgentMissing", "firing", ill.gone.host, ill.gone.id), "it is told")
    assert told["labels"]["severity"] == "page"


def test_one_that_does_nothing_is_told(monitored: Monitored, ill: Patients) -> None:
    until(lambda: monitored.received("AgentSilent", "firing", ill.silent.host, ill.silent.id), "it is told")
    assert not monitored.received("AgentSilent", "firing", ill.silent.host, "worker@1")


def test_one_of_six_that_spins_is_an_outlier(monitored: Monitored, ill: Patients) -> None:
    until(lambda: monitored.firing("AgentAnomalyPeer", agent="worker", signal="cpu"), "it is seen")
    found = monitored.firing("AgentAnomalyPeer", agent="worker")
    assert [(one["host"], one["agent_id"], one["signal"]) for one in found] == [
        (ill.spinner.host.name, ill.spinner.id, "cpu")
    ]


def test_a_leak_is_told_before_the_kernel_kills_and_then_that_it_has(monitored: Monitored, ill: Patients) -> None:
    agent = ill.leaker
    (leak,) = until(lambda: monitored.received("AgentMemoryLeak", "firing", agent.host, agent.id), "it is told")
    assert monitored.value(f"agentfactory_agent_oom_kills_total{agent.series}") == 0
    agent.do("leak", str(40 * MEBIBYTE))
    (kill,) = until(
        lambda: monitored.received("AgentOutOfMemoryKill", "firing", agent.host, agent.id), "the kill is told"
    )
    assert leak["startsAt"] < kill["startsAt"]


# -- exporters and hosts; from here on the agents are as ill as they were ----------------------------------------------


@pytest.fixture(scope="module")
def outage(monitored: Monitored, ill: Patients) -> Iterator[datetime]:
    """On the first host the power fails, on the second the exporter ends, and Prometheus does not ask the third one's any more."""
    first, second, third = monitored.fleet.lab.hosts
    began = datetime.now(UTC)
    faults.podman("kill", first)
    second.sh("systemctl stop agentfactory-exporter")
    targets = f"/etc/prometheus/agentfactory/targets/agentfactory/{ENVIRONMENT}.json"
    left = [one for one in faults.read(monitored.server, targets) if one["labels"]["host"] != third.name]
    monitored.server.sh(f"cat > {targets}", data=json.dumps(left))
    yield began
    second.sh("systemctl start agentfactory-exporter")


def test_an_exporter_that_is_dead_is_no_agent_that_is_down(monitored: Monitored, outage: datetime) -> None:
    host = monitored.fleet.lab.hosts[1]
    (told,) = until(lambda: monitored.received("MonitoringCollectorStale", "firing", host), "it is told")
    assert (told["labels"]["severity"], told["labels"]["job"]) == ("ticket", "agentfactory")
    assert Agent(host, "talker", 1).says()["version"] == "1.1.0"
    assert {item["labels"]["alertname"] for item in monitored.pages(since=outage, host=host)} == set()


def test_agents_that_nobody_asks_about_are_missed(monitored: Monitored, outage: datetime) -> None:
    host = monitored.fleet.lab.hosts[2]
    expected = {one["labels"]["agent_id"] for one in monitored.ask(f'agentfactory_fleet_agent{{host="{host.name}"}}')}
    assert len(expected) == 7

    def told() -> bool:
        return {item["labels"]["agent_id"] for item in monitored.received("AgentMissing", "firing", host)} == expected

    until(told, "all are told")


def test_a_host_that_is_down_is_one_page_and_silences_the_rest(monitored: Monitored, outage: datetime) -> None:
    host = monitored.fleet.lab.hosts[0]
    until(lambda: monitored.received("HostDown", "firing", host), "it is told")

    def silenced() -> dict[str, str]:
        """By name, the state of Alertmanager's alerts on the host."""
        alerts = monitored.get(9093, "/api/v2/alerts")
        return {
            one["labels"]["alertname"]: one["status"]["state"]
            for one in alerts
            if one["labels"].get("host") == host.name
        }

    # That it was killed for its memory is true for a quarter of an hour, whatever comes after it.
    until(lambda: silenced().get("AgentOutOfMemoryKill") == "suppressed", "what is said of its agents is silenced")
    assert {name for name, state in silenced().items() if state == "active"} == {"HostDown"}
    assert [item["labels"]["alertname"] for item in monitored.pages(since=outage, host=host)] == ["HostDown"]
    faults.boot(host)
    until(lambda: monitored.received("HostDown", "resolved", host), "the end is told")
