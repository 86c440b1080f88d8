# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout pages nobody: while it runs, Alertmanager is silent about the agents of the hosts that it changes.

The silence is lifted at the end, and ends by itself if the controller dies. That Alertmanager cannot be reached keeps no
rollout from going on. Source: the OpenAPI document of Alertmanager's API v2.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

TIMEOUT = 5
WAVE = timedelta(minutes=15)


class SilenceError(RuntimeError):
    """Alertmanager did not do as it was asked; the text says why, for a warning."""


def begin(url: str, hosts: Iterable[str], environment: str, waves: int, who: str, run: str) -> str:
    """Silence the agents' alerts of these hosts for a quarter of an hour a wave. Returns the silence's id."""
    if "@" in url:
        raise SilenceError("agentfactory_alertmanager_url: a name and a password do not belong into a URL")
    now = datetime.now(UTC)
    names = "|".join(re.escape(host) for host in hosts)
    matchers = [("alertname", "Agent.*", True), ("host", names, True), ("environment", environment, False)]
    answer = _ask(
        "POST", f"{url.rstrip('/')}/api/v2/silences",
        {
            "matchers": [{"name": n, "value": v, "isRegex": r, "isEqual": True} for n, v, r in matchers],
            "startsAt": now.isoformat(), "endsAt": (now + max(waves, 1) * WAVE).isoformat(),
            "createdBy": who, "comment": f"agentfactory.core: rollout {run}",
        },
    )  # fmt: skip
    try:
        return str(answer["silenceID"])
    except (KeyError, TypeError):
        raise SilenceError(f"{url}: the answer names no silence: is this an Alertmanager?") from None


def lift(url: str, silence: str) -> None:
    """End a silence now."""
    _ask("DELETE", f"{url.rstrip('/')}/api/v2/silence/{silence}")


def _ask(method: str, url: str, document: dict[str, Any] | None = None) -> Any:
    try:
        import requests  # only where there is an Alertmanager
    except ImportError:
        raise SilenceError("the Python package requests is not installed here") from None
    try:
        answer = requests.request(method, url, json=document, timeout=TIMEOUT, allow_redirects=False)
        if answer.status_code != 200:
            raise SilenceError(f"{url}: status {answer.status_code}: {answer.text[:200]}")
        return answer.json() if answer.content else None
    except requests.JSONDecodeError:
        raise SilenceError(f"{url}: the answer is not JSON: is this an Alertmanager?") from None
    except requests.RequestException as error:
        raise SilenceError(f"{url}: {type(error).__name__}") from error
