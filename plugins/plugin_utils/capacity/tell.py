# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answers in words, a line each."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

Found = Mapping[str, Any]


def lines(result: Found) -> list[str]:
    said = [f"{agent['name']}: {line}" for agent in result["agents"] for line in _agent(agent)]
    if len(result["saturation"]) > 1:
        order = [f"{limit['agent']} at {limit['factor']:.3g} x" for limit in result["saturation"]]
        said.append(f"saturation: {', then '.join(order)} the load given")
    said += [
        f"end to end: {mean:.3g} s on average from {name} on" for name, mean in result.get("end_to_end", {}).items()
    ]
    if "closed" in result:
        said += _closed(result["closed"])
    return said


def _agent(agent: Found) -> Iterator[str]:
    if "refused" in agent:
        yield f"refused: {agent['refused']}"
        return
    yield f"{agent['rate']:.4g} requests/s of {agent['service_time']:.4g} s are {agent['offered']:.4g} erlangs"
    slo = agent.get("slo")
    if slo:
        wanted = f"{slo['of']}.{slo['measure']} <= {slo['below']:g} s"
    if "now" in agent:
        kept = "" if not slo else f", which {'keeps' if agent['slo_met'] else 'breaks'} {wanted}"
        yield f"with {agent['instances']} instances {_times(agent['now'])}{kept}"
    if "needed" in agent:
        need = agent["needed"]
        yield f"needs {need['instances']} instances for {wanted}: {_times(need['figures'])}"
        if need["one_less"]:
            yield f"with one less {_times(need['one_less'])}"
        yield f"method: {need['figures']['method']}"
    elif "now" in agent:
        yield f"method: {agent['now']['method']}"
    if "headroom" in agent:
        yield f"its instances keep that up to {agent['headroom']:.3g} x this load"
    if "after_loss" in agent:
        yield _loss(agent["after_loss"])
    if "sensitivity" in agent:
        said = ", ".join(f"{name} {value:.2f} %" for name, value in agent["sensitivity"].items())
        yield f"1 % more of an input moves it by: {said}"
    if "trend" in agent:
        yield _trend(agent["trend"])
    yield from (f"note: {note}" for note in agent["notes"])


def _times(figures: Found) -> str:
    wait, response = figures["wait"], figures["response"]
    reached = figures["intervals"].get("response.p95")
    between = f" ({reached[0]:.3g} to {reached[1]:.3g})" if reached else ""
    lost = f", {figures['loss']:.2%} lost" if figures["loss"] else ""
    return (
        f"utilisation {figures['utilisation']:.1%}, {figures['waits']:.1%} wait; wait p95 {wait['p95']:.3g} s;"
        f" response mean {response['mean']:.3g}, p95 {response['p95']:.3g}{between}, p99 {response['p99']:.3g} s{lost}"
    )


def _loss(loss: Found) -> str:
    what = f"without {loss['lost']} of them, with {loss['left']} instances"
    if "figures" not in loss:
        return f"{what}: {loss['reason']}"
    kept = f", which {'keeps' if loss['slo_met'] else 'breaks'} the SLO" if "slo_met" in loss else ""
    return f"{what} {_times(loss['figures'])}{kept}"


def _trend(trend: Found) -> str:
    def day(seconds: float | None) -> str:
        return time.strftime("%Y-%m-%d", time.gmtime(seconds)) if seconds is not None else "later than can be said"

    low, high = trend["growth_interval"]
    grows = f"{trend['growth']:.3g} ({low:.3g} to {high:.3g}) requests/s more each day"
    if not trend["rises"]:
        return f"trend: {grows}: no growth beyond doubt, and so no date"
    return (
        f"trend: {grows}; {trend['limit']:.4g} requests/s are reached on {day(trend['at'])},"
        f" between {day(trend['earliest'])} and {day(trend['latest'])}"
    )


def _closed(found: Found) -> Iterator[str]:
    last = found["rounds"][-1]
    busiest = max(last["utilisations"], key=lambda name: (last["utilisations"][name], name))
    yield (
        f"closed: {last['population']} agents make {last['throughput']:.4g} rounds/s and wait {last['response']:.3g} s for each;"
        f" {busiest} is {last['utilisations'][busiest]:.1%} busy"
    )
    for name, times in last["visits"].items():
        yield f"closed: a visit of {name} takes {times['mean']:.3g} s, p95 {times['p95']:.3g}, p99 {times['p99']:.3g} s"
    yield f"closed: from about {found['knee']:.0f} agents on {busiest} is the limit"
