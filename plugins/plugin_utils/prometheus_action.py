# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions that may ask a Prometheus, and work on the controller only, have in common."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible.plugins.action import ActionBase

if TYPE_CHECKING:
    from .prometheus import Client

URL = "agentfactory_prometheus_url"


class PrometheusAction(ActionBase):  # type: ignore[misc]
    """Base of these actions, whose `run` starts with `begin`. No host is involved."""

    _supports_check_mode = True
    _requires_connection = False

    def begin(
        self, tmp: str | None, task_vars: dict[str, Any] | None, spec: Mapping[str, Any], **rules: Any
    ) -> dict[str, Any]:
        """Validate the options; returns the result to be added to, of an action that has changed nothing."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.variables = task_vars or {}
        _spec, self.options = self.validate_argument_spec(argument_spec=dict(spec), **rules)
        return result | {"changed": False}

    def url(self, given: Mapping[str, Any]) -> str:
        """That of these options, else the variable's; empty where there is none."""
        return str(given.get("url") or self._templar.template(self.variables.get(URL, "")) or "")

    def client(self, given: Mapping[str, Any], **more: Any) -> "Client | None":
        """Who is asked, with these options and `more` of `Client`; None where there is no URL."""
        if not (url := self.url(given)):
            return None
        from .prometheus import Client, Connection

        return Client(Connection.of({**given, "url": url}, self._loader.path_dwim), **more)
