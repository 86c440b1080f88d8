# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each key of agent.yml may hold."""

import ipaddress
import posixpath
import re
from typing import Any

from . import _checks as c

NAME = r"[a-z][a-z0-9-]{0,38}"
VERSION = r"[0-9A-Za-z_][0-9A-Za-z._-]{0,63}"
TARGET = re.compile(r"(?P<os>linux)/(?P<arch>[a-z0-9]+)(?:\+(?P<libc>glibc\d+\.\d+|musl))?(?:\+py(?P<python>3\.\d+))?")
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
ARCHITECTURES = ("amd64", "arm64", "riscv64", "arm", "386", "ppc64le", "s390x")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_RESERVED_SECRETS = ("config", "config.json")
_SIGNALS = (
    "SIGTERM",
    "SIGINT",
    "SIGQUIT",
    "SIGHUP",
    "SIGUSR1",
    "SIGUSR2",
    "SIGABRT",
    "SIGKILL",
    "SIGWINCH",
    "SIGRTMIN",
)
_CAPABILITIES = (
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
)


def parse_size(value: object) -> int:
    """Bytes of `128M`, `1.5G` (K, M, G, T are powers of 1024) or a plain number; ValueError says what is wrong."""
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)([KMGT]?)", value) if isinstance(value, str) else None
        if not found:
            raise ValueError("must be a size such as 128M or 2G")
        size = int(float(found[1]) * _UNITS[found[2]])
    if not 1 << 20 <= size <= 1 << 50:
        raise ValueError("must be at least 1M" if size < 1 << 20 else "must be at most 1024T")
    return size


def _one_line(value: Any, key: str, problems: c.Problems) -> str:
    if not isinstance(value, str):
        problems.add(key, f"must be a string, not {c.kind(value)}")
        return ""
    line = " ".join(value.split())
    return c.text(maximum=500)(line, key, problems) if line else ""


def _version(value: Any, key: str, problems: c.Problems) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        problems.add(key, 'is a number: quote it, as in version: "1.4.2"')
        return ""
    if value == "latest":
        problems.add(key, "'latest' says nothing: a version names one content")
    return str(c.text(VERSION, "must be of letters, digits, '.', '_' and '-', at most 64")(value, key, problems))


def _size(value: Any, key: str, problems: c.Problems) -> int:
    try:
        return parse_size(value)
    except ValueError as error:
        problems.add(key, f"{error}, not {value!r}" if isinstance(value, (str, int)) else str(error))
        return 1 << 20


def _network(value: Any, key: str, problems: c.Problems) -> str:
    if not isinstance(value, str) or "%" in value:
        problems.add(key, f"must be an address or a network such as 192.0.2.0/24, not {c.kind(value)}")
        return ""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        hint = "; a name is not possible, give its address" if re.search(r"[g-zG-Z]", value) else ""
        problems.add(key, f"{' '.join(str(error).split())[:200]}{hint}")
        return ""


def _path(below: str) -> c.Check:
    """A normalised absolute path, below a directory and not that directory itself."""

    def check(value: Any, key: str, problems: c.Problems) -> str:
        path = str(c.text(r"/[^\"\\]*", "must be an absolute path")(value, key, problems))
        clean = posixpath.normpath("/" + path.lstrip("/")) if path else ""
        if ".." in path.split("/"):
            problems.add(key, f"{path!r} must not contain '..'")
        elif path and not (clean.startswith(below) and clean != below):
            problems.add(key, f"{path!r} must be below {below}")
        return clean

    return check


def _url_path(value: Any, key: str, problems: c.Problems) -> str:
    return str(c.text(r"/[!-~]*", "must be a path that begins with /, percent-encoded")(value, key, problems))


def _words(*, absolute: bool) -> c.Check:
    """A command: words, the first of them a console script or a path in the artifact."""

    def check(value: Any, key: str, problems: c.Problems) -> list[str]:
        if isinstance(value, str):
            problems.add(key, f"must be a list of words, not a string: [{', '.join(value.split()[:9])}]")
            return []
        words = []
        for index, word in enumerate(value if isinstance(value, list) else c.sequence(c.text())(value, key, problems)):
            if word == "" and index:
                words.append("")
            else:
                words.append(c.text()(word, f"{key}[{index}]", problems))
        if isinstance(value, list) and not value:
            problems.add(key, "must not be empty")
        first = words[0] if words else ""
        if ".." in first.split("/") or PLACEHOLDER.search(first) or (first.startswith("/") and not absolute):
            problems.add(f"{key}[0]", f"{first!r} must be a console script or a path in the artifact")
        return words

    return check


def _target(value: Any, key: str, problems: c.Problems) -> str:
    found = TARGET.fullmatch(value) if isinstance(value, str) else None
    if not found or found["arch"] not in ARCHITECTURES:
        shown = repr(value) if isinstance(value, str) else c.kind(value)
        problems.add(key, f"{shown} is not a target such as linux/amd64+glibc2.36+py3.11")
        return ""
    return str(value)


def _specifier(value: Any, key: str, problems: c.Problems) -> str:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if not isinstance(value, str):
        problems.add(key, f'must be a string such as ">=3.9", not {c.kind(value)}: quote it')
        return ""
    try:
        return str(SpecifierSet(value))
    except InvalidSpecifier:
        problems.add(key, f'{value!r} must be such as ">=3.9" or ">=3.9,<3.13"')
        return ""


def _requirement(value: Any, key: str, problems: c.Problems) -> str:
    from packaging.requirements import InvalidRequirement, Requirement

    line = str(c.text()(value, key, problems))
    try:
        parsed = Requirement(line) if line else None
    except InvalidRequirement as error:
        problems.add(key, f'{line!r} is not a requirement such as "datasette==0.65.4": {str(error).splitlines()[0]}')
        return ""
    if parsed and (parsed.url or parsed.marker):
        problems.add(key, "must be a name and a version, without URL and marker")
    return str(parsed) if parsed else ""


_FILE_SOURCE = c.mapping(
    {
        "file": c.Field(c.text()),
        "sha256": c.Field(c.text(r"[0-9a-f]{64}", "must be 64 lower-case hexadecimal digits")),
    }
)
_REQUIREMENT_SOURCE = c.mapping({"requirement": c.Field(_requirement)})


def _source(value: Any, key: str, problems: c.Problems) -> Any:
    if isinstance(value, str):
        return c.text()(value, key, problems)
    if isinstance(value, dict) and ("file" in value or "requirement" in value):
        return (_FILE_SOURCE if "file" in value else _REQUIREMENT_SOURCE)(value, key, problems)
    problems.add(key, "must be a directory, {requirement: ...} or {file: ..., sha256: ...}")
    return "."


def _probe_command(value: Any, key: str, problems: c.Problems) -> dict[str, Any]:
    if isinstance(value, list):
        return {"argv": _words(absolute=True)(value, key, problems), "timeout": 5}
    return dict(
        c.mapping(
            {
                "argv": c.Field(_words(absolute=True)),
                "timeout": c.Field(c.number(0.1, 3600, unit="seconds"), 5),
            }
        )(value, key, problems)
    )


def _secret(value: Any, key: str, problems: c.Problems) -> str:
    name = str(c.text(r"[A-Za-z][A-Za-z0-9_-]{0,62}", "must be of letters, digits, '_' and '-'")(value, key, problems))
    if name in _RESERVED_SECRETS or name.startswith("agentfactory"):
        problems.add(key, f"{name!r} is reserved")
    return name


_PORT_NAME = c.text(r"[a-z][a-z0-9_]{0,30}", "must be of lower-case letters, digits and '_', and begin with a letter")
_PORT_REF = {"port": c.Field(c.text())}
_SECONDS = c.number(0, 3600, unit="seconds")
_LIST: list[str] = []

MANIFEST = c.mapping(
    {
        "name": c.Field(c.text(NAME, "must match ^" + NAME + "$")),
        "version": c.Field(_version),
        "description": c.Field(_one_line, ""),
        "source": c.Field(_source, "."),
        "runtime": c.Field(
            c.mapping(
                {
                    "type": c.Field(c.choice(("python", "executable", "container")), "python"),
                    "python": c.Field(c.optional(_specifier), None),
                    "platforms": c.Field(c.sequence(_target, unique=True), _LIST),
                }
            ),
            {"type": "python", "python": None, "platforms": []},
        ),
        "command": c.Field(_words(absolute=False)),
        "ports": c.Field(c.table(_PORT_NAME, c.number(1, 65535, whole=True)), {}),
        "health": c.Field(
            c.mapping(
                {
                    "http": c.Field(
                        c.optional(
                            c.mapping(
                                {
                                    **_PORT_REF,
                                    "path": c.Field(_url_path, "/"),
                                    "status": c.Field(c.number(100, 599, whole=True), 200),
                                }
                            )
                        ),
                        None,
                    ),
                    "tcp": c.Field(c.optional(c.mapping(_PORT_REF)), None),
                    "command": c.Field(c.optional(_probe_command), None),
                    "notify": c.Field(c.flag, False),
                    "start_timeout": c.Field(c.number(1, 3600, unit="seconds"), 30),
                    "bake": c.Field(_SECONDS, 5),
                    "preflight": c.Field(c.optional(_words(absolute=True)), None),
                }
            )
        ),
        "metrics": c.Field(c.optional(c.mapping({**_PORT_REF, "path": c.Field(_url_path, "/metrics")})), None),
        "config": c.Field(
            c.mapping(
                {
                    "schema": c.Field(c.json_value, None),
                    "defaults": c.Field(c.json_value, {}),
                }
            ),
            {"schema": None, "defaults": {}},
        ),
        "secrets": c.Field(c.sequence(_secret, unique=True), _LIST),
        "resources": c.Field(
            c.mapping(
                {
                    "cpu": c.Field(c.optional(c.number(0.01, 4096, unit="cores")), None),
                    "memory": c.Field(c.optional(_size), None),
                    "tasks": c.Field(c.number(1, 1_000_000, whole=True), 256),
                }
            ),
            {"cpu": None, "memory": None, "tasks": 256},
        ),
        "permissions": c.Field(
            c.mapping(
                {
                    "outbound": c.Field(c.sequence(_network, unique=True), _LIST),
                    "inbound": c.Field(c.sequence(_network, unique=True), _LIST),
                    "write": c.Field(c.sequence(_path("/"), unique=True), _LIST),
                    "devices": c.Field(c.sequence(_path("/dev/"), unique=True), _LIST),
                    "groups": c.Field(
                        c.sequence(c.text(r"[a-z_][a-z0-9_-]{0,31}", "is not a group's name"), unique=True), _LIST
                    ),
                    "capabilities": c.Field(c.sequence(c.choice(_CAPABILITIES), unique=True), _LIST),
                    "proc": c.Field(c.choice(("own", "all")), "own"),
                    "jit": c.Field(c.flag, False),
                }
            ),
            {
                **{name: [] for name in ("outbound", "inbound", "write", "devices", "groups", "capabilities")},
                "proc": "own",
                "jit": False,
            },
        ),
        "stop": c.Field(
            c.mapping(
                {
                    "signal": c.Field(c.choice(_SIGNALS), "SIGTERM"),
                    "timeout": c.Field(c.number(1, 3600, whole=True, unit="seconds"), 20),
                }
            ),
            {"signal": "SIGTERM", "timeout": 20},
        ),
    }
)
