# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controllers that die or meet each other: leases, and who may go on."""

import time

from . import faults
from .faults import AGENT
from .harness import Fleet, until


def versions(fleet: Fleet) -> list[str]:
    return [host.agent()["version"] for host in fleet.lab.hosts]


def test_a_killed_controller_is_taken_over_by_the_next_run(fleet, shelf):
    """SIGKILL while the first wave bakes: that wave ends by itself, and the next run does the rest at once."""
    fleet.write().deploy().ok()
    shelf.put(version="3.0.0", health={"bake": 4})
    fleet.write({AGENT: {"version": "3.0.0", "rollout": {"waves": [1, "100%"]}}})
    run = fleet.start("deploy")
    first = until(lambda: next(filter(faults.in_proof, fleet.lab.hosts), None), "the first wave bakes")
    run.process.kill()
    run.process.wait()
    lease = faults.read(first, faults.LEASE)
    assert lease["reason"]
    for host in fleet.lab.hosts:
        assert faults.boots_proven(faults.look(host))
    faults.converges(fleet, "3.0.0")
    assert faults.read(first, faults.INTENT)["who"]["run"] is not None


def test_another_controllers_lease_holds(fleet):
    fleet.write().deploy().ok()
    held = fleet.lab.hosts[2]
    before = faults.answers(held)
    expires = int(time.time()) + 600
    lease = {"run": "20260101T000000-1-abcdef", "user": "somebody", "controller": "elsewhere", "pid": "1:1", "reason": "deploy",
             "expires": expires}  # fmt: skip
    faults.write(held, faults.LEASE, lease)
    again = fleet.deploy().ok()  # nothing to change, so nothing to hold
    assert again.changed == 0
    fleet.write({AGENT: {"version": "1.1.0"}})
    refused = fleet.deploy().failed()
    told = refused.verdict(held)
    for word in (
        "somebody",
        "elsewhere",
        lease["run"],
        time.strftime("%H:%M:%S", time.gmtime(expires)),
        "break_lease=true",
    ):
        assert word in told, refused.output
    assert faults.answers(held) == before
    assert versions(fleet) == ["1.0.0"] * 3, "the budget of failures is 0"
    result = fleet.deploy("-e", "break_lease=true").ok()
    assert versions(fleet) == ["1.1.0"] * 3, result.output
    assert fleet.deploy().ok().changed == 0


def test_an_expired_lease_holds_nobody(fleet):
    host = fleet.lab.hosts[0]
    lease = {"run": "old", "user": "x", "controller": "elsewhere", "pid": "1:1", "reason": "deploy", "expires": 1}
    faults.write(host, faults.LEASE, lease)
    fleet.write().deploy().ok()
    assert versions(fleet) == ["1.0.0"] * 3


def test_two_deploys_at_once(fleet, shelf, tmp_path):
    """At most one of them gets through; what runs is never a mixture."""
    fleet.write().deploy().ok()
    for version in ("4.0.0", "4.1.0"):
        shelf.put(version=version)
    (tmp_path / "other").mkdir()
    other = Fleet(fleet.lab, shelf, tmp_path / "other").write({AGENT: {"version": "4.1.0"}})
    fleet.write({AGENT: {"version": "4.0.0"}})
    runs = [fleet.start("deploy"), other.start("deploy")]
    ends = [run.end() for run in runs]
    told = "\n".join(end.output for end in ends)
    won = [version for end, version in zip(ends, ("4.0.0", "4.1.0"), strict=True) if end.rc == 0]
    assert len(set(versions(fleet))) == 1, told
    assert versions(fleet)[0] in (won or ["1.0.0"]), told
    for end in ends:
        if end.rc:
            assert "is held by" in end.output or "under way" in end.output, told
    fleet.lab.on_all(faults.runs_what_boots)
    faults.converges(fleet, "4.0.0")
