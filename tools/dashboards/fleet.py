# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first look: what of the fleet needs somebody, and where to look next."""

from grafana import Json, above, bad_below, bad_from, cell, column, row, stat, table, timeseries, to, variable
from grafana import dashboard as assemble

WHERE = 'environment=~"$environment", agent=~"$agent"'
PLACE = 'environment=~"$environment"'
DISK = 'fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660"'


def dashboard() -> Json:
    return assemble(
        "fleet",
        "Fleet: what needs attention",
        "Begin here. Whether anything must be done now, by which agent or host to begin, and whether the fleet is what was declared.",
        [*_now(), *_tables(), *_trends()],
        variables=[
            variable("environment", "Environment", "label_values(agentfactory_agent_up, environment)"),
            variable("agent", "Agent", f"label_values(agentfactory_agent_up{{{PLACE}}}, agent)"),
        ],
        where=WHERE,
    )


def _now() -> list[Json]:
    return [
        stat(
            "Pages", "More than 0: somebody was called. Take the table of alerts from its top.", "none",
            'count(ALERTS{alertstate="firing", severity="page", WHERE}) or vector(0)', steps=above(1),
        ),
        stat(
            "Tickets", "More than 0: to be done in working hours, before it becomes a page.", "none",
            'count(ALERTS{alertstate="firing", severity="ticket", WHERE}) or vector(0)', steps=above(1, "orange"),
        ),
        stat(
            "Hosts down", "More than 0: see to the host first, its agents' alerts follow from it.", "none",
            f"count(agentfactory:host_down{{{PLACE}}}) or vector(0)", steps=above(1), runbooks=("HostDown",),
        ),
        stat(
            "Instances down", "They should run and do not. One of many: look at its agent; many at once: at the last rollout.", "none",
            "count(agentfactory_agent_up{WHERE} == 0 and agentfactory_agent_wanted == 1) or vector(0)", steps=above(1),
            runbooks=("AgentDown", "AgentCrashLoop"),
        ),
        stat(
            "Instances unhealthy", "They run and fail their health checks: restart or roll back, after a look at the agent.", "none",
            "count(agentfactory_agent_healthy{WHERE} == 0) or vector(0)", steps=above(1), runbooks=("AgentUnhealthy",),
        ),
        stat(
            "Instances missing", "Declared for a host that does not know them: deploy again.", "none",
            "count(agentfactory_fleet_agent{WHERE} unless on (environment, host, agent_id) agentfactory_agent_wanted) or vector(0)",
            steps=above(1), runbooks=("AgentMissing",),
        ),
    ]  # fmt: skip


def _tables() -> list[Json]:
    return [
        table(
            "Alerts that fire", "What to do first. The name of an alert leads to what to do about it.",
            {"since": column(
                "time() - max by (severity, alertname, environment, agent, agent_id, host) (ALERTS_FOR_STATE{WHERE}"
                ' * on (severity, alertname, environment, agent, agent_id, host) group_left () max by (severity, alertname,'
                ' environment, agent, agent_id, host) (ALERTS{alertstate="firing", alertname!="MonitoringWatchdog", WHERE}))',
                "s",
            )},
            links={
                "alertname": "${runbook_base}/${__value.raw}.md",
                "agent_id": to("agent", environment=cell("environment"), agent=cell("agent"), agent_id="${__value.raw}"),
                "host": to("host", environment=cell("environment"), host="${__value.raw}"),
            },
            empty="No alert fires",
        ),
        table(
            "Agents", "Which agent to open: one with fewer instances running than declared, more than one version, or restarts.",
            {
                "declared": column("count by (environment, agent) (agentfactory_fleet_agent{WHERE})"),
                "running": column("sum by (environment, agent) (agentfactory_agent_up{WHERE})"),
                "unhealthy": column(
                    "sum by (environment, agent) (agentfactory_agent_healthy{WHERE} == bool 0)", steps=above(1)),
                "versions": column(
                    "count by (environment, agent) (count by (environment, agent, version) (agentfactory_agent_info{WHERE}))",
                    steps=bad_from(2, 3)),
                "restarts in an hour": column(
                    "sum by (environment, agent) (increase(agentfactory_agent_restarts_total{WHERE}[1h]))", "short",
                    bad_from(1, 5)),
                "CPU cores": column(
                    "sum by (environment, agent) (rate(agentfactory_agent_cpu_seconds_total{WHERE}[$__rate_interval]))", "short"),
                "memory": column("sum by (environment, agent) (agentfactory_agent_memory_bytes{WHERE})", "bytes"),
            },
            links={"agent": to("agent", environment=cell("environment"), agent="${__value.raw}")},
        ),
        table(
            "Hosts", "Which host to open, and where there is room for another instance.",
            {
                "exporters": column(f'sum by (environment, host) (up{{job=~"node|agentfactory", {PLACE}}})', steps=bad_below(1, 2)),
                "agents running": column("sum by (environment, host) (agentfactory_agent_up{WHERE})"),
                "CPU used": column(
                    f'1 - avg by (environment, host) (rate(node_cpu_seconds_total{{mode="idle", {PLACE}}}[$__rate_interval]))',
                    "percentunit", bad_from(0.8, 0.95)),
                "memory available": column(
                    f"max by (environment, host) (node_memory_MemAvailable_bytes{{{PLACE}}} / node_memory_MemTotal_bytes)",
                    "percentunit", bad_below(0.05, 0.15)),
                "fullest disk, free": column(
                    f"min by (environment, host) (node_filesystem_avail_bytes{{{DISK}, {PLACE}}} / node_filesystem_size_bytes)",
                    "percentunit", bad_below(0.05, 0.2)),
            },
            links={"host": to("host", environment=cell("environment"), host="${__value.raw}")},
            runbooks=("HostDown", "HostDiskFull"),
        ),
    ]  # fmt: skip


def _trends() -> list[Json]:
    by = "sum by (environment, agent)"
    name = "{{agent}} {{environment}}"
    return [
        row("Since when"),
        timeseries(
            "Instances that serve", "When it began: compare the time of a step with your rollouts.", "none",
            (f"{name} running", f"{by} (agentfactory_agent_up{{WHERE}})"),
            (f"{name} needed", "max by (environment, agent) (agentfactory_fleet_replicas_needed{WHERE})"),
            runbooks=("AgentQuorumLost",),
        ),
        timeseries(
            "Restarts in five minutes", "Whether crashes are of one agent (its release) or of all (the platform).", "short",
            (name, f"{by} (increase(agentfactory_agent_restarts_total{{WHERE}}[5m]))"), runbooks=("AgentCrashLoop",),
        ),
        timeseries(
            "CPU by agent", "Which agent drives the load: where to limit, or to add hosts.", "suffix: cores",
            (name, f"{by} (rate(agentfactory_agent_cpu_seconds_total{{WHERE}}[$__rate_interval]))"), stacked=True,
        ),
        timeseries(
            "Memory by agent", "Which agent the memory goes to, and whether it only grows.", "bytes",
            (name, f"{by} (agentfactory_agent_memory_bytes{{WHERE}})"), stacked=True, runbooks=("AgentMemoryLeak",),
        ),
        timeseries(
            "Traffic sent by agent", "Who sends more than it used to: data on its way out, or a loop.", "Bps",
            (name, f"{by} (rate(agentfactory_agent_network_transmit_bytes_total{{WHERE}}[$__rate_interval]))"),
            runbooks=("AgentEgressSpike",),
        ),
        timeseries(
            "Packets that were refused", "Which agent tries to reach what it may not: allow it, or look why it tries.", "pps",
            (name, f"{by} (rate(agentfactory_agent_egress_refused_packets_total{{WHERE}}[$__rate_interval]))"),
            runbooks=("AgentEgressDenied",),
        ),
    ]  # fmt: skip
