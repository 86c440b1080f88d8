# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A load of known arrivals and work on queue-agent, and what agent_capacity answers from what a real Prometheus measured of it.

The load is open: Poisson arrivals, exponential work, each dealt to an instance by chance, all from one seed. So chance is the same in
every run, and only this machine's delays differ. What they do to the work is measured as work; what they do to the waiting is not judged.
The work is sleep. How far a p95 of so many requests may be from the true one is not guessed: hundreds of loads of other seeds are worked
off here.
"""

import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import yaml

from .harness import until
from .monitored import Monitored

PORT = 18200
RATE, SERVICE = 18.0, 0.1  # requests/s of the whole fleet; seconds
WARM, WINDOW = 8, 40  # seconds: until the queues have forgotten that they were empty; in which it is measured
SEED = 3
BELOW = 0.45  # seconds: what is promised of p95


@dataclass(frozen=True)
class Request:
    """``at``: seconds from the beginning. ``to``: the number of its instance. ``work``: seconds."""

    at: float
    to: int
    work: float


def load(seed: int, instances: int, service: float = SERVICE) -> list[Request]:
    source, now, found = random.Random(seed), 0.0, []
    while (now := now + source.expovariate(RATE)) < WARM + WINDOW:
        found.append(Request(now, source.randrange(instances), source.expovariate(1 / service)))
    return found


def worked_off(requests: list[Request], instances: int) -> float:
    """p95 of the responses that end in the window, by Lindley's recursion, on a machine that is never late."""
    free, responses = [0.0] * instances, []
    for request in requests:
        free[request.to] = max(free[request.to], request.at) + request.work
        if free[request.to] > WARM:
            responses.append(free[request.to] - request.at)
    return sorted(responses)[math.ceil(0.95 * len(responses)) - 1]


def spread(instances: int, service: float) -> tuple[float, float]:
    """Between which 99 % of such loads have their p95."""
    found = sorted(worked_off(load(seed, instances, service), instances) for seed in range(1000, 1400))
    return found[2], found[-3]


class Loaded:
    """A fleet with queue-agent, as many ``each`` host, that is monitored, loaded and asked about."""

    def __init__(self, monitored: Monitored, each: int) -> None:
        self.monitored, self.hosts = monitored, monitored.fleet.lab.hosts
        self.instances = each * len(self.hosts)
        until(lambda: len(monitored.ask("work_requests_total")) == self.instances, "all are scraped")

    def run(self) -> float:
        """Load it; when the window ended (Unix s), once Prometheus has what was until then."""
        requests, began = load(SEED, self.instances), time.time()
        with ThreadPoolExecutor(len(requests)) as pool:  # open: who waits for an answer holds up nobody
            sent = []
            for request in requests:
                time.sleep(max(0.0, began + request.at - time.time()))
                sent.append(pool.submit(self._send, request))
        assert {future.result() for future in sent} == {200}
        ended = began + WARM + WINDOW
        until(lambda: self._seen(ended), "Prometheus has seen the end")
        return ended

    def _send(self, request: Request) -> int:
        on, host = divmod(request.to, len(self.hosts))
        return self.hosts[host].get(PORT + on, f"/work?{request.work}", timeout=60)[0]

    def _seen(self, at: float) -> bool:
        return all(series["value"] > at for series in self.monitored.ask("timestamp(work_requests_total)"))

    def ask(self, at: float) -> dict[str, Any]:
        """What agent_capacity answers from the window that ended then."""
        names = {
            "requests": "work_requests_total",
            "busy_seconds": "work_busy_seconds_total",
            "duration": "work_duration_seconds",
        }
        agent = {
            "name": "queue-agent", "instances": self.instances, "rate": RATE, "dispatch": "random", "slo": {"below": BELOW},
            "metrics": {kind: f'{name}{{agent="queue-agent"}}' for kind, name in names.items()},
        }  # fmt: skip
        options = {
            "agents": [agent],
            "window": f"{WINDOW}s",
            "time": str(at),
            "url": self.monitored.connection().url,
            **self.monitored.access,
        }
        fleet, name = self.monitored.fleet, self.monitored.server.name
        play = fleet.folder / "capacity.yml"
        task = {"name": "Ask", "agentfactory.core.agent_capacity": options}
        play.write_text(yaml.safe_dump([{"hosts": name, "gather_facts": False, "tasks": [task]}]))
        (result,) = fleet.run(play).ok().of(name, "agent_capacity")
        return dict(result["agents"][0])

    def compare(self) -> tuple[float, dict[str, Any]]:
        """Load, ask, and see that what is predicted is what such loads have: p95 as measured, and the answer."""
        answer = self.ask(self.run())
        assert "refused" not in answer, answer
        measured, predicted = answer["inputs"]["measured"]["response_p95"], answer["now"]["response"]["p95"]
        low, high = spread(self.instances, answer["service_time"])
        print(
            f"{self.instances} instances: p95 measured {measured:.3f} s, predicted {predicted:.3f} s ({answer['now']['method']});"
            f" 99 % of such loads have {low:.3f} to {high:.3f} s, and this one, on a machine that is never late,"
            f" {worked_off(load(SEED, self.instances), self.instances):.3f} s"
        )
        assert low <= predicted <= high
        return measured, answer
