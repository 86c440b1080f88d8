# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Atomic, durable file operations, and the points at which a run can be killed in tests."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from .errors import Busy, HostError

FAULT = Path("/run/agentfactory/fault")


def canonical(value: Any) -> bytes:
    """The one JSON encoding of a value: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def read_json(path: Path) -> Any:
    """The decoded file, or None where there is none. Raises HostError for one that somebody damaged."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise HostError("%s is damaged: %s" % (path, error)) from None


def read_known(path: Path) -> "dict[str, Any]":
    """What is known by a file that the next run can write anew: nothing where there is none, or somebody damaged it."""
    try:
        known = read_json(path)
    except HostError:
        return {}
    return known if isinstance(known, dict) else {}


def read_text(path: Path) -> Optional[str]:
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None


def fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_filesystem(path: Path) -> None:
    """syncfs(2): one flush for many files, instead of an fsync for each."""
    import ctypes  # costs 10 ms, and most calls write nothing

    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            os.sync()
    except AttributeError:
        os.sync()
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Old content or new, never a part: a temporary file with its final mode, flushed, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".%s." % path.name[:80])
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    fsync_directory(path.parent)


def write_json(path: Path, value: Any, mode: int = 0o600) -> None:
    write_atomic(path, canonical(value) + b"\n", mode)


def leftovers(path: Path) -> "list[Path]":
    """What killed calls of `write_atomic` and `replace_link` left beside `path`: nobody knows them by name."""
    return sorted(path.parent.glob(".%s.*" % path.name[:80]))


def replace_link(path: Path, target: str) -> None:
    """Point a symbolic link at `target` in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(".%s.%d" % (path.name, os.getpid()))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, path)
    fsync_directory(path.parent)


def remove(path: Path) -> bool:
    """Remove a file, link or whole tree, also a read-only one. True if there was something."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        path.unlink()
        return True
    for directory, _names, _files in os.walk(path):
        os.chmod(directory, 0o700)
    shutil.rmtree(path)
    return True


def exchange(new: Path, final: Path) -> None:
    """Give `new` the name of `final`, and what was there (if anything) the name of `new`, in one step where the kernel can.

    renameat2(2) with RENAME_EXCHANGE: a release that boots is never without its directory, whenever the power goes.
    """
    if not os.path.lexists(final):
        os.rename(new, final)
        return
    import ctypes

    at_fdcwd, rename_exchange = -100, 2
    try:
        done = ctypes.CDLL(None).renameat2(at_fdcwd, os.fsencode(new), at_fdcwd, os.fsencode(final), rename_exchange)
    except AttributeError:
        done = -1
    if done != 0:
        remove(final)
        os.rename(new, final)


@contextlib.contextmanager
def staging_directory(final: Path) -> Iterator[Path]:
    """A directory beside `final` that becomes `final` in one rename when the block ends well, and nothing else."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=".new-"))
    try:
        yield temporary
        flush_filesystem(temporary)
        exchange(temporary, final)
        fsync_directory(final.parent)
    finally:
        remove(temporary)


@contextlib.contextmanager
def lock(path: Path, *, wait: float, holder: str) -> Iterator[None]:
    """An exclusive flock(2) that ends with the process. Raises Busy, naming `holder`, after `wait` seconds."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Busy(holder) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def checkpoint(name: str) -> None:
    """A step that fault tests can kill at: a file naming the step makes the process end here, once, as by SIGKILL."""
    try:
        wanted = FAULT.read_text().strip()
    except OSError:
        return
    if wanted == name:
        FAULT.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
