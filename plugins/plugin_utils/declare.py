# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's declarations, as the inventory has them, made into what the host's library is asked for."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from . import config as _config
from .artifact import Artifact, ArtifactError, Artifacts
from .fleet_config import violations

Template = Callable[[Any], Any]


class DeclarationError(ValueError):
    """A declaration cannot be carried out; the text names agent and key."""


@cache
def packaged(root: str, name: str, version: str) -> Artifact:
    """The artifact of one version. Read once a run: forks inherit what the main process has read."""
    try:
        return Artifacts(root).open(name, version)
    except ArtifactError as error:
        from . import preview

        for directory in preview.find():  # check mode has not packaged it for good
            if version in Artifacts(directory).versions(name):
                return Artifacts(directory).open(name, version)
        raise DeclarationError(str(error)) from error


def build(
    declarations: list[dict[str, Any]], secrets: Mapping[str, Any], artifacts: str, template: Template, trusted: Callable[[Any], bool],
) -> list[dict[str, Any]]:  # fmt: skip
    """The request's ``agents`` (see `module_utils.desired`): manifests, images, configuration and secrets as plain values.

    `declarations` are a host's, not templated yet, but for those that are absent. Raises DeclarationError.
    """
    agents = []
    for declared in declarations:
        name, version = declared["name"], str(declared["version"])
        artifact = packaged(artifacts, name, version)
        raw = secrets.get(name) or {}
        given = template(raw)
        settled = template(declared["config"])
        check_templated(declared["config"], settled, f"agents.{name}.config", trusted)
        check_templated(raw, given, f"agents.{name}.secrets", trusted)
        wanted = {key: _secret(name, key, given) for key in artifact.manifest["secrets"]}
        resources = artifact.manifest["resources"] | {k: v for k, v in declared["resources"].items() if v is not None}
        agents.append(
            {
                "name": name,
                "state": declared["state"],
                "manifest": _for_host(artifact.manifest),
                "images": [{"target": i.target, "tree": i.tree, "content": i.content} for i in artifact.images],
                "config": plain(_config.merge(artifact.manifest["config"]["defaults"], settled)),
                "secrets": wanted,
                "instances": [
                    {
                        "name": str(instance),
                        "ports": plain(declared["ports"].get(instance, {})),
                        "resources": plain(resources),
                    }
                    for instance in declared["instances"]
                ],
            }
        )
    return agents


def validate(agents: list[dict[str, Any]], artifacts: str, host: str) -> None:
    """Check each configuration against its schema. Apart from `build`, for it may import jsonschema: only where something changes."""
    problems = []
    for agent in agents:
        judged = packaged(artifacts, agent["name"], agent["manifest"]["version"]).manifest["config"]
        for key, reason in violations(judged, agent["config"]):
            problems.append(f"{host}: agents.{agent['name']}.config: " + (f"{key}: " if key else "") + reason)
    if problems:
        raise DeclarationError("\n".join(problems))


def _for_host(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest without what only the controller needs."""
    return {key: value for key, value in manifest.items() if key not in ("config", "slo")}


def _secret(agent: str, key: str, given: Mapping[str, Any]) -> str:
    value = given.get(key)
    if value is None or str(value) == "":
        raise DeclarationError(f"agents.{agent}.secrets.{key}: is {'missing' if value is None else 'empty'}")
    if not isinstance(value, str) and (isinstance(value, bool) or not isinstance(value, int)):
        raise DeclarationError(f"agents.{agent}.secrets.{key}: must be a string: quote it")
    return str(value)


def plain(value: Any) -> Any:
    """The value without Ansible's tags and lazy containers: what JSON can hold. DeclarationError for anything else."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if value is None:
        return None
    raise DeclarationError(f"a configuration cannot hold a {type(value).__name__}")


def check_templated(raw: Any, done: Any, key: str, trusted: Callable[[Any], bool]) -> None:
    """Refuse values that still look like a template: somebody's quoting or a lost trust would be deployed as it stands.

    A literal ``{{`` is written as ``!unsafe``: then the raw string carries its origin, but no trust.
    """
    for path, before, after in _strings(raw, done, key):
        deliberate = type(before) is not str and isinstance(before, str) and not trusted(before)
        if "{{" in after and not deliberate:
            raise DeclarationError(f"{path}: still holds '{{{{' after templating; if that is meant, mark it !unsafe")


def _strings(raw: Any, done: Any, key: str) -> Iterator[tuple[str, Any, str]]:
    if isinstance(done, Mapping):
        for name, value in done.items():
            yield from _strings(raw.get(name) if isinstance(raw, Mapping) else raw, value, f"{key}.{name}")
    elif isinstance(done, (list, tuple)):
        for number, value in enumerate(done):
            before = raw[number] if isinstance(raw, (list, tuple)) and number < len(raw) else raw
            yield from _strings(before, value, f"{key}.{number}")
    elif isinstance(done, str):
        yield key, raw, done
