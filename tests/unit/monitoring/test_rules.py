# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alert rules: what promtool says of them, and that every alert is tested, explained and labelled.

`rules/<Alert>.test.yml` has one case a promise, which promtool runs: `promtool test rules <file>` does it by hand.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
RULES = sorted((ROOT / "roles/monitoring/files/rules").glob("*.yml"))
RUNBOOKS = ROOT / "docs/runbooks"
CASES = sorted((Path(__file__).parent / "rules").glob("*.test.yml"))
SEVERITIES = {"page", "ticket", "info"}
ANNOTATIONS = {"summary", "description", "runbook_url"}
ALWAYS = "MonitoringWatchdog"  # fires always: it has no threshold and no input
# Maintenance is no excuse for what was spent, and does not hide itself. What monitoring says of itself is of the whole fleet.
MAINTENANCE_OR_NOT = {"GenaiTokenBudget", "HostMaintenance"}
# On Prometheus and Alertmanager themselves: they are of no fleet, as several may share them.
OF_THEMSELVES = {"MonitoringNotificationsFailed", "MonitoringReloadFailed"}
# Newer than 2.42 (or experimental): not in rules that must load there.
TOO_NEW = ("mad_over_time", "sort_by_label", "limitk", "limit_ratio", "info", "histogram_avg", "histogram_stddev")
# Alerts on a whole agent have no host; who loses its host keeps what the host is not needed for.
WHOLE_AGENT = {"AgentQuorumLost", "AgentSloBurnFast", "AgentSloBurnMiddle", "AgentSloBurnSlow", "GenaiTokenBudget"}


def groups() -> list[dict[str, Any]]:
    return [group for path in RULES for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]


ALERTS = [rule for group in groups() for rule in group["rules"] if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTS})
each_rule = pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
each_name = pytest.mark.parametrize("name", NAMES)


def cases(name: str) -> dict[str, dict[str, Any]]:
    text = (Path(__file__).parent / f"rules/{name}.test.yml").read_text(encoding="utf-8")
    tests = yaml.safe_load(text)["tests"]
    named = {test["name"]: test for test in tests}
    assert len(named) == len(tests), "two cases of one name"
    return named


def series(case: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["series"], line["values"]) for line in case["input_series"]]


def metric(name: str) -> str:
    return name.split("{", maxsplit=1)[0]


def alert_test(case: dict[str, Any], name: str) -> dict[str, Any]:
    (only,) = (test for test in case["alert_rule_test"] if test["alertname"] == name)
    return only


def test_promtool_knows_all_rules(promtool):
    result = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name.removesuffix(".test.yml"))
def test_promtool_agrees(promtool, path):
    result = promtool("test", "rules", path)
    assert result.returncode == 0, result.stdout


@each_rule
def test_has_a_severity_and_annotations(rule):
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(rule["annotations"]) == ANNOTATIONS
    assert all(rule["annotations"].values())
    assert rule["annotations"]["runbook_url"] == "{{ $externalLabels.runbook_base }}/%s.md" % rule["alert"]
    assert re.match(r"(Agent|Balancer|Fleet|Genai|Host|Monitoring|Certificate|Rollout)[A-Z][A-Za-z]+$", rule["alert"])


def test_no_function_is_newer_than_prometheus_2_42():
    text = "\n".join(rule["expr"] for group in groups() for rule in group["rules"])
    assert not re.findall(r"\b(%s)\s*\(" % "|".join(TOO_NEW), text)


def test_two_fleets_on_one_prometheus_are_not_mixed():
    """Whoever groups or matches by an agent or a host does so by its environment too."""
    clauses = [
        (rule.get("alert") or rule["record"], [name.strip() for name in labels.split(",")])
        for group in groups()
        for rule in group["rules"]
        for labels in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", rule["expr"])
    ]
    assert len(clauses) > 50
    assert not [
        (name, labels)
        for name, labels in clauses
        if {"host", "agent", "agent_id"} & set(labels) and "environment" not in labels
    ]


def test_groups_have_names_of_their_own():
    names = [group["name"] for group in groups()]
    assert len(names) == len(set(names))


@each_rule
def test_agents_of_a_host_are_quiet_while_it_is_worked_on(rule):
    name = rule["alert"]
    if name.startswith(("Agent", "Genai")) and name not in WHOLE_AGENT:
        assert "agentfactory:host_quiet" in rule["expr"]
    if name.startswith(("Balancer", "Host")) and name != "HostMaintenance":
        assert "agentfactory:host_maintenance" in rule["expr"]


@each_name
def test_fires_and_says_whom_it_is_about(name):
    fires = cases(name)["fires"]
    (alert,) = alert_test(fires, name)["exp_alerts"]
    labels = set(alert["exp_labels"])
    if name in WHOLE_AGENT:
        assert {"agent", "environment"} <= labels
    elif name.startswith(("Agent", "Genai")):
        assert {"host", "environment", "agent", "agent_id"} <= labels
    elif name in OF_THEMSELVES:
        assert "host" in labels
    elif name != ALWAYS:
        assert {"host", "environment"} <= labels
    assert set(alert["exp_annotations"]) == ANNOTATIONS
    assert "<no value>" not in str(alert)
    assert fires["external_labels"]["runbook_base"]
    assert alert["exp_annotations"]["runbook_url"].endswith(f"/{name}.md")


@each_name
def test_every_case_of_silence_is_tested(name):
    named = cases(name)
    fires, when = named["fires"], alert_test(named["fires"], name)["eval_time"]
    rules = [rule for rule in ALERTS if rule["alert"] == name]
    wanted = set()
    if name != ALWAYS:
        wanted |= {"just below"} | {f"missing series {metric(line)}" for line, _values in series(fires)}
    if any("for" in rule for rule in rules):
        wanted.add("during for")
    quiet = any("host_maintenance" in rule["expr"] or "host_quiet" in rule["expr"] for rule in rules)
    if quiet or not (name.startswith("Monitoring") or name in MAINTENANCE_OR_NOT):
        wanted.add("in maintenance")
    if any("host_quiet" in rule["expr"] for rule in rules):
        wanted.add("during an activation")
    assert wanted <= set(named)

    for case in wanted:
        test = alert_test(named[case], name)
        assert not test.get("exp_alerts"), case
        if case != "during for":
            assert test["eval_time"] == when, f"{case}: it must be silent when it would have fired"


@each_name
def test_cases_differ_from_the_one_that_fires_only_as_they_say(name):
    named = cases(name)
    fires = series(named["fires"])
    for case, test in named.items():
        inputs = series(test)
        if case == "during for":
            assert inputs == fires
            (pending,) = test["promql_expr_test"]
            assert 'alertstate="pending"' in pending["expr"]
            assert pending["exp_samples"] == [{"value": 1}]
        elif case == "in maintenance":
            assert {metric(line) for line, _values in set(inputs) - set(fires)} == {"agentfactory_maintenance"}
            assert set(fires) <= set(inputs)
        elif case == "during an activation":
            (added,) = set(inputs) - set(fires)
            assert metric(added[0]) == "agentfactory_activation_start_timestamp_seconds"
            assert set(fires) <= set(inputs)
        elif case.startswith("missing series "):
            missing = case.removeprefix("missing series ")
            assert inputs == [line for line in fires if metric(line[0]) != missing]


def test_every_test_file_is_of_an_alert():
    assert {path.name.split(".")[0] for path in CASES} == set(NAMES)


def test_every_alert_has_a_runbook_and_no_runbook_is_without_an_alert():
    assert {path.stem for path in RUNBOOKS.iterdir()} == set(NAMES)


@each_name
def test_a_runbook_is_short_and_says_what_to_see_and_to_do(name):
    lines = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# {name}"
    assert lines[2]
    assert {"## See it", "## Do"} <= set(lines)
    assert 10 <= len(lines) <= 25
