# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Prometheus for tests, in a folder of theirs: its data are in `data`. `make test` installs it; CI may not go without."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def needed(program: str) -> str:
    """Where it is: also where only root looks."""
    found = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")
    if not found:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(f"no {program} here: tools/packages unit")
    return str(found)


def promtool(folder: Path, *arguments: str) -> None:
    needed("promtool")
    done = subprocess.run(["promtool", *arguments], cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def backfill(folder: Path, samples: str) -> None:
    """Make these samples (OpenMetrics' text with times) the past of the Prometheus that will run there."""
    (folder / "samples").write_text(samples)
    promtool(folder, "tsdb", "create-blocks-from", "--max-block-duration=2000h", "openmetrics", "samples", "data")


@contextmanager
def running(folder: Path, *options: str) -> Iterator[str]:
    """Run one with the folder's prometheus.yml, on a port that the kernel chooses; gives its address as soon as it answers."""
    needed("prometheus")
    places = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=100y"]
    with subprocess.Popen(
        ["prometheus", *places, "--web.listen-address=127.0.0.1:0", *options],
        cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        try:
            address = _address(process)
            assert process.stderr
            # It would stop where nobody reads what it says.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield address
        finally:
            process.terminate()


def _address(process: subprocess.Popen[str]) -> str:
    """From its log, which ends when it does."""
    guard = threading.Timer(60, process.kill)
    guard.start()
    address, ready, seen = "", False, []  # the two come in any order
    assert process.stderr
    for line in process.stderr:
        seen.append(line)
        if found := re.search(r'msg="Listening on" address=(\S+)', line):
            address = found[1]
        ready = ready or "Server is ready to receive web requests" in line
        if ready and address:
            guard.cancel()
            return address
    raise RuntimeError("prometheus did not start:\n" + "".join(seen))
