#!/usr/bin/env bash
# Leave nothing of any contender on a host.
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
set -u
systemctl stop 'bench-*' 'agentfactory-*' 'prometheus-*-exporter' 2>/dev/null
rm -rf /etc/systemd/system/{bench,agentfactory}-* /etc/systemd/system/multi-user.target.wants/{bench,agentfactory}-* \
  /run/systemd/system.control/agentfactory-* /opt/bench-* /etc/bench-* /var/lib/bench-* /opt/agentfactory /var/lib/agentfactory /run/agentfactory
nft delete table inet agentfactory 2>/dev/null
for user in $(getent passwd | grep -oE '^(bench|af)-[^:]*'); do userdel "$user" 2>/dev/null; done
systemctl daemon-reload
systemctl reset-failed
sync
