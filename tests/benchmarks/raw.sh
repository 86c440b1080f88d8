#!/usr/bin/env bash
# The floor: one ssh, one archive, one script a host.
#   raw.sh deploy ARCHIVE HOST...   the archive holds each agent's files, units, secrets and install.sh
#   raw.sh check PORTS HOST...      ask every agent for its health
# SSH_OPTIONS: how to reach the hosts.
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
what=$1 given=$2
shift 2
case $what in
  deploy) remote='mkdir -p /opt/bench-raw && cd /opt/bench-raw && tar xz && exec bash install.sh' input=$given ;;
  check) remote="exec bash -s $given" input=$(dirname "$0")/health.sh ;;
esac
export remote input
# shellcheck disable=SC2016
printf '%s\n' "$@" | xargs -P 10 -I HOST sh -c 'exec ssh $SSH_OPTIONS root@"$0" "$remote" <"$input"' HOST
