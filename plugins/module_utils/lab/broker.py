# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real MQTT broker on one host of the lab, for agents that speak MQTT."""

import hashlib

from .command import run

USER = "thermostat"
CONFIG = """listener 1883 0.0.0.0
allow_anonymous false
password_file /etc/mosquitto/lab.passwords
"""
# The password comes over stdin as the file to be hashed in place: it is in no argv and no environment.
SETUP = """set -eu
umask 077
cat > /etc/mosquitto/lab.new
mosquitto_passwd -U /etc/mosquitto/lab.new
chown mosquitto /etc/mosquitto/lab.new
mv /etc/mosquitto/lab.new /etc/mosquitto/lab.passwords
printf '%s' "$2" > /etc/mosquitto/conf.d/lab.conf
chmod 644 /etc/mosquitto/conf.d/lab.conf
systemctl enable --quiet mosquitto.service
systemctl restart mosquitto.service
printf '%s\\n' "$1" > /etc/mosquitto/lab.stamp
"""
STATE = "cat /etc/mosquitto/lab.stamp && systemctl is-active mosquitto.service || true"


def stamp(password: str) -> str:
    """Identifies configuration and password; the password is 32 random characters, so this gives nothing away."""
    return hashlib.sha256(f"{CONFIG}{SETUP}{password}".encode()).hexdigest()


def is_set_up(container: str, password: str) -> bool:
    return run("podman", "exec", container, "sh", "-c", STATE).split() == [stamp(password), "active"]


def set_up(container: str, password: str) -> None:
    argv = ["podman", "exec", "--interactive", container, "sh", "-c", SETUP, "sh", stamp(password), CONFIG]
    run(*argv, text=f"{USER}:{password}\n", timeout=60)
