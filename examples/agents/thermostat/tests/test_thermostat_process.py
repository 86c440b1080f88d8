# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent as a process, over real sockets, with a real mosquitto."""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import paho.mqtt.client as mqtt
import pytest

SECRET = "correct-horse-battery"
SOURCE = pathlib.Path(__file__).parents[1] / "src"
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
MOSQUITTO, PASSWD = (shutil.which(name, path=SEARCH) for name in ("mosquitto", "mosquitto_passwd"))
needs_broker = pytest.mark.skipif(not (MOSQUITTO and PASSWD), reason="mosquitto is not installed")


def free_port():
    """Below those that the kernel gives to connections, so that nobody gets it by chance before it is used."""
    while True:
        port = 15000 + secrets.randbelow(15000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def eventually(function, seconds=60.0):
    """The first true result of the function; fails with the last one after that many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        result = function()
        if result:
            return result
        assert time.monotonic() < deadline, f"still {result!r} after {seconds} s"
        time.sleep(0.05)


class Broker:
    """mosquitto with one user, `thermostat`, and a client of the same user to watch it with."""

    def __init__(self, folder):
        self.port = free_port()
        folder.mkdir()
        passwords, self.config = folder / "passwords", folder / "mosquitto.conf"
        passwords.touch(mode=0o600)
        subprocess.run([PASSWD, "-b", passwords, "thermostat", SECRET], check=True)
        user = "user root\n" if os.getuid() == 0 else ""
        self.config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n{user}"
        )
        self.start()

    def start(self):
        self.process = subprocess.Popen([MOSQUITTO, "-c", self.config], stderr=subprocess.DEVNULL)

        def answers():
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", self.port), timeout=1).close() or True

        eventually(answers)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path / "broker")
    yield broker
    broker.stop()


@pytest.fixture
def client(broker):
    """Remembers the last payload of every topic in `client.seen`."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="test")
    client.seen, ready = {}, threading.Event()
    client.username_pw_set("thermostat", SECRET)
    client.reconnect_delay_set(1, 1)
    client.on_message = lambda _c, _d, message: client.seen.__setitem__(message.topic, message.payload.decode())
    client.on_connect = lambda *_: client.subscribe("#", 1)
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert ready.wait(60)
    yield client
    client.disconnect()
    client.loop_stop()


@pytest.fixture
def start(tmp_path):
    """start(port of the broker, secret) -> a running agent."""
    running = []

    def begin(port, secret=SECRET, **config):
        agent = Process(tmp_path, port, secret, config)
        running.append(agent)
        return agent

    yield begin
    for agent in running:
        agent.process.kill()
        agent.process.wait(60)


class Process:
    def __init__(self, folder, port, secret, config):
        self.http = free_port()
        state, credentials, self.output = folder / "state", folder / "credentials", folder / "output"
        state.mkdir(exist_ok=True)
        credentials.mkdir(exist_ok=True)
        (credentials / "mqtt_password").write_text(secret)
        path = folder / "config.json"
        path.write_text(
            json.dumps({"broker": {"host": "127.0.0.1", "port": port}, "rooms": ["living"], "set_point": 20, **config})
        )
        env = {
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            "AGENT_ID": "thermostat@0",
            "AGENT_RELEASE": "1.4.2-0123456789ab",
            "AGENT_CONFIG": str(path),
            "AGENT_PORT_HTTP": str(self.http),
            "STATE_DIRECTORY": str(state),
            "CREDENTIALS_DIRECTORY": str(credentials),
        }
        with self.output.open("ab") as output:
            command = [sys.executable, "-m", "thermostat.cli", "serve"]
            self.process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)

    def get(self, path):
        """Status and body; None while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return None

    def healthy(self):
        return (self.get("/healthz") or [0])[0] == 200

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def test_without_a_broker_it_says_why(start):
    agent = start(free_port())
    status, body = eventually(lambda: agent.get("/healthz"))
    assert status == 503
    assert json.loads(body)["reason"].startswith("not yet connected to the broker")
    assert agent.get("/nothing")[0] == 404
    assert "thermostat_mqtt_connected 0.0" in agent.get("/metrics")[1]
    assert agent.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "config", "status", "text"),
    [
        (["check"], {"broker": {"host": "h"}, "rooms": ["a"], "set_point": 20}, 0, "ok"),
        (["check"], {"broker": {"host": "h"}, "rooms": ["a"], "set_point": 99}, 2, "set_point: not between 5 and 30"),
        (["serve"], {"broker": {"host": "h"}, "rooms": ["a"], "sett_point": 20}, 2, "set_point: missing"),
    ],
)
def test_a_bad_configuration_ends_it_at_once(tmp_path, arguments, config, status, text):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "thermostat.cli", *arguments, str(path)]
    env = {"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]}
    result = subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=60)
    assert (result.returncode, text in result.stdout + result.stderr) == (status, True), result


@needs_broker
def test_heats_remembers_and_says_goodbye(broker, client, start, tmp_path):
    status_topic = f"home/thermostat/thermostat@0-{socket.gethostname()}/status"
    agent = start(broker.port)
    eventually(agent.healthy)
    assert json.loads(agent.get("/healthz")[1])["release"] == "1.4.2-0123456789ab"
    eventually(lambda: client.seen.get(status_topic) == "online")
    client.publish("home/living/temperature", "17.5")
    eventually(lambda: client.seen.get("home/living/heating") == "on")
    client.publish("home/living/set_point/set", "15")
    eventually(lambda: client.seen.get("home/living/heating") == "off")
    assert json.loads((tmp_path / "state/set_points.json").read_text()) == {"living": 15.0}
    assert 'thermostat_readings_total{room="living"} 1.0' in agent.get("/metrics")[1]
    assert agent.stop() == 0
    eventually(lambda: client.seen.get(status_topic) == "offline")
    again = start(broker.port)
    eventually(again.healthy)
    assert 'thermostat_set_point_celsius{room="living"} 15.0' in again.get("/metrics")[1]
    assert SECRET not in agent.output.read_text()


@needs_broker
def test_killed_it_leaves_its_last_will(broker, client, start):
    agent = start(broker.port)
    topic = f"home/thermostat/thermostat@0-{socket.gethostname()}/status"
    eventually(lambda: client.seen.get(topic) == "online")
    agent.process.kill()
    eventually(lambda: client.seen.get(topic) == "offline")


@needs_broker
def test_the_broker_goes_and_comes_back(broker, client, start):
    agent = start(broker.port, broker_grace=0.5)
    eventually(agent.healthy)
    broker.stop()
    eventually(lambda: (agent.get("/healthz") or [0])[0] == 503)
    assert "broker lost" in agent.get("/healthz")[1]
    broker.start()
    eventually(agent.healthy)
    eventually(lambda: client.seen.get("home/living/set_point") == "20")
    eventually(client.is_connected)
    client.publish("home/living/temperature", "10")
    eventually(lambda: client.seen.get("home/living/heating") == "on")


@needs_broker
def test_a_wrong_password_is_unhealthy_and_not_told(broker, start):
    agent = start(broker.port, secret="wrong-wrong-wrong")
    answer = eventually(lambda: (reply := agent.get("/healthz")) and "Not authorized" in reply[1] and reply)
    assert answer[0] == 503
    assert agent.stop() == 0
    assert "wrong-wrong-wrong" not in agent.output.read_text()
