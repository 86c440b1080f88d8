# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus sees."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, generate_latest

from .config import Place


class Metrics:
    """A registry of its own: the process metrics of the default one need /proc/stat, which the sandbox hides."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, place: Place) -> None:
        registry = self.registry = CollectorRegistry()
        room = ["room"]
        self.info = Info("thermostat_build", "What runs.", registry=registry)
        self.info.info({"version": place.version, "agent_id": place.agent_id, "release": place.release})
        self.readings = Counter("thermostat_readings", "Readings used.", room, registry=registry)
        self.rejected = Counter("thermostat_rejected_messages", "Messages that made no sense.", room, registry=registry)
        self.temperature = Gauge("thermostat_temperature_celsius", "Last reading.", room, registry=registry)
        self.last_reading = Gauge(
            "thermostat_last_reading_timestamp_seconds", "When it was read.", room, registry=registry
        )
        self.set_point = Gauge("thermostat_set_point_celsius", "Temperature to keep.", room, registry=registry)
        self.heating = Gauge("thermostat_heating", "1 while the room is heated.", room, registry=registry)
        self.switches = Counter(
            "thermostat_heating_switches", "Times that heating went on or off.", room, registry=registry
        )
        self.connected = Gauge("thermostat_mqtt_connected", "1 while the broker is connected.", registry=registry)
        self.connections = Counter(
            "thermostat_mqtt_connections", "Connections that the broker accepted.", registry=registry
        )

    def render(self) -> bytes:
        return generate_latest(self.registry)
