# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A day of healthy agents, in which no alert may fire a minute, and faults beside them, which must be seen in time.

promtool evaluates the real rules over a warm-up and the day, and the test prints how long each fault took.
"""

import itertools
import json
import math
import random
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

RULES = Path(__file__).resolve().parents[3] / "roles/monitoring/files/rules"
DAY = 1440
WARM_UP = 56 * 60  # minutes: what AgentAnomalyBand needs to know an agent
END = WARM_UP + DAY
FAULT = WARM_UP + 240
# Of an agent at level 1: cores, bytes, bytes a second, requests a second, seconds.
UNITS = {"cpu": 0.2, "memory": 2e8, "network_receive": 2e5, "network_transmit": 2e5, "requests": 5.0, "latency": 0.2}
SEED = 20261123
STEP = 4  # minutes between two evaluations: every minute gives the same, and takes six times as long

Level = float | None
Levels = list[Level]  # one a minute, about 1; None while it is not up, after which counters begin anew


def shapes(rng: random.Random) -> dict[str, Callable[[int], Level]]:
    """Fourteen ways to be healthy: minute -> level."""

    def daily(minute: int) -> float:
        return 1 + 0.6 * math.sin(2 * math.pi * minute / DAY)

    def noise(width: float) -> float:
        return max(0.0, rng.gauss(1, width))

    opens = [480 + rng.randint(-10, 10) for _day in range(5)]
    closes = [1020 + rng.randint(-10, 10) for _day in range(5)]
    batches = [120 + rng.randint(-20, 20) for _day in range(5)]
    restarts = {minute + more for minute in range(150, END, 500) for more in range(3)}
    state = {"wander": 0.0, "level": 1.0, "left": 0.0}

    def office(minute: int) -> float:
        day, now = divmod(minute, DAY)
        return (1.5 if opens[day] <= now < closes[day] else 0.3) * noise(0.05)

    def batch(minute: int) -> float:
        day, now = divmod(minute, DAY)
        return 5.0 if batches[day] <= now < batches[day] + 60 else 1.0

    def wandering(_minute: int) -> float:
        keep = math.exp(-1 / 120)
        state["wander"] = keep * state["wander"] + math.sqrt(1 - keep * keep) * rng.gauss(0, 0.12)
        return max(0.0, 1 + state["wander"])

    def two_levels(_minute: int) -> float:
        if state["left"] <= 0:
            state["level"], state["left"] = 2.5 - state["level"], rng.uniform(60, 300)
        state["left"] -= 1
        return state["level"] * noise(0.03)

    return {
        "constant": lambda _minute: 1.0,
        "noisy": lambda _minute: noise(0.05),
        "very-noisy": lambda _minute: noise(0.3),
        "daily": daily,
        "daily-noisy": lambda minute: daily(minute) * noise(0.1),
        "office-hours": office,
        "hourly-bursts": lambda minute: 4.0 if minute % 60 < 5 else 1.0,
        "nightly-batch": batch,
        "sawtooth": lambda minute: 0.6 + 0.8 * (minute % 200) / 200,
        "wandering": wandering,
        "mostly-idle": lambda _minute: 1.0 if rng.random() < 0.05 else 0.0,
        "two-levels": two_levels,
        "heavy-tail": lambda _minute: rng.lognormvariate(-0.3, 0.8),
        "restarts": lambda minute: None if minute in restarts else noise(0.1),
    }


def faulty(rng: random.Random, change: Callable[[float], float]) -> Levels:
    """Healthy and a little noisy; from the fault on `change(hours since)` times that."""
    return [rng.gauss(1, 0.05) * (change((t - FAULT) / 60) if t >= FAULT else 1) for t in range(END + 1)]


def agent(name: str, instance: int = 0, **levels: Levels) -> Iterable[tuple[str, str]]:
    """Series of one that has these levels of these signals. Latency goes with requests."""
    labels = f'host="h{instance}", environment="lab", agent="{name}", agent_id="{name}@{instance}"'
    amounts = {
        signal: [None if level is None else UNITS[signal] * level for level in given]
        for signal, given in levels.items()
    }

    def ours(metric: str) -> str:
        return f'agentfactory_agent_{metric}{{job="agentfactory", {labels}}}'

    def gauge(given: Iterable[Level]) -> str:
        return " ".join("_" if level is None else f"{level:.6g}" for level in given)

    def counter(given: Iterable[Level]) -> str:
        totals = itertools.accumulate(given, lambda total, level: None if level is None else (total or 0) + level * 60)
        return " ".join("_" if total is None else f"{total:.9g}" for total in totals)

    yield ours("cpu_seconds_total"), counter(amounts["cpu"])
    if "memory" in amounts:
        yield ours("memory_bytes"), gauge(amounts["memory"])
        yield ours("memory_limit_bytes"), f"{2 * max(filter(None, amounts['memory'])):.0f}+0x{END}"
    for signal in amounts.keys() & {"network_receive", "network_transmit"}:
        yield ours(f"{signal}_bytes_total"), counter(amounts[signal])
    if "requests" in amounts:
        pairs = zip(amounts["requests"], amounts["latency"], strict=True)
        seconds = [None if None in pair else math.prod(pair) for pair in pairs]
        for metric, values in (("count", amounts["requests"]), ("sum", seconds)):
            yield f'http_server_request_duration_seconds_{metric}{{job="agents", {labels}}}', counter(values)
    for metric, value in {"up": 1, "wanted": 1, "healthy": 1, "drift": 0, "start_time_seconds": 0}.items():
        yield ours(metric), f"{value}+0x{END}"
    yield ours("last_progress_timestamp_seconds"), f"0+60x{END}"


def ask(promtool, folder: Path, inputs: Iterable[tuple[str, str]], query: str) -> dict[tuple[str, ...], float]:
    """What `query` gives at the day's end, by agent, signal and alert: promtool tells what it got where nothing was expected.

    Of slo.yml only the signals: budgets look at three days and need no agent of these.
    """
    names = ("base", "agents", "slo", "anomaly")
    (slo,) = yaml.safe_load((RULES / "slo.yml").read_text(encoding="utf-8"))["groups"]
    slo["rules"] = [rule for rule in slo["rules"] if rule.get("record") == "agentfactory:signal"]
    (folder / "slo.yml").write_text(json.dumps({"groups": [slo]}), encoding="utf-8")  # which is YAML too
    document = {
        "rule_files": [str((folder if name == "slo" else RULES) / f"{name}.yml") for name in names],
        "group_eval_order": [f"agentfactory-{name}" for name in ("base", "agents", "slo", "anomaly-usual", "anomaly")],
        "evaluation_interval": f"{STEP}m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values} for series, values in inputs],
                "promql_expr_test": [{"expr": query, "eval_time": f"{END}m"}],
            }
        ],
    }
    (folder / "test.yml").write_text(json.dumps(document), encoding="utf-8")
    result = promtool("test", "rules", folder / "test.yml")
    if result.returncode == 0:
        return {}
    told = re.findall(r"\{([^}]+)\} ([0-9.E+]+)", result.stdout.split("got:")[-1])
    assert told, result.stdout[-2000:]
    labels = [dict(re.findall(r'(\w+)="([^"]*)"', text)) for text, _value in told]
    keys = [tuple(one.get(label, "") for label in ("agent", "signal", "alertname")) for one in labels]
    return {key: float(value) for key, (_text, value) in zip(keys, told, strict=True)}


def test_a_healthy_day_has_no_minute_of_alarm(promtool, tmp_path, capsys):
    rng = random.Random(SEED)
    inputs: list[tuple[str, str]] = []
    for number, (name, level) in enumerate(shapes(rng).items()):
        network = ("network_receive", "network_transmit")[number % 2]  # of which the rules see but what CPU shows too
        levels = [level(minute) for minute in range(END + 1)]
        inputs += agent(name, **dict.fromkeys(("cpu", "memory", "requests", "latency", network), levels))
    for instance in range(6):
        levels = faulty(rng, lambda _hours: 1.0)
        inputs += agent("peers", instance, cpu=levels, requests=levels, latency=levels)
    query = 'sum by (agent, signal, alertname) (count_over_time(ALERTS{alertstate="firing"}[24h]))'
    alarms = ask(promtool, tmp_path, inputs, query)
    with capsys.disabled():
        print(
            f"\n  false alarms: {STEP * sum(alarms.values()):g} minutes in a day of 20 instances, {len(inputs)} series"
        )
    assert alarms == {}


# Whose signal becomes how many times what it was, with the hours; what tells of it, and within how many minutes.
FAULTS: list[tuple[str, str, Callable[[float], float], str, int]] = [
    ("steep", "cpu", lambda _hours: 5.0, "AgentAnomalySpike", 10),
    ("steep", "memory", lambda hours: 1 + 0.1 * hours, "AgentAnomalyLeak", 180),
    ("steep", "network_receive", lambda _hours: 5.0, "AgentAnomalySpike", 15),
    ("steep", "latency", lambda _hours: 3.0, "AgentAnomalyStep", 45),
    ("flat", "cpu", lambda _hours: 1.4, "AgentAnomalyStep", 45),
    ("flat", "memory", lambda _hours: 1.4, "AgentAnomalyStep", 45),
    ("flat", "network_transmit", lambda _hours: 5.0, "AgentEgressSpike", 15),
    ("flat", "requests", lambda _hours: 0.0, "AgentIdleAtZero", 25),
    ("frozen", "cpu", lambda _hours: 0.0, "AgentIdleAtZero", 25),
    ("peers", "cpu", lambda _hours: 3.0, "AgentAnomalyPeer", 45),
    ("peers", "requests", lambda _hours: 0.0, "AgentAnomalyPeer", 45),
    ("peers", "latency", lambda _hours: 3.0, "AgentAnomalyPeer", 45),
]


def test_faults_are_seen_in_time(promtool, tmp_path, capsys):
    rng = random.Random(SEED)
    healthy = faulty(rng, lambda _hours: 1.0)
    ill: dict[str, dict[str, Levels]] = {}
    for name, signal, change, _alert, _limit in FAULTS:
        ill.setdefault(name, dict.fromkeys(("cpu", "requests", "latency"), healthy))[signal] = faulty(rng, change)
    # One in six peers is the odd one, of each signal another one.
    peers = ill.pop("peers")
    odd = dict(enumerate(peers))
    inputs: list[tuple[str, str]] = []
    for name, levels in ill.items():
        inputs += agent(name, **levels)
    for instance in range(6):
        levels = {signal: level if odd.get(instance) == signal else healthy for signal, level in peers.items()}
        inputs += agent("peers", instance, **levels)
    query = 'min by (agent, signal, alertname) (min_over_time(timestamp(ALERTS{alertstate="firing"})[24h:%dm]))' % STEP
    first = ask(promtool, tmp_path, inputs, query)
    took = {key: seconds / 60 - FAULT for key, seconds in first.items()}
    with capsys.disabled():
        print()
        for (name, signal, alert), minutes in sorted(took.items(), key=lambda item: (item[0][:2], item[1])):
            print(f"  {name:8} {signal:18} {alert:20} after {minutes:4g} min")

    assert all(minutes > 0 for minutes in took.values()), "fired before the fault"
    late = [
        (name, signal, alert)
        for name, signal, _change, alert, limit in FAULTS
        if took.get((name, signal, alert), math.inf) > limit
    ]
    assert not late
    well = {fault[:2] for fault in took} - {fault[:2] for fault in FAULTS}
    assert not well, "what went on as before was told of"
