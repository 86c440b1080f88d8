# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection to the MQTT broker: keeps itself up, and hands every message to the control loop's queue."""

import queue
from dataclasses import dataclass
from typing import Any, Optional

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from .config import Config, Place
from .log import log

USER = "thermostat"
BACKOFF = (1, 30)  # seconds: the first pause between attempts to connect, and the longest


@dataclass(frozen=True)
class Connected:
    """The broker accepted us."""


@dataclass(frozen=True)
class Lost:
    """The connection ended, or was refused with a reason."""

    reason: str


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes


class Broker:
    """Events go to `events`: Connected, Lost, Message. Callbacks do nothing else, so that they cannot fail."""

    def __init__(self, config: Config, place: Place, password: Optional[str], topics: list[str]) -> None:
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._config = config
        self._topics = topics
        self._accepted = False
        self.status_topic = f"{config.topic_prefix}/thermostat/{place.client_id}/status"
        self._client = client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=place.client_id)
        if password is not None:
            client.username_pw_set(USER, password)
        client.will_set(self.status_topic, "offline", qos=1, retain=True)
        client.reconnect_delay_set(*BACKOFF)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_connect_fail = lambda _client, _data: self.events.put(Lost("no connection"))
        client.on_message = lambda _client, _data, got: self.events.put(Message(got.topic, bytes(got.payload)))

    def start(self) -> None:
        """Returns at once; a thread connects, and connects again, for as long as it takes."""
        self._client.connect_async(self._config.host, self._config.port, keepalive=30)
        self._client.loop_start()

    def publish(self, topic: str, payload: str) -> None:
        """Retained; without a connection it waits for the next one."""
        self._client.publish(topic, payload, qos=1, retain=True)

    def stop(self) -> None:
        """Says goodbye, waiting at most 2 s for the broker to have it."""
        if self._client.is_connected():
            goodbye = self._client.publish(self.status_topic, "offline", qos=1, retain=True)
            try:
                goodbye.wait_for_publish(timeout=2)
            except (RuntimeError, ValueError) as error:
                log("warning", "goodbye_lost", reason=str(error))
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.events.put(Lost(str(reason)))
            return
        self._accepted = True
        client.subscribe([(topic, 1) for topic in self._topics])
        client.publish(self.status_topic, "online", qos=1, retain=True)
        self.events.put(Connected())

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self._accepted:  # else the refusal, which says why, has been told already
            self._accepted = False
            self.events.put(Lost(str(reason)))
