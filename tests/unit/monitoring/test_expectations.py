# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus is told to expect of a fleet, and that the alerts which need it fire by it: promtool evaluates what is generated."""

import datetime
import json
import re
from types import SimpleNamespace

import pytest
import yaml

from ansible_collections.agentfactory.core.plugins.plugin_utils import _manifest_values, expectations
from ansible_collections.agentfactory.core.plugins.plugin_utils._checks import Problems
from ansible_collections.agentfactory.core.plugins.plugin_utils.declare import DeclarationError
from ansible_collections.agentfactory.core.plugins.plugin_utils.monitoring import Member

from .test_rules import RULES

SLO = {
    "arm": {"objective": 0.99, "good": 'moves_total{result=~"ok|slow"}', "total": "moves_total"},
    "bell": {"objective": 0.9, "good": "rings_total{}", "total": 'asked_total{kind!="x",}'},
    "ear": {"objective": 0.999, "good": None, "total": None},
}
UNTIL = "1970-01-01T01:30:00+01:00"  # promtool's time begins with 1970


@pytest.fixture(autouse=True)
def manifests(monkeypatch):
    def packaged(_root, name, _version):
        # One that was packaged before manifests could have an objective has no such key.
        return SimpleNamespace(manifest={"slo": SLO[name]} if name in SLO else {})

    monkeypatch.setattr(expectations, "packaged", packaged)


def agent(name, *instances, state="started", version="1.0", **more):
    return {"name": name, "version": version, "state": state, "instances": list(instances), **more}


def member(name, *agents, **variables):
    return Member.of(name, {"agentfactory_environment": "lab", "agentfactory_agents": list(agents), **variables})


def recorded(members, record):
    groups = expectations.expected(members, "dist")["groups"]
    return [rule for group in groups for rule in group["rules"] if rule["record"] == record]


def test_what_the_fleet_expects():
    members = [
        member("h1", agent("arm", "0", "1"), agent("eye", "0"), agent("ear", "0", "1", "2")),
        member("h2", agent("arm", "0", version="1.1")),
    ]
    declared = [rule["labels"] for rule in recorded(members, "agentfactory_fleet_agent")]
    assert {(i["host"], i["agent_id"], i["version"], i["environment"]) for i in declared} == {
        ("h1", "arm@0", "1.0", "lab"), ("h1", "arm@1", "1.0", "lab"), ("h1", "eye@0", "1.0", "lab"), ("h2", "arm@0", "1.1", "lab"),
        *(("h1", f"ear@{instance}", "1.0", "lab") for instance in range(3)),
    }  # fmt: skip
    needed = {r["labels"]["agent"]: r["expr"] for r in recorded(members, "agentfactory_fleet_replicas_needed")}
    assert needed == {"arm": "vector(2)"}  # a quorum is of several hosts


@pytest.mark.parametrize("state", ["stopped", "absent"])
def test_of_what_is_not_to_run_nothing_is_expected(state):
    members = [member("h1", agent("arm", "0", state=state, token_budget=5))]
    assert [group["rules"] for group in expectations.expected(members, "dist")["groups"]] == [[], []]


@pytest.mark.parametrize(
    ("value", "expr"),
    [
        (True, "vector(1)"),
        ("Yes", "vector(1)"),
        (False, None),
        ("false", None),
        (None, None),
        (UNTIL, "vector(time()) < bool 1800"),
        ("1970-01-01T00:30Z", "vector(time()) < bool 1800"),
        (
            datetime.datetime(1970, 1, 1, 0, 30, tzinfo=datetime.UTC),
            "vector(time()) < bool 1800",
        ),  # YAML without quotes
    ],
)
def test_maintenance(value, expr):
    rules = recorded([member("h1", agentfactory_maintenance=value)], "agentfactory_maintenance")
    assert [rule["expr"] for rule in rules] == ([expr] if expr else [])
    assert all(rule["labels"] == {"host": "h1", "environment": "lab"} for rule in rules)


@pytest.mark.parametrize("value", ["soon", "2030-01-31", "2030-01-31T18:00", 1, datetime.date(2030, 1, 31), ["true"]])
def test_maintenance_until_nobody_knows_when_is_refused(value):
    with pytest.raises(
        DeclarationError, match="h1: agentfactory_maintenance: must be true, false or a time with its zone"
    ):
        expectations.expected([member("h1", agentfactory_maintenance=value)], "dist")


def firing(promtool, folder, members, series, minutes):
    """The alerts that fire, as (name, what or whose), by the generated rules and the role's own together."""
    generated = folder / "expected.yml"
    generated.write_text(yaml.safe_dump(expectations.expected(members, "dist")))
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", generated)
    assert checked.returncode == 0, checked.stdout
    files = [generated, *RULES]
    order = [group["name"] for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    order.insert(1, order.pop(order.index("agentfactory-base")))
    order.insert(1, order.pop(order.index("agentfactory-genai-names")))
    query = "sum by (alertname, agent, host) (ALERTS{alertstate='firing', alertname!='MonitoringWatchdog'})"
    document = {
        "rule_files": [str(file) for file in files], "group_eval_order": order, "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [{"expr": query, "eval_time": f"{minutes}m", "exp_samples": [{"value": -1}]}],
            }
        ],
    }  # fmt: skip
    (folder / "test.yml").write_text(json.dumps(document))
    told = promtool("test", "rules", folder / "test.yml").stdout
    samples = [dict(re.findall(r'(\w+)="([^"]*)"', text)) for text in re.findall(r"\{([^}]+)\}", told.split("got:")[1])]
    return {(labels["alertname"], labels.get("agent") or labels.get("host")) for labels in samples}


def of(name, **more):
    labels = {"job": "agents", "host": "h1", "environment": "lab", "agent_id": "x@0", **more}
    return "%s{%s}" % (name, ", ".join(f'{key}="{value}"' for key, value in labels.items()))


EVENTS = {
    # All of them are there and run.
    **{
        of(f"agentfactory_agent_{name}", job="agentfactory", agent=agent, agent_id=f"{agent}@0"): "1+0x120"
        for name in ("up", "wanted")
        for agent in ("arm", "bell", "ear", "eye")
    },
    of("moves_total", agent="arm", result="ok"): "0+57x120",
    of("moves_total", agent="arm", result="slow"): "0+1x120",
    of("moves_total", agent="arm", result="lost"): "0+10x120",
    # What it calls its requests does not count beside its own indicator.
    of("http_requests_total", agent="arm", code="200"): "0+1000x120",
    of("http_requests_total", agent="ear", code="200"): "0+58x120",
    of("http_requests_total", agent="ear", code="503"): "0+2x120",
    # All of them fail, so that of the good ones there has never been any.
    of("asked_total", agent="bell", kind="y"): "0+9x120",
    of("gen_ai_client_token_usage_sum", agent="eye"): "0+1000x120",
}


def test_objectives_and_budgets_of_the_fleet_ring(promtool, tmp_path):
    agents = [agent("arm", "0"), agent("bell", "0"), agent("ear", "0"), agent("eye", "0", token_budget=110_000)]
    found = firing(promtool, tmp_path, [member("h1", *agents)], EVENTS, 110)
    fast = {("AgentSloBurnFast", name) for name in ("arm", "bell", "ear")}
    assert fast | {("GenaiTokenBudget", "eye")} <= found
    assert not {item for item in found if item[1] == "eye" and item[0] != "GenaiTokenBudget"}


def test_they_do_not_ring_of_what_is_well_or_has_none(promtool, tmp_path):
    agents = [agent("arm", "0"), agent("ear", "0", token_budget=10**9), agent("eye", "0")]
    well = {
        **EVENTS,
        of("moves_total", agent="arm", result="lost"): "0+0x120",
        of("http_requests_total", agent="ear", code="503"): "0+0x120",
        of("http_requests_total", agent="eye", code="503"): "0+9x120",
        of("gen_ai_client_token_usage_sum", agent="ear"): "0+1000x120",
    }
    assert firing(promtool, tmp_path, [member("h1", *agents)], well, 110) == set()


@pytest.mark.parametrize(("minutes", "alert"), [(25, "HostMaintenance"), (45, "AgentDown")])
def test_maintenance_is_shown_and_silences_until_it_ends(promtool, tmp_path, minutes, alert):
    down = {
        of(f"agentfactory_agent_{name}", job="agentfactory", agent="eye"): f"{value}+0x60"
        for name, value in (("up", 0), ("wanted", 1))
    }
    members = [member("h1", agentfactory_maintenance=UNTIL)]
    found = firing(promtool, tmp_path, members, down, minutes)
    assert {item[0] for item in found} == {alert}


LOST = [agent("arm", "0"), agent("ear", "0", "1"), agent("eye", "0")]


def seen(host, *down, answers=True):
    """What Prometheus sees of a host that answers: its agents' `up`, but for those that are `down`."""
    series = {of("up", job=job, host=host, agent_id=""): f"{int(answers)}+0x60" for job in ("node", "agentfactory")}
    if not answers:
        return series
    series[of("agentfactory_collect_timestamp_seconds", job="agentfactory", host=host, agent_id="")] = "0+60x60"
    instances = [(one["name"], number) for one in LOST for number in one["instances"]]
    for name, number in instances:
        labels = {"job": "agentfactory", "host": host, "agent": name, "agent_id": f"{name}@{number}"}
        series[of("agentfactory_agent_up", **labels)] = f"{int(name not in down)}+0x60"
        series[of("agentfactory_agent_wanted", **labels)] = "1+0x60"
    return series


@pytest.mark.parametrize(
    ("hosts", "series", "told"),
    [
        (["h1"], seen("h1", answers=False), {("HostDown", "h1")}),
        (["h1"], seen("h1", "eye"), {("AgentDown", "eye")}),
        (["h1", "h2"], seen("h1", answers=False) | seen("h2"), {("HostDown", "h1")}),
        (
            ["h1", "h2"],
            seen("h1", answers=False) | seen("h2", "eye"),
            {("HostDown", "h1"), ("AgentDown", "eye"), ("AgentQuorumLost", "eye")},
        ),
    ],
    ids=["the only host", "the only instance", "one of two hosts", "the other's instance too"],
)
def test_what_is_lost_is_told_once(promtool, tmp_path, hosts, series, told):
    """A host without power is one page, whatever runs on it; that too few are left in the fleet is another one."""
    assert firing(promtool, tmp_path, [member(host, *LOST) for host in hosts], series, 20) == told


@pytest.mark.parametrize(
    ("labels", "takes"),
    [
        (r'code=~"5..|4(?:0|2)\\d+", path!~"/a[b-d]*\\.x?", said="\"\\\n\t", more=~"[^+*]{2,3}"', True),
        (r'code=~"("', False), (r'code=~"\d+"', False), (r'code="\x"', False), (r'__name__="x"', False), (r'code=~"(?=5)."', False),
        (r'code!~"(.)\\1"', False), (r'code=~"5*+"', False), (r'code=~"5{1001}"', False), (r'code=~"[[:digits:]]"', False),
        (r'code=~"\\Z"', False), (r'code=~"[b-a]"', False), ('code="\n"', False),
    ],
)  # fmt: skip
def test_a_manifest_takes_no_selector_that_prometheus_does_not(promtool, tmp_path, labels, takes):
    text = "jobs_total{%s}" % labels
    problems = Problems("agent.yml")
    _manifest_values.selector(text, "slo.good", problems)
    rules = tmp_path / "rules.yml"
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [{"record": "a:b", "expr": text}]}]}))
    assert [not problems.lines, promtool("check", "rules", rules).returncode == 0] == [takes, takes]
