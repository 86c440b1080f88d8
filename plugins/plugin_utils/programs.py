# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus' programs from archives, as upstream packs them, instead of from a host's packages.

The controller fetches: once for all hosts, which may have no way out; and a wrong digest is known before any host is touched.
"""

import fcntl
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from . import _checks as c
from . import source

HOME = "/opt/agentfactory-"
FILES = {
    "node_exporter": ("node_exporter",),
    "prometheus": ("prometheus", "promtool"),
    "alertmanager": ("alertmanager", "amtool"),
}
# With older ones neither the rules load nor the configuration.
OLDEST = {"prometheus": (2, 42), "alertmanager": (0, 25)}
PACKAGES = {"prometheus": "prometheus", "prometheus-alertmanager": "alertmanager"}
_VERSION = r"\d+\.\d+\.\d+[0-9A-Za-z.+-]*"
_SPEC = c.table(
    c.choice(tuple(FILES)),
    c.mapping(
        {
            "version": c.Field(c.text(_VERSION, "must be a version such as 2.53.0")),
            "file": c.Field(c.text(r"(?:/|https://).+", "must be an https URL or an absolute path on the controller")),
            "sha256": c.Field(c.table(c.text(), c.text(r"[0-9a-f]{64}", "must be 64 lower-case hexadecimal digits"))),
        }
    ),
)


class ProgramError(ValueError):
    """The archives are not as they must be; the text names the key."""


class Archives:
    """What a host is to get: `given` is monitoring_archives, `architectures` maps a machine (uname -m) to its archives' word."""

    def __init__(self, given: Mapping[str, Any], architectures: Mapping[str, str], machine: str) -> None:
        problems = c.Problems("monitoring_archives")
        self._given = _SPEC(given, "", problems)
        self._architecture = architectures.get(machine, machine)
        for name, one in self._given.items() if not problems.lines else ():
            self._check(name, one, problems)
        if ("prometheus" in given) != ("alertmanager" in given):
            problems.add("", "prometheus and alertmanager go together")
        if problems.lines:
            raise ProgramError("\n".join(problems.lines))

    def _check(self, name: str, one: Mapping[str, Any], problems: c.Problems) -> None:
        reason = too_old(name, one["version"])
        if reason:
            problems.add(f"{name}.version", reason)

    def _digest(self, name: str) -> str:
        digest = self._given[name]["sha256"].get(self._architecture)
        if digest is None:
            raise ProgramError(f"monitoring_archives: {name}.sha256: has none for {self._architecture}")
        return str(digest)

    def paths(self, files: Collection[str]) -> dict[str, str]:
        """Where these programs are on the host, of those that come from archives.

        A directory's name holds version and digest, and its programs never change.
        """
        return {
            file: f"{HOME}{name.replace('_', '-')}/{one['version']}-{self._digest(name)[:12]}/{file}"
            for name, one in self._given.items()
            for file in FILES[name]
            if file in files
        }

    def fetch(self, files: Collection[str]) -> dict[str, str]:
        """The paths on the controller of these programs, from archives that have the right digests."""
        return {file: str(self._kept(name) / file) for name in self._given for file in FILES[name] if file in files}

    def _kept(self, name: str) -> Path:
        """The directory with an archive's programs in the user's cache, which a fetch fills as a whole or not at all."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "agentfactory/programs"
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        place = cache / self._digest(name)
        with open(cache / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # each host has a process of its own here: one of them fetches
            if not place.is_dir():
                with tempfile.TemporaryDirectory(dir=cache) as scratch:
                    self._unpack(name, Path(scratch)).rename(place)
        return place

    def _unpack(self, name: str, scratch: Path) -> Path:
        one, where = self._given[name], f"monitoring_archives: {name}"
        words = {"version": one["version"], "arch": self._architecture}
        location = re.sub(r"\{(version|arch)\}", lambda found: words[found[1]], one["file"])
        archive = source.download(location, self._digest(name), scratch, base="/", where=where)
        files = source.opened(archive, scratch, where=f"{where}.file: {location!r}") or {}
        found = {path.rpartition("/")[2]: entry for path, entry in files.items() if path.count("/") == 1}
        made = scratch / "programs"
        made.mkdir()
        for file in FILES[name]:
            if file not in found or found[file].link is not None:
                raise ProgramError(f"{where}.file: {location!r} holds no <directory>/{file}")
            (made / file).write_bytes(found[file].read())
        return made


def too_old(name: str, version: str) -> str:
    """Why a version of a program will not do; empty where it will."""
    oldest = OLDEST.get(name, (0, 0))
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    return f"{version} is too old: {name} {oldest[0]}.{oldest[1]} is the oldest that works" if numbers < oldest else ""


def candidates_too_old(policy: str) -> list[str]:
    """What is too old of the packages that would be installed, by what ``apt-cache policy`` printed."""
    found = re.findall(r"^(\S+):\n(?:  .*\n)*?  Candidate: (\d\S*)", policy, re.MULTILINE)
    reasons = (too_old(PACKAGES[package], version) for package, version in found if package in PACKAGES)
    return [reason for reason in reasons if reason]
