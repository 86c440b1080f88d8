# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A diagnosis as text for a terminal, and as a bundle of files. What agents wrote is outside input: no control characters."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..module_utils.files import write_atomic
from . import findings
from .ends import told_at
from .report import printable

LAST = 5  # lines of a journal on the terminal
MARKS = {"error": "ERROR", "warning": "WARN ", "info": "ok   "}


def documents(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each host's diagnosis: its facts and findings; of a host that gave no answer the finding that says so."""
    found = {}
    for host, result in results.items():
        if "findings" in result:
            kept = ("host", "lease", "activation", "instances", "findings")
            found[host] = {"name": host, **{key: result[key] for key in kept}}
        else:
            found[host] = {"name": host, "instances": [], "findings": findings.silent(result)}
    return found


def text(document: Mapping[str, Any], *, lines: int | None = LAST) -> str:
    """One host. With `lines`, only so many last ones, and only of instances that something is wrong with."""
    told = [_head(document), *_findings(document, "host")]
    for instance in document["instances"]:
        mine = [finding for finding in document["findings"] if finding["about"] == instance["agent_id"]]
        state = f"  {instance['agent_id']}: {_state(instance)}"
        if len(mine) == 1 and mine[0]["severity"] == "info" and lines is not None:
            told.append(f"{state}: {mine[0]['text']}")
        else:
            told += [state, *_findings(document, instance["agent_id"]), *_evidence(instance, lines)]
    return "\n".join(printable(line) for line in told)


def everything(found: Mapping[str, Mapping[str, Any]]) -> str:
    """All hosts, those first that are worst off, and a last line that counts."""
    listed = sorted(found.values(), key=_worst)
    every = [finding["severity"] for document in listed for finding in document["findings"]]
    instances = sum(len(document["instances"]) for document in listed)
    counts = [_count(len(listed), "host"), _count(instances, "instance")]
    counts += [_count(every.count("error"), "error"), _count(every.count("warning"), "warning")]
    return "\n\n".join([*(text(document) for document in listed), ", ".join(counts)])


def _worst(document: Mapping[str, Any]) -> int:
    return min(findings.SEVERITIES.index(finding["severity"]) for finding in document["findings"])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _head(document: Mapping[str, Any]) -> str:
    host = document.get("host")
    if not host:
        return f"{document['name']}:"
    left, total = (host["memory"][key] / 2**30 for key in ("available", "total"))
    return (
        f"{document['name']}: systemd {host['platform']['systemd']}, {host['platform']['target']}, "
        f"up {host['uptime_seconds'] / 3600:.1f} h, load {host['load'][0]} on {host['cpus']} CPUs, "
        f"{left:.1f} of {total:.1f} GiB of memory left"
    )


def _state(instance: Mapping[str, Any]) -> str:
    known = [instance["state"], instance.get("release") or instance.get("staged") or "no release"]
    if instance.get("restarts"):
        known.append(_count(instance["restarts"], "restart"))
    return ", ".join(known)


def _findings(document: Mapping[str, Any], about: str) -> Iterator[str]:
    for finding in document["findings"]:
        if finding["about"] == about:
            yield f"    {MARKS[finding['severity']]} {finding['text']}"
            if finding["next"]:
                yield f"          -> {finding['next']}"


def _evidence(instance: Mapping[str, Any], lines: int | None) -> Iterator[str]:
    """What the findings rest on."""
    if "unit_says" not in instance:  # it is not on the host
        return
    yield f"      unit: {instance['unit_says']}"
    if not instance["health"].startswith("unit: "):
        yield f"      probe: {instance['health']}"
    for item in instance["releases"]:
        why = item["evidence"].get("summary")
        yield f"      release {item['release']}: {item['status']}" + (f": {why}" if why else "")
    for change in instance["history"][-3:] if lines is not None else instance["history"]:
        yield (
            f"      {change['at']} {change['who'].get('user')}: {change['action']} {change['from']} -> {change['to']}: {change['result']}"
        )
    if instance["withheld"]:
        yield f"      its journal is withheld: {instance['withheld']}"
    for title, key in (("the run before the last said", "journal_before"), ("the last run said", "journal")):
        shown = instance[key] if lines is None else instance[key][-lines:]
        if shown:
            yield f"      {title}:"
            yield from (f"        | {line}" for line in shown)


def bundle(directory: str, documents_: Mapping[str, Mapping[str, Any]], now: float) -> dict[str, dict[str, str]]:
    """Write each host's diagnosis as JSON and as text, for its owner's eyes only. Returns the paths by host."""
    place = Path(directory)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = bundle_paths(directory, documents_, now)
    for host, files in paths.items():
        document = {"at": told_at(now), **documents_[host]}
        write_atomic(Path(files["json"]), json.dumps(document, indent=2, sort_keys=True).encode() + b"\n")
        write_atomic(Path(files["text"]), f"{told_at(now)}\n{text(documents_[host], lines=None)}\n".encode())
    return paths


def bundle_paths(directory: str, hosts: Mapping[str, Any], now: float) -> dict[str, dict[str, str]]:
    """A file's name holds the host's, quoted as in a URL, and the time."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    found = {}
    for host in hosts:
        safe = quote(host, safe="")
        name = os.path.join(directory, f"{'%2E' + safe[1:] if safe.startswith('.') else safe}-{stamp}")
        found[host] = {"json": f"{name}.json", "text": f"{name}.txt"}
    return found
