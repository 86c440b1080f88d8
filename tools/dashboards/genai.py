# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AI agents by OpenTelemetry's GenAI metrics, as the recording rules name them (rules/genai_names.yml)."""

from grafana import Json, above, bad_from, cell, column, row, stat, table, timeseries, to, variable
from grafana import dashboard as assemble

WHERE = 'environment=~"$environment", agent=~"$agent"'
MODEL = 'WHERE, model=~"$model"'
TOKENS = "agentfactory:genai_tokens:increase1d"
CALLS = "agentfactory:genai_operations:rate10m"
ERRORS = "agentfactory:genai_errors:rate10m"
LATENCY = "agentfactory:genai_latency:p95"
BUDGET = "max by (environment, agent) (agentfactory_genai_token_budget)"


def dashboard() -> Json:
    return assemble(
        "genai",
        "AI agents: tokens, errors, latency",
        "Whether to slow an agent down before its budget is gone, and whether to switch to another model.",
        [*_now(), *_tokens(), *_models()],
        variables=[
            variable("environment", "Environment", f"label_values({CALLS}, environment)"),
            variable("agent", "Agent", f'label_values({CALLS}{{environment=~"$environment"}}, agent)'),
            variable("model", "Model", f'label_values({CALLS}{{environment=~"$environment", agent=~"$agent"}}, model)'),
        ],
        where=WHERE,
        since="now-24h",
    )


def _now() -> list[Json]:
    return [
        stat(
            "Tokens in 24 hours", "What the bill will be made of.", "short", f"sum({TOKENS}{{WHERE}})",
        ),
        stat(
            "Most of a budget used", "Near all: slow that agent down, or raise its budget knowingly.", "percentunit",
            f"max({TOKENS}{{WHERE}} / on (environment, agent) {BUDGET})", steps=bad_from(0.75, 0.9), runbooks=("GenaiTokenBudget",),
        ),
        stat("Calls", "How much goes on now; none at all: do the agents hang?", "reqps", f"sum({CALLS}{{{MODEL}}})"),
        stat(
            "Calls that fail", "More than a tenth: see which model, and switch.", "percentunit",
            f"(sum({ERRORS}{{{MODEL}}}) or vector(0)) / clamp_min(sum({CALLS}{{{MODEL}}}), 1e-9)", steps=bad_from(0.02, 0.1),
            runbooks=("GenaiErrorRate",),
        ),
        stat(
            "Slowest twentieth", "Above a minute agents stall: switch models, or ask for less at once.", "s",
            f"max({LATENCY}{{{MODEL}}})", steps=bad_from(20, 60), runbooks=("GenaiLatency",),
        ),
        stat(
            "Alerts on models", "More than 0: begin with their runbooks.", "none",
            'count(ALERTS{alertname=~"Genai.*", alertstate="firing", WHERE}) or vector(0)', steps=above(1),
        ),
    ]  # fmt: skip


def _tokens() -> list[Json]:
    name = "{{agent}} {{environment}}"
    return [
        row("Budgets"),
        timeseries(
            "Tokens in 24 hours", "Which agent uses them up.", "short",
            (name, f"sum by (environment, agent) ({TOKENS}{{WHERE}})"),
            (f"{name} budget", "max by (environment, agent) (agentfactory_genai_token_budget{WHERE})"),
            runbooks=("GenaiTokenBudget",),
        ),
        timeseries(
            "Part of the budget used", "When it would be gone: by the slope.", "percentunit",
            (name, f"{TOKENS}{{WHERE}} / on (environment, agent) {BUDGET}"), steps=above(0.9),
            runbooks=("GenaiTokenBudget",),
        ),
    ]  # fmt: skip


def _models() -> list[Json]:
    labels = "(environment, host, agent, agent_id, model)"
    return [
        row("Models"),
        timeseries(
            "Calls by model", "Which model carries the work.", "reqps", ("{{model}}", f"sum by (model) ({CALLS}{{{MODEL}}})"), width=8,
        ),
        timeseries(
            "Calls that fail, by model", "One model alone: its provider. All: your network or key.", "percentunit",
            ("{{model}}", f"sum by (model) ({ERRORS}{{{MODEL}}}) / sum by (model) ({CALLS}{{{MODEL}}})"), width=8, most=1,
            steps=above(0.1), runbooks=("GenaiErrorRate",),
        ),
        timeseries(
            "Slowest twentieth, by model", "Slower than usual for an hour: the provider's trouble, or longer questions of ours.", "s",
            ("{{model}}", f"max by (model) ({LATENCY}{{{MODEL}}})"), width=8, steps=above(60),
            runbooks=("GenaiLatency",),
        ),
        table(
            "Instances", "Which instance makes the calls, and whose calls fail.",
            {
                "calls a second": column(f"sum by {labels} ({CALLS}{{{MODEL}}})", "reqps"),
                "failing": column(
                    f"sum by {labels} ({ERRORS}{{{MODEL}}}) / sum by {labels} ({CALLS}{{{MODEL}}})", "percentunit", bad_from(0.02, 0.1)),
                "slowest twentieth": column(f"max by {labels} ({LATENCY}{{{MODEL}}})", "s", bad_from(20, 60)),
            },
            links={"agent_id": to(
                "agent", environment=cell("environment"), agent=cell("agent"), host=cell("host"), agent_id="${__value.raw}")},
        ),
    ]  # fmt: skip
