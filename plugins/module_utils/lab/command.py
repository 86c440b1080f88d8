# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the machine's own programs, and holding a lock meanwhile."""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Optional


class LabError(Exception):
    """Something of the lab cannot be as asked; the message says which part and what was seen."""


def run(
    *argv: str, text: Optional[str] = None, timeout: Optional[float] = None, env: Optional[dict[str, str]] = None
) -> str:
    """The standard output of a program; LabError with its last words where it fails or takes too long."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=True, timeout=timeout, env=env)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(argv[:3])}: no end after {timeout:.0f} s") from error
    except subprocess.CalledProcessError as error:
        words = "\n".join((error.stderr or error.stdout or "").strip().splitlines()[-8:])
        raise LabError(f"{' '.join(argv[:3])} ended with {error.returncode}: {words}") from error
    return done.stdout


def installed(program: str) -> bool:
    """Whether the machine has it; a fresh one has no podman yet when a check mode asks what is there."""
    return shutil.which(program) is not None


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Two runs that make the same lab, or the same images, wait for each other."""
    descriptor = os.open(f"/run/lock/agentfactory-{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
