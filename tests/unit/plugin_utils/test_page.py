# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the fleet: what it shows, that nothing an agent says is more than text in it, and how it looks in a browser."""

import html.parser
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils import page, report
from ansible_collections.agentfactory.core.plugins.plugin_utils.trends import POINTS, Trends

NOW = 1795536000.0


def instance(agent_id: str = "arm@0", **changes: Any) -> dict[str, Any]:
    """One of agent_info's, that is well."""
    return {
        "agent": agent_id.split("@", maxsplit=1)[0], "agent_id": agent_id, "environment": "home", "release": "1.0-aaaaaaaaaaaa",
        "version": "1.0",
        "content": "c" * 64, "state": "running", "healthy": True, "health": "http: status 200", "drift": [],
        "uptime_seconds": 7200.0, "restarts": 0, "cpu_seconds": 72.0, "memory_bytes": 2**20, **changes,
    }  # fmt: skip


BROKEN: dict[str, Any] = {"healthy": False, "health": "http: status 503", "uptime_seconds": 5.0, "restarts": 7}
MISSING: dict[str, Any] = {
    "state": "missing", "healthy": False, "health": "is not on this host", "release": None, "version": None, "content": None,
    "environment": None, "drift": ["version 1.0 is declared"], "uptime_seconds": None, "restarts": None, "cpu_seconds": None,
    "memory_bytes": None,
}  # fmt: skip


def model(*instances: dict[str, Any], **more: Any) -> dict[str, Any]:
    return page.model(report.rows({"h1": {"instances": list(instances)}}), now=NOW, **more)


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "ok"),
        ({"drift": ["the unit was changed"]}, "warn"),
        ({"state": "proving"}, "warn"),
        (BROKEN, "bad"),
        (MISSING, "bad"),
        ({**BROKEN, "state": "crash-looping"}, "bad"),
        ({**BROKEN, "state": "not activated"}, "bad"),
        ({**BROKEN, "state": "stopped"}, "off"),
        ({**BROKEN, "state": "stopped", "drift": ["is declared started"]}, "bad"),
    ],
)
def test_how_an_instance_is(changes: dict[str, Any], level: str) -> None:
    assert page.level(instance(**changes)) == level


def test_what_is_wrong_comes_first() -> None:
    results = {
        "h1": {"instances": [instance(), instance("eye@0", drift=["would not start at boot"]),
                             instance("arm@1", state="stopped", healthy=False)]},
        "h2": {"unreachable": True, "msg": "no route"},
        "h3": {"instances": [instance(**BROKEN), instance("eye@0", **MISSING)]},
        "h4": {"failed": True, "msg": "no python"},
    }  # fmt: skip
    shown = page.model(report.rows(results), now=NOW, environment="elsewhere")
    assert (shown["hosts"], shown["instances"], shown["drifted"], shown["made"]) == (4, 5, 2, "2026-11-24 16:00 UTC")
    assert shown["counts"] == {"bad": 2, "warn": 1, "off": 1, "ok": 1}
    assert [(row["host"], row["state"], row["why"]) for row in shown["silent"]] == [
        ("h2", "unreachable", "no route"), ("h4", "failed", "no python"),
    ]  # fmt: skip
    assert [(row["host"], row["agent_id"], row["why"]) for row in shown["wrong"]] == [
        ("h3", "arm@0", "http: status 503"),
        ("h3", "eye@0", "is not on this host; version 1.0 is declared"),
        ("h1", "eye@0", "would not start at boot"),
    ]
    tree = {
        environment["name"]: {
            agent["name"]: [row["agent_id"] for row in agent["rows"]] for agent in environment["agents"]
        }
        for environment in shown["environments"]
    }
    assert tree == {"elsewhere": {"eye": ["eye@0"]}, "home": {"arm": ["arm@0", "arm@1", "arm@0"], "eye": ["eye@0"]}}


def test_a_row_reads_as_the_table_does() -> None:
    (row,) = model(instance())["environments"][0]["agents"][0]["rows"]
    shown = {name: row[name] for name in ("release", "uptime", "restarts", "cpu", "memory", "sparks")}
    assert shown == {
        "release": "1.0-aaaaaaaaaaaa", "uptime": "2.0 h", "restarts": "0", "cpu": "1.0 %", "memory": "1.0 MiB", "sparks": {},
    }  # fmt: skip


def test_lines_are_there_where_there_is_something_to_see() -> None:
    values = {"cpu": [0.25, None, 0.5], "memory": [float(2**20)] * 3, "restarts": [0.0, 0.0, 0.0]}
    shown = model(instance(), instance("eye@0"), trends=Trends({("h1", "arm@0"): values}))
    arm, eye = (agent["rows"][0]["sparks"] for agent in shown["environments"][0]["agents"])
    assert {kind: spark["label"] for kind, spark in arm.items()} == {
        "cpu": "last 6 h: 25.0% to 50.0%", "memory": "last 6 h: 1 MiB to 1 MiB",
    }  # fmt: skip
    assert eye == {}


class Read(html.parser.HTMLParser):
    """Which elements a page has and which attributes, all its text, and whether every element is closed where it should be."""

    VOID = ("meta", "input", "path")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text, self._open = "", [""]
        self.feed(text)
        assert self._open == [""], "not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {f"{tag} {name}" for name, _value in attrs}
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


HARMLESS = Read(page.render(model(instance(**BROKEN, drift=["x"]), instance("eye@0"))))
hostile = st.one_of(
    st.text(), st.text("<>&\"'/=`{}%#!-abc\x00\x1b\ud800\u202e"),
    st.sampled_from(["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "</style><b>", "]]>", "<!--", "&lt;"]),
)  # fmt: skip


@given(hostile, hostile, hostile)
def test_what_agents_and_hosts_say_is_text_and_nothing_else(health: str, drift: str, msg: str) -> None:
    wrong = instance(**BROKEN | {"health": health, "drift": [drift]})
    results = {"h1": {"instances": [wrong, instance("eye@0")]}, "h2": {"unreachable": True, "msg": msg}}
    text = page.render(page.model(report.rows(results), now=NOW, trends=Trends(note=msg)))
    text.encode()
    read = Read(text)
    assert set(read.tags) <= {*HARMLESS.tags, "p"}
    assert read.attributes <= {*HARMLESS.attributes, "p class"}
    for said in (health, drift, msg):
        assert report.printable(said) in read.text


def test_the_page_says_itself_that_nothing_is_loaded_or_run_from_outside() -> None:
    text = page.render(model(instance()))
    assert "default-src &#39;none&#39;" in text
    body = text.split("</style>")[1]
    assert not [
        word for word in ("http://", "https://", "src=", "@import", "url(", " style=", " onclick") if word in body
    ]


def test_a_page_is_its_owners_alone_unless_it_was_given_to_others(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    page.write(path, "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    page.write(path, "zwölf")
    assert (stat.S_IMODE(path.stat().st_mode), path.read_text(encoding="utf-8")) == (0o644, "zwölf")


# -- in a browser ---------------------------------------------------------------------------------------------------------

AGENTS = ("arm", "camera", "eye", "thermostat", "watchdog")
EVIL = "<img src='https://example.net/x.png'><script>document.title='owned'</script>"


def fleet(hosts: int) -> str:
    """A page of so many hosts, on which the tenth one's eye is broken and the last does not answer; with lines for all."""
    results: dict[str, Any] = {}
    for number in range(hosts - 1):
        name = f"home-{number:03d}"
        found = [instance(f"{agent}@0") for agent in AGENTS]
        if number == 9:
            found[2].update(BROKEN, health=EVIL)
        results[name] = {"instances": found}
    results["home-away"] = {"unreachable": True, "msg": "no route to host"}
    line = {"cpu": [0.1 + 0.01 * (n % 5) for n in range(POINTS)], "memory": [1e7 + 1e5 * n for n in range(POINTS)]}
    trends = {(name, f"{agent}@0"): line for name in results for agent in AGENTS}
    return page.render(page.model(report.rows(results), now=NOW, trends=Trends(trends)))


COUNT = "return document.querySelectorAll('tbody tr').length"
VISIBLE = (
    "return [...document.querySelectorAll('tbody tr')].filter(row => row.checkVisibility()).map(row => row.textContent)"
)
WIDTHS = "return [document.documentElement.scrollWidth, innerWidth]"
TYPE = """
const [text, wrong] = document.querySelectorAll("#filter input");
text.value = %s; wrong.checked = %s;
text.dispatchEvent(new Event("input", {bubbles: true}));
return document.querySelector("output").value
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for hosts in (11, 500):
        (folder / f"{hosts}.html").write_text(fleet(hosts), encoding="utf-8")
    return {hosts: folder / f"{hosts}.html" for hosts in (11, 500)}


@pytest.mark.parametrize("hosts", [11, 500])
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_it_opens_from_disk_asks_nobody_and_fits(
    browser: Any, pages: dict[int, Path], hosts: int, width: int, scheme: str
) -> None:
    browser.look(width, scheme)
    messages, requests = browser.open(pages[hosts])
    assert messages == []
    assert requests == [pages[hosts].as_uri()]
    assert browser.run(COUNT) == (hosts - 1) * len(AGENTS)
    browser.run("document.querySelectorAll('details').forEach(agent => { agent.open = true })")
    assert len(browser.run(VISIBLE)) == (hosts - 1) * len(AGENTS)
    scrolled, inner = browser.run(WIDTHS)
    assert scrolled <= inner == width
    assert browser.run("return document.title") == "Fleet: 2 wrong"
    dark = browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 29)"
    assert dark == (scheme == "dark")


@pytest.mark.parametrize(
    ("words", "wrong", "said", "rows"),
    [
        ("", "false", "", 50),
        ("HOME-003", "false", "5 instances", 5),
        ("home-003 arm", "false", "1 instance", 1),
        ("nowhere", "false", "0 instances", 0),
        ("", "true", "1 instance", 1),
        ("home-003", "true", "0 instances", 0),
    ],
)
def test_the_filter_leaves_what_it_is_asked_for(
    browser: Any, pages: dict[int, Path], words: str, wrong: str, said: str, rows: int
) -> None:
    browser.open(pages[11])
    assert browser.run(TYPE % (json.dumps(words), wrong)) == said
    visible = browser.run(VISIBLE)
    assert len(visible) == rows
    assert all(word.lower() in text.lower() for text in visible for word in words.split())
    assert browser.run(TYPE % ('""', "false")) == ""
    assert len(browser.run(VISIBLE)) == 50


def test_everything_is_there_without_a_script(browser: Any, pages: dict[int, Path]) -> None:
    """And the filter, which would do nothing, is not."""
    with browser.without_scripts():
        browser.open(pages[11])
        tree = browser.accessibility()
    names = [(node["role"], node["name"]) for node in tree]
    assert sum(role == "row" for role, _name in names) == 5 + 50
    assert ("table", "eye in home") in names
    assert ("columnheader", "Memory") in names
    assert ("rowheader", "home-009 eye@0") in names
    assert ("image", "last 6 h: 10.0% to 14.0%") in names
    assert ("heading", "What is wrong") in names
    assert not [name for role, name in names if role == "searchbox"]
