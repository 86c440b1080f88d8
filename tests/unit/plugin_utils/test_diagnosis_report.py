# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A diagnosis as a person reads it, and as files."""

import json
import stat
from pathlib import Path

import pytest

from ansible_collections.agentfactory.core.plugins.plugin_utils import diagnosis_report as report

NOW = 1795536000.0
HOST = {
    "platform": {"systemd": 252, "target": "linux/amd64"}, "uptime_seconds": 7200, "load": [0.5, 0, 0], "cpus": 2,
    "memory": {"total": 2 * 2**30, "available": 2**30},
}  # fmt: skip


def finding(severity="info", about="arm@0", text="is healthy; nothing to do", next_=""):
    return {"severity": severity, "about": about, "kind": "k", "text": text, "next": next_}


def instance(**more):
    return {
        "agent_id": "arm@0", "state": "running", "release": "1.0-a", "restarts": 1, "unit_says": "active (running)",
        "health": "http: status 200", "withheld": "", "journal_before": ["T before"],
        "journal": [f"T line {number}" for number in range(9)],
        "releases": [{"release": "1.0-a", "status": "good", "evidence": {}},
                     {"release": "1.1-b", "status": "void", "evidence": {"summary": "it fell"}}],
        "history": [{"at": "T", "who": {"user": "ada"}, "action": "activate", "from": "0", "to": "1", "result": "ok"}] * 4,
        **more,
    }  # fmt: skip


def answer(*found, **more):
    return {"host": HOST, "lease": None, "activation": None, "instances": [instance(**more)], "findings": list(found)}


def one(*found, **more):
    return report.documents({"home-1": answer(*found, **more)})["home-1"]


def test_a_healthy_instance_is_one_line():
    assert report.text(one(finding())).splitlines() == [
        "home-1: systemd 252, linux/amd64, up 2.0 h, load 0.5 on 2 CPUs, 1.0 of 2.0 GiB of memory left",
        "  arm@0: running, 1.0-a, 1 restart: is healthy; nothing to do",
    ]


def test_what_is_wrong_is_shown_with_what_it_rests_on():
    told = report.text(
        one(finding("error", text="ended", next_="fix it"), finding("warning", "host", "is full", "make room"))
    )
    assert told.splitlines()[1:] == [
        "    WARN  is full",
        "          -> make room",
        "  arm@0: running, 1.0-a, 1 restart",
        "    ERROR ended",
        "          -> fix it",
        "      unit: active (running)",
        "      probe: http: status 200",
        "      release 1.0-a: good",
        "      release 1.1-b: void: it fell",
        *["      T ada: activate 0 -> 1: ok"] * 3,
        "      the run before the last said:",
        "        | T before",
        "      the last run said:",
        *[f"        | T line {number}" for number in range(4, 9)],
    ]


def test_what_an_agent_wrote_cannot_move_the_cursor():
    document = one(
        finding("error", text="last words: \x1b[2J\r\x07"), journal=["T \x1b]0;title\x07 \u202eright to left"]
    )
    assert all(line.isprintable() for line in report.text(document).splitlines())


def test_the_worst_host_is_first_and_all_is_counted():
    results = {
        "home-1": answer(finding()),
        "home-2": answer(finding("warning"), finding()),
        "home-3": {"unreachable": True, "msg": "no route"},
    }
    told = report.everything(report.documents(results))
    assert [line.split(":")[0] for line in told.splitlines() if line.startswith("home")] == [
        "home-3",
        "home-2",
        "home-1",
    ]
    assert "ERROR cannot be reached: no route" in told
    assert told.splitlines()[-1] == "3 hosts, 2 instances, 1 error, 1 warning"


def test_a_declared_instance_that_is_not_there_has_no_evidence():
    missing = {"agent_id": "arm@0", "state": "missing", "release": None, "staged": None, "restarts": None}
    document = {"name": "home-1", "instances": [missing], "findings": [finding("error", text="is not on this host")]}
    assert report.text(document).splitlines() == [
        "home-1:",
        "  arm@0: missing, no release",
        "    ERROR is not on this host",
    ]


def test_why_a_journal_is_withheld_is_said():
    document = one(finding("error"), withheld="secret x cannot be read", journal=[], journal_before=[])
    assert "      its journal is withheld: secret x cannot be read" in report.text(document).splitlines()


def test_a_bundle_is_the_owners_alone_and_holds_everything(tmp_path):
    place = tmp_path / "new" / "bundles"
    results = {"home-1": answer(finding()), "../evil host": {"msg": "no python"}}
    found = report.documents(results)
    paths = report.bundle(str(place), found, NOW)
    names = {host: Path(files["json"]).name for host, files in paths.items()}
    assert names == {
        "home-1": "home-1-20261124T160000Z.json",
        "../evil host": "%2E.%2Fevil%20host-20261124T160000Z.json",
    }
    assert sorted(path.name for path in place.iterdir()) == sorted(
        Path(path).name for files in paths.values() for path in files.values()
    )
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} == {0o600}
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    kept = json.loads(Path(paths["home-1"]["json"]).read_text())
    assert kept == {"at": "2026-11-24 16:00:00 UTC", **found["home-1"]}
    text = Path(paths["home-1"]["text"]).read_text()
    assert [f"T line {number}" in text for number in range(9)] == [True] * 9


@pytest.mark.parametrize("host", ["", ".", "..", "/", "ä/ö"])
def test_every_host_has_a_file_of_its_own_below_the_directory(host):
    files = report.bundle_paths("/tmp/x", [host], NOW)[host]
    assert Path(files["json"]).parent == Path("/tmp/x")
    assert not Path(files["json"]).name.startswith(".")
