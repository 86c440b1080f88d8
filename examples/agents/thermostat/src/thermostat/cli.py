# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""thermostat serve | check CONFIG"""

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from typing import Optional

from . import __version__, config
from .agent import Agent, topics
from .broker import Broker
from .log import log
from .web import Server, json_page


def main(argv: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="thermostat", description="Keeps rooms at their set point over MQTT.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve_parser = commands.add_parser("serve", help="run until SIGTERM")
    serve_parser.add_argument("config", nargs="?", help="configuration file (default: $AGENT_CONFIG)")
    check_parser = commands.add_parser("check", help="check a configuration, and the secret where one is delivered")
    check_parser.add_argument("config")
    options = parser.parse_args(argv)
    try:
        if options.command == "check":
            return check(options.config, os.environ)
        return serve(options.config or os.environ.get("AGENT_CONFIG"), os.environ)
    except config.ConfigError as error:
        print(f"thermostat: {error}", file=sys.stderr)
        return 2


def check(path: str, env: Mapping[str, str]) -> int:
    config.load(path)
    config.password(env)
    config.place(env)
    print(f"{path}: ok")
    return 0


def serve(path: Optional[str], env: Mapping[str, str]) -> int:
    if not path:
        raise config.ConfigError("AGENT_CONFIG: not set, and no configuration given")
    settings, place, password = config.load(path), config.place(env), config.password(env)
    broker = Broker(settings, place, password, topics(settings))
    agent = Agent(settings, place, broker.publish)

    def stop(_number: int, _frame: object) -> None:
        agent.stopping = True
        broker.events.put(None)  # SimpleQueue.put may be called from a signal handler

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    pages = {
        "/healthz": lambda: json_page(*agent.health()),
        "/metrics": lambda: (200, agent.metrics.content_type, agent.metrics.render()),
    }
    server = Server(settings.listen, place.http_port, pages)
    server.start()
    broker.start()
    log("info", "started", agent_id=place.agent_id, version=place.version, release=place.release, port=place.http_port)
    try:
        agent.run(broker.events)  # an error here ends the process: the supervisor sees it and starts it again
    finally:
        broker.stop()
        server.stop()
    log("info", "stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
