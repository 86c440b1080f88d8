# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control loop: takes what the broker brings, decides, and publishes what has changed."""

import contextlib
import queue
import time
from typing import Any, Callable, Optional

from . import health
from .broker import Connected, Lost, Message
from .config import Config, Place
from .control import Room, decide, parse_set_point, parse_temperature
from .log import log
from .metrics import Metrics
from .state import Overrides

TICK = 1.0  # seconds


def topic(config: Config, room: str, name: str) -> str:
    return f"{config.topic_prefix}/{room}/{name}"


def topics(config: Config) -> list[str]:
    """What to subscribe to; heating first, for what was asked of the valve must be known before the first reading."""
    return [topic(config, room, name) for name in ("heating", "set_point/set", "temperature") for room in config.rooms]


class Agent:
    """`publish(topic, payload)` sends a retained message; `clock` is monotonic, in seconds."""

    def __init__(
        self,
        config: Config,
        place: Place,
        publish: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.place = place
        self.metrics = Metrics(place)
        self.signs = health.Signs(ticked_at=clock())
        self.overrides = Overrides(place.state_dir)
        self.rooms = {name: Room(read_at=clock()) for name in config.rooms}
        self.stopping = False
        self._publish = publish
        self._clock = clock
        for name in self.rooms:
            self.metrics.set_point.labels(name).set(self.set_point(name))

    def set_point(self, room: str) -> float:
        override = self.overrides.get(room)
        return self.config.set_point if override is None else override

    def run(self, events: "queue.SimpleQueue[Any]") -> None:
        """Until `stopping` is set and an event (None will do) wakes it."""
        while not self.stopping:
            with contextlib.suppress(queue.Empty):
                self.handle(events.get(timeout=TICK))
            self.tick()

    def handle(self, event: Any) -> None:
        if isinstance(event, Connected):
            self._connected()
        elif isinstance(event, Lost):
            self._lost(event.reason)
        elif isinstance(event, Message):
            self._message(event.topic, event.payload)

    def tick(self) -> None:
        """Decides for every room and publishes what has changed."""
        now = self.signs.ticked_at = self._clock()
        for name, room in self.rooms.items():
            heating = decide(
                room,
                set_point=self.set_point(name),
                hysteresis=self.config.hysteresis,
                stale_after=self.config.stale_after,
                now=now,
            )
            if heating is not None and heating != room.heating:
                self._switch(name, heating)

    def health(self) -> tuple[int, dict[str, Any]]:
        """Status and document of /healthz."""
        reason: Optional[str] = health.problem(self.signs, grace=self.config.broker_grace, now=self._clock())
        document = {
            "status": "unhealthy" if reason else "healthy",
            "agent_id": self.place.agent_id,
            "version": self.place.version,
            "release": self.place.release,
            "mqtt_connected": self.signs.connected,
        }
        return (503, {**document, "reason": reason}) if reason else (200, document)

    def _connected(self) -> None:
        self.signs.connected, self.signs.refusal = True, None
        self.metrics.connected.set(1)
        self.metrics.connections.inc()
        log("info", "broker_connected", host=self.config.host, port=self.config.port)
        for room in self.rooms:
            self._publish_set_point(room)
            self._publish_heating(room)

    def _lost(self, reason: str) -> None:
        if self.signs.connected:
            self.signs.lost_at = self._clock()
        if self.signs.connected or reason != self.signs.refusal:  # once, not at every attempt
            log("warning", "broker_lost", host=self.config.host, port=self.config.port, reason=reason)
        self.signs.connected, self.signs.refusal = False, reason
        self.metrics.connected.set(0)

    def _switch(self, room: str, heating: bool) -> None:
        self._set_heating(room, heating)
        self.metrics.switches.labels(room).inc()
        log("info", "heating", room=room, on=heating, temperature=self.rooms[room].temperature)
        self._publish_heating(room)

    def _set_heating(self, room: str, heating: bool) -> None:
        self.rooms[room].heating = heating
        self.metrics.heating.labels(room).set(int(heating))

    def _message(self, topic_name: str, payload: bytes) -> None:
        room, _slash, name = topic_name[len(self.config.topic_prefix) + 1 :].partition("/")
        if room not in self.rooms:
            return
        if name == "temperature":
            self._reading(room, payload)
        elif name == "heating" and self.rooms[room].heating is None:  # retained; later ones are our own
            self._set_heating(room, payload == b"on")
        elif name == "set_point/set":
            self._command(room, payload)

    def _reading(self, room: str, payload: bytes) -> None:
        value = parse_temperature(payload)
        if value is None:
            self._reject(room, "temperature", payload)
            return
        self.rooms[room].temperature = value
        self.rooms[room].read_at = self._clock()
        self.metrics.readings.labels(room).inc()
        self.metrics.temperature.labels(room).set(value)
        self.metrics.last_reading.labels(room).set(time.time())

    def _command(self, room: str, payload: bytes) -> None:
        value = parse_set_point(payload) if payload else None
        if payload and value is None:
            self._reject(room, "set_point", payload)
            return
        try:
            self.overrides.set(room, value)
        except OSError as error:
            log("error", "state_not_written", room=room, reason=str(error))
            return
        log("info", "set_point", room=room, value=self.set_point(room), override=value is not None)
        self.metrics.set_point.labels(room).set(self.set_point(room))
        self._publish_set_point(room)

    def _reject(self, room: str, what: str, payload: bytes) -> None:
        self.metrics.rejected.labels(room).inc()
        log("warning", "message_rejected", room=room, what=what, payload=payload[:40].decode(errors="replace"))

    def _publish_heating(self, room: str) -> None:
        heating = self.rooms[room].heating
        if heating is not None:
            self._publish(topic(self.config, room, "heating"), "on" if heating else "off")

    def _publish_set_point(self, room: str) -> None:
        self._publish(topic(self.config, room, "set_point"), f"{self.set_point(room):g}")
