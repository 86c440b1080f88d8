# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Monitoring of monitoring: whether the other dashboards and the alerts can be trusted."""

from grafana import Json, above, bad_below, bad_from, column, row, stat, table, timeseries, to, variable
from grafana import dashboard as assemble

WHERE = 'environment=~"$environment"'


def dashboard() -> Json:
    return assemble(
        "monitoring",
        "Monitoring: can it be trusted",
        "Whether silence means that all is well: who is not asked or does not answer, and whether alerts reach anybody.",
        [*_now(), *_collection(), *_rules(), *_alerts()],
        variables=[variable("environment", "Environment", "label_values(up, environment)")],
        where=WHERE,
    )


def _now() -> list[Json]:
    yes = {"0": ("no", "red"), "1": ("yes", "green")}
    return [
        stat(
            "Watchdog fires", "No: rules are not evaluated, so no alert can come. Begin here.", "none",
            'max(ALERTS{alertname="MonitoringWatchdog", alertstate="firing"}) or vector(0)', steps=bad_below(1, 1), words=yes,
            runbooks=("MonitoringWatchdog",),
        ),
        stat(
            "Targets that do not answer", "More than 0: what they would tell is not known. See the table.", "none",
            "count(up{WHERE} == 0) or vector(0)", steps=above(1), runbooks=("MonitoringCollectorStale", "AgentMetricsAbsent"),
        ),
        stat(
            "Oldest collection", "Older than minutes: that host repeats old values, restart its exporter.", "s",
            "max(time() - agentfactory_collect_timestamp_seconds{WHERE})", steps=bad_from(120, 300), runbooks=("MonitoringCollectorStale",),
        ),
        stat(
            "Configurations in force", "No: the last change was refused, and the old one is still used.", "none",
            "min(prometheus_config_last_reload_successful) * min(alertmanager_config_last_reload_successful)",
            steps=bad_below(1, 1), words=yes,
        ),
        stat(
            "Messages that failed in this time", "More than 0: somebody was not told. Mend the receiver.", "short",
            "sum(increase(alertmanager_notifications_failed_total[$__range]))", steps=above(1), decimals=0,
        ),
        stat(
            "Next certificate ends in", "Less than two weeks: renew it now.", "s",
            "min(agentfactory_certificate_expiry_timestamp_seconds{WHERE} - time())", steps=bad_below(3 * 86400, 14 * 86400),
            runbooks=("CertificateExpires",),
        ),
    ]  # fmt: skip


def _collection() -> list[Json]:
    return [
        row("Is everything asked?"),
        table(
            "Targets", "Who does not answer, and who answers nothing.",
            {
                "answers": column("min by (environment, host, job) (up{WHERE})", words={"0": ("no", "red"), "1": ("yes", "green")}),
                "samples": column("sum by (environment, host, job) (scrape_samples_scraped{WHERE})", "short"),
                "takes": column("max by (environment, host, job) (scrape_duration_seconds{WHERE})", "s", bad_from(2, 8)),
            },
            links={"host": to("host", environment="${__data.fields.environment}", host="${__value.raw}")}, width=12,
            runbooks=("MonitoringCollectorStale",),
        ),
        table(
            "What hosts can tell", "0: that kind of value does not exist there, and its alerts cannot fire for it.",
            {"can": column("min by (environment, host, capability) (agentfactory_capability{WHERE})", steps=bad_below(1, 1))}, width=12,
        ),
        timeseries(
            "Time to answer a scrape", "Near ten seconds answers are lost: ask less often, or find why it is slow.", "s",
            ("{{host}} {{job}} {{environment}}", "max by (environment, host, job) (scrape_duration_seconds{WHERE})"), steps=above(8),
        ),
        timeseries(
            "Agents that could not be looked at", "More than 0: the exporter's journal says which and why.", "ops",
            ("{{host}} {{environment}}", "sum by (environment, host) (rate(agentfactory_collect_errors_total{WHERE}[$__rate_interval]))"),
            runbooks=("MonitoringCollectorStale",),
        ),
    ]  # fmt: skip


def _rules() -> list[Json]:
    return [
        row("Does Prometheus keep up?"),
        timeseries(
            "Rules that failed", "More than 0: an alert is blind. The log of Prometheus names the rule.", "ops",
            ("{{rule_group}}", "sum by (rule_group) (rate(prometheus_rule_evaluation_failures_total[$__rate_interval]))"), width=8,
        ),
        timeseries(
            "Rules: time of their interval", "Near 1 alerts come late: a bigger host, or fewer series.", "percentunit",
            ("{{rule_group}}", "prometheus_rule_group_last_duration_seconds / prometheus_rule_group_interval_seconds"), width=8,
            steps=bad_from(0.5, 0.9),
        ),
        timeseries(
            "Series", "A step up: somebody puts what is endless into a label. See the table above for who.", "short",
            ("in memory", "sum(prometheus_tsdb_head_series)"), width=8,
        ),
        timeseries(
            "Samples taken", "What it costs: plan its disk by it.", "cps",
            ("samples", "sum(rate(prometheus_tsdb_head_samples_appended_total[$__rate_interval]))"), width=8,
        ),
        timeseries(
            "On disk", "Whether the disk holds what is to be remembered.", "bytes",
            ("blocks", "sum(prometheus_tsdb_storage_blocks_bytes)"), width=8,
        ),
        timeseries(
            "Scrapes refused", "Above 0: a target gave too much and was dropped whole. Find it in the table above.", "ops",
            ("too many samples", "sum(rate(prometheus_target_scrapes_exceeded_sample_limit_total[$__rate_interval]))"),
            ("too large", "sum(rate(prometheus_target_scrapes_exceeded_body_size_limit_total[$__rate_interval]))"), width=8,
        ),
    ]  # fmt: skip


def _alerts() -> list[Json]:
    return [
        row("Do alerts reach anybody?"),
        timeseries(
            "Alerts that Alertmanager holds", "Many suppressed ones: is a silence forgotten?", "none",
            ("{{state}}", "sum by (state) (alertmanager_alerts)"), width=8,
        ),
        timeseries(
            "Silences", "Active ones that nobody remembers hide what matters: end them.", "none",
            ("{{state}}", "sum by (state) (alertmanager_silences)"), width=8,
        ),
        timeseries(
            "Messages", "Failed ones: mend that receiver; until then watch the fleet by eye.", "ops",
            ("{{integration}} sent", "sum by (integration) (rate(alertmanager_notifications_total[$__rate_interval]))"),
            ("{{integration}} failed", "sum by (integration) (rate(alertmanager_notifications_failed_total[$__rate_interval]))"), width=8,
        ),
        timeseries(
            "Alerts lost on the way to Alertmanager", "More than 0: Alertmanager is down or cannot be reached.", "ops",
            ("dropped", "sum(rate(prometheus_notifications_dropped_total[$__rate_interval]))"),
            ("errors", "sum(rate(prometheus_notifications_errors_total[$__rate_interval]))"), width=24, runbooks=("MonitoringWatchdog",),
        ),
    ]  # fmt: skip
