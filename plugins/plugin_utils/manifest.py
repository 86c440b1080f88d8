# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""agent.yml: what an agent is and what it needs.

`load` reads the file and returns the normalised manifest: a plain, JSON-able dict in which every key is present
(its shape is in docs/package.md). Normalising a normalised manifest changes nothing.
"""

import copy
import os
from typing import Any

from . import _checks as c
from . import config as _config
from ._manifest_fields import MANIFEST
from ._manifest_values import ARCHITECTURES, NAME, PLACEHOLDER, TARGET, VERSION, parse_size

__all__ = [
    "NAME",
    "PLACEHOLDER",
    "TARGET",
    "VERSION",
    "Manifest",
    "ManifestError",
    "load",
    "normalise",
    "parse_size",
    "stored",
    "target_problems",
]

Manifest = dict[str, Any]
_MAX_SIZE = 1 << 20
_PLAIN_PLACEHOLDERS = ("config", "instance", "state_dir")


class ManifestError(ValueError):
    """A manifest, or a configuration against it, is wrong: `problems` are lines of `<file>: <dotted.key>: <reason>`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def stored(manifest: Manifest) -> Manifest:
    """The part of a manifest that goes into the artifact: not where it came from, nor for which platforms.

    An objective that there is not is left out: what was packaged before manifests could have one is still the same.
    """
    kept = {key: value for key, value in manifest.items() if key != "source" and (key, value) != ("slo", None)}
    kept["runtime"] = {key: value for key, value in manifest["runtime"].items() if key != "platforms"}
    return kept


def load(path: str) -> Manifest:
    """Read agent.yml (or the one in the directory `path`); ManifestError lists everything that is wrong with it."""
    file = os.path.join(path, "agent.yml") if os.path.isdir(path) else path
    problems = c.Problems(file)
    try:
        with open(file, "rb") as stream:
            data = stream.read(_MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ManifestError([f"{file}: cannot be read: {reason}"]) from error
    if len(data) > _MAX_SIZE:
        raise ManifestError([f"{file}: is larger than {_MAX_SIZE} bytes"])
    value = c.read_yaml(data, problems)
    if problems.lines:
        raise ManifestError(problems.lines)
    return normalise(value, file=file)


def normalise(value: object, *, file: str) -> Manifest:
    """Check and complete a parsed manifest; `file` names it in errors, and a schema's file is relative to it."""
    problems = c.Problems(file)
    if not isinstance(value, dict):
        raise ManifestError([f"{file}: must be a mapping that begins with name: and version:, not {c.kind(value)}"])
    manifest: Manifest = copy.deepcopy(MANIFEST(value, "", problems))
    if not problems.lines:  # what follows relates keys to each other, and may rely on their types
        _check_runtime(manifest, problems)
        _check_ports(manifest, problems)
        _check_health(manifest, problems)
        _check_slo(manifest, problems)
        _check_words(manifest, problems)
        if manifest["permissions"]["inbound"]:
            problems.add(
                "permissions.inbound",
                "cannot be enforced yet: leave it out, and let the host's firewall say who may connect",
            )
        _config.load_schema(manifest["config"], file, problems)
    if problems.lines:
        raise ManifestError(problems.lines)
    return manifest


def _check_runtime(manifest: Manifest, problems: c.Problems) -> None:
    runtime, source = manifest["runtime"], manifest["source"]
    python = runtime["type"] == "python"
    if python:
        runtime["python"] = runtime["python"] or ">=3.9"
    elif runtime["python"]:
        problems.add("runtime.python", f"does not go with type {runtime['type']}")
    if isinstance(source, dict) and runtime["type"] != ("python" if "requirement" in source else "executable"):
        wanted = "python" if "requirement" in source else "executable"
        problems.add("runtime.type", f"must be {wanted} for a source with {next(iter(source))}, not {runtime['type']}")
    for index, target in enumerate(runtime["platforms"]):
        for reason in target_problems(target, runtime):
            problems.add(f"runtime.platforms[{index}]", reason)


def target_problems(target: str, runtime: dict[str, Any]) -> list[str]:
    """Why a target does not go with a manifest's runtime; empty where it does."""
    found = TARGET.fullmatch(target)
    if not found or found["arch"] not in ARCHITECTURES:
        return [f"{target!r} is not a target such as linux/amd64+glibc2.36+py3.11"]
    if runtime["type"] != "python":
        return [f"{target!r} names a Python, but the type is {runtime['type']}"] if found["python"] else []
    if not found["python"] or not found["libc"]:
        return [f"{target!r} must name libc and Python: {found['os']}/{found['arch']}+glibc2.36+py3.11"]
    from packaging.specifiers import SpecifierSet

    if not SpecifierSet(runtime["python"]).contains(found["python"] + ".99"):
        return [f"{target!r} does not go with runtime.python {runtime['python']}"]
    return []


def _check_ports(manifest: Manifest, problems: c.Problems) -> None:
    numbers: dict[int, str] = {}
    for name, number in manifest["ports"].items():
        if number in numbers:
            problems.add(f"ports.{name}", f"is {number}, as ports.{numbers[number]}")
        numbers[number] = name
    for key, probe in (
        ("health.http", manifest["health"]["http"]),
        ("health.tcp", manifest["health"]["tcp"]),
        ("metrics", manifest["metrics"]),
    ):
        if probe and probe["port"] not in manifest["ports"]:
            problems.add(f"{key}.port", f"{probe['port']!r} is not in ports{c.near(probe['port'], manifest['ports'])}")


def _check_health(manifest: Manifest, problems: c.Problems) -> None:
    health = manifest["health"]
    if not (health["http"] or health["tcp"] or health["command"] or health["notify"]):
        problems.add("health", "needs at least one probe: http, tcp, command or notify: true")


def _check_slo(manifest: Manifest, problems: c.Problems) -> None:
    slo = manifest["slo"]
    if slo and not manifest["metrics"]:
        problems.add("slo", "is judged by the agent's own metrics, and the manifest names none")
    if slo and (slo["good"] is None) != (slo["total"] is None):
        problems.add("slo", "good and total go together: give both, or neither for HTTP requests by their status")


def _check_words(manifest: Manifest, problems: c.Problems) -> None:
    known = [*_PLAIN_PLACEHOLDERS, *(f"port.{name}" for name in manifest["ports"])]
    probe = manifest["health"]["command"]
    for key, words in (
        ("command", manifest["command"]),
        ("health.preflight", manifest["health"]["preflight"]),
        ("health.command.argv", probe and probe["argv"]),
    ):
        for index, word in enumerate(words or []):
            for name in PLACEHOLDER.findall(word):
                if name not in known:
                    reason = f"unknown placeholder {{{name}}}{c.near(name, known)}; known are {', '.join(known)}"
                    problems.add(f"{key}[{index}]", reason)
