# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A day of healthy agents, in which no alert may fire a minute, and faults beside them, which must be seen in time.

promtool evaluates the real rules over a warm-up and the day, and the test prints how long each fault took.
"""

import json
import math
import random
import re
from collections.abc import Callable, Iterable
from pathlib import Path

RULES = Path(__file__).resolve().parents[3] / "roles/monitoring/files/rules"
DAY = 1440
WARM_UP = 56 * 60  # minutes: what AgentAnomalyBand needs to know an agent
END = WARM_UP + DAY
FAULT = WARM_UP + 240
CORES, BYTES, SENT = 0.2, 2e8, 2e5  # of an agent at level 1: CPU, memory, bytes a second
SEED = 20261123
STEP = 4  # minutes between two evaluations: every minute gives the same, and takes six times as long

Levels = list[float]  # one a minute, about 1


def shapes(rng: random.Random) -> dict[str, Callable[[int], float]]:
    """Thirteen ways to be healthy: minute -> level."""

    def daily(minute: int) -> float:
        return 1 + 0.6 * math.sin(2 * math.pi * minute / DAY)

    def noise(width: float) -> float:
        return max(0.0, rng.gauss(1, width))

    opens = [480 + rng.randint(-10, 10) for _day in range(5)]
    closes = [1020 + rng.randint(-10, 10) for _day in range(5)]
    batches = [120 + rng.randint(-20, 20) for _day in range(5)]
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
    }


def faulty(rng: random.Random, change: Callable[[float], float]) -> Levels:
    """Healthy and a little noisy; from the fault on `change(hours since)` times that."""
    return [rng.gauss(1, 0.05) * (change((t - FAULT) / 60) if t >= FAULT else 1) for t in range(END + 1)]


def agent(name: str, *, cpu: Levels, memory: Levels, sent: Levels, instance: int = 0) -> Iterable[tuple[str, str]]:
    labels = f'job="agentfactory", host="h{instance}", environment="lab", agent="{name}", agent_id="{name}@{instance}"'

    def gauge(levels: Iterable[float]) -> str:
        return " ".join(f"{level:.6g}" for level in levels)

    def counter(levels: Levels, each: float) -> str:
        total, values = 0.0, []
        for level in levels:
            total += level * each * 60
            values.append(f"{total:.9g}")
        return " ".join(values)

    yield f"agentfactory_agent_cpu_seconds_total{{{labels}}}", counter(cpu, CORES)
    yield f"agentfactory_agent_memory_bytes{{{labels}}}", gauge(level * BYTES for level in memory)
    yield f"agentfactory_agent_network_transmit_bytes_total{{{labels}}}", counter(sent, SENT)
    constants = {"up": 1, "wanted": 1, "healthy": 1, "drift": 0, "start_time_seconds": 0}
    constants["memory_limit_bytes"] = round(2 * BYTES * max(memory))
    for metric, value in constants.items():
        yield f"agentfactory_agent_{metric}{{{labels}}}", f"{value}+0x{END}"
    yield f"agentfactory_agent_last_progress_timestamp_seconds{{{labels}}}", f"0+60x{END}"


def ask(promtool, path: Path, inputs: Iterable[tuple[str, str]], query: str) -> dict[tuple[str, str], float]:
    """What `query` gives at the day's end, by agent and alert: promtool tells what it got where nothing was expected."""
    document = {
        "rule_files": [str(RULES / f"{name}.yml") for name in ("base", "agents", "anomaly")],
        "group_eval_order": ["agentfactory-base", "agentfactory-agents", "agentfactory-anomaly"],
        "evaluation_interval": f"{STEP}m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values} for series, values in inputs],
                "promql_expr_test": [{"expr": query, "eval_time": f"{END}m"}],
            }
        ],
    }
    path.write_text(json.dumps(document), encoding="utf-8")  # which is YAML too
    result = promtool("test", "rules", path)
    if result.returncode == 0:
        return {}
    samples = re.findall(r'\{agent="([^"]+)", alertname="([^"]+)"\} ([0-9.E+]+)', result.stdout.split("got:")[-1])
    assert samples, result.stdout[-2000:]
    return {(agent, alert): float(value) for agent, alert, value in samples}


def test_a_healthy_day_has_no_minute_of_alarm(promtool, tmp_path, capsys):
    rng = random.Random(SEED)
    inputs: list[tuple[str, str]] = []
    for name, level in shapes(rng).items():
        levels = [level(minute) for minute in range(END + 1)]
        inputs += agent(name, cpu=levels, memory=levels, sent=levels)
    for instance in range(6):
        levels = faulty(rng, lambda _hours: 1.0)
        inputs += agent("peers", cpu=levels, memory=levels, sent=levels, instance=instance)
    query = 'sum by (agent, alertname) (count_over_time(ALERTS{alertstate="firing"}[24h]))'
    alarms = ask(promtool, tmp_path / "healthy.yml", inputs, query)
    with capsys.disabled():
        print(
            f"\n  false alarms: {STEP * sum(alarms.values()):g} minutes in a day of 19 instances, {len(inputs)} series"
        )
    assert alarms == {}


def test_faults_are_seen_in_time(promtool, tmp_path, capsys):
    rng = random.Random(SEED)
    healthy = faulty(rng, lambda _hours: 1.0)
    kinds = {
        "cpu-5x": {"cpu": faulty(rng, lambda _hours: 5.0)},
        "cpu-zero": {"cpu": faulty(rng, lambda _hours: 0.0)},
        "cpu-plus-40": {"cpu": faulty(rng, lambda _hours: 1.4)},
        "memory-plus-40": {"memory": faulty(rng, lambda _hours: 1.4)},
        "memory-leak-10-an-hour": {"memory": faulty(rng, lambda hours: 1 + 0.1 * hours)},
        "egress-10x": {"sent": faulty(rng, lambda _hours: 10.0)},
    }
    same = {"cpu": healthy, "memory": healthy, "sent": healthy}
    inputs: list[tuple[str, str]] = []
    for name, fault in kinds.items():
        inputs += agent(name, **{**same, **fault})
    for instance in range(5):
        inputs += agent("peers", **same, instance=instance)
    inputs += agent("peers", **{**same, "cpu": faulty(rng, lambda _hours: 3.0)}, instance=5)
    query = 'min by (agent, alertname) (min_over_time(timestamp(ALERTS{alertstate="firing"})[24h:%dm]))' % STEP
    first = ask(promtool, tmp_path / "faults.yml", inputs, query)
    took = {key: seconds / 60 - FAULT for key, seconds in first.items()}
    with capsys.disabled():
        print()
        for (name, alert), minutes in sorted(took.items(), key=lambda item: (item[0][0], item[1])):
            print(f"  {name:24} {alert:20} after {minutes:4g} min")

    assert all(minutes > 0 for minutes in took.values()), "fired before the fault"
    limits = {
        ("cpu-5x", "AgentAnomalySpike"): 10,
        ("cpu-zero", "AgentIdleAtZero"): 25,
        ("cpu-plus-40", "AgentAnomalyStep"): 45,
        ("memory-plus-40", "AgentAnomalyStep"): 45,
        ("memory-leak-10-an-hour", "AgentAnomalyLeak"): 180,
        ("egress-10x", "AgentEgressSpike"): 15,
        ("peers", "AgentAnomalyPeer"): 45,
    }
    late = {key: took.get(key) for key, limit in limits.items() if took.get(key, math.inf) > limit}
    assert not late
