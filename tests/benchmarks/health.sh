#!/usr/bin/env bash
# Wait until every port given answers on /healthz: no process but this shell.
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
for port in "$@"; do
  for _ in {1..1200}; do
    if { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; then
      printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3
      IFS=" " read -r -a answer <&3
      exec 3>&-
      [ "${answer[1]}" = 200 ] && continue 2
    fi
    sleep 0.1
  done
  echo "port $port is not healthy"
  exit 1
done
