# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's request, as the host understands it: which instances, of what, and in which state."""

import os
import sys
from typing import Any, NamedTuple

from . import credentials, egress, release, store, target, tree, unit, users
from .errors import HostError, Unpackaged
from .layout import Instance, Layout
from .plan import Want


class Desired(NamedTuple):
    """One declared instance with all that makes its release."""

    instance: Instance
    spec: unit.Spec
    content: str
    config: "dict[str, Any]"
    secrets: "dict[str, str]"
    want: Want

    def differences(self, old: Any, key: bytes) -> "list[dict[str, str]]":
        return release.differences(
            self.instance, old, self.spec, self.want.release, self.config, self.secrets, key
        )  # fmt: skip


def build(layout: Layout, request: "dict[str, Any]", key: bytes, systemd: int) -> "list[Desired]":
    """Every declared instance of the request's ``agents``. Raises HostError for what this host cannot run.

    An agent is ``{"name", "manifest", "images": [{"target", "tree", "content"}], "state", "config", "secrets",
    "instances": [{"name", "ports", "resources"}]}``.
    """
    host = target.here()
    desired: list[Desired] = []
    problems: list[HostError] = []
    for agent in request["agents"]:
        try:
            image = check_agent(agent, host)
            nft = egress.program() if egress.enforced(agent["manifest"]["permissions"]["outbound"]) else None
        except HostError as error:
            problems.append(error)
            continue
        for item in agent["instances"]:
            instance = Instance(layout, agent["name"], item["name"])
            spec = unit.Spec(
                instance, agent["manifest"], request["environment"], image["tree"], item["ports"], item["resources"],
                systemd, credentials.delivery(systemd), nft if _has_network(agent, item) else None,
            )  # fmt: skip
            name = release.identify(key, spec, image["content"], agent["config"], agent["secrets"])
            want = Want(name, agent["manifest"]["version"], agent["state"])
            desired.append(Desired(instance, spec, image["content"], agent["config"], agent["secrets"], want))
    if problems:
        kind = Unpackaged if all(isinstance(problem, Unpackaged) for problem in problems) else HostError
        raise kind("\n".join(map(str, problems)))
    return desired


def _has_network(agent: "dict[str, Any]", item: "dict[str, Any]") -> bool:
    """Without ports and without anything to reach, an instance gets a network namespace of its own and needs no rules."""
    return bool(item["ports"] or agent["manifest"]["permissions"]["outbound"])


def check_agent(agent: "dict[str, Any]", host: target.Target) -> "dict[str, Any]":
    """The image for this host, once everything that the manifest needs of the host is known to be there."""
    manifest = agent["manifest"]
    name = "%s %s" % (agent["name"], manifest["version"])
    wanted = manifest["runtime"].get("python")
    if manifest["runtime"]["type"] == "python" and wanted and not target.python_satisfies(wanted, sys.version_info[:3]):
        raise HostError("%s needs Python %s; this host has %d.%d.%d" % ((name, wanted) + sys.version_info[:3]))
    image = target.choose(agent["images"], host, name)
    groups = users.missing_groups(manifest["permissions"]["groups"])
    if groups:
        raise HostError("%s needs the group %s, which this host does not have" % (name, ", ".join(groups)))
    absent = [p for p in manifest["permissions"]["write"] + manifest["permissions"]["devices"] if not os.path.exists(p)]
    if absent:
        raise HostError("%s needs %s, which this host does not have" % (name, ", ".join(absent)))
    return image


def missing_trees(layout: Layout, desired: "list[Desired]") -> "list[str]":
    """The trees that are wanted here and are not here, or not as they were."""
    return sorted({d.spec.tree for d in desired if not tree.intact(layout, d.spec.tree)})


def missing_files(layout: Layout, trees: "dict[str, list[dict[str, Any]]]") -> "list[str]":
    return store.missing(layout.store, (e for entries in trees.values() for e in entries))
