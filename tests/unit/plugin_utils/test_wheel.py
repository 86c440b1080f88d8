# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installed environments become trees that tell nothing of the controller."""

import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import wheel
from ansible_collections.agentfactory.core.plugins.plugin_utils.target import Target
from ansible_collections.agentfactory.core.plugins.plugin_utils.tree import Entry, PackageError, Tree

TARGET = Target.parse("linux/amd64+glibc2.36+py3.11")
INFO = "lib/python3.13/site-packages/demo-1.0.dist-info/"


def environment(root: Path, **more: str) -> Path:
    files = {
        "pyvenv.cfg": "home = /x",
        "bin/activate": "x",
        "bin/pip3.13": "#!/x/python\n",
        "bin/demo": "#!/x/bin/python\nold",
        "bin/helper": "#!/x/bin/python3\nprint(1)\n",
        "bin/tool.sh": "#!/bin/sh\n",
        ".lock": "",
        "lib/python3.13/site-packages/demo/__init__.py": "",
        "lib/python3.13/site-packages/demo/__pycache__/a.pyc": "x",
        "lib/python3.13/site-packages/_virtualenv.py": "x",
        "share/demo/data": "d",
        INFO
        + "RECORD": f"demo/__init__.py,sha256=x,0\n../../../bin/demo,sha256=y,9\n../../../bin/helper,,\n{Path(INFO).name}/RECORD,,\n"
        f"{Path(INFO).name}/direct_url.json,,\ndemo/__pycache__/a.pyc,,\n../../../share/demo/data,,\n",
        INFO + "INSTALLER": "uv",
        INFO + "REQUESTED": "",
        INFO + "direct_url.json": '{"url": "file:///x"}',
        INFO + "WHEEL": "Wheel-Version: 1.0\nGenerator: tool (1.2)\nTag: py3-none-any\n",
        INFO + "entry_points.txt": "[console_scripts]\ndemo = demo.cli:main.run [extra]\n[other]\na = b\n",
    }
    for path, text in {**files, **more}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def test_tree(tmp_path: Path) -> None:
    tree = wheel.tree_of(environment(tmp_path), TARGET, built_here=True)
    info = "site-packages/demo-1.0.dist-info/"
    assert sorted(tree) == [
        "bin/demo",
        "bin/helper",
        "bin/tool.sh",
        "share/demo/data",
        info + "INSTALLER",
        info + "RECORD",
        info + "WHEEL",
        info + "entry_points.txt",
        "site-packages/demo/__init__.py",
    ]
    assert b"from demo.cli import main\n" in tree["bin/demo"].read()
    assert b"sys.exit(main.run())" in tree["bin/demo"].read()
    assert b"Generator: agentfactory\n" in tree[info + "WHEEL"].read()
    record = tree[info + "RECORD"].read().decode()
    assert [line.split(",")[0] for line in record.splitlines()] == [
        "../bin/demo",
        "../bin/helper",
        "../share/demo/data",
        "demo-1.0.dist-info/INSTALLER",
        "demo-1.0.dist-info/RECORD",
        "demo/__init__.py",
    ]
    assert not [path for path, entry in tree.items() if str(tmp_path).encode() in entry.read() or b"/x" in entry.read()]


def test_a_wheel_of_an_index_keeps_its_generator(tmp_path: Path) -> None:
    tree = wheel.tree_of(environment(tmp_path), TARGET)
    assert b"Generator: tool (1.2)" in tree["site-packages/demo-1.0.dist-info/WHEEL"].read()
    tree = wheel.tree_of(environment(tmp_path, **{INFO + "uv_build.json": "{}"}), TARGET)
    assert b"Generator: agentfactory" in tree["site-packages/demo-1.0.dist-info/WHEEL"].read()


def test_compiled_here(tmp_path: Path) -> None:
    environment(tmp_path, **{INFO + "WHEEL": "Tag: cp313-cp313-linux_x86_64\n"})
    with pytest.raises(PackageError, match=r"demo 1.0 has no wheel for linux/amd64\+glibc2.36\+py3.11"):
        wheel.tree_of(tmp_path, TARGET)


@pytest.mark.parametrize(
    "text",
    [
        "[console_scripts]\n../x = a:b\n",
        "[console_scripts]\nx = a\n",
        "[console_scripts\n",
        "[console_scripts]\nx = a:b;import os\n",
    ],
)
def test_bad_entry_points(tmp_path: Path, text: str) -> None:
    with pytest.raises(PackageError, match=r"entry_points.txt"):
        wheel.tree_of(environment(tmp_path, **{INFO + "entry_points.txt": text}), TARGET)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:], __name__)\n", "['a b'] __main__"),
        ('#!/usr/bin/python3 -u\n# comment\n"""Doc."""\nprint(__doc__)\n', "Doc."),
        (
            '#!/x/python3.11\n"""Doc."""\nfrom __future__ import annotations\nprint(__doc__, __name__)\n',
            "Doc. __main__",
        ),
        ('#!python\n"""Two\nlines."""\nprint(__doc__)\n', "Two\nlines."),
        ("#!/bin/sh\n'''exec' '/a long/path/python' \"$0\" \"$@\"\n' '''\nprint('long')\n", "long"),
        ("#!/bin/sh\necho shell\n", "shell"),
    ],
)
def test_scripts_run_beside_their_python(tmp_path: Path, script: str, said: str) -> None:
    tree: Tree = {"bin/demo": Entry(script.encode(), "755")}
    wheel.scripts(tree)
    place = tmp_path / "with space" / "bin"
    place.mkdir(parents=True)
    for path, entry in tree.items():
        (place.parent / path).write_bytes(entry.read())
        (place.parent / path).chmod(int(entry.mode, 8))
    (place / "python").symlink_to(sys.executable)
    done = subprocess.run([place / "demo", "a b"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said
