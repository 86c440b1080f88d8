# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Monitoring from nothing: set up, checked, seen, told, updated, left, taken away.

Grafana is a stand-in, since Debian does not have it: its group, its directory and a unit of its name that does nothing. What the
role brings for it is looked at; that Grafana reads it is not tested.
"""

import itertools
import json
import math
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from ansible_collections.agentfactory.core.plugins.plugin_utils import prometheus

from ..unit.monitoring import grafana_variables
from . import balancer
from .harness import ENVIRONMENT, ROOT, Fleet, Host, Lab, Shelf, until
from .loaded import Loaded
from .monitored import FORMER, PASSWORD, SCRAPE_SECONDS, WEB_PASSWORD, Monitored

NEW = ("prometheus-2", "password-of-from-now-on")

# Something else to scrape: any page of metrics will do, and this one is not to be had without the password.
EXTRA = {
    "job_name": "extra", "scheme": "https", "tls_config": {"insecure_skip_verify": True},
    "static_configs": [{"targets": ["127.0.0.1:9093"]}],
    "basic_auth": {"username": "operator", "password_file": "/etc/prometheus/agentfactory/web/password"},
}  # fmt: skip
READ = """python3 - <<'END'
import ssl, urllib.error, urllib.request
try:
    print(urllib.request.urlopen("https://127.0.0.1:%d/metrics", context=ssl._create_unverified_context()).read())
except urllib.error.HTTPError as error:
    assert error.code == 401, error
END"""


def declare(fleet: Fleet, queues: int) -> Fleet:
    """Two probe-agents on each host, and so many that can be loaded."""
    # With a limit: of an agent that has none, nobody counts how often it was held back.
    probe = {"instances": 2, "resources": {"cpu": 0.5}}
    return fleet.write({"probe-agent": probe, "queue-agent": {"instances": queues, "secrets": {}}})


@pytest.fixture(scope="module")
def monitored(
    module_fleet: Fleet, lab: Lab, shelf: Shelf, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Monitored]:
    folder = tmp_path_factory.mktemp("monitoring")
    trixie = lab.hosts[2]
    made = Monitored(
        module_fleet, folder, groups=("monitoring", "grafana"),
        monitoring_grafana_packages=[], monitoring_scrape_configs=[EXTRA, *balancer.scraped(trixie)],
    )  # fmt: skip
    # A host that is in use has lists of packages: without them a check cannot know what could be installed.
    lab.on_all(lambda host: host.sh("apt-get update -qq"))
    shelf.put("queue-agent")
    declare(module_fleet, queues=1).deploy().ok()
    with (
        made.receiver(),
        made.grafana(),
        balancer.balancer(lab, trixie, folder, {"prometheus": PASSWORD, **dict([NEW])}),
    ):
        yield made


def test_a_check_a_run_and_nothing_to_do(monitored: Monitored) -> None:
    check = monitored.run("--check").ok()
    assert check.changed
    assert monitored.run("--diff").ok().changed
    again = monitored.run().ok()
    assert again.changed == 0, again.output
    for log in monitored.fleet.folder.glob("*.txt"):
        assert not [secret for secret in (PASSWORD, FORMER[1], WEB_PASSWORD) if secret in log.read_text()]


def test_every_host_and_agent_is_seen(monitored: Monitored) -> None:
    hosts = {host.name for host in monitored.fleet.lab.hosts}
    until(
        lambda: len(monitored.ask('up{job=~"node|agentfactory"} == 1')) == 2 * len(hosts), "all exporters are scraped"
    )
    until(lambda: len(monitored.ask("agentfactory_agent_healthy == 1")) == 3 * len(hosts), "all agents are healthy")
    until(lambda: monitored.ask('up{job="extra"} == 1'), "what is scraped besides")
    serving = f'haproxy_server_status{{state="UP", environment="{ENVIRONMENT}"}} == 1'
    until(lambda: len(monitored.ask(serving)) == len(hosts), "the load balancer has a server on each host")
    # With its host: the package's own configuration has scraped without, and that is remembered for five minutes.
    itself = f'up{{job=~"prometheus|alertmanager", host="{monitored.server.name}"}} == 1'
    until(lambda: len(monitored.ask(itself)) == 2, "the server itself is scraped")
    # Where Prometheus is, the end of its own certificate is known too.
    ends = (
        'agentfactory_certificate_expiry_timestamp_seconds{path="/etc/prometheus/agentfactory/web/server.pem"} > time()'
    )
    (known,) = until(lambda: monitored.ask(ends), "when the certificate of Prometheus ends")
    assert known["labels"]["host"] == monitored.server.name
    missing = monitored.ask("agentfactory_fleet_agent unless on (host, agent_id) agentfactory_agent_up == 1")
    assert missing == []
    assert {s["labels"]["host"] for s in monitored.ask("agentfactory_agent_memory_bytes > 0")} == hosts


def test_the_page_of_status_draws_what_was_scraped(monitored: Monitored, tmp_path: Path) -> None:
    path = tmp_path / "fleet.html"
    asked = {"agentfactory_prometheus_url": monitored.connection().url, "agentfactory_prometheus": monitored.access}
    monitored.fleet.run("status", "-e", "format=html", "-e", f"output={path}", "-e", json.dumps(asked)).ok()
    lines = re.findall(r'aria-label="last 6 h: \d+ MiB to \d+ MiB"><path d="M[^"]+"', path.read_text())
    assert len(lines) == 3 * len(monitored.fleet.lab.hosts)


@pytest.mark.parametrize("port", [9100, 9472, 9090, 9093])
def test_nobody_reads_it_without_the_password(monitored: Monitored, port: int) -> None:
    host = monitored.fleet.lab.hosts[2] if port in (9100, 9472) else monitored.server
    assert host.get(port, "/metrics")[0] != 200
    told = host.sh(READ % port)
    assert "agentfactory_" not in told
    assert "node_" not in told
    assert "alertmanager_" not in told


@pytest.mark.parametrize("port", [9100, 9472])
def test_who_is_let_in_besides(monitored: Monitored, port: int) -> None:
    assert {answer(monitored, host, port, FORMER) for host in monitored.fleet.lab.hosts} == {200}


def answer(monitored: Monitored, host: Host, port: int, who: tuple[str, str]) -> int:
    """With which status an exporter answers to a name and a password."""
    url = f"https://{host.address}:{port}/metrics"
    return requests.get(url, auth=who, verify=monitored.access["ca_path"], timeout=60).status_code


@pytest.fixture(scope="module")
def down(monitored: Monitored) -> tuple[float, dict[str, Any]]:
    """An agent goes down on the first host: when it did, by the hosts' clock, which is one, and what the receiver is told first."""
    host = monitored.fleet.lab.hosts[0]
    stopped = float(host.sh("systemctl stop agentfactory-probe-agent@1; date +%s.%N"))
    until(lambda: monitored.received("AgentDown", "firing"), "the receiver hears that it is down")
    told = [item for item in monitored.messages() if item["labels"]["alertname"] == "AgentDown"]
    return stopped, told[0]


def test_nothing_delays_a_page_but_what_the_documentation_adds_up(
    monitored: Monitored, down: tuple[float, dict[str, Any]], record_property: Callable[[str, object], None]
) -> None:
    """The next scrape shows it, an evaluation takes it from there, the first one after `for` fires, and then its group waits once.

    How long it took is only told, beside the sum of what was configured: how fast this machine is, is no property of the code.
    """
    stopped, told = down
    labels = f'host="{told["labels"]["host"]}", agent_id="probe-agent@1"'
    fired, waits = datetime.fromisoformat(told["startsAt"]).timestamp(), monitored.waits("AgentDown")
    scraped = monitored.samples(f"agentfactory_agent_up{{{labels}}}")
    assert {value for at, value in scraped if stopped < at <= fired} == {0}, "every scrape shows it"
    alert = f'alertname="AgentDown", {labels}'
    firing = until(lambda: monitored.samples(f'ALERTS{{{alert}, alertstate="firing"}}'), "it is in the series")
    assert fired in [at for at, _value in firing]
    active = monitored.value(f"ALERTS_FOR_STATE{{{alert}}} @ {fired:.3f}") or 0  # whole seconds
    known = monitored.samples(f'ALERTS{{{alert}, alertstate="pending"}}')
    pending = [at for at, _value in known if active <= at < fired]
    assert stopped < pending[0] < active + 1
    assert pending[-1] - pending[0] < waits["for"] <= fired - pending[0] + 0.001, (
        "the first evaluation after `for` fires"
    )
    assert told["received"] >= fired + waits["group_wait"]
    assert told == next(item for item in monitored.messages() if item["group"] == told["group"]), (
        "it is its group's first"
    )
    seen, most = told["received"] - stopped, sum(waits.values())
    record_property("seconds until it was told", round(seen, 1))
    record_property("seconds at most, as configured", most)
    parts = " + ".join(f"{name} {value:g}" for name, value in waits.items())
    print(f"AgentDown: told after {seen:.1f} s; as configured at most {parts} = {most:g} s")


def test_an_agent_that_goes_down_is_told_and_told_again_when_it_is_back(
    monitored: Monitored, down: tuple[float, dict[str, Any]]
) -> None:
    host, told = monitored.fleet.lab.hosts[0], down[1]
    labels = {
        "agent": "probe-agent",
        "agent_id": "probe-agent@1",
        "host": host.name,
        "environment": "it",
        "severity": "page",
    }
    assert {key: told["labels"].get(key) for key in labels} == labels
    assert "probe-agent@1" in told["annotations"]["summary"]
    assert told["annotations"]["runbook_url"].endswith("/AgentDown.md")
    host.sh("systemctl start agentfactory-probe-agent@1")
    (back,) = until(lambda: monitored.received("AgentDown", "resolved"), "the receiver hears that it is back")
    assert (back["fingerprint"], back["labels"]) == (told["fingerprint"], told["labels"])
    assert back["endsAt"] > told["startsAt"]


def test_every_panel_has_data(monitored: Monitored) -> None:
    """Of the dashboards whose series are all here; the others have theirs in the unit tests. A list of alerts may be empty."""
    client = prometheus.Client(monitored.connection())
    for name in ("fleet", "agent", "host", "loadbalancer", "monitoring"):
        dashboard = json.loads((ROOT / f"roles/monitoring/files/dashboards/{name}.json").read_text())
        chosen = grafana_variables.chosen(client, dashboard)
        assert all(chosen.values()), chosen
        for panel in dashboard["panels"]:
            queries = [grafana_variables.filled(target["expr"], chosen) for target in panel.get("targets", [])]
            if queries and "noValue" not in panel["fieldConfig"]["defaults"]:
                until(lambda queries=queries: any(map(monitored.ask, queries)), f"data for {name}: {panel['title']}")


def test_a_new_password_costs_no_scrape(monitored: Monitored) -> None:
    """As the guide says it is done; and in the end the former one is refused."""
    hosts, began = monitored.fleet.lab.hosts, time.time()
    name, password = NEW
    former = {"prometheus": PASSWORD}
    monitored.say(monitoring_username=name, monitoring_password=password, monitoring_more_users=former)
    runs = [monitored.run().ok()]
    everywhere = list(itertools.product(hosts, (9100, 9472)))
    assert {answer(monitored, *one, who) for one in everywhere for who in (NEW, *former.items())} == {200}
    assert monitored.server.sh("ls /etc/prometheus/agentfactory/passwords") == name
    monitored.say(monitoring_more_users={})
    runs.append(monitored.run().ok())
    assert {answer(monitored, *one, who) for one in everywhere for who in (FORMER, *former.items())} == {401}
    ended = time.time()
    until(lambda: (monitored.value("min(timestamp(up))") or 0) > ended, "everything is scraped once more")
    ago = f"{int(time.time() - began) + 1}s"
    # Who is refused is told so at once; what failed only when its time was over, this machine was too busy for.
    refused = f"up == 0 and scrape_duration_seconds < {SCRAPE_SECONDS}"
    assert monitored.ask(f"count_over_time(({refused})[{ago}:1s])") == []
    down = 'ALERTS{alertname=~"HostDown|BalancerDown", alertstate="firing"}'
    assert monitored.ask(f"count_over_time({down}[{ago}])") == []
    assert not [secret for run in runs for secret in (PASSWORD, password) if secret in run.output]


def test_grafana_is_told_of_prometheus_and_the_dashboards(monitored: Monitored) -> None:
    def read(path: str) -> Any:
        return yaml.safe_load(monitored.server.sh(f"cat /etc/grafana/provisioning/{path}/agentfactory.yml"))

    (source,) = read("datasources")["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", monitored.connection().url)
    assert (source["basicAuth"], source["basicAuthUser"]) == (True, "operator")
    assert source["jsonData"]["timeInterval"] == "2s"
    place = "/etc/grafana/agentfactory"
    files = {"basicAuthPassword": f"{place}/password", "tlsCACert": f"{place}/ca.pem"}
    assert source["secureJsonData"] == {key: f"$__file{{{path}}}" for key, path in files.items()}
    assert monitored.server.sh(f"cat {place}/password") == WEB_PASSWORD
    assert monitored.server.sh(f"stat -c '%a %U %G' {place}/password") == "640 root grafana"
    (provider,) = read("dashboards")["providers"]
    assert provider["options"] == {"path": f"{place}/dashboards"}
    brought = monitored.server.sh(f"cd {place}/dashboards && sha256sum *.json")
    folder = ROOT / "roles/monitoring/files/dashboards"
    ours = subprocess.run("sha256sum *.json", shell=True, cwd=folder, capture_output=True, text=True, check=True)
    assert brought == ours.stdout.strip()
    assert monitored.server.sh("systemctl is-active grafana-server") == "active"


def test_what_is_predicted_happens_and_the_advice_helps(monitored: Monitored) -> None:
    before, answer = Loaded(monitored, each=1).compare()
    assert not answer["slo_met"]
    each = math.ceil(answer["needed"]["instances"] / len(monitored.fleet.lab.hosts))
    more = declare(monitored.fleet, queues=each).start("deploy")
    monitored.run("--limit", monitored.server.name).ok()  # it has to know of them, the others' exporters see them
    more.end().ok()
    after, _answer = Loaded(monitored, each).compare()
    assert after < before
    monitored.fleet.run("destroy", "-e", "agents=queue-agent", "-e", "purge=true").ok()


def test_an_update_is_silenced_while_it_lasts(monitored: Monitored) -> None:
    monitored.fleet.write({"probe-agent": {"instances": 2, "version": "1.1.0"}})
    asked = {
        "agentfactory_alertmanager_url": monitored.connection(9093).url,
        "agentfactory_alertmanager": monitored.access,
    }
    monitored.fleet.deploy("-e", json.dumps(asked)).ok()
    (silence,) = monitored.get(9093, "/api/v2/silences")
    names = "|".join(sorted(host.name.replace("-", "\\-") for host in monitored.fleet.lab.hosts))
    matchers = {item["name"]: item["value"] for item in silence["matchers"]}
    assert "|".join(sorted(matchers["host"].split("|"))) == names
    assert silence["status"]["state"] == "expired"


# What a run has left that was cut short before its handlers: the file is as declared, and what runs has read another one. And, on each
# host, a program that is newer than the process.
CUT_SHORT = """
cp -p /etc/prometheus/alertmanager.yml /var/tmp/declared.yml
sed -i 's/^  group_interval: .*/  group_interval: 7m/' /etc/prometheus/alertmanager.yml
systemctl reload prometheus-alertmanager
"""
NOT_IN_FORCE = ("/opt/agentfactory-exporter/exporter.pyz", "/etc/systemd/system/agentfactory-exporter.service")
PUT_BACK = "cat /var/tmp/declared.yml > /etc/prometheus/alertmanager.yml; rm /var/tmp/declared.yml"


def test_what_leaves_the_fleet_is_neither_asked_for_nor_missed(monitored: Monitored) -> None:
    """And what an earlier run has left undone is done on the way."""
    others = f"!{monitored.server.name}"
    monitored.fleet.run("destroy", "-e", "agents=all", "-e", "purge=true", "--limit", others).ok()
    monitored.fleet.write({"probe-agent": {"hosts": monitored.server.name, "instances": 2, "version": "1.1.0"}})

    def interval() -> bool:
        return "group_interval: 7m" in monitored.get(9093, "/api/v2/status")["config"]["original"]

    def running() -> list[str]:
        script = "systemctl show --property=InvocationID agentfactory-exporter prometheus-node-exporter prometheus 2>&1"
        return monitored.fleet.lab.on_all(lambda host: host.sh(script))

    monitored.server.sh(CUT_SHORT)
    until(interval, "Alertmanager has read another file")
    monitored.server.sh(PUT_BACK)
    for host, path in zip(monitored.fleet.lab.hosts, itertools.cycle(NOT_IN_FORCE), strict=False):
        host.sh(f"touch {path} && systemctl daemon-reload")
    before = running()
    monitored.run().ok()
    until(lambda: not interval(), "Alertmanager has read its file")
    for was, now in zip(before, running(), strict=True):
        exporter, node_exporter, *server = zip(was.split(), now.split(), strict=True)
        assert exporter[0] != exporter[1]
        assert all(one == other for one, other in server), "Prometheus is told, and not started anew"
        assert node_exporter[0] == node_exporter[1]
    until(lambda: len(monitored.ask("agentfactory_fleet_agent")) == 2, "two are expected")
    until(lambda: len(monitored.ask("agentfactory_agent_up")) == 2, "two are there")
    assert monitored.ask('ALERTS{alertname="AgentMissing", alertstate="firing"}') == []


def test_two_fleets_share_a_server_and_the_last_takes_it_away(
    monitored: Monitored, shelf: Shelf, tmp_path: Path
) -> None:
    """The first gives its third host to the second, which is watched from the same host; then the first is taken away."""
    *ours, theirs = monitored.fleet.lab.hosts
    kept = ":".join(host.name for host in ours)
    probe = {"hosts": monitored.server.name, "instances": 2, "version": "1.1.0"}
    monitored.fleet.write({"probe-agent": probe}, managed=kept)
    other = Fleet(monitored.fleet.lab, shelf, tmp_path, monitored.fleet.hosts_file)
    other.write({"probe-agent": {"hosts": theirs.name}}, managed=theirs.name, environment="other")

    def seen(query: str) -> dict[str, int]:
        """How many series there are of each environment."""
        counted = monitored.ask(f"count by (environment) ({query} and on (environment) agentfactory_fleet_agent)")
        return {one["labels"]["environment"]: int(one["value"]) for one in counted}

    monitored.run(fleet=other).ok()
    monitored.run().ok()
    exporters = 'up{job=~"node|agentfactory"} == 1'
    until(lambda: seen(exporters) == {ENVIRONMENT: 2 * len(ours), "other": 2}, "each has its hosts")
    until(lambda: seen("agentfactory_fleet_agent") == {ENVIRONMENT: 2, "other": 1}, "each has its agents")
    assert monitored.run("-e", "monitoring_state=absent").ok().changed
    until(lambda: seen(exporters) == {"other": 2}, "only one is left")
    assert [host.get(9472, "/metrics")[0] for host in ours] == [0] * len(ours)
    assert monitored.run("-e", "monitoring_state=absent", fleet=other).ok().changed
    assert monitored.server.get(9090, "/-/ready")[0] == 0


def test_what_was_taken_away_is_gone(monitored: Monitored) -> None:
    assert monitored.run("-e", "monitoring_state=absent").ok().changed == 0
    for host in monitored.fleet.lab.hosts:
        assert host.get(9472, "/metrics")[0] == host.get(9100, "/metrics")[0] == 0
        assert host.sh("ls -d /opt/agentfactory-exporter /etc/agentfactory-exporter 2>/dev/null", check=False) == ""
    assert monitored.server.sh("find /etc/grafana -type f") == ""
