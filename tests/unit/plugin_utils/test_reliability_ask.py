# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's options: what they come to, and what is refused, by its path."""

import json
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability import ask
from ansible_collections.agentfactory.core.plugins.plugin_utils.reliability.answer import (
    ReliabilityError,
    complement,
    in_words,
    seconds,
)

HOSTS = [{"name": "a1", "instances": 2, "room": 3}]
ZONES = [
    {"name": "a", "hosts": HOSTS},
    {"name": "b", "hosts": [{"name": "b1", "instances": 1, "room": 1, "unavailability": 0.5}]},
]


def asked(**given: Any) -> dict[str, Any]:
    found = ask.answer(
        {"needed": 1, "zones": ZONES, "instance": {"unavailability": 0.1}, "host": {"unavailability": 0.2}} | given
    )
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def zone(**host: Any) -> list[dict[str, Any]]:
    return [{"name": "a", "hosts": [{"name": "a1", "instances": 1} | host]}]


@pytest.mark.parametrize(
    ("given", "unavailability"),
    [
        ({}, (0.2 + 0.8 * 0.01) * (0.5 + 0.5 * 0.1)),
        ({"zone": {"availability": 0.75}}, (0.25 + 0.75 * 0.208) * (0.25 + 0.75 * 0.55)),
        ({"lost": ["b"]}, 0.208),
        ({"lost": ["a1/0", "b1"]}, 0.2 + 0.8 * 0.1),
        ({"host": {"mtbf": "3h", "mttr": "60m"}}, (0.25 + 0.75 * 0.01) * 0.55),
        ({"needed": 3}, 1 - 0.8 * 0.81 * 0.5 * 0.9),
        ({"needed": 0}, 0),
        ({"zones": zone(members=[{"name": "x", "unavailability": 0.5}, {"name": "y"}], instances=0)}, 0.2 + 0.8 * 0.05),
    ],
)
def test_what_options_come_to(given: dict[str, Any], unavailability: float) -> None:
    found = asked(**given)["availability"]
    assert found["unavailability"] == pytest.approx(unavailability, rel=1e-12)
    assert found["minutes_per_month"] == pytest.approx(unavailability * 43_200, rel=1e-12)


def test_budget_crews_and_sizing() -> None:
    found = asked(target=0.9, crews={"level": "host", "number": 1}, size=True, zones=zone(room=2))
    assert found["availability"]["budget_share"] == pytest.approx((0.2 + 0.8 * 0.1) / 0.1)
    assert found["availability"]["if_independent"] is None
    sizing = found["sizing"]
    assert (sizing["instances"], sizing["reached"], sizing["proven"]) == (2, False, True)
    assert sizing["unavailability"] == pytest.approx(0.208)
    assert "not reached with all the room" in sizing["basis"]["warnings"][0]
    assert ask.sentences(found)[1].startswith("2 instances are all there is room for, and miss the target")
    assert any(doubt.startswith("sizing: target: not reached") for doubt in ask.doubts(found))


def test_what_is_lost_has_no_room() -> None:
    found = asked(target=0.5, size=True, lost=["a"])
    assert found["sizing"]["layout"] == [{"zone": "b", "host": "b1", "instances": 1}]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"needed": None}, "needed: how many"),
        ({"needed": -1}, "needed: how many"),
        ({"target": 1.0}, "target: 1 is reached by no finite number"),
        ({"target": 1.5}, "target: 1.5 is no number from 0 to 1"),
        ({"target": 0.99999999999}, "target: 0.99999999999 is too near 1"),
        (
            {"zones": zone(unavailability=float("nan"))},
            r"zones\[0\].hosts\[0\].unavailability: nan is no number from 0 to 1",
        ),
        ({"zones": zone(unavailability=-0.1)}, r"zones\[0\].hosts\[0\].unavailability: -0.1 is no number"),
        ({"zones": zone(availability=True)}, r"zones\[0\].hosts\[0\].availability: True is no number"),
        (
            {"zones": zone(mtbf="30d")},
            r"zones\[0\].hosts\[0\]: give one of availability, unavailability, or mtbf with mttr; not mtbf",
        ),
        ({"zones": zone(mtbf="30d", mttr="0s")}, r"zones\[0\].hosts\[0\].mttr: '0s' is no duration above 0"),
        ({"zones": zone(mtbf="1e999d", mttr="1s")}, r"zones\[0\].hosts\[0\].mtbf: '1e999d' is no duration"),
        ({"host": {"availability": 0.9, "unavailability": 0.1}}, "host: give one of"),
        ({"zones": zone(name="a")}, "zones: a is there twice"),
        ({"zones": zone(room=0)}, r"zones\[0\].hosts\[0\].room: 0 is less than the 1 instances"),
        ({"zones": zone(instances=-1)}, r"zones\[0\].hosts\[0\].instances: a number of 0 or more"),
        ({"zones": zone(members=[{"name": "x"}])}, r"zones\[0\].hosts\[0\].instances: .* not together with members"),
        ({"zones": zone(instances=0)}, "zones: no host has instances"),
        ({"zones": []}, "zones: no host has instances"),
        ({"lost": ["z"]}, "lost: there is no z"),
        ({"crews": {"level": "host", "number": 0}}, "crews.number: must be at least 1"),
        ({"size": True}, "size: needs a target"),
        ({"size": True, "target": 0.9, "needed": 0}, "needed: with 0 needed there is nothing to size"),
        (
            {"size": True, "target": 0.9, "zones": zone()},
            r"zones\[0\].hosts\[0\].room: how many instances has a1 room for",
        ),
        ({"size": True, "target": 0.9, "needed": 9}, "needed: 9 instances, and the hosts have room for 4"),
    ],
)
def test_what_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ReliabilityError, match=why):
        asked(**given)


@pytest.mark.parametrize(
    ("given", "found"),
    [("90", 90), (90, 90), ("90s", 90), ("1.5h", 5400), ("2d", 172800), ("1w", 604800), ("1e3m", 60000)],
)
def test_durations(given: Any, found: float) -> None:
    assert seconds("x", given) == found


@pytest.mark.parametrize("given", ["", "d", "-1d", "0", "1 year", "nan", "1..2s", None, True])
def test_what_is_no_duration(given: Any) -> None:
    with pytest.raises(ReliabilityError, match=r"x: .* is no duration"):
        seconds("x", given)


def test_words_and_digits() -> None:
    assert [in_words(length) for length in (5, 300, 10_000, 864_000)] == ["5 s", "5 min", "2.78 h", "10 d"]
    assert complement("x", 0.999) == pytest.approx(1e-3, rel=1e-12)
