#!/usr/bin/env bash
# Part of the raw floor's archive: what is to be done on the host. Lines of agents: name, version and port.
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
while read -r name version port; do
  user=bench-raw-$name
  getent passwd "$user" >/dev/null ||
    useradd --system --no-create-home --home-dir "/var/lib/bench-raw/$name" --shell /usr/sbin/nologin "$user"
  python3 -m compileall -q "$name-$version"
  install -d -m 700 "/etc/bench-raw/$name"
  install -m 600 "$name.config" "/etc/bench-raw/$name/config.json"
  install -m 600 "$name.token" "/etc/bench-raw/$name/token"
  install -m 644 "$name.service" "/etc/systemd/system/bench-raw-$name.service"
  units+=("bench-raw-$name.service") ports+=("$port")
done <agents
systemctl daemon-reload
systemctl enable --quiet "${units[@]}"
systemctl restart "${units[@]}"
exec bash health.sh "${ports[@]}"
