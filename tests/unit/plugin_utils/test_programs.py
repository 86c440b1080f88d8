# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus' programs from archives in upstream's layout; what is in them is made up here."""

import hashlib
import io
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import programs
from ansible_collections.agentfactory.core.plugins.plugin_utils.tree import PackageError

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
POLICY = """prometheus:
  Installed: (none)
  Candidate: %s
  Version table:
     %s 500
prometheus-alertmanager:
  Installed: 0.19.0+ds-1
  Candidate: %s
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/agentfactory/programs"


def pack(path, files, top="x-1.0.0.linux-amd64"):
    """An archive, and its digest."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def spec(tmp_path, digest, *, version="1.8.2", **more):
    given = {"version": version, "file": str(tmp_path / "x-{version}.{arch}.tgz"), "sha256": {"amd64": digest}}
    return {**given, **more}


def archives(given, machine="x86_64"):
    return programs.Archives(given, MACHINES, machine)


def test_from_an_archive_come_the_programs_and_nothing_else(tmp_path, cache):
    digest = pack(tmp_path / "x-1.8.2.amd64.tgz", {"node_exporter": b"program", "LICENSE": b"text"})
    found = archives({"node_exporter": spec(tmp_path, digest)})
    assert found.paths(["node_exporter", "promtool"]) == {
        "node_exporter": f"/opt/agentfactory-node-exporter/1.8.2-{digest[:12]}/node_exporter"
    }
    with ThreadPoolExecutor(4) as pool:
        (path,) = set(pool.map(lambda _n: found.fetch(["node_exporter"])["node_exporter"], range(4)))
    with open(path, "rb") as program:
        assert program.read() == b"program"
    (tmp_path / "x-1.8.2.amd64.tgz").unlink()  # it is not needed again
    assert found.fetch(["node_exporter"]) == {"node_exporter": path}
    assert sorted(item.name for item in cache.iterdir()) == sorted([digest, "lock"])


@pytest.mark.parametrize(
    ("files", "digest", "said"),
    [
        ({"node_exporter": b"x"}, "0" * 64, r"monitoring_archives: node_exporter.sha256: '.*' has [0-9a-f]{64}"),
        ({"other": b"x"}, "", "holds no <directory>/node_exporter"),
        ({"below/node_exporter": b"x"}, "", "holds no <directory>/node_exporter"),
        ({"../../node_exporter": b"x"}, "", r"'x-1.0.0.linux-amd64/../../node_exporter' "),
    ],
)
def test_of_a_wrong_archive_nothing_is_kept(tmp_path, cache, files, digest, said):
    found = pack(tmp_path / "x-1.8.2.amd64.tgz", files)
    with pytest.raises((programs.ProgramError, PackageError), match=said):
        archives({"node_exporter": spec(tmp_path, digest or found)}).fetch(["node_exporter"])
    assert [item.name for item in cache.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 1.8}, "node_exporter.version: must be a string, not a number"),
        ({"version": "latest"}, "node_exporter.version: 'latest' must be a version"),
        ({"file": "files/x.tgz"}, "node_exporter.file: 'files/x.tgz' must be an https URL or an absolute path"),
        ({"file": "http://example.org/x.tgz"}, "must be an https URL"),
        ({"sha256": "0" * 64}, "node_exporter.sha256: must be a mapping"),
        ({"sha256": {"amd64": "0"}}, "node_exporter.sha256.amd64: '0' must be 64"),
        ({"sha256": {"arm64": "0" * 64}}, "node_exporter.sha256: has none for amd64"),
        ({"url": "https://example.org"}, "node_exporter.url: unknown key"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, said):
    with pytest.raises(programs.ProgramError, match=said):
        archives({"node_exporter": spec(tmp_path, "0" * 64, **change)}).paths(["node_exporter"])


def test_what_a_host_does_not_need_may_be_missing_for_its_machine(tmp_path):
    given = {name: spec(tmp_path, "0" * 64, version="2.53.0") for name in ("prometheus", "alertmanager")}
    given["node_exporter"] = spec(tmp_path, "0" * 64, sha256={"arm64": "1" * 64})
    assert list(archives(given, "aarch64").paths(["node_exporter"])) == ["node_exporter"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prometheus": "2.53.0"}, "prometheus and alertmanager go together"),
        ({"prometheus": "2.41.0", "alertmanager": "0.28.0"}, "prometheus.version: 2.41.0 is too old: prometheus 2.42"),
        ({"prometheus": "2.53.0", "alertmanager": "0.24.0"}, "alertmanager.version: 0.24.0 is too old"),
        ({"grafana": "1.0.0"}, "'grafana' is not known|must be one of node_exporter, prometheus, alertmanager"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, given, said):
    with pytest.raises(programs.ProgramError, match=said):
        archives({name: spec(tmp_path, "0" * 64, version=version) for name, version in given.items()})


@pytest.mark.parametrize(
    ("prometheus", "alertmanager", "reasons"),
    [
        ("2.24.1+ds-1+b6", "0.21.0+ds-4", ["prometheus 2.42", "alertmanager 0.25"]),  # bullseye
        ("2.42.0+ds-5+b5", "0.25.0-1+b5", []),  # bookworm
        ("2.53.3+ds1-2", "0.28.1+ds-1", []),  # trixie
        ("3.0.1-1", "(none)", []),
    ],
)
def test_packages_that_are_too_old_are_known_before_they_are_installed(prometheus, alertmanager, reasons):
    found = programs.candidates_too_old(POLICY % (prometheus, prometheus, alertmanager))
    assert len(found) == len(reasons)
    assert all(reason in text for reason, text in zip(reasons, found, strict=True))
