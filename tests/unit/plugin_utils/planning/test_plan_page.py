# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan's page: its plots are what the plan says, and it opens in a browser and loads nothing."""

import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils.planning import page

from .conftest import GATEWAY, Plan

PROMISED = {"gateway": {**GATEWAY, "slo": {"below": 0.2, "availability": 0.999}}}
PLACED = {"gateway": {"h1": [0, 1, 2, 3]}}


@pytest.mark.parametrize(
    ("points", "line", "log", "d", "promise"),
    [
        ([(1, 1.0), (2, 0.5)], None, False, "M56.0 12.0L408.0 92.0", None),
        ([(1, 1.0), (2, 0.5)], 0.5, False, "M56.0 12.0L408.0 92.0", (92.0, "0.5")),
        ([(1, 1e-2), (2, 1e-4)], 1e-3, True, "M56.0 12.0L408.0 172.0", (92.0, "0.001")),
        ([(3, 0.25)], None, False, "M56.0 12.0", None),
        ([(3, 1e-9)], None, True, "M56.0 172.0", None),
    ],
)
def test_plot(points: list[tuple[float, float]], line: float | None, log: bool, d: str, promise: Any) -> None:
    drawn = page.plot("p95", points, 2, line, log=log)
    assert (drawn["d"], drawn["promise"]) == (d, promise)
    assert [now for *_rest, now in drawn["dots"]] == [x == 2 for x, _y in points]


def test_more_instances_are_never_drawn_worse(plan: Plan) -> None:
    times, down = (plot["dots"] for plot in page.model(plan(PROMISED))["plots"])
    for dots in (times, down):
        heights = [y for _x, y, *_rest in dots]
        assert heights == sorted(heights)
        assert sum(now for *_rest, now in dots) == 1


def test_what_agents_and_hosts_are_called_is_only_text(plan: Plan) -> None:
    made = plan(PROMISED, PLACED)
    made["warnings"].append("<script>alert(1)</script>")
    assert "<script>" not in page.render(made)


@pytest.mark.parametrize(
    ("asked", "head"),
    [
        ({}, ""),
        (
            {"failed": ("h1",), "drain": ("h2",), "load_factor": 0.5, "host_loss": False},
            "<p>load x 0.5; drained: h2; lost: h1</p>",
        ),
        ({"host_loss": True}, "<p>with room for the loss of any one host</p>"),
        ({"lose_zone": "a"}, "<p>what if zone a were lost: not to be carried out</p>"),
    ],
)
def test_the_page_says_what_was_asked_and_what_another_host_would_buy(
    plan: Plan, asked: dict[str, Any], head: str
) -> None:
    shown = page.render(plan(PROMISED, PLACED, **asked))
    assert re.search(rf"<h1>Plan of lab</h1>\n{re.escape(head)}\s*<p>", shown)
    assert "would buy" not in shown
    more = page.render(plan(PROMISED, PLACED, **asked, one_more="h3"))
    assert re.search(
        r"<h2>One more host like h3 would buy</h2>\s*<ul class=\"list\">\s*<li>gateway: room for \d+ more", more
    )


def test_it_opens_in_a_browser(browser: Any, plan: Plan, tmp_path: Path) -> None:
    made = plan(PROMISED, PLACED, drain=("h1",))
    file = tmp_path / "plan.html"
    file.write_text(page.render(made))
    for width, scheme in ((1200, "light"), (400, "dark")):
        browser.look(width, scheme)
        messages, asked = browser.open(file)
        assert (messages, asked) == ([], [file.as_uri()])
        scrolled, inner = browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert scrolled <= inner
    assert browser.run("return document.title") == "Plan of lab"
    names = [(node["role"], node["name"]) for node in browser.accessibility()]
    assert ("table", "Agents") in names
    assert ("image", "Use of each host before and after") in names
    assert any(
        role == "image" and re.match(r"gateway: response.p95 in seconds: \d+: [0-9.]+", name) for role, name in names
    )
