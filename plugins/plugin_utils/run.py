# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The identity of a run (one rollout of one ansible-playbook process) and the place of its files.

The main process begins a run; its forks learn of it through the environment they inherit. The id carries the main
process's pid, so an ansible-playbook that is started from within a task does not take the outer run for its own.
"""

import fcntl
import mmap
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Callable

ENV = "AGENTFACTORY_RUN"
KEEP_DAYS = 7
PRUNE_SECONDS = 3600
_ID = re.compile(r"\d{8}T\d{6}-(\d+)-[0-9a-f]{6}")


class RunError(RuntimeError):
    """The place of the runs' files is not safe to use, or cannot be written to."""


def begin() -> str:
    """Start a run in this process and its forks to come; returns its id."""
    run = f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}-{secrets.token_hex(3)}"
    os.environ[ENV] = run
    if _due(os.path.join(directory(), "pruned")):
        prune()
    return run


def _due(stamp: str) -> bool:
    """Whether the last pruning is a while ago; then this is the next one."""
    try:
        if 0 <= time.time() - os.stat(stamp).st_mtime < PRUNE_SECONDS:
            return False
    except FileNotFoundError:
        pass
    with open(stamp, "wb"):
        return True


def current() -> str | None:
    """The id of the run that this process, or the one that forked it, has begun."""
    found = _ID.fullmatch(os.environ.get(ENV, ""))
    return found[0] if found and int(found[1]) in (os.getpid(), os.getppid()) else None


def directory() -> str:
    """The runs' directory, made where missing: this user's and nobody else's, else RunError."""
    base = os.path.join(tempfile.gettempdir(), f"agentfactory-{os.getuid()}")
    for path in (base, os.path.join(base, "runs")):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise RunError(f"{path} cannot be made: {error.strerror}") from error
        info = os.lstat(path)
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or stat.S_IMODE(info.st_mode) & 0o077:
            raise RunError(f"{path} must be a directory that only user {os.getuid()} can use: remove it")
    return os.path.join(base, "runs")


Kept = bytes | mmap.mmap


def kept(name: str, make: Callable[[], bytes]) -> Kept:
    """What `name` stands for (a digest of all that it depends on): made by the first who asks, for all processes and runs of a week.

    Mapped where it is there already: all hosts' forks then share its pages. Never empty. RunError where it cannot be written.
    """
    path = os.path.join(directory(), name)
    try:
        with open(f"{path}.lock", "wb") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            if not os.path.exists(path):
                data = make()
                with open(f"{path}.new", "wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())  # it is not made again where it is cut short
                os.replace(f"{path}.new", path)
                return data
        with open(path, "rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error


def prune(*, days: float = KEEP_DAYS) -> None:
    """Remove what runs left that were begun more than `days` ago."""
    oldest = time.time() - days * 86400
    for entry in os.scandir(directory()):
        try:
            if entry.stat(follow_symlinks=False).st_mtime < oldest:
                os.unlink(entry.path)
        except OSError:
            continue  # another run's pruning was first
