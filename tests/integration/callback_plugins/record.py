# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402  the documentation comes first
"""Writes each task's result on each host as a JSON line to $RECORD_RESULTS, for the tests that started the run."""

DOCUMENTATION = r"""
name: record
type: aggregate
short_description: Results as JSON lines
description: Writes results to the file in the environment variable E(RECORD_RESULTS).
"""

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"

    def _write(self, document: dict[str, Any]) -> None:
        with open(os.environ["RECORD_RESULTS"], "a", encoding="utf-8") as stream:
            stream.write(json.dumps(document, default=str) + "\n")

    def _result(self, status: str, result: Any) -> None:
        task = result._task
        # ansible-core leaves "failed" out of what it hands to callbacks
        said = {**result._result, "failed": status == "failed"}
        self._write({"host": result._host.get_name(), "action": task.action, "status": status, "result": said})

    def v2_runner_on_ok(self, result: Any) -> None:
        self._result("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._result("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._result("unreachable", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._result("skipped", result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        hosts = sorted(stats.processed)
        self._write({"recap": {host: stats.summarize(host) for host in hosts}})
