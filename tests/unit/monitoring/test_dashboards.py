# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboards: that they are what the generator makes, that Grafana's own schema knows all of it, and that every query of every
panel gets an answer from a real Prometheus. Debian does not have Grafana itself: that it draws them is not tested.
"""

import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.agentfactory.core.plugins.plugin_utils import prometheus as asking

from . import grafana_variables, recorded

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/monitoring"
FOLDER = ROLE / "files/dashboards"
NAMES = ["agent", "fleet", "genai", "host", "loadbalancer", "monitoring", "rollout", "slo"]
DASHBOARDS = {name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in NAMES}
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
BUILT_IN = {"__all", "__rate_interval", "__range", "__url_time_range", "__value.raw", "__data.fields"}

each = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)


def test_they_are_what_the_generator_makes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "tools/dashboards", tmp_path], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(made) == sorted(f"{name}.json" for name in NAMES)
    different = [name for name, text in made.items() if text != (FOLDER / name).read_bytes()]
    assert not different, "make dashboards writes them anew"
    assert {path.name for path in FOLDER.iterdir()} == set(made)


def lost(given: Any, kept: Any, place: str = "") -> Iterator[str]:
    """What of `given` is not in `kept`."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            yield from lost(value, kept[key], f"{place}.{key}") if key in kept else [f"{place}.{key}"]
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (mine, theirs) in enumerate(zip(given, kept, strict=True)):
            yield from lost(mine, theirs, f"{place}[{number}]")
    elif given != kept:
        yield f"{place}: {given!r} became {kept!r}"


@each
def test_grafanas_schema_knows_all_of_it(dashboard: dict[str, Any]) -> None:
    """Read into Grafana's types and written again: what they do not know is lost, and a choice they do not have is an error."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
    assert list(lost(dashboard, again)) == []
    assert list(lost({"madeUp": 1}, again)) == [".madeUp"]


@each
def test_it_has_a_name_for_good_and_says_what_is_decided_by_it(dashboard: dict[str, Any]) -> None:
    assert re.fullmatch(r"agentfactory-[a-z]{2,20}", dashboard["uid"])
    assert dashboard["schemaVersion"] == 36
    assert dashboard["title"] != DEFAULTS["monitoring_grafana_folder"], (
        "Grafana refuses a dashboard that is called like its folder"
    )
    assert dashboard["description"]
    assert "agentfactory" in dashboard["tags"]


def test_no_two_are_called_the_same() -> None:
    for key in ("uid", "title"):
        assert len({dashboard[key] for dashboard in DASHBOARDS.values()}) == len(NAMES)


@each
def test_every_panel_has_a_unit_a_title_and_a_reason(dashboard: dict[str, Any]) -> None:
    from grafana_foundation_sdk.models import units

    known = {value for value in vars(units).values() if isinstance(value, str)}
    for panel in grafana_variables.panels(dashboard):
        title = panel["title"]
        assert title
        assert panel["description"], title
        overrides = [item["properties"] for item in panel["fieldConfig"]["overrides"]]
        given = [item["value"] for item in itertools.chain(*overrides) if item["id"] == "unit"]
        for unit in [panel["fieldConfig"]["defaults"]["unit"], *given]:
            assert unit in known or unit.startswith("suffix: "), f"{title}: {unit}"
        if panel["type"] == "table":
            letters = [target["refId"] for target in panel["targets"]]
            called = (
                [f"Value #{letter}" for letter in letters] if len(letters) > 1 else ["Value"]
            )  # by Grafana, of a query's values
            columns = [
                item["matcher"]["options"]
                for item in panel["fieldConfig"]["overrides"]
                if item["properties"][0]["id"] != "links"
            ]
            assert columns == called, title
            assert len(given) == len(columns), f"{title}: a column without a unit"


@each
def test_panels_have_numbers_and_places_of_their_own(dashboard: dict[str, Any]) -> None:
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = set(
            itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))
        )
        assert not cells & taken, panel["title"]
        taken |= cells


@each
def test_every_variable_that_is_used_exists_and_is_used(dashboard: dict[str, Any]) -> None:
    given = {item["name"] for item in dashboard["templating"]["list"]}
    used = set()
    for text in grafana_variables.texts(dashboard):
        used |= {name.split(":")[0] for name in grafana_variables.names(text)}
    unknown = {
        name for name in used - given if not any(name == ours or name.startswith(ours + ".") for ours in BUILT_IN)
    }
    assert not unknown
    assert given <= used


@each
def test_its_links_lead_to_dashboards_and_runbooks_that_exist(dashboard: dict[str, Any]) -> None:
    variables = {name: {item["name"] for item in made["templating"]["list"]} for name, made in DASHBOARDS.items()}
    for text in grafana_variables.texts(dashboard):
        if runbook := re.fullmatch(r"\$\{runbook_base\}/(\w+)\.md", text):
            assert (ROOT / "docs/runbooks" / f"{runbook[1]}.md").is_file(), text
        if text.startswith("/d/"):
            name = text.removeprefix("/d/agentfactory-").partition("?")[0]
            assert set(re.findall(r"[?&]var-(\w+)=", text)) <= variables[name], text
    (base,) = (item["query"] for item in dashboard["templating"]["list"] if item["name"] == "runbook_base")
    internals = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
    assert base == internals["__monitoring_dashboards_runbook_base"] == DEFAULTS["monitoring_runbook_base"]


def test_one_comes_from_the_fleet_to_an_agent_and_on_to_its_host() -> None:
    for here, there in (
        ("fleet", "agent"),
        ("fleet", "host"),
        ("agent", "host"),
        ("host", "agent"),
        ("rollout", "agent"),
    ):
        assert any(text.startswith(f"/d/agentfactory-{there}?") for text in grafana_variables.texts(DASHBOARDS[here]))


# -- what a real Prometheus answers -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[asking.Client]:
    with recorded.prometheus(tmp_path_factory.mktemp("fleet")) as address:
        yield asking.Client(asking.Connection(f"http://{address}"))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "loadbalancer"])
def test_every_query_gets_an_answer(client: asking.Client, name: str) -> None:
    """The load balancer's get theirs of a real one, in test_loadbalancer.py."""
    deadline = time.monotonic() + 90
    while silent := grafana_variables.silent(client, DASHBOARDS[name]):  # rules build on each other
        assert time.monotonic() < deadline, "\n".join(silent)
        time.sleep(0.2)
