# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packaging agents that need nothing of an index: what is built, what is skipped, what is refused."""

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.agentfactory.core.plugins.plugin_utils import build, freshness, oci, package, uv
from ansible_collections.agentfactory.core.plugins.plugin_utils.artifact import ArtifactError, Artifacts
from ansible_collections.agentfactory.core.plugins.plugin_utils.tree import PackageError

from .test_elf import make as elf

BULLSEYE, BOOKWORM, ARM = "linux/amd64+glibc2.31+py3.9", "linux/amd64+glibc2.36+py3.11", "linux/arm64+glibc2.36+py3.11"
MANIFEST: dict[str, Any] = {"name": "demo", "version": "1.0", "command": ["bin/demo"], "health": {"notify": True}}


def write(root: Path, files: dict[str, str] | None = None, **manifest: Any) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    content = {
        "bin/demo": "#!/usr/bin/env python3\nimport demo\n",
        "demo.py": "X = 1\n",
        **(files or {}),
        "agent.yml": yaml.safe_dump({**MANIFEST, **manifest}),
    }
    for path, text in content.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    (root / "bin" / "demo").chmod(0o755)
    return root


def run(root: Path, *platforms: str, **more: Any) -> package.Result:
    request: dict[str, Any] = {"platforms": platforms or (BOOKWORM,), "artifacts": str(root.parent / "dist"), **more}
    return package.package(package.Request(str(root), **request))


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(root.rglob("*")) if path.is_file()
    }


def test_packaged_then_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = write(tmp_path / "agent")
    first = run(agent, BULLSEYE, BOOKWORM)
    assert (first.changed, first.name, first.version) == (True, "demo", "1.0")
    assert first.artifact == f"{tmp_path}/dist/demo:1.0"
    assert first.msg.startswith("demo 1.0 packaged for 2 targets, 0.0 MB")
    assert len({target["tree"] for target in first.targets}) == 1
    before = snapshot(tmp_path)
    monkeypatch.setattr(package, "_make", None)
    second = run(agent, BULLSEYE, BOOKWORM)
    assert (second.changed, second.digest, second.targets) == (False, first.digest, first.targets)
    assert second.msg == "demo 1.0 is packaged already"
    assert snapshot(tmp_path) == before


def test_the_digest_depends_on_nothing_but_the_input(tmp_path: Path) -> None:
    first = run(write(tmp_path / "one" / "agent"), BULLSEYE, ARM)
    other = write(tmp_path / "other place" / "copy")
    for path in other.rglob("*"):
        os.utime(path, (10**9, 10**9))
        path.chmod(path.stat().st_mode & ~0o077)
    (other / "__pycache__").mkdir()
    (other / "__pycache__" / "x.pyc").write_bytes(b"x")
    umask = os.umask(0o077)
    try:
        assert run(other, ARM, BULLSEYE).digest == first.digest
    finally:
        os.umask(umask)


def test_check_mode_writes_nothing_and_tells_the_truth(tmp_path: Path) -> None:
    agent = write(tmp_path / "agent")
    before = snapshot(tmp_path)
    planned = run(agent, check=True)
    assert (planned.changed, planned.msg) == (True, "demo 1.0 would be packaged for 1 target")
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "dist").exists()
    done = run(agent)
    assert (planned.digest, planned.targets) == (done.digest, done.targets)
    assert not run(agent, check=True).changed
    (agent / "demo.py").write_text("X = 2\n", encoding="utf-8")
    with pytest.raises(PackageError, match="raise version"):
        run(agent, check=True)


@pytest.mark.parametrize(("change", "what"), [({"demo.py": "X = 2\n"}, "other files"), ({}, "another manifest")])
def test_a_version_names_one_content(tmp_path: Path, change: dict[str, str], what: str) -> None:
    agent = write(tmp_path / "agent")
    first = run(agent, BULLSEYE, BOOKWORM)
    write(agent, change, secrets=[] if change else ["x"])
    before = snapshot(tmp_path / "dist")
    with pytest.raises(PackageError, match=f"demo 1.0 is in .* already, with {what}: raise version in agent.yml"):
        run(agent)
    assert snapshot(tmp_path / "dist") == before
    replaced = run(agent, overwrite=True)
    assert replaced.changed
    assert replaced.digest != first.digest
    assert [target["target"] for target in replaced.targets] == [BULLSEYE, BOOKWORM]
    assert not run(agent).changed


def test_a_source_that_makes_the_same_files_changes_nothing(tmp_path: Path) -> None:
    agent = write(tmp_path / "agent")
    first = run(agent)
    write(agent, {"tests/test_demo.py": "assert True\n"})
    second = run(agent)
    assert (second.changed, second.digest) == (False, first.digest)
    third = run(agent, ARM)
    assert (third.changed, [target["target"] for target in third.targets]) == (True, [BOOKWORM, ARM])


def test_targets_can_be_added(tmp_path: Path) -> None:
    agent = write(tmp_path / "agent")
    run(agent, BOOKWORM)
    second = run(agent, ARM)
    assert (second.changed, second.msg.split(",")[0]) == (True, "demo 1.0 packaged for 1 target")
    assert [target["target"] for target in second.targets] == [BOOKWORM, ARM]
    assert second.digest == run(write(tmp_path / "fresh" / "agent"), ARM, BOOKWORM).digest


def test_versions_stand_beside_each_other(tmp_path: Path) -> None:
    agent = write(tmp_path / "agent")
    first = run(agent)
    write(agent, {"demo.py": "X = 2\n"}, version="1.1")
    second = run(agent, diff=True)
    assert Artifacts(str(tmp_path / "dist")).open("demo", "1.0").digest == first.digest
    changed = set(second.diff["after"].splitlines()) - set(second.diff["before"].splitlines())
    assert [line.split()[1] for line in changed] == ["site-packages/demo.py"]


def test_what_is_missing_is_made_again(tmp_path: Path) -> None:
    agent = write(tmp_path / "agent")
    first = run(agent)
    blobs = tmp_path / "dist" / "demo" / "blobs" / "sha256"
    image = json.loads(
        (blobs / json.loads((blobs / first.digest[7:]).read_bytes())["manifests"][0]["digest"][7:]).read_bytes()
    )
    code = blobs / image["layers"][1]["digest"][7:]
    code.unlink()
    second = run(agent)
    assert (second.changed, second.digest) == (True, first.digest)
    assert code.exists()


def test_a_broken_version_can_be_overwritten(tmp_path: Path) -> None:
    agent = write(tmp_path / "agent")
    first = run(agent)
    (tmp_path / "dist" / "demo" / "blobs" / "sha256" / first.digest[7:]).write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"is damaged \(overwrite=true packages it anew\)"):
        run(agent)
    assert run(agent, overwrite=True).digest == first.digest


@pytest.mark.parametrize(
    ("platforms", "manifest", "problem"),
    [
        ((), {}, "no target: give platforms=linux/amd64"),
        (("linux/amd64",), {}, "platforms: 'linux/amd64' must name libc and Python"),
        (("amd64",), {}, "platforms: 'amd64' is not a target"),
        ((BULLSEYE,), {"runtime": {"python": ">=3.10"}}, "does not go with runtime.python >=3.10"),
        ((BOOKWORM,), {"runtime": {"type": "container"}}, "container is not supported yet"),
        (
            (BOOKWORM,),
            {"command": ["demo-cli"]},
            "command: 'demo-cli' is no console script and no path in the artifact; scripts there: demo",
        ),
        ((BOOKWORM,), {"health": {"command": ["nope"]}}, "health.command: 'nope' is no console script"),
        (
            (BOOKWORM,),
            {"health": {"notify": True, "preflight": ["nope"]}},
            "health.preflight: 'nope' is no console script",
        ),
        ((BOOKWORM,), {"source": "missing"}, "source: 'missing' is not a directory"),
    ],
)
def test_refused(tmp_path: Path, platforms: tuple[str, ...], manifest: dict[str, Any], problem: str) -> None:
    agent = write(tmp_path / "agent", **manifest)
    with pytest.raises(PackageError, match=problem):
        package.package(package.Request(str(agent), str(tmp_path / "dist"), platforms=platforms))
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize(
    "command", [["demo"], ["bin/demo"], ["./bin/demo"], ["python", "-m", "demo"], ["bin/python3", "-m", "demo"]]
)
def test_commands(tmp_path: Path, command: list[str]) -> None:
    assert run(write(tmp_path / "agent", command=command)).changed


def test_manifest_platforms_and_those_of_the_hosts(tmp_path: Path) -> None:
    agent = write(tmp_path / "agent", runtime={"python": ">=3.10"})
    found = run(agent, platforms=(), default_platforms=(BULLSEYE, BOOKWORM))
    assert [target["target"] for target in found.targets] == [BOOKWORM]
    with pytest.raises(PackageError, match=r"does not go with runtime.python"):
        run(agent, platforms=(), default_platforms=(BULLSEYE,))
    agent = write(tmp_path / "agent", version="2.0", runtime={"platforms": [ARM]})
    assert [target["target"] for target in run(agent, platforms=(), default_platforms=(BULLSEYE,)).targets] == [ARM]


def test_what_the_host_makes_itself(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="bin/python: is made on the host"):
        run(write(tmp_path / "agent", {"bin/python": "x"}))


@pytest.mark.parametrize(
    ("machine", "version", "problem"),
    [
        (183, "GLIBC_2.17", "is for arm64, but the target is linux/amd64"),
        (62, "GLIBC_2.38", "needs glibc 2.38, but the target is"),
        (62, "GLIBC_2.17", ""),
    ],
)
def test_compiled_files_fit_the_target(tmp_path: Path, machine: int, version: str, problem: str) -> None:
    agent = write(tmp_path / "agent")
    (agent / "native.so").write_bytes(elf(machine, [version], ["libc.so.6"]))
    if problem:
        with pytest.raises(PackageError, match="site-packages/native.so " + problem):
            run(agent)
    else:
        assert run(agent).changed


def test_an_executable(tmp_path: Path) -> None:
    agent = write(
        tmp_path / "agent",
        runtime={"type": "executable"},
        source={"file": "tool", "sha256": "0" * 64},
        command=["demo"],
    )
    (agent / "tool").write_bytes(elf(62, ["GLIBC_2.17"], []))
    with pytest.raises(PackageError, match=r"source.sha256: 'tool' has"):
        run(agent, platforms=("linux/amd64",))
    digest = hashlib.sha256((agent / "tool").read_bytes()).hexdigest()
    write(agent, runtime={"type": "executable"}, source={"file": "tool", "sha256": digest}, command=["demo"])
    assert run(agent, platforms=(), default_platforms=(BOOKWORM,)).targets[0]["target"] == "linux/amd64+glibc2.36"
    files = Artifacts(str(tmp_path / "dist")).open("demo", "1.0").images[0].files()
    assert [(item["path"], item["mode"]) for item in files] == [("bin/demo", "755")]
    assert not run(agent, platforms=("linux/amd64+glibc2.36",)).changed


def test_the_lock_is_written_with_the_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = {"text": "dep==1 \\\n    --hash=sha256:00\n"}
    monkeypatch.setattr(uv, "compile_lock", lambda text, _python, *, wheels_only: pins["text"] if text else "")
    monkeypatch.setattr(build, "_installed", lambda _lock, _pins, _target, _folder, _scratch: {})
    agent = write(tmp_path / "agent", {"requirements.txt": "dep\n"})
    lock = agent / "agent.lock"
    assert run(agent, check=True).changed
    assert not lock.exists()
    for path in (agent, *agent.rglob("*")):
        os.utime(path, (1_000_000, 1_000_000))
    assert run(agent).changed
    assert stat.S_ISREG(lock.stat().st_mode)
    assert not freshness.touched_since(str(agent), 1_000_000), "to write the lock is no edit of the source"
    pins["text"] = "dep==2 \\\n    --hash=sha256:02\n"
    assert not run(agent).changed
    write(agent, {"requirements.txt": "dep\nother\n"})
    with pytest.raises(PackageError, match="renew it with upgrade_lock=true"):
        run(agent)
    assert run(agent, upgrade_lock=True).changed
    assert "dep==2" in lock.read_text(encoding="utf-8")


def test_dependencies_and_agent_may_not_share_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uv, "compile_lock", lambda text, _python, *, wheels_only: "dep==1\n" if text else "")
    clash = {"site-packages/demo.py": package.trees.Entry(b"other")}
    monkeypatch.setattr(build, "_installed", lambda _lock, _pins, _target, _folder, _scratch: clash)
    with pytest.raises(PackageError, match=r"site-packages/demo.py is both in the agent and in its dependencies"):
        run(write(tmp_path / "agent", {"requirements.txt": "dep\n"}))


def test_another_zlib_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci, "usual_zlib", lambda: False)
    assert "zlib" in run(write(tmp_path / "agent")).warnings[0]


def test_a_failed_build_leaves_the_source_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = write(tmp_path / "agent", {"pyproject.toml": '[project]\nname = "demo"\n[build-system]\nrequires = []\n'})
    before = snapshot(tmp_path)

    def build_wheel(copied: Path, *_arguments: Any, **_more: Any) -> Path:
        shutil.rmtree(copied)
        raise PackageError("building failed")

    monkeypatch.setattr(uv, "build_wheel", build_wheel)
    with pytest.raises(PackageError, match="building failed"):
        run(agent)
    assert snapshot(tmp_path) == before
