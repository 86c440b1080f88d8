# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run was asked for, as it is read from a play's variables."""

from typing import Any

import pytest
from ansible.errors import AnsibleError

from ansible_collections.agentfactory.core.plugins.plugin_utils import asked, fleet

FLEET = {
    "agentfactory_versions": {"room-heater": "1.0", "old": None},
    "agentfactory_ids": ["old@0", "room-heater@0", "room-heater@attic"],
}
GROUPS = {"agentfactory": ["h1"], "agent_room_heater": ["h1"], "agent_old": ["h1"]}


@pytest.mark.parametrize(
    ("given", "only", "agents"),
    [
        (None, None, None),
        ("all", None, None),
        ("a, b@0,", ["a", "b@0"], {"a", "b"}),
        (["a", "b@1"], ["a", "b@1"], {"a", "b"}),
        ("", [], set()),
    ],
)
def test_agents(given: Any, only: Any, agents: Any) -> None:
    variables = {} if given is None else {"agents": given}
    assert (asked.only(variables), asked.agents(variables)) == (only, agents)


def test_agents_that_are_no_names() -> None:
    with pytest.raises(AnsibleError, match="must be names"):
        asked.only({"agents": {"a": 1}})


@pytest.mark.parametrize(
    ("known", "left"),
    [
        (FLEET, ["room_heater", "room-heater@1", "nobody", "nobody@0"]),
        # in the first play of a run whose inventory was made elsewhere: then only a name can be told that is nobody's
        (None, ["nobody", "nobody@0"]),
    ],
)
def test_what_is_not_declared(monkeypatch: pytest.MonkeyPatch, known: Any, left: list[str]) -> None:
    monkeypatch.setattr(fleet, "in_this_process", known)
    names = ["room-heater", "old", "room-heater@attic", "old@0", "room_heater", "room-heater@1", "nobody", "nobody@0"]
    assert asked.left({"agents": names, "groups": GROUPS}) == left
    assert asked.left({"agents": "all", "groups": GROUPS}) == []


@pytest.mark.parametrize(("given", "number"), [(None, None), ("2", 2), (3, 3)])
def test_numbers(given: Any, number: Any) -> None:
    assert asked.number({} if given is None else {"confirm_removals": given}, "confirm_removals") == number


def test_numbers_that_are_none() -> None:
    with pytest.raises(AnsibleError, match="-e confirm_removals= must be a whole number, not 'two'"):
        asked.number({"confirm_removals": "two"}, "confirm_removals")
