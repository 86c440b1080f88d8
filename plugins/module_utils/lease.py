# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may change this host: a lease that spans a run, checked under the host's lock in each call.

A run renews its lease with every call. It ends when the run gives it back, when it expires, or when the controller that took
it says that the process behind it is gone (so a killed run does not block the next one from the same controller).
"""

import time
from typing import Any, Optional

from .errors import Busy
from .files import read_known, remove, write_json
from .layout import Layout

SECONDS = 900


def _path(layout: Layout) -> Any:
    return layout.factory / "locks" / "lease.json"


def current(layout: Layout) -> Optional["dict[str, Any]"]:
    """The lease that is in force: ``{"run", "user", "controller", "pid", "reason", "expires" (Unix s)}``."""
    lease = read_known(_path(layout))
    return lease if lease and lease["expires"] > time.time() else None


def take(layout: Layout, who: "dict[str, Any]", reason: str) -> None:
    """Take or renew the lease for `who` (``{"run", "user", "controller", "pid", "gone": [runs]}``). Raises Busy."""
    lease = current(layout)
    if lease and lease["run"] != who["run"] and lease["run"] not in who.get("gone", []) and not who.get("break_lease"):
        raise Busy(
            "this host is held by %s on %s (%s, run %s) until %s; wait, or break the lease with -e break_lease=true"
            % (lease["user"], lease["controller"], lease["reason"], lease["run"],
               time.strftime("%H:%M:%S UTC", time.gmtime(lease["expires"])))
        )  # fmt: skip
    kept = {k: who.get(k) for k in ("run", "user", "controller", "machine", "pid")}
    write_json(_path(layout), dict(kept, reason=reason, expires=int(time.time()) + SECONDS))


def give_back(layout: Layout, run: str) -> None:
    lease = read_known(_path(layout))
    if lease and lease["run"] == run:
        remove(_path(layout))
