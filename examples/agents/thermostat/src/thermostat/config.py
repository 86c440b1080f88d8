# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent is told: its configuration, its secret and its place, from files and the environment."""

import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from . import __version__

SET_POINTS = (5.0, 30.0)  # degrees Celsius
_ROOM = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_PREFIX = re.compile(r"[^#+\s/]+(/[^#+\s/]+)*")


class ConfigError(ValueError):
    """The configuration, a secret or the environment cannot be used; the text names the key and the reason."""


@dataclass(frozen=True)
class Config:
    """config.schema.json, checked. Temperatures in degrees Celsius, times in seconds."""

    host: str
    port: int
    listen: str
    topic_prefix: str
    rooms: tuple[str, ...]
    set_point: float
    hysteresis: float
    stale_after: float
    broker_grace: float


@dataclass(frozen=True)
class Place:
    """Where and as what the agent runs."""

    agent_id: str
    version: str
    release: str
    http_port: int
    state_dir: Optional[str]

    @property
    def client_id(self) -> str:
        """Unique at the broker: the same agent id may run on many hosts."""
        return f"{self.agent_id}-{socket.gethostname()}"


def place(env: Mapping[str, str]) -> Place:
    port = env.get("AGENT_PORT_HTTP", "8080")
    if not port.isdigit():
        raise ConfigError(f"AGENT_PORT_HTTP: not a port: {port!r}")
    return Place(
        agent_id=env.get("AGENT_ID", "thermostat@0"),
        version=env.get("AGENT_VERSION", __version__),
        release=env.get("AGENT_RELEASE", "none"),
        http_port=int(port),
        state_dir=env.get("STATE_DIRECTORY", "").split(":")[0] or None,
    )


def password(env: Mapping[str, str]) -> Optional[str]:
    """The broker's password; None where no secrets are delivered at all (a developer's machine).

    Raises ConfigError where secrets are delivered and this one is missing or empty."""
    folder = env.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    try:
        with open(os.path.join(folder, "mqtt_password"), encoding="utf-8") as file:
            value = file.read().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"secret mqtt_password: {type(error).__name__}") from None
    if not value:
        raise ConfigError("secret mqtt_password: empty")
    return value


def load(path: str) -> Config:
    """Raises ConfigError: unreadable, not JSON, or not as config.schema.json says."""
    try:
        with open(path, encoding="utf-8") as file:
            raw = json.load(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return parse(raw)


def parse(raw: Any) -> Config:
    top = _Section(raw, "")
    broker = _Section(top.take("broker", dict), "broker.")
    host = broker.text("host")
    port = broker.number("port", 1883, low=1, high=65535)
    broker.end()
    config = Config(
        host=host,
        port=int(port),
        listen=top.text("listen", "0.0.0.0"),
        topic_prefix=top.text("topic_prefix", "home", _PREFIX),
        rooms=_rooms(top.take("rooms", list)),
        set_point=top.number("set_point", None, low=SET_POINTS[0], high=SET_POINTS[1]),
        hysteresis=top.number("hysteresis", 0.5, low=0.01, high=5),
        stale_after=top.number("stale_after", 900, low=1),
        broker_grace=top.number("broker_grace", 60, low=0),
    )
    top.end()
    return config


def _rooms(rooms: list[Any]) -> tuple[str, ...]:
    for room in rooms:
        if not isinstance(room, str) or not _ROOM.fullmatch(room):
            raise ConfigError(f"rooms: not a room's name: {room!r}")
    if not rooms or len(set(rooms)) != len(rooms):
        raise ConfigError("rooms: at least one, and none twice")
    return tuple(rooms)


class _Section:
    """Takes known keys out of a mapping and complains about what is left."""

    def __init__(self, raw: Any, path: str) -> None:
        if not isinstance(raw, dict):
            raise ConfigError(f"{path.rstrip('.') or 'configuration'}: not an object")
        self._left = dict(raw)
        self._path = path

    def take(self, key: str, kind: type, default: Any = None) -> Any:
        value = self._left.pop(key, default)
        if value is None:
            raise ConfigError(f"{self._path}{key}: missing")
        if not isinstance(value, kind):
            raise ConfigError(f"{self._path}{key}: not a {kind.__name__}: {value!r}")
        return value

    def text(self, key: str, default: Optional[str] = None, pattern: "Optional[re.Pattern[str]]" = None) -> str:
        value: str = self.take(key, str, default)
        if not value or (pattern and not pattern.fullmatch(value)):
            raise ConfigError(f"{self._path}{key}: bad value: {value!r}")
        return value

    def number(self, key: str, default: Optional[float], *, low: float, high: float = float("inf")) -> float:
        value = self.take(key, object, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{self._path}{key}: not a number: {value!r}")
        if not low <= value <= high:
            raise ConfigError(f"{self._path}{key}: not between {low:g} and {high:g}: {value:g}")
        return float(value)

    def end(self) -> None:
        if self._left:
            raise ConfigError(f"{self._path}{sorted(self._left)[0]}: unknown key")
