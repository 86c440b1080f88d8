# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent to a host: only what it is not known to have, packed once."""

import hashlib
import os
import tempfile
import zlib
from types import SimpleNamespace

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import transfer
from ansible_collections.agentfactory.core.plugins.plugin_utils.artifact import ArtifactError

A, B, C = (hashlib.sha256(data).hexdigest() for data in (b"aaa", b"bb", b"c"))
CONTENT = {A: b"aaa", B: b"bb", C: b"c"}


class Image:
    """An artifact's image as it is read: a list of files, and their content by its hash."""

    def __init__(self, tree, *hashes):
        self.tree, self.hashes, self.reads = tree, hashes, []

    def files(self):
        listed = [
            {"path": f"f{n}", "mode": "644", "size": len(CONTENT[h]), "sha256": h} for n, h in enumerate(self.hashes)
        ]
        return [*listed, {"path": "link", "link": "f0"}]

    def read(self, wanted):
        self.reads.append(set(wanted))
        assert set(wanted) <= set(self.hashes)
        return [(sha256, CONTENT[sha256]) for sha256 in wanted]


@pytest.fixture
def dist(monkeypatch):
    """Versions of the agent arm: what their trees hold."""
    versions = {"1.0": [Image("old", A, B)], "1.1": [Image("new", A, C), Image("new-arm64", A)], "2.0": None}

    def packaged(root, name, version):
        if versions.get(version) is None:
            raise ArtifactError(f"{name} {version}: cannot be read")
        return SimpleNamespace(images=versions[version])

    monkeypatch.setattr(transfer, "packaged", packaged)
    monkeypatch.setattr(
        transfer,
        "Artifacts",
        lambda _root: SimpleNamespace(versions=lambda name: list(versions) if name == "arm" else []),
    )
    return versions


AGENTS = [{"name": "arm", "manifest": {"version": "1.1"}}]


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([], (set(), True)),
        (["old"], ({A, B}, True)),
        (["old", "new"], ({A, B, C}, True)),
        (["new-arm64"], ({A}, True)),
        (["unknown"], (set(), False)),
        (["old", "unknown"], ({A, B}, False)),
    ],
)
def test_what_a_host_has_is_known_from_the_trees_it_holds(dist, held, expected):
    assert transfer.known_files(AGENTS, "dist", held) == expected


@pytest.mark.parametrize(
    ("missing", "known", "expected"),
    [
        (None, set(), [A, C]),
        (None, {A}, [C]),
        (None, {A, B, C}, []),
        (set(), set(), []),
        ({A}, set(), [A]),
        ({A}, {A}, [A]),  # the host's own word counts
    ],
)
def test_what_is_sent(dist, missing, known, expected):
    images = transfer.images_by_tree(AGENTS, "dist")
    trees = transfer.lists(["new"], images)
    assert transfer.blobs(trees, missing, known) == [[sha256, len(CONTENT[sha256])] for sha256 in sorted(expected)]


def test_images_are_found_by_their_tree(dist):
    images = transfer.images_by_tree(AGENTS, "dist")
    assert {tree: image.tree for tree, image in images.items()} == {"new": "new", "new-arm64": "new-arm64"}
    assert transfer.lists(["new-arm64"], images) == {"new-arm64": dist["1.1"][1].files()}


@pytest.fixture
def runs(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def wanted(*hashes):
    return [[sha256, len(CONTENT[sha256])] for sha256 in sorted(hashes)]


def test_the_payload_is_the_files_in_their_order(dist, runs):
    images = {"old": dist["1.0"][0], "new": dist["1.1"][0]}
    sent = transfer.payload(wanted(A, B, C), ["old", "new"], images)
    assert zlib.decompress(sent) == b"".join(CONTENT[sha256] for sha256, _size in wanted(A, B, C))
    assert [reads for image in images.values() for reads in image.reads] == [{A, B}, {C}]


def test_what_many_hosts_need_is_packed_once(dist, runs):
    images = {"new": dist["1.1"][0]}
    first = transfer.payload(wanted(A, C), ["new"], images)
    assert bytes(transfer.payload(wanted(A, C), ["new"], images)) == first
    assert len(images["new"].reads) == 1
    other = transfer.payload(wanted(C), ["new"], images)
    assert zlib.decompress(other) == b"c"
    for directory, _names, files in os.walk(runs):
        assert not [name for name in files if name.endswith(".new")]
        assert os.stat(directory).st_mode & 0o077 == 0 or directory == str(runs)


def test_what_could_not_be_packed_is_not_taken_for_packed(dist, runs):
    image = dist["1.1"][0]

    def broken(_wanted):
        raise ArtifactError("the layer is damaged")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image, "read", broken)
        with pytest.raises(ArtifactError):
            transfer.payload(wanted(A), ["new"], {"new": image})
    assert zlib.decompress(transfer.payload(wanted(A), ["new"], {"new": image})) == b"aaa"


def test_what_hosts_hold_is_looked_up_once_in_a_rollout(dist, runs, monkeypatch):
    found = []
    monkeypatch.setattr(transfer, "known_files", lambda *asked: found.append(asked) or ({A}, True))
    for known in ("r1", "r1", "r2", None, None):
        monkeypatch.setattr(transfer.run, "current", lambda known=known: known)
        assert transfer.known_in_run(AGENTS, "dist", ["old"]) == ({A}, True)
    assert len(found) == 4, "once for each of the two, and each time outside of any"
    assert transfer.known_in_run(AGENTS, "dist", ["new"]) == ({A}, True)
    assert len(found) == 5


def test_where_nothing_can_be_kept_is_told(dist, runs, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transfer.run.os, "fsync", full)
    with pytest.raises(transfer.run.RunError, match=r"spool-.*: No space left on device"):
        transfer.payload(wanted(A), ["new"], {"new": dist["1.1"][0]})


def test_nothing_to_send_is_nothing(dist, runs):
    assert transfer.payload([], ["new"], {}) == b""
    assert list(runs.iterdir()) == []


def agents_of(*trees):
    return [{"name": "arm", "manifest": {"version": "1.1"}, "images": [{"tree": tree} for tree in trees]}]


def test_a_new_host_is_sent_everything_of_the_one_image_there_is(dist, runs):
    stock = transfer.Stock(agents_of("new"), "dist")
    assert not stock.depends_on_host
    request, sent = stock.everything()
    assert request == {"trees": {"new": dist["1.1"][0].files()}, "blobs": wanted(A, C)}
    assert zlib.decompress(sent) == b"".join(CONTENT[sha256] for sha256, _size in wanted(A, C))
    assert transfer.Stock(agents_of("new", "new-arm64"), "dist").depends_on_host


def test_rounds_of_one_transfer_add_up(dist, runs):
    """A host that holds an unknown tree is sent the lists first, and then the files that it names."""
    stock = transfer.Stock(agents_of("new"), "dist")
    request, sent = stock.lacking({"trees": ["new"], "held": ["unknown"]})
    assert (list(request["trees"]), request["blobs"], sent) == (["new"], [], b"")
    request, sent = stock.lacking({"files": [C]})
    assert (list(request["trees"]), request["blobs"]) == (["new"], wanted(C))
    assert zlib.decompress(sent) == CONTENT[C]
