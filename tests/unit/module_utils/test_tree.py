# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees: what may be in one, how it is made, and that every change of it is seen."""

import os
import posixpath
import stat
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.module_utils import store, tree
from ansible_collections.agentfactory.core.plugins.module_utils.errors import HostError

SHA = "a" * 64
FILE = {"mode": "644", "size": 1, "sha256": SHA}


def file(path, **more):
    return dict(FILE, path=path, **more)


def link(path, target):
    return {"path": path, "link": target}


@pytest.mark.parametrize(
    "listed",
    [
        [],
        [file("a"), file("b/c/d"), file("b/e", mode="755")],
        [file("lib/x.so.1"), link("lib/x.so", "x.so.1")],
        [file("lib/x"), link("bin/x", "../lib/x")],
        [file("a/..b"), file("...")],
        [link("a", "b"), link("b", "c"), file("c")],
        [link("a/b/up", "..")],
        [link("dangling", "not/there")],
    ],
)
def test_plain_files_and_links_inside_are_accepted(listed):
    tree.check_entries(listed)


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        ([file("/etc/passwd")], "unsafe path"),
        ([file("../x")], "unsafe path"),
        ([file("a/../../x")], "unsafe path"),
        ([file("a/./x")], "unsafe path"),
        ([file("a//x")], "unsafe path"),
        ([file("a/")], "unsafe path"),
        ([file("")], "unsafe path"),
        ([file(".")], "unsafe path"),
        ([file("a\0b")], "unsafe path"),
        ([file(7)], "unsafe path"),
        ([{**FILE}], "unsafe path"),
        ([file("a"), file("a")], "twice"),
        ([file("a"), link("a", "b")], "twice"),
        ([link("a", "b"), file("a/x")], "below a"),
        ([file("a/x"), link("a", "b")], "below a"),
        ([link("a", "b"), link("a/x/y", "z")], "below a"),
        ([file("a"), file("a/x")], "below a"),
        ([link("a", "/etc")], "link out"),
        ([link("a", "..")], "link out"),
        ([link("a", "../x")], "link out"),
        ([link("a/b", "../../x")], "link out"),
        ([link("a/b", "../c/../../x")], "link out"),
        # Each name on the way can be a link itself, so that going up after it leads elsewhere than it seems.
        ([link("d/up", ".."), link("out", "d/up/../..")], "link out"),
        ([link("d/up", ".."), link("bin", "d/up/..")], "link out"),
        ([link("a", "x\0y")], "link out"),
        ([link("a", "")], "link out"),
        ([link("a", 7)], "link out"),
        # What is neither a plain file nor a link cannot be said: there is no word for devices or setuid bits.
        ([file("a", mode="4755")], "not a plain file"),
        ([file("a", mode="2755")], "not a plain file"),
        ([file("a", mode="777")], "not a plain file"),
        ([file("a", mode=493)], "not a plain file"),
        ([{"path": "a", "device": "c 1 3"}], "not a plain file"),
        ([{"path": "a", "mode": "644", "size": 1}], "not a plain file"),
        ([file("a", sha256="../../../../etc/passwd")], "not a plain file"),
        ([file("a", sha256="A" * 64)], "not a plain file"),
        ([file("a", sha256=None)], "not a plain file"),
        ([{"path": "a", "mode": "644", "sha256": SHA}], "not a plain file"),
        ([file("a", size="1")], "not a plain file"),
        ([file("a", size=-1)], "not a plain file"),
    ],
)
def test_what_could_leave_the_tree_or_be_no_file_is_refused(listed, reason):
    with pytest.raises(HostError, match=reason):
        tree.check_entries(listed)


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
TARGETS = st.lists(st.sampled_from(["a", "b", "c", "..", "..", "."]), min_size=1, max_size=4).map("/".join)


@given(st.lists(PATHS.map(file) | st.builds(link, PATHS, TARGETS), max_size=5))
def test_a_list_is_refused_in_words_or_can_be_made_inside(tmp_path_factory, listed):
    """The oracle is the kernel: make what was accepted, and see where everything leads."""
    try:
        tree.check_entries(listed)
    except HostError:
        return
    place = tmp_path_factory.mktemp("tree")
    root = place / "deep" / "root"
    root.mkdir(parents=True)
    for entry in listed:
        path = root / entry["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if "link" in entry:
            path.symlink_to(entry["link"])
        else:
            path.write_text("x")
    for entry in listed:
        try:
            end = os.path.realpath(root / entry["path"])
        except OSError:
            continue
        assert posixpath.commonpath([end, str(root)]) == str(root), entry


@given(st.lists(st.dictionaries(st.sampled_from(["path", "mode", "link", "sha256", "size"]), st.text() | st.none() | st.lists(st.text())),
                max_size=3))  # fmt: skip
def test_a_list_of_anything_is_refused_in_words_or_accepted(listed):
    try:
        tree.check_entries(listed)
    except HostError as error:
        assert str(error)


# -- on disk ----------------------------------------------------------------------------------------------------------

PROGRAM = {
    "bin/arm": ("x", b"#!/bin/sh\necho moved\n"),
    "share/data": b"data",
    "share/more": b"more",
    "lib/l": "->../share/data",
}


@pytest.fixture
def installed(layout, distribute):
    digest, listed = distribute(PROGRAM)
    tree.install(layout, digest, listed, python=False)
    return digest


def test_a_tree_is_the_files_read_only_and_sealed(layout, installed):
    root = layout.trees / installed
    assert subprocess.run([str(root / "bin/arm")], check=False, capture_output=True).stdout == b"moved\n"
    assert (root / "lib/l").read_bytes() == b"data"
    for directory, _names, files in os.walk(root):
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o555
        for name in files:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                assert stat.S_IMODE(os.stat(path).st_mode) in (0o444, 0o555)
                assert os.stat(path).st_nlink == 2
    assert tree.present(layout) == [installed]
    assert tree.intact(layout, installed)
    assert tree.verify(layout, installed) is None
    assert sorted(p.name for p in layout.trees.iterdir()) == sorted([installed, installed + ".json"])


def test_installing_again_changes_nothing(layout, installed, distribute):
    before = (layout.trees / (installed + ".json")).read_bytes()
    tree.install(layout, *distribute(PROGRAM), python=False)
    assert (layout.trees / (installed + ".json")).read_bytes() == before
    assert tree.verify(layout, installed) is None


def _rewrite(path, data, *, keep_time=False):
    status = path.stat()
    path.parent.chmod(0o755)
    path.unlink()  # the store's file stays as it is
    path.write_bytes(data)
    path.chmod(stat.S_IMODE(status.st_mode))
    if keep_time:
        os.utime(path, ns=(0, 0))


TAMPERING = {
    "another content": lambda root: _rewrite(root / "share/data", b"evil!", keep_time=True),
    "another time": lambda root: _rewrite(root / "share/data", b"data"),
    "one file more": lambda root: [root.chmod(0o755), (root / "more").write_text("x")],
    "one directory more": lambda root: [root.chmod(0o755), (root / "more").mkdir()],
    "one file less": lambda root: [(root / "share").chmod(0o755), (root / "share/more").unlink()],
    "a link elsewhere": lambda root: [
        (root / "lib").chmod(0o755), (root / "lib/l").unlink(), (root / "lib/l").symlink_to("../share/more")],
    "a link for a file": lambda root: [
        (root / "share").chmod(0o755), (root / "share/more").unlink(), (root / "share/more").symlink_to("data")],
}  # fmt: skip


@pytest.mark.parametrize("change", list(TAMPERING))
def test_a_changed_tree_is_seen_and_made_again(layout, installed, distribute, change):
    TAMPERING[change](layout.trees / installed)
    assert not tree.intact(layout, installed)
    assert "was changed" in tree.verify(layout, installed)
    tree.install(layout, *distribute(PROGRAM), python=False)
    assert tree.verify(layout, installed) is None


def test_a_change_that_stat_does_not_show_is_found_by_hashing(layout, installed):
    _rewrite(layout.trees / installed / "share/data", b"d4ta", keep_time=True)
    assert tree.intact(layout, installed)
    assert tree.verify(layout, installed) == "share/data in the tree %s is not what was distributed" % installed[:12]


def test_a_tree_without_its_seal_or_with_anothers_is_not_intact(layout, installed, distribute):
    other, listed = distribute({"x": b"x"})
    tree.install(layout, other, listed, python=False)
    seal = tree.seal_path(layout, installed)
    seal.write_bytes(tree.seal_path(layout, other).read_bytes())
    assert not tree.intact(layout, installed)
    seal.unlink()
    assert not tree.intact(layout, installed)
    assert tree.verify(layout, installed) is not None


def test_a_seal_whose_hashes_were_changed_does_not_pass_for_the_tree(layout, installed):
    """Someone who changes a file and writes its new hash into the seal: the name of the tree is the hash of the list."""
    _rewrite(layout.trees / installed / "share/data", b"d4ta", keep_time=True)
    seal = tree.seal_path(layout, installed)
    path = layout.trees / installed / "share/data"
    old = next(e["sha256"] for e in tree.read_known(seal)["entries"] if e["path"] == "share/data")
    seal.write_text(seal.read_text().replace(old, store.hash_file(path)))
    assert tree.intact(layout, installed)
    assert "was changed" in tree.verify(layout, installed)


def test_a_damaged_file_in_the_store_never_reaches_a_tree(layout, distribute):
    digest, listed = distribute(PROGRAM)
    bad = store.blob_path(layout.store, next(e for e in listed if e["path"] == "share/data"))
    bad.chmod(0o644)
    bad.write_bytes(b"d4ta")
    with pytest.raises(HostError, match="share/data was damaged in the store"):
        tree.install(layout, digest, listed, python=False)
    assert tree.present(layout) == []
    assert list(layout.trees.iterdir()) == []
    assert store.missing(layout.store, listed) == [bad.name]


def test_a_list_that_is_not_the_trees_is_refused(layout, distribute):
    _digest, listed = distribute(PROGRAM)
    with pytest.raises(HostError, match="does not belong"):
        tree.install(layout, "0" * 64, listed, python=False)


# -- Python trees -----------------------------------------------------------------------------------------------------

PYTHON = {
    "bin/hello": (
        "x",
        b"#!/bin/sh\n'''exec' \"${0%/*}/python\" \"$0\" \"$@\"\n' '''\nimport hello\nprint(hello.say())\n",
    ),
    "site-packages/hello/__init__.py": b"def say():\n    return 'hello from ' + __file__\n",
    "site-packages/broken.py": b"this is no Python\n",
}


def test_a_python_tree_is_a_virtual_environment(layout, distribute):
    digest, listed = distribute(PYTHON)
    tree.install(layout, digest, listed, python=True)
    root = layout.trees / digest
    done = subprocess.run([str(root / "bin/hello")], capture_output=True, text=True, check=True)
    imported = done.stdout.replace("hello from ", "").strip()
    assert os.path.realpath(imported) == os.path.realpath(root / "site-packages/hello/__init__.py")
    code = "import sys; print(sys.prefix != sys.base_prefix, sys.version_info[:2] == %r)" % (sys.version_info[:2],)
    assert (
        subprocess.run([str(root / "bin/python"), "-c", code], check=False, capture_output=True).stdout
        == b"True True\n"
    )
    assert list((root / "site-packages/hello/__pycache__").glob("*.pyc"))
    assert tree.verify(layout, digest) is None


def test_python_trees_are_the_same_each_time(layout, distribute):
    digest, listed = distribute(PYTHON)
    seals = []
    for _attempt in range(2):
        tree.install(layout, digest, listed, python=True)
        seals.append(tree.seal_path(layout, digest).read_bytes())
    assert seals[0] == seals[1]


def compiled(layout, digest):
    place = layout.trees / digest / "site-packages/hello/__pycache__"
    return {path.name.partition(".")[0]: path.stat().st_ino for path in place.iterdir()}


def test_an_update_compiles_what_it_changes(layout, distribute):
    old = dict(PYTHON, **{"site-packages/hello/other.py": b"x = 1\n"})
    new = dict(old, **{"site-packages/hello/other.py": b"x = 2\n"})
    (first, files), (second, more) = distribute(old), distribute(new)
    tree.install(layout, first, files, python=True)
    tree.install(layout, second, more, python=True)
    before, after = compiled(layout, first), compiled(layout, second)
    assert before["__init__"] == after["__init__"]
    assert before["other"] != after["other"]
    tree.prune(layout, {second})
    assert tree.verify(layout, second) is None
    done = subprocess.run([str(layout.trees / second / "bin/hello")], capture_output=True, text=True, check=True)
    assert second in os.path.realpath(done.stdout.replace("hello from ", "").strip())


def test_changed_byte_code_is_not_taken_over(layout, distribute):
    (first, files), (second, more) = distribute(PYTHON), distribute(dict(PYTHON, **{"new.txt": b"x"}))
    tree.install(layout, first, files, python=True)
    (code,) = (layout.trees / first / "site-packages/hello/__pycache__").iterdir()
    code.chmod(0o644)
    code.write_bytes(code.read_bytes()[:-1] + b"?")
    tree.install(layout, second, more, python=True)
    assert compiled(layout, first) != compiled(layout, second)


@pytest.mark.parametrize(
    "files",
    [{"bin/python": ("x", b"#!/bin/sh\n")}, {"bin": "->site-packages", "site-packages/x.py": b""}, {"lib": "->share"},
     {"pyvenv.cfg": b"home = /tmp\n"}, {"site-packages": "->x"}, {"lib/python%d.%d/x" % sys.version_info[:2]: b""}],
)  # fmt: skip
def test_an_artifact_does_not_bring_what_the_host_makes(layout, distribute, files):
    digest, listed = distribute(files)
    with pytest.raises(HostError, match="is made on the host"):
        tree.install(layout, digest, listed, python=True)
    assert tree.present(layout) == []


@pytest.mark.parametrize("sealed", [True, False])
def test_pruning_removes_what_nothing_needs_and_leftovers(layout, installed, distribute, sealed):
    other, listed = distribute({"x": b"x"})
    tree.install(layout, other, listed, python=False)
    (layout.trees / ".new-killed").mkdir()
    (layout.trees / ".new-killed" / "x").write_text("x")
    (layout.trees / ".new-killed").chmod(0o555)
    if not sealed:
        tree.distrust(layout, installed)
    assert tree.prune(layout, {other}) == [installed]
    assert sorted(p.name for p in layout.trees.iterdir()) == sorted([other, other + ".json"])
    assert tree.present(layout) == [other]
    assert tree.prune(layout, {other}) == []
