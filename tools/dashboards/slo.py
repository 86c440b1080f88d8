# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objectives: whether an agent's error budget allows for risks."""

from grafana import Json, above, bad_below, row, stat, timeseries, variable
from grafana import dashboard as assemble

WHERE = 'environment=~"$environment", agent=~"$agent"'
NAME = "{{agent}} {{environment}}"
MONTH = 30 * 86400


def dashboard() -> Json:
    return assemble(
        "slo",
        "SLO: may we take risks",
        "Whether there is error budget left to roll out with, or whether to stop changes and make things reliable first.",
        [*_now(), *_burn()],
        variables=[
            variable("environment", "Environment", "label_values(agentfactory:requests:rate5m, environment)"),
            variable(
                "agent", "Agent", 'label_values(agentfactory:requests:rate5m{environment=~"$environment"}, agent)'
            ),
        ],
        where=WHERE,
        since="now-3d",
    )


def burn(window: str) -> str:
    """How many times faster than allowed the budget is used."""
    ratio = f"agentfactory:errors:rate{window}{{WHERE}} / (agentfactory:requests:rate{window} > 0)"
    return f"{ratio} / on (environment, agent) agentfactory:error_budget:ratio"


def _now() -> list[Json]:
    good = "sum by (environment, agent) (avg_over_time(agentfactory:%s:rate5m{WHERE}[$__range]))"
    failed = f"{good % 'errors'} / ({good % 'requests'} > 0)"
    return [
        stat(
            "Objective", "What was promised: the part of requests that is answered well.", "percentunit",
            "max by (environment, agent) (agentfactory_slo_objective_ratio{WHERE})", legend=NAME, width=6, decimals=3,
        ),
        stat(
            "Answered well in this time", "What was kept of it.", "percentunit", f"1 - {failed}", legend=NAME, width=6, decimals=3,
        ),
        stat(
            "Error budget left of this time", "Below 0: no risky rollout. Plenty: be bolder.", "percentunit",
            f"1 - ({failed}) / on (environment, agent) agentfactory:error_budget:ratio", legend=NAME, width=6,
            steps=bad_below(0, 0.25), runbooks=("AgentSloBurnSlow",),
        ),
        stat(
            "A month's budget would last", "As the last hour went. Days: call somebody; weeks: make a ticket; more: carry on.", "s",
            f"{MONTH} / clamp_min({burn('1h')}, 0.01)", legend=NAME, width=6, steps=bad_below(2 * 86400, MONTH),
            runbooks=("AgentSloBurnFast",),
        ),
        stat(
            "Alerts on objectives", "More than 0: stop changes to that agent.", "none",
            'count(ALERTS{alertname=~"AgentSloBurn.*", alertstate="firing", WHERE}) or vector(0)', steps=above(1), width=24,
            runbooks=("AgentSloBurnFast", "AgentSloBurnMiddle", "AgentSloBurnSlow"),
        ),
    ]  # fmt: skip


def _burn() -> list[Json]:
    def rate(title: str, description: str, windows: tuple[str, str], limit: float, runbook: str) -> Json:
        return timeseries(
            title, description, "none", *((f"{NAME}, {window}", burn(window)) for window in windows), width=8,
            steps=above(limit), runbooks=(runbook,),
        )  # fmt: skip

    return [
        row("How fast the budget goes: 1 is just as fast as allowed"),
        rate("Fast", "Both above 14.4: the month's budget is gone in two days.", ("5m", "1h"), 14.4, "AgentSloBurnFast"),
        rate("Middle", "Both above 6: gone in five days.", ("30m", "6h"), 6, "AgentSloBurnMiddle"),
        rate("Slow", "Both above 1: it will not last the month.", ("6h", "3d"), 1, "AgentSloBurnSlow"),
        row("Requests"),
        timeseries(
            "Requests", "Few requests: one failure weighs much, do not conclude from it.", "reqps",
            (NAME, "sum by (environment, agent) (agentfactory:requests:rate5m{WHERE})"), width=8,
        ),
        timeseries(
            "Requests that failed", "When it began: compare with your rollouts.", "reqps",
            (NAME, "sum by (environment, agent) (agentfactory:errors:rate5m{WHERE})"), width=8,
        ),
        timeseries(
            "Part that failed", "By how much the promise is broken.", "percentunit",
            (NAME, "agentfactory:errors:rate5m{WHERE} / (agentfactory:requests:rate5m > 0)"), width=8,
        ),
    ]  # fmt: skip
