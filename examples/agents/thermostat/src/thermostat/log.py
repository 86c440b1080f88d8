# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One JSON object a line on stdout; the journal adds the time."""

import json
import sys
import threading
from typing import Any

_lock = threading.Lock()


def log(level: str, event: str, **fields: Any) -> None:
    line = json.dumps({"level": level, "event": event, **fields}, default=str)
    with _lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
