# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy by its own exporter (2.4 and newer): who gets the traffic, and what is lost on the way."""

from grafana import Json, above, bad_from, row, stat, timeline, timeseries, variable
from grafana import dashboard as assemble

WHERE = 'instance=~"$instance", proxy=~"$proxy"'
# As HAProxy calls them; a server is in one of them.
STATES = ["UP", "DOWN", "MAINT", "DRAIN", "NOLB"]
COLORS = ["green", "red", "blue", "orange", "orange"]


def dashboard() -> Json:
    return assemble(
        "loadbalancer",
        "Load balancer: who gets the traffic",
        "Whether requests are lost before they reach an agent, which server to take out, and whether there is room for more.",
        [*_now(), *_traffic(), *_servers()],
        variables=[
            variable("instance", "HAProxy", "label_values(haproxy_process_uptime_seconds, instance)"),
            variable(
                "proxy", "Backend", 'label_values(haproxy_backend_http_requests_total{instance=~"$instance"}, proxy)'
            ),
        ],
        where=WHERE,
    )


def _now() -> list[Json]:
    return [
        stat(
            "Backends without a server", "More than 0: nobody is served there. Bring one instance up, whichever.", "none",
            'count(haproxy_backend_status{state="DOWN", WHERE} == 1) or vector(0)', steps=above(1), runbooks=("BalancerNoServer",),
        ),
        stat(
            "Servers down", "Its health check fails: open the agent, or the host if all of one host's are down.", "none",
            'sum(haproxy_server_status{state="DOWN", WHERE})', steps=bad_from(1, 2),
        ),
        stat(
            "Answers 5xx", "What clients see: above 1 % look whether it is one server.", "percentunit",
            'sum(rate(haproxy_backend_http_responses_total{code="5xx", WHERE}[$__rate_interval]))'
            " / clamp_min(sum(rate(haproxy_backend_http_responses_total{WHERE}[$__rate_interval])), 1e-9)", steps=bad_from(0.01, 0.05),
        ),
        stat(
            "Requests that wait", "More than 0 for long: the servers are full, add instances.", "none",
            "sum(haproxy_backend_current_queue{WHERE})", steps=bad_from(1, 10),
        ),
        stat(
            "Connections of their limit", "Near all: raise maxconn, or add a load balancer.", "percentunit",
            'max(haproxy_process_current_connections{instance=~"$instance"} / haproxy_process_max_connections)',
            steps=bad_from(0.7, 0.9),
        ),
        stat(
            "Last start", "Just now: its counters began again.", "s", 'min(haproxy_process_uptime_seconds{instance=~"$instance"})',
            runbooks=("BalancerDown",),
        ),
    ]  # fmt: skip


def _traffic() -> list[Json]:
    def failures(name: str, words: str) -> tuple[str, str]:
        return (
            f"{{{{proxy}}}} {words}",
            f"sum by (proxy) (rate(haproxy_backend_{name}_total{{WHERE}}[$__rate_interval]))",
        )

    return [
        row("What clients see"),
        timeseries(
            "Requests", "Whether there is more to do than usual.", "reqps",
            ("{{proxy}}", "sum by (proxy) (rate(haproxy_backend_http_requests_total{WHERE}[$__rate_interval]))"),
        ),
        timeseries(
            "Answers by status", "When errors began: compare with your rollouts.", "reqps",
            ("{{proxy}} {{code}}", "sum by (proxy, code) (rate(haproxy_backend_http_responses_total{WHERE}[$__rate_interval]))"),
        ),
        timeseries(
            "Time to answer", "Slow to answer: the agent. Waiting: too few instances. Slow to connect: the network or a full host.", "s",
            ("{{proxy}} answering", "max by (proxy) (haproxy_backend_response_time_average_seconds{WHERE})"),
            ("{{proxy}} waiting", "max by (proxy) (haproxy_backend_queue_time_average_seconds{WHERE})"),
            ("{{proxy}} connecting", "max by (proxy) (haproxy_backend_connect_time_average_seconds{WHERE})"),
        ),
        timeseries(
            "Failures on the way", "Retries hide a failing server from clients for a while: find it below.", "ops",
            failures("connection_errors", "not connected"), failures("response_errors", "broken off"),
            failures("retry_warnings", "tried again"), failures("redispatch_warnings", "sent to another"),
        ),
        timeseries(
            "Requests that wait", "A queue that grows: add instances before clients time out.", "none",
            ("{{proxy}}", "sum by (proxy) (haproxy_backend_current_queue{WHERE})"),
        ),
        timeseries(
            "Sessions", "How much goes on at once.", "none", ("{{proxy}}", "sum by (proxy) (haproxy_backend_current_sessions{WHERE})"),
        ),
    ]  # fmt: skip


def _servers() -> list[Json]:
    each = [f'haproxy_server_status{{state="{state}", WHERE}} * {number}' for number, state in enumerate(STATES, 1)]
    name = "{{proxy}} {{server}}"
    return [
        row("Which server"),
        timeline(
            "State of servers", "Who left and came back, and whether it was meant (maintenance, draining).",
            (name, f"max by (instance, proxy, server) (sum by (instance, proxy, server) ({' or '.join(each)}))"), STATES, COLORS,
        ),
        timeseries(
            "Sessions by server", "Whether all get their part: one that gets none is out, or its weight is 0.", "reqps",
            (name, "sum by (proxy, server) (rate(haproxy_server_sessions_total{WHERE}[$__rate_interval]))"),
        ),
        timeseries(
            "Errors by server", "One server alone: take it out. All alike: it is the release.", "ops",
            (f"{name} 5xx", 'sum by (proxy, server) (rate(haproxy_server_http_responses_total{code="5xx", WHERE}[$__rate_interval]))'),
            (f"{name} not connected", "sum by (proxy, server) (rate(haproxy_server_connection_errors_total{WHERE}[$__rate_interval]))"),
        ),
        timeseries(
            "Time to answer by server", "One that is slower than the rest: look at its host.", "s",
            (name, "max by (proxy, server) (haproxy_server_response_time_average_seconds{WHERE})"),
        ),
        timeseries(
            "Failed health checks", "A few now and then: the check's timeout is too short, or the server is near its end.", "ops",
            (name, "sum by (proxy, server) (rate(haproxy_server_check_failures_total{WHERE}[$__rate_interval]))"),
        ),
    ]  # fmt: skip
