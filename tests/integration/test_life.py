# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of an agent on three Debian releases: check, deploy, change, update, roll back, stop, restart, remove, destroy."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils.layout import Instance, Layout
from ansible_collections.agentfactory.core.plugins.plugin_utils.artifact import Artifacts

from .harness import PORT, Fleet, Host, Lab, Result, until

ID = "probe-agent@0"
SECRET = "kestrel-over-the-9-meadows"
SNAPSHOT = r"""
find /opt /etc/systemd /etc/passwd /etc/group /etc/nftables.conf /run/systemd/system /run/systemd/system.control /usr/lib/systemd \
     /var/lib/agentfactory /run/agentfactory -printf '%p %m %u %T@ %s\n' 2>/dev/null | sort
ls -A /tmp /var/tmp /root
"""


def token(value: str) -> dict[str, Any]:
    return {"secrets": {"token": value}}


def digest(value: str) -> dict[str, str]:
    """As probe-agent tells its secrets."""
    return {"token": hashlib.sha256(value.encode()).hexdigest()[:12]}


def nameless(lines: list[str]) -> set[str]:
    """Changes without the hash in releases' names: on a host without a key it is not known before the first deploy."""
    return {re.sub(r"-([0-9a-f]{12}\b|\(new\))", "-*", line) for line in lines}


def pending(result: Result, host: Host) -> set[str]:
    return nameless([line for staged in result.of(host, "agent_release") for line in staged["pending"]])


def activated(lines: list[str]) -> set[tuple[str, str]]:
    """(agent id, version) of the lines about activations, in check mode and after a real one."""
    return {
        (line.split(":")[0], match[1])
        for line in lines
        if (match := re.search(r"(\d\.\d\.\d)-([0-9a-f]{12}|\(new\))", line))
    }


def test_check_touches_nothing_and_tells_what_the_first_deploy_then_does(
    fleet: Fleet, lab: Lab, hosts: list[Host]
) -> None:
    fleet.write({"probe-agent": {"instances": 2}})
    before = lab.on_all(lambda host: host.sh(SNAPSHOT))
    check = fleet.deploy("--check", "--diff").ok()
    assert lab.on_all(lambda host: host.sh(SNAPSHOT)) == before
    assert all(counts["changed"] for counts in check.recap.values())
    assert '+  "greeting": "hello"' in check.output.replace("\r", "")
    deploy = fleet.deploy().ok()
    for host in hosts:
        assert (
            nameless(check.changes(host, "agent_release")) == nameless(deploy.changes(host, "agent_release")) != set()
        )
        assert pending(check, host) == pending(deploy, host)
        planned, done = (activated(run.changes(host, "agent_service")) for run in (check, deploy))
        assert planned == done == {("probe-agent@0", "1.0.0"), ("probe-agent@1", "1.0.0")}
        assert host.agent(PORT)["id"] == "probe-agent@0"
        assert host.agent(PORT + 1)["id"] == "probe-agent@1"


def test_a_second_run_changes_nothing_and_calls_each_host_once(fleet: Fleet, lab: Lab) -> None:
    fleet.write({"probe-agent": {"instances": 2}}).deploy().ok()
    for arguments in ([], ["--check"], ["--diff"]):
        before = lab.on_all(Host.sessions)
        again = fleet.deploy(*arguments).ok()
        assert again.changed == 0, again.output
        assert [now - then for now, then in zip(lab.on_all(Host.sessions), before, strict=True)] == [1, 1, 1]
        assert "Nothing to do" in again.output


def forms(secret: str) -> list[str]:
    """A secret as it might be written down."""
    return [secret, base64.b64encode(secret.encode()).decode()[:-4], json.dumps(secret)[1:-1]]


def assert_secret_is_nowhere(host: Host, secret: str) -> None:
    """Neither in what anybody may read of units and processes, nor in a file; before systemd 250 in root's only."""
    unit = f"agentfactory-{ID}.service"
    pid = host.show(ID)["MainPID"]
    seen = host.sh(
        f"journalctl -q --no-pager; systemctl show {unit}; systemctl cat {unit}; systemctl status {unit}; "
        f"tr '\\0' '\\n' < /proc/{pid}/environ; cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '; "
        "cat /var/lib/agentfactory/.factory/history.jsonl"
    )
    places = "/opt /etc /var /tmp /root /run/agentfactory /run/systemd /usr/local"
    for form in forms(secret):
        assert form not in seen
        files = host.sh(f"grep -rlF -- '{form}' {places}", check=False).split()
        if host.release == "bullseye":
            allowed = [
                f
                for f in files
                if re.search(r"/releases/[^/]+/credentials/token$|^/run/agentfactory/[^/]+/credentials/", f)
            ]
            assert files == allowed
            for file in files:
                assert host.sh(f"stat -Lc '%U %a' {file}") == "root 440"
                assert host.sh(f"runuser -u nobody -- cat {file}", check=False) == ""
        else:
            assert files == []


def test_changes_of_configuration_and_secret_are_shown_made_and_never_leaked(fleet: Fleet, hosts: list[Host]) -> None:
    fleet.write({"probe-agent": token("first-secret-of-ours")}).deploy().ok()
    first = {host: host.agent() for host in hosts}
    # configuration
    config = {"config": {"greeting": "good morning"}}
    fleet.write({"probe-agent": {**config, **token("first-secret-of-ours")}})
    check = fleet.deploy("--check", "--diff").ok()
    assert '-  "greeting": "hello"' in check.output
    assert '+  "greeting": "good morning"' in check.output
    assert {host: host.agent() for host in hosts} == first
    fleet.deploy("--diff").ok()
    second = {host: host.agent() for host in hosts}
    for host in hosts:
        assert second[host]["config"] == {"greeting": "good morning"}
        assert second[host]["release"] != first[host]["release"]
        assert second[host]["secrets"] == first[host]["secrets"] == digest("first-secret-of-ours")
    # the secret alone, watched as closely as can be
    fleet.write({"probe-agent": {**config, **token(SECRET)}})
    outputs = [
        fleet.deploy("-vvvv", "--check", "--diff").ok(),
        fleet.deploy("-vvvv", "--diff").ok(),
        fleet.run("status", "-vvvv").ok(),
    ]
    assert "token: (changed)" in outputs[0].output
    log = (fleet.folder / "ansible.log").read_text()
    for form in forms(SECRET) + forms("first-secret-of-ours"):
        assert all(form not in run.output and form not in json.dumps(run.results) for run in outputs)
        assert form not in log
    for host in hosts:
        third = host.agent()
        assert third["secrets"] == digest(SECRET)
        assert third["release"] not in (first[host]["release"], second[host]["release"])
        assert third["pid"] != second[host]["pid"]
        assert_secret_is_nowhere(host, SECRET)


def test_update_and_rollback_move_code_configuration_and_secret_together(fleet: Fleet, hosts: list[Host]) -> None:
    old = {"config": {"greeting": "old"}, **token("old-token")}
    new = {"version": "1.1.0", "config": {"greeting": "new"}, **token("new-token")}

    def running(wanted: str) -> dict[str, str]:
        """That all hosts run the old or the new; the releases by host."""
        said = {host.name: host.agent() for host in hosts}
        for one in said.values():
            assert (one["config"]["greeting"], one["secrets"]) == (wanted, digest(f"{wanted}-token"))
            assert one["version"] == {"old": "1.0.0", "new": "1.1.0"}[wanted]
        return {name: one["release"] for name, one in said.items()}

    fleet.write({"probe-agent": old}).deploy().ok()
    before = running("old")
    fleet.write({"probe-agent": new}).deploy().ok()
    after = running("new")
    # back without a target, in check mode first
    check = fleet.run("rollback", "--check").ok()
    assert running("new") == after
    back = fleet.run("rollback").ok()
    assert running("old") == before
    for host in hosts:
        assert pending(check, host) == pending(back, host) != set()
        assert back.instances(host)[ID]["to"] == before[host.name]
    # to a version
    fleet.run("rollback", "-e", "to=1.1.0").ok()
    assert running("new") == after
    # to a release of one instance
    only = hosts[0]
    fleet.run("rollback", "-e", f"to={before[only.name]}", "--limit", only.name).ok()
    assert [host.agent()["release"] for host in hosts] == [before[only.name], *(after[host.name] for host in hosts[1:])]
    # to what not every host has: nowhere
    nowhere = fleet.run("rollback", "-e", f"to={before[only.name]}").failed()
    assert f"{ID}: there is no good release '{before[only.name]}' here" in nowhere.output
    assert nowhere.changed == 0
    fleet.shelf.put(version="1.2.0")
    fleet.write({"probe-agent": {**new, "version": "1.2.0"}}).deploy("--limit", only.name).ok()
    now = [host.agent() for host in hosts]
    fleet.write({"probe-agent": new}).run("rollback", "-e", "to=1.2.0").failed()
    assert [host.agent() for host in hosts] == now
    # what the fleet declares comes back with the next deploy
    fleet.deploy().ok()
    assert running("new") == after


def status(fleet: Fleet) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows of the table as JSON, by host and agent id."""
    output = fleet.run("status", "-e", "format=json").ok().output
    rows, _end = json.JSONDecoder().raw_decode(output[re.search(r"^\[", output, re.MULTILINE).start() :])  # type: ignore[union-attr]
    return {(row["host"], row.get("agent_id", "")): row for row in rows}


def test_status_tells_the_truth_through_stop_start_and_restart(fleet: Fleet, lab: Lab, hosts: list[Host]) -> None:
    fleet.write({"probe-agent": {"instances": 2}}).deploy().ok()
    for (name, agent_id), row in status(fleet).items():
        host = next(one for one in hosts if one.name == name)
        said = host.agent(PORT + int(agent_id[-1]))
        assert (row["release"], row["version"], row["state"], row["healthy"]) == (
            said["release"],
            "1.0.0",
            "running",
            True,
        )
        assert (row["drift"], row["restarts"], row["ports"]) == ([], 0, {"http": PORT + int(agent_id[-1])})
        assert 0 < row["uptime_seconds"] < 600
        assert 2**20 < row["memory_bytes"] < 64 * 2**20
        assert row["cpu_seconds"] > 0
        assert len(row["content"]) == 64
    table = fleet.run("status").ok().output
    for host in hosts:
        line = next(one for one in table.splitlines() if one.startswith(f"{host.name} ") and "probe-agent@1" in one)
        assert re.search(r"1\.0\.0-[0-9a-f]{12} +[0-9a-f]{12} as declared +running +healthy", line)

    pids = [host.agent()["pid"] for host in hosts]
    restarted = fleet.run("restart").ok()
    assert restarted.changed == len(hosts)
    assert all(host.agent()["pid"] != pid for host, pid in zip(hosts, pids, strict=True))

    check = fleet.run("stop", "--check").ok()
    assert check.changed == len(hosts)
    assert all(host.get()[0] == 200 for host in hosts)
    fleet.run("stop").ok()
    assert lab.on_all(lambda host: [host.get(PORT)[0], host.get(PORT + 1)[0]]) == [[0, 0]] * 3
    assert [host.sh(f"systemctl is-enabled agentfactory-{ID}", check=False) for host in hosts] == ["disabled"] * 3
    assert fleet.run("stop").ok().changed == 0
    assert fleet.run("restart").ok().changed == 0
    rows = status(fleet)
    assert {(row["state"], row["healthy"]) for row in rows.values()} == {("stopped", False)}
    assert all("is declared started" in row["drift"] for row in rows.values())

    verbs = fleet.folder / "verbs.yml"  # in one process; the deploy starts what is stopped, so start has to do it again
    verbs.write_text("".join(f"- import_playbook: agentfactory.core.{verb}\n" for verb in ("deploy", "stop", "start")))
    fleet.run(verbs).ok()
    assert {row["state"] for row in status(fleet).values()} == {"running"}
    assert [host.sh(f"systemctl is-enabled agentfactory-{ID}", check=False) for host in hosts] == ["enabled"] * 3
    assert fleet.run("start").ok().changed == 0
    # drift: somebody stopped one by hand and changed the code of another
    hosts[0].sh(f"systemctl stop agentfactory-{ID}")
    tree = hosts[1].sh("ls -d /opt/agentfactory/trees/*/")
    hosts[1].sh(f"chmod u+w {tree}bin/probe-agent; echo '# mine' >> {tree}bin/probe-agent")
    rows = status(fleet)
    assert rows[hosts[0].name, ID]["state"] == "stopped"
    assert rows[hosts[1].name, ID]["drift"] == ["the code was changed"]
    assert rows[hosts[2].name, ID]["drift"] == []
    mended = fleet.deploy().ok()
    assert [bool(mended.recap[host.name]["changed"]) for host in hosts] == [True, True, False]
    assert all(row["drift"] == [] and row["state"] == "running" for row in status(fleet).values())
    assert "# mine" not in hosts[1].sh(f"cat {tree}bin/probe-agent")


def test_hosts_that_the_first_deploy_left_out_get_what_was_not_packaged_for_them(
    fleet: Fleet, hosts: list[Host], tmp_path: Path
) -> None:
    """Each host has a Python of its own, so the first one's image is none for the others."""

    def targets() -> list[str]:
        return [image.target for image in Artifacts(str(tmp_path)).open("probe-agent", "1.0.0").images]

    source = str(fleet.shelf.folder / "sources" / "probe-agent-1.0.0")
    fleet.write({"probe-agent": {"source": source}}, artifacts=str(tmp_path)).deploy("--limit", hosts[0].name).ok()
    first = targets()
    assert len(first) == 1
    check = fleet.deploy("--check").ok()
    assert targets() == first
    done = fleet.deploy().ok()
    assert (check.changed, len(targets())) == (done.changed, len(hosts))
    assert all(pending(check, host) == pending(done, host) for host in hosts)
    assert [host.agent()["version"] for host in hosts] == ["1.0.0"] * len(hosts)
    assert fleet.deploy().ok().changed == 0


def test_retention_keeps_n_and_never_loses_what_runs_or_was_last_good(fleet: Fleet, hosts: list[Host]) -> None:
    keep = ("-e", "agentfactory_keep=2")
    names = []
    for greeting in ("one", "two", "three"):
        fleet.write({"probe-agent": {"config": {"greeting": greeting}}}).deploy(*keep).ok()
        names.append([host.agent()["release"] for host in hosts])
    kept = [set(pair) for pair in zip(*names[1:], strict=True)]
    assert [host.releases(ID) for host in hosts] == kept
    for attempt in range(3):
        config = {"crash": True, "greeting": f"bad {attempt}"}
        fleet.write({"probe-agent": {"config": config}}).deploy(*keep).failed()
    for host, good in zip(hosts, kept, strict=True):
        assert good <= host.releases(ID)
        assert len(host.releases(ID) - good) == 1, "the newest failure is kept with its evidence"
        assert host.agent()["config"] == {"greeting": "three"}
    fleet.run("rollback", *keep).ok()
    assert [host.agent()["config"]["greeting"] for host in hosts] == ["two"] * 3


def test_agents_leave_within_max_removals_and_their_state_stays(fleet: Fleet, lab: Lab, hosts: list[Host]) -> None:
    fleet.shelf.put(name="other-agent", ports={"http": 18090})
    both: dict[str, dict[str, Any]] = {"probe-agent": {}, "other-agent": {}}
    fleet.write(both).deploy().ok()
    others = [host.agent(18090)["pid"] for host in hosts]
    lab.on_all(lambda host: host.sh("echo mine > /var/lib/agentfactory/probe-agent/0/diary"))
    leaving: tuple[dict[str, Any], ...] = (
        {"other-agent": {}}, {"other-agent": {}, "probe-agent": {"state": "absent"}},
    )  # fmt: skip
    for left in leaving:
        fleet.write(left)
        refused = fleet.deploy().failed()
        assert "3 agents would be removed and max_removals is 1: nothing was activated" in refused.output
        assert "-e confirm_removals=3" in refused.output
        assert all(host.get()[0] == 200 for host in hosts)
        check = fleet.deploy("--check", "-e", "confirm_removals=3").ok()
        assert all(host.get()[0] == 200 for host in hosts)
        removed = fleet.deploy("-e", "confirm_removals=3").ok()
        for host in hosts:
            assert pending(check, host) == pending(removed, host) == {f"{ID}: remove (is not declared)"}
            assert host.get()[0] == 0
            assert host.sh("cat /var/lib/agentfactory/probe-agent/0/diary") == "mine"
            assert host.sh("getent passwd | grep -c '^af-'") == "1"
        assert fleet.deploy().ok().changed == 0
        # it comes back to its state
        fleet.write(both).deploy().ok()
        assert (
            lab.on_all(lambda host: host.sh("stat -c %U /var/lib/agentfactory/probe-agent/0/diary")[:3]) == ["af-"] * 3
        )
    assert [host.agent(18090)["pid"] for host in hosts] == others
    # one removal on one host is within the limit
    fleet.write({"other-agent": {}, "probe-agent": {"hosts": f"all:!{hosts[0].name}"}}).deploy().ok()
    assert [host.get()[0] for host in hosts] == [0, 200, 200]
    fleet.write(both).deploy().ok()  # for its state to go with it at the end


@pytest.fixture
def users_leave_their_groups(hosts: list[Host]) -> Iterator[None]:
    """On one host userdel does not remove a user's own group."""
    switch = "sed -i 's/^USERGROUPS_ENAB .*/USERGROUPS_ENAB %s/' /etc/login.defs"
    hosts[1].sh(f"grep -q '^USERGROUPS_ENAB yes' /etc/login.defs; {switch % 'no'}")
    yield
    hosts[1].sh(switch % "yes")


@pytest.mark.usefixtures("users_leave_their_groups")
def test_destroy_leaves_nothing_but_the_state_and_with_purge_nothing(fleet: Fleet, lab: Lab, hosts: list[Host]) -> None:
    fleet.write({"probe-agent": {"instances": 2}})
    assert fleet.run("destroy", "-e", "agents=all").ok().changed == 0
    assert lab.on_all(Host.leftovers) == [[]] * 3, "none of them was ever used"
    hosts[1].sh(
        f"groupadd --system {Instance(Layout(), 'probe-agent', '0').user}"
    )  # by hand, one userdel was without groupdel
    fleet.deploy().ok()
    assert all(len(what) > 5 for what in lab.on_all(Host.leftovers))
    refused = fleet.run("destroy").failed()
    assert "Say which agents to destroy" in refused.output
    check = fleet.run("destroy", "-e", "agents=all", "--check").ok()
    assert check.changed == len(hosts)
    assert all(host.get()[0] == 200 for host in hosts)
    fleet.run("destroy", "-e", "agents=all").ok()
    assert lab.on_all(Host.leftovers) == [["/var/lib/agentfactory"]] * 3
    for host in hosts:
        assert host.sh("ls /var/lib/agentfactory/probe-agent").split() == ["0", "1"]
        assert host.sh("find /var/lib/agentfactory ! -user root") == ""
    assert fleet.run("destroy", "-e", "agents=all").ok().changed == 0
    # what was left behind goes when its name is called, also once no fleet has it any more
    fleet.write({})
    purge = ("-e", "purge=true", "-e")
    typo = fleet.run("destroy", *purge, "agents=probe-agnet").failed()
    assert "The fleet declares no agent probe-agnet, and no host that answered has anything of it" in typo.output
    assert fleet.run("destroy", "-e", "agents=probe-agent").ok().changed == 0
    check = fleet.run("destroy", *purge, "agents=probe-agent", "--check").ok()
    assert lab.on_all(Host.leftovers) == [["/var/lib/agentfactory"]] * 3
    done = fleet.run("destroy", *purge, "agents=probe-agent").ok()
    for host in hosts:
        assert check.changes(host, "agent_release") == ["probe-agent@0: purge", "probe-agent@1: purge"]
        assert done.changes(host, "agent_release") == [f"probe-agent@{i}: has no state any more" for i in range(2)]
    assert lab.on_all(Host.leftovers) == [[]] * 3
    again = fleet.run("destroy", *purge, "agents=probe-agent").failed()
    assert "no host that answered has anything of it" in again.output


@pytest.mark.parametrize("host_number", range(3), ids=["bullseye", "bookworm", "trixie"])
def test_a_killed_agent_comes_back_and_boot_starts_the_last_good_release(
    fleet: Fleet, hosts: list[Host], host_number: int
) -> None:
    host = hosts[host_number]
    fleet.write().deploy("--limit", host.name).ok()
    said = host.agent()
    host.sh(f"kill -9 {host.show(ID)['MainPID']}")
    until(lambda: host.get()[0] == 200 and host.agent()["pid"] != said["pid"], "it runs again")
    assert host.agent()["release"] == said["release"]
