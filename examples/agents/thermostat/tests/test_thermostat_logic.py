# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control, health, configuration and state: tables, no network."""

import json
import queue

import pytest

from thermostat import control, health
from thermostat.agent import Agent, topics
from thermostat.broker import Connected, Lost, Message
from thermostat.config import ConfigError, Place, parse, password, place
from thermostat.state import Overrides

CONFIG = {"broker": {"host": "192.0.2.1"}, "rooms": ["living", "bath"], "set_point": 20, "hysteresis": 0.5}


@pytest.mark.parametrize(
    ("temperature", "heating", "expected"),
    [
        (19.4, False, True),
        (19.5, False, False),
        (19.5, True, True),
        (20.0, False, False),
        (20.0, True, True),
        (20.5, True, True),
        (20.6, True, False),
        (20.6, False, False),
    ],
)
def test_heats_below_and_stops_above_the_band(temperature, heating, expected):
    assert control.heat(temperature, 20, 0.5, heating) is expected


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (control.Room(read_at=0), False),  # silent since the start
        (control.Room(read_at=90), None),  # nothing is known: leave the valve alone
        (control.Room(read_at=90, heating=True), True),  # told by the broker: as it was
        (control.Room(read_at=0, temperature=5, heating=True), False),  # the sensor fell silent
        (control.Room(read_at=90, temperature=5), True),
        (control.Room(read_at=90, temperature=20), False),
        (control.Room(read_at=90, temperature=20, heating=True), True),
    ],
)
def test_decides_only_on_what_is_known(room, expected):
    assert control.decide(room, set_point=20, hysteresis=0.5, stale_after=60, now=100) is expected


@pytest.mark.parametrize("payload", [b"", b"warm", b"nan", b"inf", b"-60", b"400", b"\xff"])
def test_no_reading(payload):
    assert control.parse_temperature(payload) is None


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(b"21.5", 21.5), (b"5", 5.0), (b"4.9", None), (b"31", None), (b"x", None), (b"nan", None)],
)
def test_set_point_commands(payload, expected):
    assert control.parse_set_point(payload) == expected


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        (health.Signs(ticked_at=100), "not yet connected to the broker"),
        (health.Signs(ticked_at=100, refusal="Not authorized"), "not yet connected to the broker: Not authorized"),
        (health.Signs(ticked_at=100, connected=True), None),
        (health.Signs(ticked_at=100, lost_at=50), None),
        (health.Signs(ticked_at=100, lost_at=30, refusal="gone"), "broker lost for 70 s: gone"),
        (health.Signs(ticked_at=80, connected=True), "control loop silent for 20 s"),
    ],
)
def test_health(signs, expected):
    assert health.problem(signs, grace=60, now=100) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"broker": {}}, "broker.host: missing"),
        ({"broker": {"host": "h", "user": "x"}}, "broker.user: unknown key"),
        ({"broker": {"host": "h", "port": 70000}}, "broker.port: not between 1 and 65535: 70000"),
        ({"set_point": 31}, "set_point: not between 5 and 30: 31"),
        ({"set_point": "20"}, "set_point: not a number: '20'"),
        ({"set_point": True}, "set_point: not a number: True"),
        ({"hysteresis": 0}, "hysteresis: not between 0.01 and 5: 0"),
        ({"rooms": []}, "rooms: at least one, and none twice"),
        ({"rooms": ["a", "a"]}, "rooms: at least one, and none twice"),
        ({"rooms": ["a/b"]}, "rooms: not a room's name: 'a/b'"),
        ({"topic_prefix": "#"}, "topic_prefix: bad value: '#'"),
        ({"setpoint": 1}, "setpoint: unknown key"),
    ],
)
def test_bad_configurations_name_the_key(change, message):
    with pytest.raises(ConfigError) as error:
        parse({**CONFIG, **change})
    assert str(error.value) == message


def test_defaults():
    config = parse({"broker": {"host": "h"}, "rooms": ["a"], "set_point": 20})
    assert (config.port, config.listen, config.hysteresis, config.stale_after) == (1883, "0.0.0.0", 0.5, 900)


def test_the_secret_comes_from_the_credentials(tmp_path):
    assert password({}) is None
    with pytest.raises(ConfigError, match="mqtt_password: FileNotFoundError"):
        password({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    (tmp_path / "mqtt_password").write_text("\n")
    with pytest.raises(ConfigError, match="mqtt_password: empty"):
        password({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    (tmp_path / "mqtt_password").write_text("s3cret\n")
    assert password({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "s3cret"


def test_place_from_the_environment():
    env = {"AGENT_ID": "thermostat@1", "AGENT_PORT_HTTP": "8081", "STATE_DIRECTORY": "/a:/b", "AGENT_RELEASE": "1-x"}
    assert (place(env).agent_id, place(env).http_port, place(env).state_dir) == ("thermostat@1", 8081, "/a")
    with pytest.raises(ConfigError, match="AGENT_PORT_HTTP"):
        place({"AGENT_PORT_HTTP": "http"})


def test_overrides_outlive_the_agent_and_a_damaged_file(tmp_path, capsys):
    overrides = Overrides(str(tmp_path))
    overrides.set("living", 22.5)
    overrides.set("bath", 24)
    overrides.set("bath", None)
    assert json.loads((tmp_path / "set_points.json").read_text()) == {"living": 22.5}
    assert Overrides(str(tmp_path)).get("living") == 22.5
    assert [path.name for path in tmp_path.iterdir()] == ["set_points.json"]
    (tmp_path / "set_points.json").write_text("{")
    assert Overrides(str(tmp_path)).get("living") is None
    assert "state_unreadable" in capsys.readouterr().out


def test_an_override_that_cannot_be_kept_changes_nothing(tmp_path):
    overrides = Overrides(str(tmp_path / "missing"))
    with pytest.raises(OSError):
        overrides.set("living", 22)
    assert overrides.get("living") is None


@pytest.fixture
def world(tmp_path):
    """An agent with a clock that the test sets, and the list of what it published."""

    class World:
        now = 1000.0
        published = []

        def __init__(self):
            where = Place("thermostat@0", "1.4.2", "1.4.2-abc", 0, str(tmp_path))
            self.agent = Agent(parse(CONFIG), where, lambda *m: self.published.append(m), clock=lambda: self.now)

        def event(self, event):
            self.published.clear()
            self.agent.handle(event)
            self.agent.tick()
            return list(self.published)

    return World()


def test_a_day_in_the_living_room(world):
    steps = [
        (Connected(), [("home/living/set_point", "20"), ("home/bath/set_point", "20")]),
        (Message("home/living/temperature", b"18"), [("home/living/heating", "on")]),
        (Message("home/living/temperature", b"20.2"), []),
        (Message("home/living/temperature", b"20.6"), [("home/living/heating", "off")]),
        (Message("home/living/set_point/set", b"22"), [("home/living/set_point", "22"), ("home/living/heating", "on")]),
        (Message("home/living/set_point/set", b"99"), []),
        (Message("home/living/temperature", b"hot"), []),
        (Message("home/attic/temperature", b"3"), []),
        (Message("home/living/set_point/set", b""), [("home/living/set_point", "20"), ("home/living/heating", "off")]),
    ]
    for event, published in steps:
        assert world.event(event) == published, event
    text = world.agent.metrics.render().decode()
    for line in (
        'thermostat_readings_total{room="living"} 3.0',
        'thermostat_rejected_messages_total{room="living"} 2.0',
        'thermostat_heating{room="living"} 0.0',
        'thermostat_set_point_celsius{room="living"} 20.0',
        "thermostat_mqtt_connected 1.0",
    ):
        assert line in text.splitlines()


def test_a_restart_leaves_the_heating_as_it_was(world):
    world.event(Connected())
    assert world.event(Message("home/living/heating", b"on")) == []
    assert world.event(Message("home/living/temperature", b"20")) == []
    assert world.event(Message("home/living/temperature", b"20.6")) == [("home/living/heating", "off")]
    assert topics(parse(CONFIG))[:2] == ["home/living/heating", "home/bath/heating"]


def test_a_silent_sensor_ends_heating(world):
    assert world.event(Message("home/living/temperature", b"10")) == [("home/living/heating", "on")]
    world.now += 901
    assert ("home/living/heating", "off") in world.event(None)


def test_health_document(world):
    assert world.agent.health()[0] == 503
    world.event(Connected())
    assert world.agent.health() == (
        200,
        {
            "status": "healthy",
            "agent_id": "thermostat@0",
            "version": "1.4.2",
            "release": "1.4.2-abc",
            "mqtt_connected": True,
        },
    )
    world.event(Lost("gone"))
    assert world.agent.health()[0] == 200
    world.now += 61
    world.agent.tick()
    assert world.agent.health()[1]["reason"] == "broker lost for 61 s: gone"


def test_the_loop_ends_when_told(world):
    events = queue.SimpleQueue()
    world.agent.stopping = True
    events.put(None)
    world.agent.run(events)


def test_one_version_everywhere():
    import pathlib

    import thermostat

    here = pathlib.Path(__file__).parents[1]
    assert f'\nversion: "{thermostat.__version__}"\n' in (here / "agent.yml").read_text()
    assert f'\nversion = "{thermostat.__version__}"\n' in (here / "pyproject.toml").read_text()
