# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AgentCrashLoop over hours of an agent that ends again and again, restarted as its unit says: ever later, then every five minutes.

What a scrape would have seen is worked out from the unit's own delays; promtool evaluates the role's rules on it.
"""

import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.agentfactory.core.plugins.module_utils.unit import (
    FIRST_RESTART,
    LONGEST_RESTART,
    RESTART_STEPS,
)

from .conftest import Promtool
from .test_rules import ROOT

SCRAPE, HOURS = 15, 2
BEFORE = 600  # seconds that it runs before it ends for the first time
LABELS = 'job="agentfactory", host="h1", environment="lab", agent="thermostat", agent_id="thermostat@0"'
# A crash loop is what ends after so many seconds each time.
LOOPS = [0.5, 30, 60, 120, 150, 200, 300, 420]
# None is what ends once, or a few times with work between: it is started again at once.
CRASHES = {"once": [BEFORE], "soon again": [BEFORE, 60], "every five minutes, and then no more": [BEFORE, 300, 300]}


def delay(restarts: int) -> float:
    """systemd's own formula for RestartSteps= and RestartMaxDelaySec=, which our unit's ExecStartPre follows where systemd is older."""
    growth = LONGEST_RESTART / FIRST_RESTART
    return float(FIRST_RESTART * growth ** (min(restarts, RESTART_STEPS) / RESTART_STEPS))


def scrapes(runs: Iterator[float]) -> Iterator[tuple[int, int]]:
    """Whether it waits for its restart, and how often it was restarted, as each scrape sees it."""
    restarts, ends = 0, next(runs, math.inf)
    starts = ends + delay(0)
    for at in range(0, HOURS * 3600, SCRAPE):
        while at >= starts:
            restarts, ends = restarts + 1, starts + next(runs, math.inf)
            starts = ends + delay(restarts)
        yield int(at >= ends), restarts


def case(name: str, runs: Iterator[float], expected: dict[str, int]) -> dict[str, Any]:
    waits, restarts = zip(*scrapes(runs), strict=True)
    series = {
        f"agentfactory_agent_up{{{LABELS}}}": [1 - waiting for waiting in waits],
        f"agentfactory_agent_wanted{{{LABELS}}}": [1] * len(waits),
        f'agentfactory_agent_state{{{LABELS}, state="crash-looping"}}': waits,
        f"agentfactory_agent_restarts_total{{{LABELS}}}": restarts,
    }
    return {
        "name": name, "interval": f"{SCRAPE}s",
        "input_series": [{"series": key, "values": " ".join(map(str, values))} for key, values in series.items()],
        "promql_expr_test": [
            {"eval_time": f"{HOURS}h", "expr": expr, "exp_samples": [{"value": value}]} for expr, value in expected.items()
        ],
    }  # fmt: skip


def test_a_crash_loop_is_one_alert_that_lasts_and_a_crash_is_none(promtool: Promtool, tmp_path: Path) -> None:
    firing = 'ALERTS{alertname=~"AgentCrashLoop|AgentDown", alertstate="firing"}'
    alerts = f"(sum({firing}) or vector(0))"
    # Once its restarts are five minutes apart it is told of, and neither resolves nor begins again.
    lasts = {alerts: 1, f"changes({alerts}[40m:{SCRAPE}s])": 0}
    never = {f"max_over_time({alerts}[{HOURS}h:{SCRAPE}s])": 0}
    document = {
        "rule_files": [str(ROOT / f"roles/monitoring/files/rules/{name}.yml") for name in ("base", "agents")],
        "group_eval_order": ["agentfactory-base", "agentfactory-agents"],
        "evaluation_interval": f"{SCRAPE}s",
        "tests": [
            *(case(f"runs {run} s", itertools.chain([BEFORE], itertools.repeat(run)), lasts) for run in LOOPS),
            *(case(name, iter(runs), never) for name, runs in CRASHES.items()),
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(document))
    result = promtool("test", "rules", tmp_path / "test.yml")
    assert result.returncode == 0, result.stdout
