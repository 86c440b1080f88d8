# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on their way into the host's store: verified, with their modes, or not at all."""

import hashlib
import io
import os
import random
import stat
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.module_utils import store
from ansible_collections.agentfactory.core.plugins.module_utils.errors import HostError

BIG = random.Random(1).randbytes(3 * store.CHUNK + 17)  # does not compress, and is longer than what is held at a time


def wire(contents):
    return io.BytesIO(zlib.compress(b"".join(contents)))


def named(contents):
    return [[hashlib.sha256(c).hexdigest(), len(c)] for c in contents]


def stored(path):
    return sorted(p.name for p in path.iterdir()) if path.is_dir() else []


@pytest.mark.parametrize(
    "files",
    [
        {"a": b"one"},
        {"a": b"one", "b": b"two", "empty": b""},
        {"a": ("x", b"#!/bin/sh\n")},
        {"a": b"same", "b": ("x", b"same")},
        {"zeros": b"\0" * (5 * store.CHUNK), "random": BIG},
    ],
)
def test_what_was_missing_is_there_afterwards_with_its_modes(layout, entries, files):
    listed = entries(files)
    wanted = store.missing(layout.store, listed)
    contents = {
        e["sha256"]: (files[e["path"]][1] if isinstance(files[e["path"]], tuple) else files[e["path"]]) for e in listed
    }
    assert wanted == sorted(contents)
    sent = [contents[sha256] for sha256 in wanted]
    assert store.receive(layout.store, listed, named(sent), wire(sent)) == sum(map(len, sent))
    assert store.missing(layout.store, listed) == []
    for entry in listed:
        path = store.blob_path(layout.store, entry)
        assert store.hash_file(path) == entry["sha256"]
        assert stat.S_IMODE(path.stat().st_mode) == (0o555 if entry["mode"] == "755" else 0o444)
    assert not [n for n in stored(layout.store) if n.startswith(".")]


def test_links_need_no_bytes(layout, entries):
    assert store.missing(layout.store, entries({"l": "->x"})) == []


def test_a_file_of_another_size_counts_as_missing(layout, entries):
    listed = entries({"a": b"one"})
    layout.store.mkdir(parents=True)
    store.blob_path(layout.store, listed[0]).write_bytes(b"on")
    assert store.missing(layout.store, listed) == [listed[0]["sha256"]]


def test_both_modes_of_one_content_are_asked_for_when_one_is_missing(layout, entries):
    one, both = entries({"a": b"same"}), entries({"a": b"same", "b": ("x", b"same")})
    store.receive(layout.store, one, named([b"same"]), wire([b"same"]))
    assert store.missing(layout.store, one) == []
    assert store.missing(layout.store, both) == [one[0]["sha256"]]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_transfer_that_is_cut_off_stores_nothing_that_is_not_verified(layout, entries, share):
    contents = [BIG[: store.CHUNK], BIG[store.CHUNK :]]
    listed = entries({"a": contents[0], "b": contents[1]})
    sent = wire(contents).getvalue()
    with pytest.raises(HostError, match="ended early"):
        store.receive(layout.store, listed, named(contents), io.BytesIO(sent[: int(len(sent) * share)]))
    for name in stored(layout.store):
        assert store.hash_file(layout.store / name) == name


def test_a_transfer_goes_on_where_it_was_cut_off(layout, entries):
    contents = [b"first" * 1000, BIG]
    listed = entries({"a": contents[0], "b": contents[1]})
    sent = wire(contents).getvalue()
    with pytest.raises(HostError, match="ended early"):
        store.receive(layout.store, listed, named(contents), io.BytesIO(sent[: len(sent) // 2]))
    assert store.missing(layout.store, listed) == [named(contents)[1][0]]
    store.receive(layout.store, listed, named([BIG]), wire([BIG]))
    assert store.missing(layout.store, listed) == []


@pytest.mark.parametrize(
    "garbage", [b"not zlib at all", b"\x78\x9c" + b"\xff" * 50, zlib.compress(b"x" * 100)[:5] + b"\0" * 40]
)
def test_a_stream_that_is_no_stream_is_told(layout, entries, garbage):
    with pytest.raises(HostError, match=r"ended early|damaged"):
        store.receive(layout.store, entries({"a": b"x" * 100}), named([b"x" * 100]), io.BytesIO(garbage))
    assert stored(layout.store) == []


def test_content_that_is_not_what_its_name_says_is_refused(layout, entries):
    listed = entries({"a": b"good", "b": b"fine"})
    with pytest.raises(HostError, match="damaged: expected sha256 %s" % named([b"good"])[0][0]):
        store.receive(layout.store, listed, named([b"fine", b"good"]), wire([b"fine", b"evil"]))
    assert named([b"good"])[0][0] not in stored(layout.store)
    assert not [n for n in stored(layout.store) if n.startswith(".")]


@given(st.lists(st.binary(max_size=50), unique=True, max_size=6), st.randoms(use_true_random=False))
def test_any_files_in_any_order_arrive(tmp_path_factory, contents, shuffle):
    place = tmp_path_factory.mktemp("store")
    shuffle.shuffle(contents)
    listed = [
        {"path": str(n), "mode": "644", "size": len(c), "sha256": named([c])[0][0]} for n, c in enumerate(contents)
    ]
    store.receive(place, listed, named(contents), wire(contents))
    assert sorted(p.read_bytes() for p in place.iterdir()) == sorted(contents)


def test_garbage_is_what_no_tree_links_to_and_what_killed_transfers_left(layout, distribute):
    _digest, listed = distribute({"used": b"used", "unused": b"unused"})
    used = next(e for e in listed if e["path"] == "used")
    layout.trees.mkdir(parents=True)
    os.link(store.blob_path(layout.store, used), layout.trees / "used")
    (layout.store / ".new-1-abc-644").write_text("half")
    assert store.collect_garbage(layout.store) == 2
    assert stored(layout.store) == [used["sha256"]]
    assert store.collect_garbage(layout.store) == 0
    assert store.collect_garbage(layout.root / "nowhere") == 0
