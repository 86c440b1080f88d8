# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What uv does for packaging: resolve, build a wheel, install for another platform. Nothing here knows of artifacts."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .target import Target
from .tree import PackageError

_SHOWN_LINES = 25


def binary() -> str:
    """The path of uv: the Python package's, or the one on PATH."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if not found:
        raise PackageError("uv is missing on the controller: pip install uv")
    return found


def run(arguments: Sequence[str], *, doing: str, cwd: Path | None = None, more: Mapping[str, str] | None = None) -> str:
    """Run uv on this Python; returns its output. PackageError holds the end of what it said.

    Indexes, proxies and caches are configured as for uv itself (UV_* variables, uv.toml).
    """
    env = {
        **os.environ,
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "SOURCE_DATE_EPOCH": "315532800",
        "PYTHONDONTWRITEBYTECODE": "1",
        "UV_LINK_MODE": "copy",
        **(more or {}),
    }
    for name in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PYTHONHOME"):
        env.pop(name, None)
    done = subprocess.run(
        [binary(), *arguments, "--color", "never"],
        cwd=cwd,
        env=env,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = "\n".join(line for line in done.stderr.splitlines()[-_SHOWN_LINES:] if line.strip())
        raise PackageError(f"{doing} failed: uv said:\n{_without_secrets(said)}")
    return done.stdout


def _without_secrets(text: str) -> str:
    return re.sub(r"(://)[^/@\s]+@", r"\1***@", text)


def compile_lock(requirements: str, python: str, *, wheels_only: bool) -> str:
    """Pin requirements (and all that they need), with hashes, for every platform from this Python version on."""
    if not requirements.strip():
        return ""
    arguments = [
        "pip",
        "compile",
        "-",
        "--universal",
        "--generate-hashes",
        "--python-version",
        python,
        "--no-header",
        "--no-annotate",
        "--quiet",
    ]
    if wheels_only:
        arguments += ["--only-binary", ":all:"]
    done = _with_input(arguments, requirements)
    return "".join(line + "\n" for line in done.splitlines() if line.startswith((" ", "\t")) or "==" in line)


def _with_input(arguments: list[str], text: str) -> str:
    with tempfile.TemporaryDirectory() as folder:  # not "-": uv would look for a project in the working directory
        file = Path(folder) / "requirements.in"
        file.write_text(text, encoding="utf-8")
        replaced = [str(file) if argument == "-" else argument for argument in arguments]
        return run(replaced, doing="resolving the dependencies", cwd=Path(folder))


def install(
    lock: Path, target: Target, environment: Path, *, wheels_only: bool, constraints: Path | None = None
) -> None:
    """Install what a lock names, for a target, into a fresh virtual environment of this Python."""
    make_environment(environment)
    arguments = [
        "pip",
        "install",
        "--python",
        str(environment),
        "--python-platform",
        target.uv_platform(),
        "--python-version",
        target.python or "",
        "--require-hashes",
        "--no-deps",
        "--quiet",
        "-r",
        str(lock),
    ]
    if wheels_only:
        arguments += ["--only-binary", ":all:"]
    if constraints:
        arguments += ["--build-constraints", str(constraints)]
    run(arguments, doing=f"installing the dependencies for {target.name}", cwd=environment)


def install_wheel(wheel: Path, target: Target, environment: Path) -> None:
    """Install one wheel that was built here, without its dependencies."""
    make_environment(environment)
    run(
        [
            "pip",
            "install",
            "--python",
            str(environment),
            "--python-platform",
            target.uv_platform(),
            "--python-version",
            target.python or "",
            "--no-deps",
            "--quiet",
            str(wheel),
        ],
        doing=f"installing {wheel.name} for {target.name}",
        cwd=environment,
    )


def make_environment(path: Path) -> None:
    run(["venv", "--quiet", "--no-project", "--python", sys.executable, str(path)], doing="making an environment")


def build_wheel(source: Path, out: Path, *, constraints: Path | None, version: str) -> Path:
    """Build a directory's wheel, which must be pure: a compiled one would be the controller's."""
    arguments = ["build", "--wheel", "--out-dir", str(out), str(source)]
    if constraints:
        arguments += ["--build-constraints", str(constraints), "--require-hashes"]
    # the copy that is built has no version control in it that could be asked
    run(arguments, doing="building the agent's wheel", cwd=source, more={"SETUPTOOLS_SCM_PRETEND_VERSION": version})
    wheels = sorted(out.glob("*.whl"))
    if len(wheels) != 1:
        raise PackageError(f"building the agent's wheel made {len(wheels)} wheels")
    if not wheels[0].name.endswith("-none-any.whl"):
        raise PackageError(
            f"{wheels[0].name} holds compiled code, made for this machine: a source directory must be pure "
            "Python; publish wheels for the hosts' platforms and name them as a requirement"
        )
    return wheels[0]
