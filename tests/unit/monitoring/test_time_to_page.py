# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long it takes to page, as docs/monitoring.md says it: added up from the rules and the role's defaults."""

import inspect
import math
import re
from typing import Any

import yaml

from ansible_collections.agentfactory.core.plugins.module_utils import health, metrics
from ansible_collections.agentfactory.core.plugins.module_utils.exporter import PROBE_SECONDS
from ansible_collections.agentfactory.core.plugins.plugin_utils import expectations

from .test_rules import ROOT, groups

SCRAPE_TIMEOUT = 10  # Prometheus' default; a host that does not refuse is given up after it
CHECK_SECONDS = 3 * 2  # HAProxy's own checks, as the guide has them: inter 2s fall 3
# An agent that hangs is given up after it, by both probes of its health.
HANGS = sum(inspect.signature(probe).parameters["timeout"].default for probe in (health.tcp, health.http))
# What has to pass before a scrape can show it.
BEFORE = {
    "AgentUnhealthy": PROBE_SECONDS + HANGS,
    "BalancerDown": SCRAPE_TIMEOUT,
    "BalancerNoServer": CHECK_SECONDS,
    "HostDown": SCRAPE_TIMEOUT,
    "AgentQuorumLost": max(PROBE_SECONDS + HANGS, SCRAPE_TIMEOUT),
}
HEAD = "| alert | `for` | at least | at most |\n|---|---|---|---|\n"


def seconds(text: str) -> int:
    return sum(
        int(n) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit] for n, unit in re.findall(r"(\d+)([smhd])", text)
    )


def words(number: int) -> str:
    minutes, rest = divmod(number, 60)
    return " ".join(f"{n} {unit}" for n, unit in ((minutes, "min"), (rest, "s")) if n) or "0 s"


def all_groups() -> list[dict[str, Any]]:
    """The role's, and those that are generated for an agent with an objective of its own."""
    slo = {"objective": 0.9, "good": "good", "total": "total"}
    rules = expectations._objective(slo, {"agent": "a", "environment": "e"})
    return [*groups(), {"name": "generated", "interval": "1m", "rules": rules}]


class Rules:
    def __init__(self) -> None:
        self.defaults = yaml.safe_load((ROOT / "roles/monitoring/defaults/main.yml").read_text(encoding="utf-8"))
        self.recorded = {
            rule["record"]: (group, rule) for group in all_groups() for rule in group["rules"] if "record" in rule
        }

    def default(self, name: str) -> int:
        return seconds(self.defaults[f"monitoring_{name}"])

    def interval(self, group: dict[str, Any]) -> int:
        return seconds(group["interval"]) if "interval" in group else self.default("evaluation_interval")

    def evaluations(self, group: dict[str, Any], expr: str) -> int:
        """The longest that evaluations may take one after the other: a group's own, and those of the groups that it reads from."""
        needed = re.sub(r"unless .*", "", expr)
        others = [
            self.evaluations(there, rule["expr"]) - (self.interval(there) if there["name"] == group["name"] else 0)
            for name, (there, rule) in self.recorded.items()
            if re.search(rf"(?<![\w:]){re.escape(name)}(?![\w:])", needed)
        ]
        return self.interval(group) + max(others, default=0)

    def row(self, group: dict[str, Any], rule: dict[str, Any]) -> str:
        waits, told = seconds(rule.get("for", "0s")), self.default("group_wait")
        # It fires with the first evaluation after `for`.
        fires = math.ceil(waits / self.interval(group)) * self.interval(group)
        before = BEFORE.get(rule["alert"], 0)
        most = before + self.default("scrape_interval") + self.evaluations(group, rule["expr"]) + fires + told
        return f"| `{rule['alert']}` | {words(waits)} | {words(waits + told)} | {words(most)} |\n"


def test_the_table_is_what_the_rules_add_up_to():
    rules = Rules()
    rows = [
        rules.row(group, rule)
        for group in all_groups()
        for rule in group["rules"]
        if rule.get("labels", {}).get("severity") == "page"
    ]
    assert len(rows) > 10
    table = HEAD + "".join(sorted(rows))
    text = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    assert table in text, f"docs/monitoring.md should say:\n{table}"
    most = math.ceil(100 / metrics.PROBES_AT_ONCE) * HANGS
    for said in (
        f"given up after {HANGS} s",
        f"of a hundred that hang on one host at once, the last is known after {most} s",
        f"`monitoring_group_interval` ({words(rules.default('group_interval'))})",
    ):
        assert said in " ".join(text.split()), f"docs/monitoring.md should say: {said}"
