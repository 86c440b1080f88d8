# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packaging with the real uv and a real index, read by the real skopeo and podman."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import oci, package
from ansible_collections.agentfactory.core.plugins.plugin_utils.artifact import Artifact, Artifacts
from ansible_collections.agentfactory.core.plugins.plugin_utils.tree import PackageError

ROOT = Path(__file__).resolve().parents[3]
BULLSEYE, BOOKWORM, TRIXIE = (
    "linux/amd64+glibc2.31+py3.9",
    "linux/amd64+glibc2.36+py3.11",
    "linux/amd64+glibc2.41+py3.13",
)
ARM = "linux/arm64+glibc2.36+py3.11"
TARGETS = (BULLSEYE, BOOKWORM, TRIXIE, ARM)
# One dependency with compiled code for each platform (markupsafe), one that is pure.
PYPROJECT = """\
[build-system]
requires = ["setuptools>=70"]
build-backend = "setuptools.build_meta"
[project]
name = "greeter"
version = "1.0"
requires-python = ">=3.9"
dependencies = ["jinja2>=3.1", "markupsafe>=2.1"]
[project.scripts]
greeter = "greeter:main"
[tool.setuptools]
py-modules = ["greeter"]
"""
CODE = "import jinja2\n\n\ndef main():\n    print(jinja2.Template('hello {{ x }}').render(x='world'))\n"
MANIFEST = 'name: greeter\nversion: "1.0"\ncommand: [greeter]\nhealth: {notify: true}\n'


def tool(*command: str | Path) -> str:
    if not shutil.which(str(command[0])):
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def run(agent: Path, artifacts: Path, *targets: str, **more: Any) -> package.Result:
    return package.package(package.Request(str(agent), str(artifacts), platforms=targets or TARGETS, **more))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    """The directory that holds `agent` and `dist`, and the artifact."""
    root = tmp_path_factory.mktemp("package")
    agent = write(root / "agent", {"pyproject.toml": PYPROJECT, "greeter.py": CODE, "agent.yml": MANIFEST})
    run(agent, root / "dist")
    return root, Artifacts(str(root / "dist")).open("greeter", "1.0")


def unpack(artifact: Artifact, target: str, to: Path) -> Path:
    image = artifact.image(target)
    files = image.files()
    data = dict(image.read({item["sha256"] for item in files if "sha256" in item}))
    for item in files:
        place = to / item["path"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data[item["sha256"]])
        place.chmod(int(item["mode"], 8))
    return to


def test_each_target_has_its_own_compiled_code(made: tuple[Path, Artifact]) -> None:
    root, artifact = made
    for target, machine in ((BULLSEYE, "cpython-39-x86_64"), (BOOKWORM, "cpython-311-x86_64"),
                            (TRIXIE, "cpython-313-x86_64"), (ARM, "cpython-311-aarch64")):  # fmt: skip
        native = [item["path"] for item in artifact.image(target).files() if item["path"].endswith(".so")]
        assert native
        assert all(machine in path for path in native)
    lines = (root / "agent" / "agent.lock").read_text(encoding="utf-8")
    assert "://" not in lines
    assert "jinja2==" in lines
    assert "setuptools==" in lines.split("# to build with\n")[1]


def test_nothing_tells_of_the_controller(made: tuple[Path, Artifact]) -> None:
    root, artifact = made
    for target in TARGETS:
        image = artifact.image(target)
        for _sha, data in image.read({item["sha256"] for item in image.files() if "sha256" in item}):
            for mine in (sys.prefix, os.path.dirname(sys.executable), str(root), str(Path.home()) + "/."):
                assert mine.encode() not in data
        paths = [item["path"] for item in image.files()]
        assert not [path for path in paths if path.endswith((".pyc", "/.lock", "direct_url.json", "REQUESTED"))]


def test_the_agent_runs(made: tuple[Path, Artifact], tmp_path: Path) -> None:
    mine = f"linux/amd64+glibc2.31+py{sys.version_info.major}.{sys.version_info.minor}"
    agent = made[0] / "agent"
    run(agent, tmp_path / "dist", mine)
    tree = unpack(Artifacts(str(tmp_path / "dist")).open("greeter", "1.0"), mine, tmp_path / "tree")
    library = tree / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    library.mkdir(parents=True)
    (library / "site-packages").symlink_to("../../site-packages")
    (tree / "bin" / "python").symlink_to(sys.executable)
    (tree / "pyvenv.cfg").write_text(f"home = {os.path.dirname(sys.executable)}\n", encoding="utf-8")
    assert tool(tree / "bin" / "greeter") == "hello world\n"
    code = "import sys, importlib.metadata as m; print(sys.prefix, m.version('greeter'), len(m.files('greeter')))"
    assert tool(tree / "bin" / "python", "-c", code).split()[:2] == [str(tree), "1.0"]


def test_same_digest_in_another_place_and_on_another_python(made: tuple[Path, Artifact], tmp_path: Path) -> None:
    root, artifact = made
    copy = Path(shutil.copytree(root / "agent", tmp_path / "elsewhere"))
    assert run(copy, tmp_path / "dist", *reversed(TARGETS)).digest == artifact.digest
    subprocess.run([ROOT / "tools" / "setup", "oldest"], check=True)
    other = ROOT / ".venv-oldest" / "bin" / "python"
    version = tool(other, "-c", "import sys; print(*sys.version_info[:2])").split()
    assert version != [str(number) for number in sys.version_info[:2]], "tools/setup can have only one Python here"
    collections = next(parent for parent in Path(package.__file__).parents if (parent / "ansible_collections").is_dir())
    script = (f"import json, sys; sys.path.insert(0, {str(collections)!r})\n"
              "from ansible_collections.agentfactory.core.plugins.plugin_utils import oci, package as p\n"
              f"made = p.package(p.Request({str(copy)!r}, {str(tmp_path / 'dist2')!r}, {TARGETS!r}))\n"
              "print(json.dumps([oci.usual_zlib(), made.digest, [one['content'] for one in made.targets]]))")  # fmt: skip
    usual, digest, contents = json.loads(tool(other, "-c", script))
    assert contents == [image.content for image in artifact.images]
    if usual and oci.usual_zlib():  # another library compresses to other bytes, and packaging warns of it
        assert digest == artifact.digest


def test_skopeo_and_podman_take_it_unchanged(made: tuple[Path, Artifact], tmp_path: Path) -> None:
    root, artifact = made
    reference = f"oci:{root / 'dist' / 'greeter'}:1.0"
    assert json.loads(tool("skopeo", "inspect", reference))["Digest"] == artifact.digest
    (tmp_path / "copy").mkdir()
    tool("skopeo", "copy", "--all", reference, f"oci:{tmp_path / 'copy' / 'greeter'}:1.0")
    copied = Artifacts(str(tmp_path / "copy")).open("greeter", "1.0")
    assert copied.digest == artifact.digest
    assert [image.content for image in copied.images] == [image.content for image in artifact.images]
    tool("skopeo", "copy", "--all", reference, f"dir:{tmp_path / 'flat'}")
    index = json.loads((tmp_path / "flat" / "manifest.json").read_bytes())
    assert [one["digest"] for one in index["manifests"]] == [image.descriptor["digest"] for image in artifact.images]
    pulled = tool("podman", "pull", "--quiet", reference).strip()
    try:
        digests = json.loads(tool("podman", "image", "inspect", pulled))[0]["RepoDigests"]
        assert any(digest.endswith(artifact.digest) for digest in digests)
    finally:
        tool("podman", "image", "rm", "--force", pulled)


def test_lock_goes_stale_and_is_renewed(made: tuple[Path, Artifact], tmp_path: Path) -> None:
    agent = Path(shutil.copytree(made[0] / "agent", tmp_path / "agent"))
    project = agent / "pyproject.toml"
    project.write_text(PYPROJECT.replace('"markupsafe>=2.1"', '"markupsafe>=2.1", "idna"'), encoding="utf-8")
    with pytest.raises(PackageError, match="renew it with upgrade_lock=true"):
        run(agent, tmp_path / "dist")
    assert not (tmp_path / "dist").exists()
    assert run(agent, tmp_path / "dist", BOOKWORM, upgrade_lock=True).changed
    assert "idna==" in (agent / "agent.lock").read_text(encoding="utf-8")


def test_sources_of_dependencies_only_where_they_are_pure(tmp_path: Path) -> None:
    files = {
        "main.py": "",
        "requirements.txt": "docopt==0.6.2\n",
        "agent.yml": MANIFEST.replace("[greeter]", "[python, -m, main]"),
    }
    agent = write(tmp_path / "agent", files)
    run(agent, tmp_path / "dist", ARM)
    found = {item["path"] for item in Artifacts(str(tmp_path / "dist")).open("greeter", "1.0").images[0].files()}
    assert {"site-packages/docopt.py", "site-packages/main.py"} <= found
    assert "built from source" in (agent / "agent.lock").read_text(encoding="utf-8")


def test_a_compiled_source_is_refused(tmp_path: Path) -> None:
    files = {"pyproject.toml": PYPROJECT.replace('dependencies = ["jinja2>=3.1", "markupsafe>=2.1"]', "dependencies = []"),
             "setup.py": "from setuptools import setup, Distribution\n\n\nclass Native(Distribution):\n"
                         "    def has_ext_modules(self):\n        return True\n\n\nsetup(distclass=Native)\n",
             "greeter.py": CODE, "agent.yml": MANIFEST}  # fmt: skip
    with pytest.raises(PackageError, match="holds compiled code, made for this machine"):
        run(write(tmp_path / "agent", files), tmp_path / "dist", BOOKWORM)
    assert not (tmp_path / "dist").exists()


def test_no_wheel_for_a_target_says_so(tmp_path: Path) -> None:
    files = {
        "main.py": "",
        "requirements.txt": "markupsafe==2.0.1\n",
        "agent.yml": MANIFEST.replace("[greeter]", "[python, -m, main]"),
    }
    with pytest.raises(PackageError, match=r"installing the dependencies for .*py3.13 failed: uv said"):
        run(write(tmp_path / "agent", files), tmp_path / "dist", TRIXIE)


def test_a_requirement_that_does_not_exist(tmp_path: Path) -> None:
    manifest = MANIFEST + 'source: {requirement: "agentfactory-no-such-package==9.9"}\n'
    with pytest.raises(PackageError, match="resolving the dependencies failed: uv said"):
        run(write(tmp_path / "agent", {"agent.yml": manifest}), tmp_path / "dist")
    assert not (tmp_path / "dist").exists()
