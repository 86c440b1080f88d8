# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set points that people chose, room by room: kept over restarts and updates."""

import json
import os
import tempfile
from typing import Optional

from .config import SET_POINTS
from .log import log


class Overrides:
    """Room to set point (degrees Celsius), in one JSON file that is always replaced as a whole.

    Without a folder nothing is kept."""

    def __init__(self, folder: Optional[str]) -> None:
        self._path = os.path.join(folder, "set_points.json") if folder else None
        self._values = self._read()

    def get(self, room: str) -> Optional[float]:
        return self._values.get(room)

    def set(self, room: str, value: Optional[float]) -> None:
        """None takes the override away. Raises OSError when it cannot be kept; then nothing has changed."""
        values = {**self._values}
        values.pop(room, None)
        if value is not None:
            values[room] = value
        if values != self._values:
            self._write(values)
            self._values = values

    def _read(self) -> dict[str, float]:
        if self._path is None:
            return {}
        try:
            with open(self._path, encoding="utf-8") as file:
                raw = json.load(file)
            return {room: float(value) for room, value in raw.items() if SET_POINTS[0] <= value <= SET_POINTS[1]}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            # The set points of the configuration still heat the rooms; to stop would not.
            log("error", "state_unreadable", path=self._path, reason=str(error))
            return {}

    def _write(self, values: dict[str, float]) -> None:
        if self._path is None:
            return
        folder = os.path.dirname(self._path)
        handle, temporary = tempfile.mkstemp(prefix=".set_points-", dir=folder)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(values, file, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except BaseException:
            os.unlink(temporary)
            raise
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
