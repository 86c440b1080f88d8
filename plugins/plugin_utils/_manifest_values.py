# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single values of agent.yml: sizes, versions, networks, paths, commands, targets, requirements."""

import ipaddress
import posixpath
import re
import warnings
from typing import Any

from . import _checks as c

NAME = r"[a-z][a-z0-9-]{0,38}"
VERSION = r"[0-9A-Za-z_][0-9A-Za-z._-]{0,63}"
TARGET = re.compile(r"(?P<os>linux)/(?P<arch>[a-z0-9]+)(?:\+(?P<libc>glibc\d+\.\d+|musl))?(?:\+py(?P<python>3\.\d+))?")
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
ARCHITECTURES = ("amd64", "arm64", "riscv64", "arm", "386", "ppc64le", "s390x")
_STRING = r'"(?:[^"\\\n]|\\["\\nt])*"'
_MATCHER = rf"\s*[a-zA-Z_][a-zA-Z0-9_]*\s*(?:=~|!~|!=|=)\s*{_STRING}\s*"
_SELECTOR = re.compile(rf"[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{{(?P<labels>{_MATCHER}(?:,{_MATCHER})*,?\s*)?\}})?")
_LABEL = re.compile(rf"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*({_STRING})\s*,?")
# What Python takes in a regular expression and Prometheus' RE2 does not, or differently: groups that look around, references back,
# possessive quantifiers, more than 999 repetitions, classes by their names.
_NOT_RE2 = re.compile(r"\(\?(?!:)|\\[^\W_dDsSwW]|[*+?}]\+|\{\d*,?\d{4,}|\[:")
_OWN_LABELS = ("job", "host", "environment", "agent", "agent_id")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
RESERVED_SECRETS = ("config", "config.json")
SIGNALS = (
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
CAPABILITIES = (
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


def one_line(value: Any, key: str, problems: c.Problems) -> str:
    if not isinstance(value, str):
        problems.add(key, f"must be a string, not {c.kind(value)}")
        return ""
    line = " ".join(value.split())
    return c.text(maximum=500)(line, key, problems) if line else ""


def version(value: Any, key: str, problems: c.Problems) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        problems.add(key, 'is a number: quote it, as in version: "1.4.2"')
        return ""
    if value == "latest":
        problems.add(key, "'latest' says nothing: a version names one content")
    return str(c.text(VERSION, "must be of letters, digits, '.', '_' and '-', at most 64")(value, key, problems))


def size(value: Any, key: str, problems: c.Problems) -> int:
    try:
        return parse_size(value)
    except ValueError as error:
        problems.add(key, f"{error}, not {value!r}" if isinstance(value, (str, int)) else str(error))
        return 1 << 20


def selector(value: Any, key: str, problems: c.Problems) -> str:
    """The PromQL selector of a counter. Which agent's it is, Prometheus adds."""
    text = str(c.text(maximum=500)(value, key, problems))
    found = _SELECTOR.fullmatch(text)
    if text and not found:
        problems.add(key, f'{text!r} must be a counter\'s selector, such as requests_total{{code!~"5.."}}')
    for name, operator, quoted in _LABEL.findall(found["labels"] or "") if found else []:
        if name in _OWN_LABELS:
            problems.add(key, f"the label {name} is set by the fleet: leave it out")
        elif name == "__name__":
            problems.add(key, "the counter's name comes before the braces: leave __name__ out")
        elif "~" in operator and not _is_expression(quoted):
            problems.add(key, f"{quoted} of the label {name} is no regular expression that Prometheus takes")
    return text


def _is_expression(quoted: str) -> bool:
    """Whether RE2 takes it, which is asked of Python for want of it: what is in doubt is not taken."""
    escapes = {"n": "\n", "t": "\t"}
    text = re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[1]), quoted[1:-1])
    try:
        with warnings.catch_warnings(action="error", category=FutureWarning):
            re.compile(text)
    except (re.error, OverflowError, FutureWarning):
        return False
    return not _NOT_RE2.search(re.sub(r"\\[\W_]", "x", text))


def network(value: Any, key: str, problems: c.Problems) -> str:
    if not isinstance(value, str) or "%" in value:
        problems.add(key, f"must be an address or a network such as 192.0.2.0/24, not {c.kind(value)}")
        return ""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        hint = "; a name is not possible, give its address" if re.search(r"[g-zG-Z]", value) else ""
        problems.add(key, f"{' '.join(str(error).split())[:200]}{hint}")
        return ""


def path(below: str) -> c.Check:
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


def url_path(value: Any, key: str, problems: c.Problems) -> str:
    return str(c.text(r"/[!-~]*", "must be a path that begins with /, percent-encoded")(value, key, problems))


def words(*, absolute: bool) -> c.Check:
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


def target(value: Any, key: str, problems: c.Problems) -> str:
    found = TARGET.fullmatch(value) if isinstance(value, str) else None
    if not found or found["arch"] not in ARCHITECTURES:
        shown = repr(value) if isinstance(value, str) else c.kind(value)
        problems.add(key, f"{shown} is not a target such as linux/amd64+glibc2.36+py3.11")
        return ""
    return str(value)


def specifier(value: Any, key: str, problems: c.Problems) -> str:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if not isinstance(value, str):
        problems.add(key, f'must be a string such as ">=3.9", not {c.kind(value)}: quote it')
        return ""
    try:
        return str(SpecifierSet(value))
    except InvalidSpecifier:
        problems.add(key, f'{value!r} must be such as ">=3.9" or ">=3.9,<3.13"')
        return ""


def requirement(value: Any, key: str, problems: c.Problems) -> str:
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
