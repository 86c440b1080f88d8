# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets at rest and on their way to an instance.

With systemd 250 and later they are encrypted with the host's key and systemd decrypts them for the unit. systemd 247 knows
plain credentials only, and fails to start units that have them together with a namespace and ExecStartPre=; there they are
files of root's that the instance's group may read, bound to a path of their own (that systemd hides /run/credentials then).

Ciphertexts differ each time, so identity never comes from them: it comes from a keyed digest of the plain text.
"""

import hashlib
import hmac
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

from .errors import HostError
from .files import canonical, write_atomic
from .systemd import run

ENCRYPTED, LOADED, BOUND = "encrypted", "loaded", "bound"
ENCRYPTING_SYSTEMD = 250
CONFIG = "config.json"
STRUCK, CUT = "********", "[...]"


def delivery(systemd: int) -> str:
    """How this host's systemd brings secrets to a unit."""
    if systemd < ENCRYPTING_SYSTEMD:
        return BOUND
    return ENCRYPTED if shutil.which("systemd-creds") else LOADED


def directory(how: str, unit: str) -> str:
    """Where a unit sees its credentials."""
    return "/run/agentfactory/%s/credentials" % unit if how == BOUND else "/run/credentials/" + unit


def load_key(path: Path, *, create: bool) -> bytes:
    """The random key of this host that names releases; empty where none exists and none may be made."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if not create:
            return b""
        key = os.urandom(32)
        write_atomic(path, key, 0o600)
        return key


def keyed_digest(key: bytes, value: Any) -> str:
    """12 hex digits of HMAC-SHA256 (RFC 2104): stable on this host, useless for guessing what was hashed."""
    return hmac.new(key, canonical(value), hashlib.sha256).hexdigest()[:12]


def store(directory: Path, secrets: "dict[str, str]", how: str, group: int) -> None:
    """Write each secret as a credential file named after it. The plain text reaches systemd-creds by a pipe."""
    directory.mkdir(mode=0o700)
    for name, value in sorted(secrets.items()):
        path = directory / name
        if how == ENCRYPTED:
            run(["systemd-creds", "encrypt", "--name=" + name, "-", str(path)], data=value.encode())
            os.chmod(path, 0o600)
        else:
            write_atomic(path, value.encode(), 0o600)
    if how == BOUND:
        for path in [directory] + sorted(directory.iterdir()):
            os.chown(path, 0, group)
            os.chmod(path, 0o750 if path == directory else 0o440)


def reveal(directory: Path, how: str) -> "dict[str, Optional[str]]":
    """name -> plain secret of a release, only to strike them out of evidence. None: it cannot be read."""
    found: dict[str, Optional[str]] = {}
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        if path.name == CONFIG:
            continue
        try:
            command = ["systemd-creds", "decrypt", "--name=" + path.name, str(path), "-"]
            found[path.name] = run(command) if how == ENCRYPTED else path.read_text()
        except (HostError, OSError, UnicodeDecodeError):
            found[path.name] = None
    return found


def redact(text: str, secrets: "Iterable[Optional[str]]") -> str:
    """`text` with every secret, and every line of a secret of several lines, struck out; also what `CUT` left of one."""
    pieces = {line.strip() for secret in secrets if secret for line in [secret] + secret.splitlines()}
    for piece in sorted(filter(None, pieces), key=len, reverse=True):
        text = text.replace(piece, STRUCK)
        for size in range(len(piece) - 1, 1, -1) if CUT in text else ():
            text = text.replace(piece[:size] + CUT, STRUCK + CUT).replace(CUT + piece[-size:], CUT + STRUCK)
    return text


def head(text: str, size: int) -> str:
    """The beginning of what somebody else said; that it was cut is seen, by `redact` too."""
    return text if len(text) <= size else text[:size] + CUT


def tail(text: str, size: int) -> str:
    """The end of what somebody else said."""
    return text if len(text) <= size else CUT + text[-size:]
