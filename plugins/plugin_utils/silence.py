# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout pages nobody: while it runs, Alertmanager is silent about the agents of the hosts that it changes.

The silence is lifted at the end, and ends by itself if the controller dies. That Alertmanager cannot be reached keeps no
rollout from going on. Source: the OpenAPI document of Alertmanager's API v2.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .prometheus import Connection, translated
from .prometheus_answer import PrometheusError
from .prometheus_argspec import PROMETHEUS, PROMETHEUS_RULES

TIMEOUT = 5
WAVE = timedelta(minutes=15)


class SilenceError(RuntimeError):
    """Alertmanager did not do as it was asked; the text says why, for a warning."""


def connection(url: str, options: object) -> Connection:
    """How to ask an Alertmanager: `options` are a mapping of those of `PROMETHEUS`."""
    if not isinstance(options, Mapping):
        raise SilenceError(
            "agentfactory_alertmanager: must be a mapping of options, such as {username: ..., password_file: ...}"
        )
    given = ArgumentSpecValidator(PROMETHEUS, **PROMETHEUS_RULES).validate({"timeout": TIMEOUT, **options, "url": url})
    if given.error_messages:
        raise SilenceError(f"agentfactory_alertmanager: {'; '.join(given.error_messages)}")
    try:
        return Connection.of(given.validated_parameters)
    except PrometheusError as error:
        raise SilenceError(f"agentfactory_alertmanager: {error}") from error


def begin(there: Connection, hosts: Iterable[str], environment: str, who: str, run: str) -> str:
    """Silence the agents' alerts of these hosts for a wave's quarter of an hour. Returns the silence's id."""
    now = datetime.now(UTC)
    names = "|".join(re.escape(host) for host in hosts)
    matchers = [("alertname", "Agent.*", True), ("host", names, True), ("environment", environment, False)]
    return _set(
        there,
        {
            "matchers": [{"name": n, "value": v, "isRegex": r, "isEqual": True} for n, v, r in matchers],
            "startsAt": now.isoformat(), "createdBy": who, "comment": f"agentfactory.core: rollout {run}",
        },
    )  # fmt: skip


def renew(there: Connection, silence: str) -> str:
    """Let it last for a quarter of an hour from now, or begin again if it has ended. Returns the id that it has then."""
    kept = _ask(there, "GET", f"silence/{silence}")
    try:
        return _set(there, {key: kept[key] for key in ("id", "matchers", "startsAt", "createdBy", "comment")})
    except (KeyError, TypeError):
        raise SilenceError(f"{there.url}: the answer is no silence: is this an Alertmanager?") from None


def _set(there: Connection, silence: dict[str, Any]) -> str:
    answer = _ask(there, "POST", "silences", {**silence, "endsAt": (datetime.now(UTC) + WAVE).isoformat()})
    try:
        return str(answer["silenceID"])
    except (KeyError, TypeError):
        raise SilenceError(f"{there.url}: the answer names no silence: is this an Alertmanager?") from None


def lift(there: Connection, silence: str) -> None:
    """End a silence now."""
    _ask(there, "DELETE", f"silence/{silence}")


def _ask(there: Connection, method: str, path: str, document: dict[str, Any] | None = None) -> Any:
    try:
        import requests
    except ImportError:
        raise SilenceError("the Python package requests is not installed here") from None
    url = f"{there.url}/api/v2/{path}"
    try:
        with translated(there.timeout):
            answer = requests.request(method, url, json=document, timeout=there.timeout, **there.arguments())
    except PrometheusError as error:
        raise SilenceError(f"{url}: {error}") from error
    if answer.status_code != 200:
        raise SilenceError(f"{url}: status {answer.status_code}: {there.hide(answer.text[:200])}")
    try:
        return answer.json() if answer.content else None
    except requests.JSONDecodeError:
        raise SilenceError(f"{url}: the answer is not JSON: is this an Alertmanager?") from None
