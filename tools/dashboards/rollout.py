# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout on its way: whether to go on or to go back."""

from grafana import (
    STATE_COLORS,
    STATES,
    Json,
    above,
    bad_below,
    bad_from,
    cell,
    column,
    row,
    stat,
    table,
    timeline,
    timeseries,
    to,
    variable,
)
from grafana import dashboard as assemble

WHERE = 'environment=~"$environment", agent=~"$agent"'
PLACE = 'environment=~"$environment"'
NAME = "{{agent}} {{version}} {{environment}}"
VERSION = "* on (environment, host, agent_id) group_left (version) agentfactory_agent_info"
START = "agentfactory_activation_start_timestamp_seconds"


def dashboard() -> Json:
    return assemble(
        "rollout",
        "Rollout: go on or go back",
        "How far a rollout is, whether it is stuck, and whether the new version does worse than the old one beside it.",
        [*_now(), *_progress(), *_compared()],
        variables=[
            variable("environment", "Environment", "label_values(agentfactory_agent_up, environment)"),
            variable("agent", "Agent", f"label_values(agentfactory_agent_up{{{PLACE}}}, agent)"),
        ],
        where=WHERE,
        since="now-1h",
    )


def _now() -> list[Json]:
    matched = "agentfactory_agent_info{WHERE} and on (environment, host, agent_id, version) agentfactory_fleet_agent"
    return [
        stat(
            "As declared", "The part of instances that run the declared version. Less than all, and nothing under way: it ended half way.",
            "percentunit", f"(count({matched}) or vector(0)) / count(agentfactory_fleet_agent{{WHERE}})", steps=bad_below(0.5, 1),
            runbooks=("AgentVersionSkew",),
        ),
        stat(
            "Activations under way", "0: nothing is being switched right now.", "none", f"count({START}{{{PLACE}}}) or vector(0)",
        ),
        stat(
            "Longest activation", "Longer than its start timeout and bake time: it is stuck, see the host.", "s",
            f"max(time() - {START}{{{PLACE}}}) or vector(0)", steps=bad_from(600, 1800), runbooks=("RolloutStuck",),
        ),
        stat(
            "Failed or crashing", "More than 0 during a rollout: go back.", "none",
            'sum(agentfactory_agent_state{state=~"failed|crash-looping", WHERE})', steps=above(1), runbooks=("AgentCrashLoop",),
        ),
        stat(
            "Unhealthy", "More than 0 for longer than an activation: go back.", "none",
            "count(agentfactory_agent_healthy{WHERE} == 0) or vector(0)", steps=above(1), runbooks=("AgentUnhealthy",),
        ),
        stat(
            "Hosts kept quiet", "Their agents' alerts are held back meanwhile: look here instead.", "none",
            f"count(agentfactory:host_quiet{{{PLACE}}}) or vector(0)", steps=above(1, "orange"),
        ),
    ]  # fmt: skip


def _progress() -> list[Json]:
    labels = "(environment, agent, host, agent_id, version, release)"
    each = [f'agentfactory_agent_state{{state="{state}", WHERE}} * {number}' for number, state in enumerate(STATES, 1)]
    return [
        timeseries(
            "Instances by version", "How far it is, and whether it still moves.", "none",
            (NAME, "count by (environment, agent, version) (agentfactory_agent_info{WHERE})"), width=24, stacked=True,
            runbooks=("AgentVersionSkew",),
        ),
        timeline(
            "State", "Where the rollout passes: each instance is proven in turn, and its others serve meanwhile.",
            ("{{agent_id}} {{host}}", f"sum by (environment, host, agent_id) ({' or '.join(each)})"), STATES, STATE_COLORS,
            ("RolloutStuck",),
        ),
        table(
            "Instances", "Which ones are behind, and what exactly they run.",
            {"declared": column(
                f"max by {labels} (agentfactory_agent_info{{WHERE}} * on (environment, host, agent_id, version) group_left ()"
                f" agentfactory_fleet_agent or agentfactory_agent_info{{WHERE}} * 0)",
                words={"0": ("no", "orange"), "1": ("yes", "green")},
            )},
            links={"agent_id": to(
                "agent", environment=cell("environment"), agent=cell("agent"), host=cell("host"), agent_id="${__value.raw}")},
        ),
    ]  # fmt: skip


def _compared() -> list[Json]:
    def by_version(title: str, description: str, unit: str, value: str, runbook: str) -> Json:
        return timeseries(
            title,
            description,
            unit,
            (NAME, f"avg by (environment, agent, version) ({value} {VERSION})"),
            runbooks=(runbook,),
        )

    return [
        row("The new version beside the old one: averages of an instance"),
        by_version(
            "Healthy", "The new one below the old one: go back.", "percentunit", "agentfactory_agent_healthy{WHERE}", "AgentUnhealthy"
        ),
        by_version(
            "Restarts in ten minutes", "Any of the new one only: go back.", "short",
            "increase(agentfactory_agent_restarts_total{WHERE}[10m])", "AgentCrashLoop",
        ),
        by_version(
            "CPU", "Twice as much: will the limits and the hosts carry it everywhere?", "suffix: cores",
            "rate(agentfactory_agent_cpu_seconds_total{WHERE}[$__rate_interval])", "AgentCpuThrottled",
        ),
        by_version(
            "Memory", "A new one that climbs faster leaks: hold the rollout.", "bytes", "agentfactory_agent_memory_bytes{WHERE}",
            "AgentMemoryLeak",
        ),
    ]  # fmt: skip
