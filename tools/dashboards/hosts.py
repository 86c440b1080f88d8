# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host: whether it can carry its agents."""

from grafana import Json, above, bad_below, bad_from, cell, column, row, stat, table, timeseries, to, variable
from grafana import dashboard as assemble

WHERE = 'environment=~"$environment", host=~"$host"'
DISK = 'fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660"'


def dashboard() -> Json:
    return assemble(
        "host",
        "Host: can it carry its agents",
        "Whether slow or failing agents are their host's fault, which resource is short, and which agent uses it up.",
        [*_now(), *_agents(), *_resources(), *_basics()],
        variables=[
            variable("environment", "Environment", "label_values(up, environment)"),
            variable("host", "Host", 'label_values(up{environment=~"$environment", job=~"node|agentfactory"}, host)'),
        ],
        where=WHERE,
    )


def _now() -> list[Json]:
    return [
        stat(
            "Exporters that do not answer", "All of a host's: it is down. One: only its numbers are missing.", "none",
            'count(up{job=~"node|agentfactory", WHERE} == 0) or vector(0)', steps=above(1),
            runbooks=("HostDown", "MonitoringCollectorStale"),
        ),
        stat(
            "CPU used", "Near all of it: move an agent away, or limit one.", "percentunit",
            '1 - avg(rate(node_cpu_seconds_total{mode="idle", WHERE}[$__rate_interval]))', steps=bad_from(0.8, 0.95),
        ),
        stat(
            "Least memory available", "Nearly none: the kernel will kill something, perhaps not the culprit.", "percentunit",
            "min(node_memory_MemAvailable_bytes{WHERE} / node_memory_MemTotal_bytes)", steps=bad_below(0.05, 0.15),
        ),
        stat(
            "Least disk free", "Nearly none: clean up now, agents fail in odd ways on a full disk.", "percentunit",
            f"min(node_filesystem_avail_bytes{{{DISK}, WHERE}} / node_filesystem_size_bytes)", steps=bad_below(0.05, 0.2),
            runbooks=("HostDiskFull",),
        ),
        stat(
            "Failed units", "Of the system, not agents: does one matter to the agents here?", "none",
            'sum(node_systemd_unit_state{state="failed", name!~"agentfactory-.+@.+", WHERE})', steps=above(1, "orange"),
            runbooks=("HostSystemdFailed",),
        ),
        stat("Last boot", "Just now: what you see may be its consequence.", "s", "min(time() - node_boot_time_seconds{WHERE})"),
    ]  # fmt: skip


def _agents() -> list[Json]:
    labels = "(environment, host, agent, agent_id)"
    return [
        table(
            "Agents here", "Which agent uses the host up, and which ones suffer from it.",
            {
                "up": column(f"max by {labels} (agentfactory_agent_up{{WHERE}})", words={"0": ("down", "red"), "1": ("up", "green")}),
                "healthy": column(
                    f"max by {labels} (agentfactory_agent_healthy{{WHERE}})", words={"0": ("no", "red"), "1": ("yes", "green")}),
                "CPU cores": column(f"sum by {labels} (rate(agentfactory_agent_cpu_seconds_total{{WHERE}}[$__rate_interval]))", "short"),
                "memory": column(f"sum by {labels} (agentfactory_agent_memory_bytes{{WHERE}})", "bytes"),
            },
            links={"agent_id": to(
                "agent", environment=cell("environment"), agent=cell("agent"), host=cell("host"), agent_id="${__value.raw}")},
        ),
    ]  # fmt: skip


def _resources() -> list[Json]:
    cores = 'count by (environment, host) (node_cpu_seconds_total{mode="idle", WHERE})'
    return [
        row("What is short"),
        timeseries(
            "CPU by what it does", "Much iowait: the disk is slow; much steal: the machine below is too full.", "percentunit",
            ("{{host}} {{mode}}",
             'avg by (environment, host, mode) (rate(node_cpu_seconds_total{mode!="idle", WHERE}[$__rate_interval]))'),
            stacked=True,
        ),
        timeseries(
            "Load of each core", "Above 1 work waits for a core.", "none",
            ("{{host}}", f"max by (environment, host) (node_load5{{WHERE}}) / {cores}"),
            steps=above(1, "orange"),
        ),
        timeseries(
            "Waiting (pressure)", "Which resource holds work up, as a part of all time: the one to add.", "percentunit",
            ("{{host}} CPU", "sum by (environment, host) (rate(node_pressure_cpu_waiting_seconds_total{WHERE}[$__rate_interval]))"),
            ("{{host}} memory", "sum by (environment, host) (rate(node_pressure_memory_waiting_seconds_total{WHERE}[$__rate_interval]))"),
            ("{{host}} disk", "sum by (environment, host) (rate(node_pressure_io_waiting_seconds_total{WHERE}[$__rate_interval]))"),
        ),
        timeseries(
            "Memory", "Whether it fills slowly (a leak) or at once (a start).", "bytes",
            ("{{host}} available", "max by (environment, host) (node_memory_MemAvailable_bytes{WHERE})"),
            ("{{host}} all", "max by (environment, host) (node_memory_MemTotal_bytes{WHERE})"),
        ),
        timeseries(
            "Processes killed for memory", "More than 0: memory is oversold here; move an agent away.", "short",
            ("{{host}}", "sum by (environment, host) (increase(node_vmstat_oom_kill{WHERE}[5m]))"), runbooks=("AgentOutOfMemoryKill",),
        ),
        timeseries(
            "Disk and inodes free", "How long there is still room: by the slope.", "percentunit",
            ("{{host}} {{mountpoint}}",
             f"min by (environment, host, mountpoint) (node_filesystem_avail_bytes{{{DISK}, WHERE}} / node_filesystem_size_bytes)"),
            ("{{host}} {{mountpoint}} inodes",
             f"min by (environment, host, mountpoint) (node_filesystem_files_free{{{DISK}, WHERE}} / (node_filesystem_files > 0))"),
            most=1, steps=bad_below(0.05, 0.2), runbooks=("HostDiskFull", "HostInodesFull"),
        ),
        timeseries(
            "Disk traffic", "Who fills the disk's time: compare with the agents' progress.", "Bps",
            ("{{host}} {{device}} read",
             "sum by (environment, host, device) (rate(node_disk_read_bytes_total{WHERE}[$__rate_interval]))"),
            ("{{host}} {{device}} written",
             "sum by (environment, host, device) (rate(node_disk_written_bytes_total{WHERE}[$__rate_interval]))"),
        ),
        timeseries(
            "Network traffic", "Whether the line is full, or silent.", "Bps",
            ("{{host}} received",
             'sum by (environment, host) (rate(node_network_receive_bytes_total{device!="lo", WHERE}[$__rate_interval]))'),
            ("{{host}} sent",
             'sum by (environment, host) (rate(node_network_transmit_bytes_total{device!="lo", WHERE}[$__rate_interval]))'),
        ),
    ]  # fmt: skip


def _basics() -> list[Json]:
    return [
        row("Basics"),
        timeseries(
            "Clock, seconds off", "More than a few: logs, certificates and tokens cannot be trusted.", "s",
            ("{{host}}", "max by (environment, host) (abs(node_time_seconds{WHERE} - timestamp(node_time_seconds{WHERE})))"), width=8,
            steps=above(5), runbooks=("HostClockSkew",),
        ),
        timeseries(
            "File descriptors used", "Near 1 nothing can be opened any more: find who leaks them.", "percentunit",
            ("{{host}}", "max by (environment, host) (node_filefd_allocated{WHERE} / node_filefd_maximum)"), width=8,
            steps=above(0.8, "orange"), most=1, runbooks=("HostFileDescriptors",),
        ),
        timeseries(
            "Failed units", "Since when: what was changed then?", "none",
            ("{{host}}", 'sum by (environment, host) (node_systemd_unit_state{state="failed", WHERE})'), width=8,
            runbooks=("HostSystemdFailed",),
        ),
    ]  # fmt: skip
