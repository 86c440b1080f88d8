# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An installed environment as an artifact's tree: nothing in it tells of the controller that made it."""

import ast
import base64
import configparser
import csv
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

from .target import Target
from .tree import Entry, PackageError, Tree

SITE = "site-packages/"
_DROPPED = ("REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")
# the second form is what installers write where the interpreter's path is long or has a space
_PYTHON_LINE = re.compile(rb"#![^\n]*\bpythonw?[0-9.]*(?=\s)[^\n]*\n|#!/bin/sh\n'''exec' [^\n]*\bpython[^\n]*\n' '''\n")
_TAG = re.compile(r"^Tag:\s*(\S+)-(\S+)-(\S+)\s*$", re.MULTILINE)
_START = b"#!/bin/sh\n'''exec' \"${0%/*}/python\" \"$0\" \"$@\"\n' '''\n"
_ENTRY = re.compile(r"([A-Za-z_][\w.]*)\s*:\s*([A-Za-z_][\w.]*)\s*(?:\[.*\])?")


def tree_of(environment: Path, target: Target, *, built_here: bool = False) -> Tree:
    """The files that were installed in an environment, normalised. PackageError where one was built for this machine.

    `built_here`: the wheel is; then the name and version of the tool that built it are left out too.
    """
    found: Tree = {}
    for path, place in _files(environment):
        if "/__pycache__/" in path or path.endswith((".pyc", ".pyo")):
            continue
        moved = re.sub(r"^lib(?:64)?/python3\.\d+/site-packages/", SITE, path)
        if _made_by_uv(moved):
            continue
        found[moved] = Entry(place, "755" if place.stat().st_mode & 0o100 else "644")
    _check_wheels(found, target)
    for path in [path for path in found if _in_info(path) and path.endswith("/WHEEL")]:
        if built_here or path.removesuffix("WHEEL") + "uv_build.json" in found:
            text = re.sub(rb"(?m)^Generator:.*$", b"Generator: agentfactory", found[path].read())
            found[path] = Entry(text)
    found = {
        path: entry for path, entry in found.items() if path.rsplit("/", 1)[-1] not in _DROPPED or not _in_info(path)
    }
    scripts(found)
    for info in sorted({path.split("/")[1] for path in found if _in_info(path)}):
        _normalise_info(found, info)
    return found


def scripts(tree: Tree) -> None:
    """Make launchers of a tree's console scripts and of its scripts for Python; `tree` is changed in place."""
    for name in [path for path in tree if path.startswith("bin/") and tree[path].link is None]:
        tree.update(_script(name, tree[name]))
    for path in [path for path in tree if _in_info(path) and path.endswith("/entry_points.txt")]:
        for name, (module, function) in _console_scripts(tree[path].read().decode("utf-8"), path):
            tree[f"bin/{name}"] = Entry(_START + _call(module, function), "755")


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for place in sorted(root.rglob("*")):
        path = place.relative_to(root).as_posix()
        if place.is_file() and not place.is_symlink() and not path.startswith("lib64/"):
            yield path, place


def _made_by_uv(path: str) -> bool:
    """What `uv venv` makes, and the scripts that `uv pip install` names after the controller's Python."""
    if "/" not in path or path in (SITE + "_virtualenv.py", SITE + "_virtualenv.pth"):
        return True
    name = path.removeprefix("bin/")
    return (
        name != path
        and re.fullmatch(
            r"(?:de)?activate(?:_this)?(?:\.\w+)?|pydoc\.bat|python[0-9.]*|(?:pip|easy_install)-?3\.\d+", name
        )
        is not None
    )


def _in_info(path: str) -> bool:
    parts = path.split("/")
    return len(parts) > 2 and parts[0] == "site-packages" and parts[1].endswith(".dist-info")


def _check_wheels(tree: Tree, target: Target) -> None:
    """A wheel that was built here is tagged `linux_<machine>`; one from an index is not."""
    for path, entry in tree.items():
        if _in_info(path) and path.endswith("/WHEEL"):
            for _python, _abi, platform in _TAG.findall(entry.read().decode("utf-8", "replace")):
                if platform.startswith("linux_"):
                    name = path.split("/")[1].removesuffix(".dist-info").replace("-", " ", 1)
                    raise PackageError(
                        f"{name} has no wheel for {target.name}, and its source builds compiled code, which "
                        "would be this machine's: choose a version with wheels, or provide the wheel "
                        "(UV_FIND_LINKS, or an index of your own)"
                    )


def _console_scripts(text: str, path: str) -> Iterator[tuple[str, tuple[str, str]]]:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise PackageError(f"{path}: cannot be read: {error.message}") from error
    for section in ("console_scripts", "gui_scripts"):
        for name, value in sorted(parser.items(section)) if parser.has_section(section) else []:
            found = _ENTRY.fullmatch(value.strip())
            if not found or not re.fullmatch(r"[\w.-]+", name):
                raise PackageError(f"{path}: {name} = {value}: is not a console script")
            yield name, (found[1], found[2])


def _call(module: str, function: str) -> bytes:
    first = function.split(".", maxsplit=1)[0]
    return (
        f'import sys\nfrom {module} import {first}\nif __name__ == "__main__":\n    sys.exit({function}())\n'
    ).encode()


def _script(path: str, entry: Entry) -> Tree:
    """A script for Python starts the tree's own, wherever the tree is; any other file stays as it is.

    The launcher's first lines are a string to Python, which takes the place of the script's docstring: that is assigned
    instead. Where nothing but a docstring may come first (`from __future__`) the script goes beside its launcher.
    """
    data = entry.read()
    line = _PYTHON_LINE.match(data)
    if not line:
        return {path: entry}
    body = data[line.end() :]
    try:
        parsed = ast.parse(body)
    except (SyntaxError, ValueError):
        return {path: Entry(_START + body, "755")}
    if any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in parsed.body):
        name = path.removeprefix("bin/")
        run = (
            "import os\nimport runpy\nrunpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "
            f'{"." + name + ".py"!r}), run_name="__main__")\n'
        )
        return {path: Entry(_START + run.encode(), "755"), f"bin/.{name}.py": Entry(body, "644")}
    if ast.get_docstring(parsed, clean=False) is not None:
        lines = body.split(b"\n")
        lines[parsed.body[0].lineno - 1] = b"__doc__ = " + lines[parsed.body[0].lineno - 1]
        body = b"\n".join(lines)
    return {path: Entry(_START + body, "755")}


def _normalise_info(tree: Tree, info: str) -> None:
    base = f"{SITE}{info}/"
    tree[base + "INSTALLER"] = Entry(b"agentfactory\n")
    if base + "RECORD" not in tree:
        return
    rows = csv.reader(io.StringIO(tree[base + "RECORD"].read().decode("utf-8")))
    named = {re.sub(r"^(?:\.\./)+", "../", row[0]) for row in rows if row}
    lines = []
    for name in sorted(named | {info + "/INSTALLER"}):
        entry = tree.get(name.removeprefix("../") if name.startswith("../") else SITE + name)
        if name == info + "/RECORD":
            lines.append([name, "", ""])
        elif entry is not None and entry.link is None:
            data = entry.read()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")
            lines.append([name, f"sha256={digest}", str(len(data))])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    tree[base + "RECORD"] = Entry(text.getvalue().encode())
