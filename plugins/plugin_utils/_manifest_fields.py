# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each key of agent.yml may hold."""

from typing import Any

from . import _checks as c
from . import _manifest_values as v

_FILE_SOURCE = c.mapping(
    {
        "file": c.Field(c.text()),
        "sha256": c.Field(c.text(r"[0-9a-f]{64}", "must be 64 lower-case hexadecimal digits")),
    }
)
_REQUIREMENT_SOURCE = c.mapping({"requirement": c.Field(v.requirement)})


def _source(value: Any, key: str, problems: c.Problems) -> Any:
    if isinstance(value, str):
        return c.text()(value, key, problems)
    if isinstance(value, dict) and ("file" in value or "requirement" in value):
        return (_FILE_SOURCE if "file" in value else _REQUIREMENT_SOURCE)(value, key, problems)
    problems.add(key, "must be a directory, {requirement: ...} or {file: ..., sha256: ...}")
    return "."


def _probe_command(value: Any, key: str, problems: c.Problems) -> dict[str, Any]:
    if isinstance(value, list):
        return {"argv": v.words(absolute=True)(value, key, problems), "timeout": 5}
    return dict(
        c.mapping(
            {
                "argv": c.Field(v.words(absolute=True)),
                "timeout": c.Field(c.number(0.1, 3600, unit="seconds"), 5),
            }
        )(value, key, problems)
    )


def _secret(value: Any, key: str, problems: c.Problems) -> str:
    name = str(c.text(r"[A-Za-z][A-Za-z0-9_-]{0,62}", "must be of letters, digits, '_' and '-'")(value, key, problems))
    if name in v.RESERVED_SECRETS or name.startswith("agentfactory"):
        problems.add(key, f"{name!r} is reserved")
    return name


def _objective(value: Any, key: str, problems: c.Problems) -> float:
    if isinstance(value, (int, float)) and 1 < value < 100:
        problems.add(key, f"is a ratio: write {value} % as {value / 100:g}")
        return 0.85
    return float(c.number(0.85, 0.99999)(value, key, problems))


_PORT_NAME = c.text(r"[a-z][a-z0-9_]{0,30}", "must be of lower-case letters, digits and '_', and begin with a letter")
_PORT_REF = {"port": c.Field(c.text())}
_SECONDS = c.number(0, 3600, unit="seconds")
_LIST: list[str] = []

MANIFEST = c.mapping(
    {
        "name": c.Field(c.text(v.NAME, "must match ^" + v.NAME + "$")),
        "version": c.Field(v.version),
        "description": c.Field(v.one_line, ""),
        "source": c.Field(_source, "."),
        "runtime": c.Field(
            c.mapping(
                {
                    "type": c.Field(c.choice(("python", "executable", "container")), "python"),
                    "python": c.Field(c.optional(v.specifier), None),
                    "platforms": c.Field(c.sequence(v.target, unique=True), _LIST),
                }
            ),
            {"type": "python", "python": None, "platforms": []},
        ),
        "command": c.Field(v.words(absolute=False)),
        "ports": c.Field(c.table(_PORT_NAME, c.number(1, 65535, whole=True)), {}),
        "health": c.Field(
            c.mapping(
                {
                    "http": c.Field(
                        c.optional(
                            c.mapping(
                                {
                                    **_PORT_REF,
                                    "path": c.Field(v.url_path, "/"),
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
                    "preflight": c.Field(c.optional(v.words(absolute=True)), None),
                }
            )
        ),
        "metrics": c.Field(c.optional(c.mapping({**_PORT_REF, "path": c.Field(v.url_path, "/metrics")})), None),
        "slo": c.Field(
            c.optional(
                c.mapping(
                    {
                        "objective": c.Field(_objective),
                        "good": c.Field(c.optional(v.selector), None),
                        "total": c.Field(c.optional(v.selector), None),
                    }
                )
            ),
            None,
        ),
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
                    "memory": c.Field(c.optional(v.size), None),
                    "tasks": c.Field(c.number(1, 1_000_000, whole=True), 256),
                }
            ),
            {"cpu": None, "memory": None, "tasks": 256},
        ),
        "permissions": c.Field(
            c.mapping(
                {
                    "outbound": c.Field(c.sequence(v.network, unique=True), _LIST),
                    "inbound": c.Field(c.sequence(v.network, unique=True), _LIST),
                    "write": c.Field(c.sequence(v.path("/"), unique=True), _LIST),
                    "devices": c.Field(c.sequence(v.path("/dev/"), unique=True), _LIST),
                    "groups": c.Field(
                        c.sequence(c.text(r"[a-z_][a-z0-9_-]{0,31}", "is not a group's name"), unique=True), _LIST
                    ),
                    "capabilities": c.Field(c.sequence(c.choice(v.CAPABILITIES), unique=True), _LIST),
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
                    "signal": c.Field(c.choice(v.SIGNALS), "SIGTERM"),
                    "timeout": c.Field(c.number(1, 3600, whole=True, unit="seconds"), 20),
                }
            ),
            {"signal": "SIGTERM", "timeout": 20},
        ),
    }
)
