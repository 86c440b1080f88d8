# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One agent, or one of its instances: why it is not well."""

from grafana import (
    STATE_COLORS,
    STATES,
    Json,
    above,
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

WHERE = 'environment=~"$environment", agent=~"$agent", host=~"$host", agent_id=~"$agent_id"'
NAME = "{{agent_id}} {{host}}"
BY = "sum by (environment, host, agent_id)"


def dashboard() -> Json:
    place = 'environment=~"$environment"'
    return assemble(
        "agent",
        "Agent: why is it not well",
        "Whether to restart, roll back, give it more, or look at its host: its state, limits, progress, and what is unusual of it.",
        [*_now(), *_limits(), *_traffic(), *_unusual()],
        variables=[
            variable("environment", "Environment", "label_values(agentfactory_agent_up, environment)"),
            variable("agent", "Agent", f"label_values(agentfactory_agent_up{{{place}}}, agent)"),
            variable("host", "Host", f'label_values(agentfactory_agent_up{{{place}, agent=~"$agent"}}, host)'),
            variable(
                "agent_id",
                "Instance",
                f'label_values(agentfactory_agent_up{{{place}, agent=~"$agent", host=~"$host"}}, agent_id)',
            ),
        ],
        where=WHERE,
    )


def _now() -> list[Json]:
    return [
        stat(
            "Down", "Should run and does not: see its state below, then the journal of its unit.", "none",
            "count(agentfactory_agent_up{WHERE} == 0 and agentfactory_agent_wanted == 1) or vector(0)", steps=above(1),
            runbooks=("AgentDown",),
        ),
        stat(
            "Unhealthy", "Runs and fails its probes: is what it depends on there?", "none",
            "count(agentfactory_agent_healthy{WHERE} == 0) or vector(0)", steps=above(1), runbooks=("AgentUnhealthy",),
        ),
        stat(
            "Restarts in this time", "A few belong to a rollout; many are a crash loop: roll back.", "short",
            "sum(increase(agentfactory_agent_restarts_total{WHERE}[$__range]))", steps=bad_from(1, 5), decimals=0,
            runbooks=("AgentCrashLoop",),
        ),
        stat(
            "Killed for memory in this time", "More than 0: raise its limit or mend its leak.", "short",
            "sum(increase(agentfactory_agent_oom_kills_total{WHERE}[$__range]))", steps=above(1), decimals=0,
            runbooks=("AgentOutOfMemoryKill",),
        ),
        stat(
            "Differences from its release", "More than 0: somebody changed it by hand. Deploy again, or find out who.", "none",
            "sum(agentfactory_agent_drift{WHERE})", steps=above(1, "orange"), runbooks=("AgentDrift",),
        ),
        stat(
            "Youngest process", "Just started: what it does now says little yet.", "s",
            "min(time() - agentfactory_agent_start_time_seconds{WHERE})",
        ),
        timeline(
            "State", "What happened, and when: an activation (proving), an operator (stopped), or the program itself (failed).",
            (NAME, _state()), STATES, STATE_COLORS, ("AgentDown", "AgentCrashLoop"),
        ),
        table(
            "Instances", "Which instance differs from the others: by its release, its host, or its age.",
            {
                "up": column(
                    "max by (environment, host, agent, agent_id, version, release) (agentfactory_agent_up{WHERE}"
                    " * on (environment, host, agent_id) group_left (version, release) agentfactory_agent_info)",
                    words={"0": ("down", "red"), "1": ("up", "green")}),
                "age": column(
                    "time() - max by (environment, host, agent, agent_id, version, release) ("
                    "agentfactory_agent_start_time_seconds{WHERE}"
                    " * on (environment, host, agent_id) group_left (version, release) agentfactory_agent_info)", "s"),
            },
            links={"host": to("host", environment=cell("environment"), host="${__value.raw}")},
            runbooks=("AgentVersionSkew",),
        ),
    ]  # fmt: skip


def _state() -> str:
    """The number of the state that each instance is in."""
    each = [f'agentfactory_agent_state{{state="{state}", WHERE}} * {number}' for number, state in enumerate(STATES, 1)]
    return f"{BY} ({' or '.join(each)})"


def _limits() -> list[Json]:
    periods = f"{BY} (rate(agentfactory_agent_cpu_%s_total{{WHERE}}[$__rate_interval]))"
    return [
        row("Against its limits"),
        timeseries(
            "CPU", "At its limit: raise resources.cpu, or add instances.", "suffix: cores",
            (NAME, f"{BY} (rate(agentfactory_agent_cpu_seconds_total{{WHERE}}[$__rate_interval]))"),
            ("limit", "max(agentfactory_agent_cpu_limit_cores{WHERE})"),
        ),
        timeseries(
            "Held back by its CPU limit", "Above the line it is slow because of the limit, not because of its work.", "percentunit",
            (NAME, f"{periods % 'throttled_periods'} / ({periods % 'periods'} > 0)"),
            steps=above(0.25, "orange"), most=1, runbooks=("AgentCpuThrottled",),
        ),
        timeseries(
            "Memory", "A line that only climbs is a leak: restart now, mend later.", "bytes",
            (NAME, f"{BY} (agentfactory_agent_memory_bytes{{WHERE}})"),
            ("limit", "max(agentfactory_agent_memory_limit_bytes{WHERE})"), runbooks=("AgentMemoryLeak",),
        ),
        timeseries(
            "Memory of its limit", "Above the line the kernel will soon kill it: raise resources.memory in time.", "percentunit",
            (NAME, f"{BY} (agentfactory_agent_memory_bytes{{WHERE}} / (agentfactory_agent_memory_limit_bytes > 0))"),
            steps=above(0.9), most=1, runbooks=("AgentMemoryNearLimit",),
        ),
        timeseries(
            "Processes and threads of its limit", "Near 1 it can start no more: a leak of threads, or too low a limit.", "percentunit",
            (NAME, f"{BY} (agentfactory_agent_tasks{{WHERE}} / (agentfactory_agent_tasks_limit > 0))"),
            steps=above(0.9), most=1,
        ),
        timeseries(
            "Without progress", "How long ago it last wrote to its state. Longer than its habit: it hangs, restart it.", "s",
            (NAME, "max by (environment, host, agent_id) (agentfactory:silence_seconds{WHERE})"), runbooks=("AgentSilent",),
        ),
    ]  # fmt: skip


def _traffic() -> list[Json]:
    return [
        row("Network"),
        timeseries(
            "Received", "Whether its work comes in: nothing at all means that nobody reaches it.", "Bps",
            (NAME, f"{BY} (rate(agentfactory_agent_network_receive_bytes_total{{WHERE}}[$__rate_interval]))"), width=8,
        ),
        timeseries(
            "Sent", "Far more than usual: stop it first, ask afterwards.", "Bps",
            (NAME, f"{BY} (rate(agentfactory_agent_network_transmit_bytes_total{{WHERE}}[$__rate_interval]))"), width=8,
            runbooks=("AgentEgressSpike",),
        ),
        timeseries(
            "Packets that were refused", "It tries to reach what permissions.outbound does not list.", "pps",
            (NAME, f"{BY} (rate(agentfactory_agent_egress_refused_packets_total{{WHERE}}[$__rate_interval]))"), width=8,
            runbooks=("AgentEgressDenied",),
        ),
    ]  # fmt: skip


def _unusual() -> list[Json]:
    signals = [
        ("CPU", "cpu", "suffix: cores"), ("Memory", "memory", "bytes"), ("Received", "network_receive", "Bps"),
        ("Sent", "network_transmit", "Bps"), ("Requests", "requests", "reqps"), ("Latency", "latency", "s"),
    ]  # fmt: skip
    usual = 'agentfactory:signal:usual_max{signal="%s", WHERE}'
    return [
        row("Is this usual?"),
        *(
            timeseries(
                f"{title} against the day before",
                "Above the most of the day before it is unusual: what changed since? Empty in its first 30 hours.", unit,
                (NAME, f'{BY} (agentfactory:signal{{signal="{signal}", WHERE}})'),
                (f"{NAME} most of the day before, or a week ago", f"{BY} ({usual % signal})"), width=8,
                runbooks=("AgentAnomalySpike", "AgentAnomalyStep"),
            )
            for title, signal, unit in signals
        ),
        timeseries(
            "Distance from its peers", "Above 1 an instance is unlike the others: take its host out, or it. Needs five instances.", "none",
            ("{{agent_id}} {{host}} {{signal}}", "max by (environment, host, agent_id, signal) (agentfactory:signal:peer_distance{WHERE})"),
            width=24, steps=above(1, "orange"), runbooks=("AgentAnomalyPeer",),
        ),
    ]  # fmt: skip
