# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases: tree, configuration, secrets and unit as one thing, staged beside what runs.

A release's directory never changes once it has its name, but for `verdict.json`: what activation found out about it.
"""

import contextlib
import hashlib
import pwd
import re
from pathlib import Path
from typing import Any, NamedTuple, Optional

from . import credentials, egress, unit
from .files import canonical, checkpoint, read_json, read_known, remove, staging_directory, write_atomic, write_json
from .layout import Instance

GOOD, VOID, UNDONE, STAGED = "good", "void", "undone", "staged"
_RUNNING = re.compile(r'^Environment="AGENT_RELEASE=([^"]+)"$', re.MULTILINE)


class Release(NamedTuple):
    """A release on this host. `status` is good (proven at least once), void (failed), undone (proven, but taken back with
    others that failed) or staged (never activated). `order` is of its last verdict, `place` of its last deploy:
    going back to a release does not move it.
    """

    name: str
    version: str
    tree: str
    content: str
    environment: str
    status: str
    order: int
    evidence: "dict[str, Any]"
    place: int = 0
    after: str = ""

    @property
    def good(self) -> bool:
        return self.status == GOOD


def identify(key: bytes, spec: unit.Spec, content: str, config: "dict[str, Any]", secrets: "dict[str, str]") -> str:
    """``<version>-<12 hex>``: the same on this host as long as code, configuration, secrets and unit are."""
    if not key:  # this host was never used, and is only asked: it has no key yet, so nothing has its name yet
        return "%s-(new)" % spec.manifest["version"]
    rules = egress.TABLE if spec.nft else ""
    parts = {"content": content, "config": config, "secrets": secrets, "unit": unit.render(spec), "egress": rules}
    return "%s-%s" % (spec.manifest["version"], credentials.keyed_digest(key, parts))


def files(instance: Instance, name: str, rendered: str) -> str:
    """A rendered text with the release's name in place."""
    return rendered.replace(unit.RELEASE, name)


def stage(
    name: str, key: bytes, spec: unit.Spec, content: str, config: "dict[str, Any]", secrets: "dict[str, str]", user: pwd.struct_passwd,
) -> None:  # fmt: skip
    """Write the release's directory: all of it, flushed, or nothing."""
    instance = spec.instance
    with staging_directory(instance.releases / name) as new:
        write_atomic(new / "unit", files(instance, name, unit.render(spec)).encode(), 0o600)
        write_json(new / credentials.CONFIG, config)
        shown = (
            dict(secrets, **{credentials.CONFIG: canonical(config).decode()})
            if spec.delivery == credentials.BOUND
            else secrets
        )
        credentials.store(new / "credentials", shown, spec.delivery, user.pw_gid)
        if spec.nft:
            script = egress.rules(instance, user.pw_uid, spec.manifest["permissions"]["outbound"], spec.ports)
            write_atomic(new / "egress.nft", script.encode(), 0o600)
        if spec.manifest["health"]["preflight"]:
            write_atomic(new / "preflight", files(instance, name, unit.render_preflight(spec)).encode(), 0o600)
        if (instance.releases / name / "verdict.json").is_file():  # a repair does not change what was found out
            write_atomic(new / "verdict.json", (instance.releases / name / "verdict.json").read_bytes(), 0o600)
        write_json(
            new / "release.json",
            {
                "release": name, "version": spec.manifest["version"], "tree": spec.tree, "content": content,
                "environment": spec.environment, "manifest": spec.manifest, "ports": spec.ports,
                "resources": spec.resources, "delivery": spec.delivery,
                "uid": user.pw_uid, "files": _hashes(new),
                "secrets": {n: credentials.keyed_digest(key, v) for n, v in secrets.items()},
            },
        )  # fmt: skip
        checkpoint("release.filled")
    checkpoint("release.named")


def complete(instance: Instance, name: str) -> bool:
    """Whether everything that was staged is still there as it was, for the user that the instance has now."""
    directory = instance.releases / name
    facts = read_known(directory / "release.json")
    if not facts.get("files"):  # also one that an older library wrote: it is staged anew
        return False
    with contextlib.suppress(KeyError):
        if pwd.getpwnam(instance.user).pw_uid != facts["uid"]:
            return False  # groups of credentials and egress rules are by number
    try:
        return all(_hash(directory / path) == digest for path, digest in facts["files"].items())
    except OSError:
        return False


def read(instance: Instance, name: str) -> "dict[str, Any]":
    """What `stage` wrote of the release (`release.json`)."""
    return read_known(instance.releases / name / "release.json")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hashes(directory: Path) -> "dict[str, str]":
    """path -> SHA-256 of the files as they lie there: of secrets that is the ciphertext, where there is one."""
    return {
        str(path.relative_to(directory)): _hash(path)
        for path in sorted(directory.glob("**/*"))
        if path.is_file() and path.name not in ("release.json", "verdict.json")
    }


def everything(instance: Instance) -> "dict[str, Release]":
    """All releases of an instance, by name, the oldest verdict first."""
    found = []
    for path in instance.releases.glob("*/release.json") if instance.releases.is_dir() else []:
        facts = read_known(path)
        if not facts:
            continue
        verdict = _verdict(instance, path.parent.name)
        found.append(
            Release(
                facts["release"], facts["version"], facts["tree"], facts["content"], facts["environment"],
                verdict.get("status", STAGED), verdict.get("order", 0), verdict.get("evidence", {}),
                verdict.get("place", 0), verdict.get("after", ""),
            )
        )  # fmt: skip
    return {r.name: r for r in sorted(found, key=lambda r: (r.order, r.name))}


def secrets(instance: Instance, name: str) -> "dict[str, Optional[str]]":
    """name -> plain secret of a release, to strike it out of what its agent said. None: it is gone or cannot be read."""
    facts = read(instance, name)
    found = credentials.reveal(instance.releases / name / "credentials", facts.get("delivery", ""))
    return {**dict.fromkeys(facts.get("secrets", {})), **found}


def without_secrets(instance: Instance, name: str, text: str) -> str:
    """What an agent said, with the secrets of its release struck out."""
    return credentials.redact(text, secrets(instance, name).values())


def _verdict(instance: Instance, name: str) -> "dict[str, Any]":
    """What activation found out about a release."""
    return read_known(instance.releases / name / "verdict.json")


def _write_verdict(instance: Instance, name: str, verdict: "dict[str, Any]") -> None:
    write_json(instance.releases / name / "verdict.json", verdict)


def judge(
    instance: Instance, name: str, status: str, evidence: "dict[str, Any]", *, deployed: bool = True, after: str = "",
    run: str = "",
) -> None:  # fmt: skip
    """Record what activation found. The order only ever grows, whatever the clock does.

    `deployed` is false where an instance went back to the release, or was only started again; `after` is what it replaced;
    `run` deployed it: what was known before that is kept for `take_back`.
    """
    order = 1 + max((r.order for r in everything(instance).values()), default=0)
    verdict = _verdict(instance, name)
    if status == GOOD and (deployed or not verdict.get("place")):
        if verdict.get("run") != run:
            verdict["before"] = {k: v for k, v in verdict.items() if k in ("status", "place", "after")}
        verdict.update(run=run, place=order, after=after)
    _write_verdict(instance, name, dict(verdict, status=status, order=order, evidence=evidence))


def take_back(instance: Instance, name: str, run: str) -> None:
    """What `run` deployed was taken back: it is as good as it was before, or else undone. Once, however often it is said."""
    verdict = _verdict(instance, name)
    if verdict.get("run") != run or verdict["status"] != GOOD:
        return
    before = verdict.pop("before")
    if before.get("status") == GOOD:
        _write_verdict(instance, name, dict(verdict, run="", **before))
    else:
        judge(instance, name, UNDONE, {})


def fail(instance: Instance, name: str, evidence: "dict[str, Any]") -> None:
    """A failed activation makes a release void; one that was proven before stays good, with the evidence beside it."""
    verdict = _verdict(instance, name)
    if verdict.get("status") != GOOD:
        return judge(instance, name, VOID, evidence)
    return _write_verdict(instance, name, dict(verdict, evidence=evidence))


def proven(instance: Instance) -> Optional[str]:
    """The release that boots: the one the unit in /etc names; if somebody made it name none, the last good one."""
    named = named_by(instance.unit_file)
    if named is None and instance.unit_file.exists():
        return next((r.name for r in reversed(everything(instance).values()) if r.good), None)
    return named


def named_by(unit_file: Any) -> Optional[str]:
    try:
        match = _RUNNING.search(unit_file.read_text(errors="replace"))
    except FileNotFoundError:
        return None
    return match[1] if match else None


def unit_text(instance: Instance, name: str) -> bytes:
    return (instance.releases / name / "unit").read_bytes()


def surplus(releases: "list[Release]", *, keep: int, needed: "set[str]") -> "list[str]":
    """Which releases to prune: keep the newest `keep` good ones, the newest failed one, and what is needed.

    `releases` are in order, oldest first. The newest good release always stays, whatever came after it.
    """
    good = [r.name for r in releases if r.good]
    bad = [r.name for r in releases if r.status in (VOID, UNDONE)]
    kept = set(good[-max(keep, 1):]) | set(bad[-1:]) | needed  # fmt: skip
    return [r.name for r in releases if r.name not in kept]


def prune(instance: Instance, keep: int, needed: "frozenset[str]" = frozenset()) -> "list[str]":
    """Remove what `surplus` names. `needed` are releases that something still goes back to."""
    staged = read_known(instance.staged)
    used = {n for n in (proven(instance), named_by(instance.proof_file), staged.get("release")) if n}
    gone = surplus(list(everything(instance).values()), keep=keep, needed=used | needed)
    for name in gone:
        remove(instance.releases / name)
    for leftover in instance.releases.glob(".new-*"):
        remove(leftover)
    return gone


def choose(instance: Instance, wanted: str) -> Optional[Release]:
    """The release that a rollback means: a name, a version (its newest good one), or ``previous``.

    ``previous`` is the good release that the one that boots replaced, or else the one that was deployed before it: asked again
    and again, it goes back and back. Only good releases are chosen, also by name.
    """
    releases = list(everything(instance).values())
    running = everything(instance).get(proven(instance) or "")
    if wanted == "previous":
        older = (r for r in releases if r.good and r is not running and (running is None or r.place < running.place))
        candidates = sorted(older, key=lambda r: (running is not None and r.name == running.after, r.place))
    else:
        candidates = [r for r in releases if r.good and (wanted in (r.name, r.version))]
    return candidates[-1] if candidates else None


def differences(instance: Instance, old: Optional[str], spec: unit.Spec, name: str, config: "dict[str, Any]",
                secrets: "dict[str, str]", key: bytes) -> "list[dict[str, str]]":  # fmt: skip
    """Before and after of configuration, unit and (names only) secrets, as Ansible's diff wants them."""
    before = read(instance, old) if old else {}
    directory = instance.releases / old if old else None
    pairs = [
        ("unit", (directory / "unit").read_text().replace(str(old), unit.RELEASE) if directory and before else "", unit.render(spec)),
        ("config", _pretty(read_json(directory / credentials.CONFIG) if directory else None), _pretty(config)),
        ("secrets", _secret_lines(before.get("secrets", {}), {}),
         _secret_lines({n: credentials.keyed_digest(key, v) for n, v in secrets.items()}, before.get("secrets", {}))),
    ]  # fmt: skip
    return [
        {"before_header": "%s %s of %s" % (instance.id, what, old), "after_header": "%s %s of %s" % (instance.id, what, name),
         "before": one, "after": two}
        for what, one, two in pairs if one != two
    ]  # fmt: skip


def _pretty(value: Any) -> str:
    import json

    return "" if value is None else json.dumps(value, indent=2, sort_keys=True) + "\n"


def _secret_lines(digests: "dict[str, str]", before: "dict[str, str]") -> str:
    changed = {n for n, d in digests.items() if n in before and before[n] != d}
    return "".join("%s: %s\n" % (n, "(changed)" if n in changed else "(set)") for n in sorted(digests))
