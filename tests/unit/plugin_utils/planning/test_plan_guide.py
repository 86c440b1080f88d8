# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide's fleet, asked as the guide asks: what it shows is what comes out."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.agentfactory.core.plugins.plugin_utils import fleet, manifest
from ansible_collections.agentfactory.core.plugins.plugin_utils.fleet_problem import described
from ansible_collections.agentfactory.core.plugins.plugin_utils.planning import text
from ansible_collections.agentfactory.core.plugins.plugin_utils.planning.decide import Asked, Inputs, decide

GUIDE = Path(__file__).resolve().parents[4] / "docs" / "plan.md"
HEALTH = {"bake": 5, "start_timeout": 30}
QUESTION = re.compile(r"((?:load_factor|drain|failed|lose_zone|host_loss|one_more)=\S+)")


class _Catalog:
    def __init__(self, place: str) -> None:
        self.place = place

    def find(self, name: str, version: str, source: str | None) -> dict[str, Any]:
        given = {"name": name, "version": version, "command": [name], "health": {"notify": True, **HEALTH}}
        return manifest.normalise(given, file="agent.yml")


def blocks(guide: str) -> dict[str, Any]:
    """The guide's files by name."""
    return {
        name: yaml.safe_load(body) for name, body in re.findall(r"```yaml\n# (\S+\.yml)\n(.*?)```", guide, re.DOTALL)
    }


def examples(guide: str) -> list[tuple[str, str]]:
    """Each command with what the guide says that it prints."""
    found = re.findall(r"^    \$ (.* agentfactory\.core\.plan .*)\n((?:    .*\n|\n(?=    ))*)", guide, re.MULTILINE)
    return [(command, re.sub(r"^    ", "", said, flags=re.MULTILINE).rstrip()) for command, said in found]


def answer(guide: str, command: str) -> str:
    """What the playbook prints, without what it assumes."""
    files = blocks(guide)
    asked: dict[str, Any] = dict(item.split("=", 1) for item in QUESTION.findall(command))
    asked["load_factor"] = float(asked.get("load_factor", 1))
    asked |= {key: tuple(asked[key].split(",")) for key in ("drain", "failed") if key in asked}
    asked["host_loss"] = asked.get("host_loss") == "true"
    hosts = files["hosts.yml"]["all"]["hosts"]
    data, common = files["fleet.yml"], files["hosts.yml"]["all"]["vars"]
    read = fleet.load(
        data, path="/nowhere/fleet.yml", text=yaml.safe_dump(data), select=lambda _pattern: list(hosts), catalog=_Catalog, planning=True,
    )  # fmt: skip
    hostvars = {host: {**common, **own} for host, own in hosts.items()}
    zones = {host: own["agentfactory_zone"] for host, own in hosts.items()}
    placed = files["placement.yml"]["agents"]
    plan = decide(
        Inputs(read, described(read, hostvars), zones, placed, lambda _name: HEALTH), Asked(**asked, proof=False)
    )
    return text.report(plan).partition("\n\nAssumed:")[0]


@pytest.mark.parametrize(("command", "said"), examples(GUIDE.read_text()))
def test_the_guide_shows_what_comes_out(command: str, said: str) -> None:
    assert [line.rstrip() for line in answer(GUIDE.read_text(), command).splitlines()] == said.splitlines()


def test_the_guide_has_examples() -> None:
    assert len(examples(GUIDE.read_text())) >= 4
