# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of a platform that nothing was packaged for: what is packaged for it when it says so, and where that cannot be."""

import types
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.action.agent_release import ActionModule
from ansible_collections.agentfactory.core.plugins.module_utils.target import Target, choose
from ansible_collections.agentfactory.core.plugins.plugin_utils import declare, package, run
from ansible_collections.agentfactory.core.plugins.plugin_utils.artifact import Artifacts
from ansible_collections.agentfactory.core.plugins.plugin_utils.ledger import Ledger
from ansible_collections.agentfactory.core.plugins.plugin_utils.remote import RemoteError, Unpackaged

from .test_package import BULLSEYE, snapshot, write

OLD, NEW = "linux/amd64+glibc2.31", "linux/amd64+glibc2.36"
NATIVE = {"runtime": {"type": "executable"}}


class Staging(ActionModule):
    """`agent_release` against a bullseye host that takes what fits it; `asked` has the targets of each call's images."""

    def __init__(self, artifacts: Path, *, check: bool = False, **variables: Any) -> None:
        self.asked: list[list[str]] = []
        agent = {"name": "demo", "version": "1.0", "state": "started", "config": {}, "resources": {}, "ports": {}}
        self.variables = {"agentfactory_agents": [{**agent, "instances": ["0"]}], **variables}
        self.variables |= {"agentfactory_artifacts": str(artifacts), "agentfactory_environment": "lab"}
        self.options: dict[str, Any] = {"state": "configured"}
        self.ledger, self.host = Ledger(None), "h1"
        self._task = types.SimpleNamespace(check_mode=check, diff=False)
        self._templar = types.SimpleNamespace(template=lambda value: value)

    def remote(self) -> "Staging":
        return self

    def request(self, operation: str, **more: Any) -> dict[str, Any]:
        return {"op": operation, **more}

    def call(self, request: dict[str, Any], **_more: Any) -> dict[str, Any]:
        (agent,) = request["agents"]
        self.asked.append([image["target"] for image in agent["images"]])
        try:
            choose(agent["images"], Target.parse(BULLSEYE), "demo 1.0")
        except Exception as error:
            raise Unpackaged(str(error), BULLSEYE) from error
        return {"staging": [], "activation": []}


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """A source that is packaged for bookworm."""
    declare.packaged.cache_clear()
    source = write(tmp_path / "agent", **NATIVE)
    package.package(package.Request(str(source), str(tmp_path / "dist"), platforms=[NEW]))
    return source


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("rollout", [False, True])
def test_a_host_gets_what_was_not_packaged_for_it(
    agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool, rollout: bool
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(run, "current", lambda: "20260101T000000-1-abcdef" if rollout else None)
    dist = tmp_path / "dist"
    before, digests = (
        snapshot(dist),
        {image.target: image.tree for image in Artifacts(str(dist)).open("demo", "1.0").images},
    )
    hosts = [Staging(dist, check=check, agentfactory_sources={"demo": str(agent)}) for _host in range(2)]
    for host in hosts:
        host.stage("configured")
    assert hosts[0].asked == [[NEW], [OLD, NEW]]
    assert hosts[1].asked == ([[NEW], [OLD, NEW]] if check else [[OLD, NEW]])
    if check:
        assert snapshot(dist) == before
    else:
        now = {image.target: image.tree for image in Artifacts(str(dist)).open("demo", "1.0").images}
        assert now == {**digests, OLD: now[OLD]}


@pytest.mark.parametrize(
    ("changed", "sources", "told"),
    [
        ({}, {}, "is not packaged for this host"),
        ({"version": "1.1"}, {"demo": "agent"}, "is not packaged for this host"),
        ({"runtime": {"type": "executable", "platforms": [NEW]}}, {"demo": "agent"}, "is not packaged for this host"),
        ({"command": ["bin/none"]}, {"demo": "agent"}, "Packaging for it failed: "),
        ({"description": "another"}, {"demo": "agent"}, "Packaging for it failed: .* raise version in agent.yml"),
    ],
)
def test_what_cannot_be_packaged_for_a_host_is_refused_as_before(
    agent: Path, tmp_path: Path, changed: dict[str, Any], sources: dict[str, str], told: str
) -> None:
    write(agent, **{**NATIVE, **changed})
    before = snapshot(tmp_path)
    host = Staging(
        tmp_path / "dist", agentfactory_sources={name: str(tmp_path / path) for name, path in sources.items()}
    )
    with pytest.raises(RemoteError, match=f"(?s){told}"):
        host.stage("configured")
    assert snapshot(tmp_path) == before
