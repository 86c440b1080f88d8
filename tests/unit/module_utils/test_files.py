# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Atomic files, locks, and the points where a run can die."""

import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.module_utils import files
from ansible_collections.agentfactory.core.plugins.module_utils.errors import Busy, HostError

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@settings(max_examples=50)
@given(st.recursive(SCALARS, lambda s: st.lists(s) | st.dictionaries(st.text(max_size=5), s), max_leaves=8))
def test_canonical_is_one_encoding_of_a_value(value):
    data = files.canonical(value)
    assert json.loads(data) == value
    assert files.canonical(json.loads(data)) == data
    assert data.isascii()


def test_canonical_does_not_depend_on_order():
    assert files.canonical({"b": 1, "a": [2]}) == files.canonical({"a": [2], "b": 1}) == b'{"a":[2],"b":1}'


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=9) | st.sampled_from([b"[1]", b'"x"', b"1", b"null", b'{"run": "a', b'{"run": "a"}']))
def test_of_a_damaged_file_nothing_is_known(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert files.read_known(tmp_path / "file") == ({"run": "a"} if content == b'{"run": "a"}' else {})


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o400])
def test_write_atomic_replaces_whole_files_with_the_mode(tmp_path, mode):
    path = tmp_path / "deep" / "file"
    for data in (b"first", b"2nd"):
        files.write_atomic(path, data, mode)
        assert path.read_bytes() == data
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("step", ["fchmod", "fsync", "replace"])
def test_write_atomic_leaves_the_old_file_and_no_temporary_one_on_an_error(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    files.write_atomic(path, b"old")

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, step, full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_replace_link_replaces_links_and_what_a_killed_run_left(tmp_path):
    path = tmp_path / "current"
    files.replace_link(path, "one")
    (tmp_path / (".current.%d" % os.getpid())).symlink_to("leftover")
    files.replace_link(path, "two")
    assert os.readlink(path) == "two"
    assert os.listdir(tmp_path) == ["current"]


def test_remove_takes_files_links_and_read_only_trees(tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("mine")
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "below" / "file").write_text("x")
    (tmp_path / "tree" / "below").chmod(0o555)
    (tmp_path / "tree").chmod(0o555)
    (tmp_path / "link").symlink_to(kept)
    assert files.remove(tmp_path / "tree")
    assert files.remove(tmp_path / "link")
    assert not files.remove(tmp_path / "nothing")
    assert os.listdir(tmp_path) == ["kept"]


def test_a_staging_directory_appears_whole_or_not_at_all(tmp_path):
    final = tmp_path / "final"

    def attempt(name, fail):
        with files.staging_directory(final) as new:
            (new / name).write_text(name)
            assert not (final / name).exists()
            if fail:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        attempt("a", fail=True)
    assert os.listdir(tmp_path) == []
    attempt("a", fail=False)
    with pytest.raises(RuntimeError):
        attempt("b", fail=True)
    assert os.listdir(final) == ["a"]
    attempt("c", fail=False)
    assert os.listdir(final) == ["c"]
    assert os.listdir(tmp_path) == ["final"]


def test_read_json_and_read_text_of_nothing(tmp_path):
    assert files.read_json(tmp_path / "absent") is None
    assert files.read_text(tmp_path / "absent") is None
    (tmp_path / "file").write_text("{}")
    assert files.read_text(tmp_path / "file" / "below") is None
    assert files.read_json(tmp_path / "file") == {}
    (tmp_path / "file").write_text("{")
    with pytest.raises(HostError, match=r"file is damaged"):
        files.read_json(tmp_path / "file")


def _hold(path, held, release):
    with files.lock(path, wait=0, holder="nobody"):
        held.set()
        release.wait(60)


def test_a_lock_excludes_other_processes_and_ends_with_its_own(tmp_path):
    path = tmp_path / "locks" / "host.lock"
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(path, held, release))
    process.start()
    try:
        assert held.wait(60)
        with pytest.raises(Busy, match="the other run"), files.lock(path, wait=0, holder="the other run"):
            pytest.fail("two held the lock")
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        with files.lock(path, wait=0, holder="nobody"):
            pass
    finally:
        process.kill()


def test_a_lock_is_free_again_after_an_error(tmp_path):
    def fail():
        with files.lock(tmp_path / "lock", wait=0, holder="x"):
            raise RuntimeError

    for _attempt in range(2):
        with pytest.raises(RuntimeError):
            fail()


@pytest.mark.parametrize(("wanted", "status"), [("here", -signal.SIGKILL), ("elsewhere", 0), (None, 0)])
def test_a_checkpoint_kills_where_the_file_says_and_once(tmp_path, library, wanted, status):
    fault = tmp_path / "fault"
    if wanted:
        fault.write_text(wanted + "\n")
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); from agentfactory_host import files;"
        "files.FAULT = Path(sys.argv[2]); files.checkpoint('here'); print('went on')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(library), str(fault)], check=False, capture_output=True, text=True
    )
    assert done.returncode == status
    assert done.stdout == ("" if status else "went on\n")
    assert fault.exists() == (wanted == "elsewhere")
