# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole rollout's plays under ansible-playbook, with actions that only write to the ledger.

What moves is stopped, removed and started again by `agent_service` as it is, on hosts that only say that they do it.
"""

import json
import os
import re
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from .. import ansible_programs

FLEET = """
plugin: agentfactory.core.fleet
inventory: hosts.yml
environment: lab
artifacts: dist
agents:
  toy: {version: "1", source: toy, hosts: all, rollout: {waves: [1, 50%]}}
"""
HOSTS = (
    "all: {hosts: {'h[1:6]': {}}, vars: {ansible_connection: local, ansible_python_interpreter: '%s'}}\n"
    % sys.executable
)
MANIFEST = 'name: toy\nversion: "1"\ncommand: [toy]\nhealth: {notify: true}\n'
LOOKUP = "lookup('agentfactory.core.rollout', '%s')"
PLAYS = "".join(
    f'- {{name: {name}, gather_facts: false, hosts: "{{{{ {LOOKUP % term} }}}}", {more}tasks: [{task}]}}\n'
    for name, term, more, task in (
        ("Package", "package", "", "{debug: {msg: packaged}, run_once: true}"),
        ("Stage", "stage", "", f'{{toy: {{phase: stage, only: "{{{{ {LOOKUP % "only"} }}}}"}}}}'),
        (
            "Activate",
            "hosts",
            f'serial: "{{{{ {LOOKUP % "batches"} }}}}", ignore_unreachable: true, ',
            "{toy: {phase: activate}}",
        ),
        ("Undo", "undo", "", "{toy: {phase: undo}}"),
        (
            "Verdict",
            "failed",
            "",
            "{fail: {msg: \"{{ lookup('agentfactory.core.rollout', 'verdict', inventory_hostname) }}\"}}",
        ),
    )
)
ACTION = """
import time
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.agentfactory.core.plugins.action import agent_service
from ansible_collections.agentfactory.core.plugins.plugin_utils import silencing
from ansible_collections.agentfactory.core.plugins.plugin_utils.ledger import Ledger
from ansible_collections.agentfactory.core.plugins.plugin_utils.moves import Moves

PHASES = {"configured": "stage", "started": "activate", "undone": "undo"}
WHAT = {"only": "stops", "removals": "removes", "planned": "starts"}


class Retired(agent_service.ActionModule):
    def remote(self):
        return self

    def call(self, request):
        status = self.variables.get("retire", {}).get(self.host, "ok")
        if status == "cut":
            raise AnsibleConnectionFailure("cut")
        steps = []
        for key, what in WHAT.items():
            for agent_id in request.get(key) or ():
                Display().display(f"{self.host}: {what} {agent_id}")
                step = dict(zip(("agent", "instance"), agent_id.split("@"), strict=True), action="stop", result=status)
                steps.append({**step, "phase": "done", "message": "is stuck"})
        return {"steps": steps, "done": True}


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        host, ledger, args = task_vars["inventory_hostname"], Ledger.under_way(), self._task.args
        if args.get("state") == "retired":
            given = (self._task, self._connection, self._play_context, self._loader, self._templar, self._shared_loader_obj)
            return Retired(*given).run(tmp, task_vars)
        phase = args.get("phase") or PHASES[args["state"]]
        status = task_vars.get(phase, {}).get(host, "ok")
        record = {"phase": phase, "host": host, "status": status}
        if status == "cut" and phase == "stage" and host in ledger.begin().get("lost", []):
            ledger.append({"phase": phase, "host": host, "status": "unreachable"})
            return {"skipped": True}
        if status == "cut":
            raise AnsibleConnectionFailure("cut")
        if phase == "stage":
            Display().display(f"only {args['only'] if 'only' in args else ledger.begin()['only']}")
            rollouts = {agent["name"]: agent["rollout"] for agent in task_vars["agentfactory_agents"]}
            record.update(status="pending" if status == "ok" else status, agents=list(rollouts), rollouts=rollouts)
            record["removals"] = task_vars.get("removals", {}).get(host, [])
            here = (f"{agent['name']}@{name}" for agent in task_vars["agentfactory_agents"] for name in agent["instances"])
            record["plan"] = {"activation": [{"kind": "activate", "subject": agent_id} for agent_id in here]}
        if phase == "activate":
            if write := task_vars.get("write", {}).get(host):
                Path(write["path"]).write_text(write["text"])
            deadline = time.monotonic() + 60
            while task_vars.get("after", {}).get(host, host) not in {host, *ledger.last("activate")}:
                assert time.monotonic() < deadline, "the host before this one was not activated"
                time.sleep(0.01)
            if ledger.stopped(host):
                status = "skipped"
            elif line := ledger.announce_wave(host):
                Display().display(line)
                silencing.renew(task_vars, ledger.plan())
                Display().display(f"silenced {len(list(ledger.records('silence')))} times")
            held = [] if self._task.check_mode or status == "skipped" else list(Moves.read(ledger).held_up(host))
            messages = held or (["no answer"] if status == "failed" else [])
            status = "failed" if messages else status
            record.update(status=status, switched=status != "skipped" and not held, messages=messages)
        if phase == "undo":  # what failed took itself back
            record["back"] = ledger.last("activate")[host]["status"] == "ok"
        ledger.append(record)
        return {"changed": status == "ok"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {
        "fleet.yml": FLEET,
        "hosts.yml": HOSTS,
        "toy/agent.yml": MANIFEST,
        "play.yml": PLAYS,
        "action_plugins/toy.py": ACTION,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("failing", [False, True])
def test_nobody_is_paged_for_a_rollout(project: Path, alertmanager: str, failing: bool) -> None:
    (project / "group_vars").mkdir()
    # How to ask it may be a template, as a password from a vault is: unfilled, this one would be refused.
    asked = (
        f"agentfactory_alertmanager_url: {alertmanager}\nagentfactory_alertmanager: {{timeout: '{{{{ 2 * 10 }}}}'}}\n"
    )
    (project / "group_vars" / "all.yml").write_text(asked)
    before = _silences(alertmanager)
    assert _play(project, "--check")[0] == 0
    assert _silences(alertmanager) == before
    arguments = ["-e", '{"activate": {"h3": "failed"}}'] if failing else []
    code, text = _play(project, *arguments)
    assert code == (2 if failing else 0), text
    waves = 2 if failing else 3
    assert re.findall(r"silenced (\d) times", text) == [
        str(2 + wave) for wave in range(waves)
    ]  # as its first wave begins, and with each
    (kept,) = [item for item in _silences(alertmanager) if item not in before]
    assert kept["status"]["state"] == "expired"  # lifted at the end
    matchers = {item["name"]: item["value"] for item in kept["matchers"]}
    assert matchers == {"alertname": "Agent.*", "host": "h1|h2|h3|h4|h5|h6", "environment": "lab"}


def test_a_rollout_goes_on_where_no_alertmanager_is(project: Path) -> None:
    code, text = _play(project, "-e", "agentfactory_alertmanager_url=http://127.0.0.1:1")
    assert code == 0, text
    assert "no silence is set" in text


def _silences(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/api/v2/silences", timeout=60) as answer:
        return list(json.load(answer))


def _play(project: Path, *arguments: str) -> tuple[int, str]:
    return _ansible(project, "-i", "fleet.yml", "play.yml", *arguments)


def _ansible(project: Path, *arguments: str) -> tuple[int, str]:
    done = ansible_programs.run(project, "ansible-playbook", *arguments)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "seen", "unseen"),
    [
        ([], 0, ["packaged", "Wave 1 of 3: h1", "Wave 2 of 3: h2 h3", "Wave 3 of 3: h4 h5 h6"], ["Stopped", "Failed"]),
        (["--limit", "h5"], 0, ["Wave 1 of 1: h5", "only None"], ["h4"]),
        (["--limit", "h5", "-e", "agents=toy"], 0, ["Wave 1 of 1: h5", "only ['toy']"], ["only None"]),
        (["--check"], 0, ["Would change toy: h1 h2 h3 h4 h5 h6"], ["Stopped"]),
        (
            ["-e", '{"stage": {"h1": "unchanged", "h2": "unchanged"}}', "--limit", "h1,h2"],
            0,
            ["Nothing to do: 2 hosts"],
            ["Wave"],
        ),
        (
            ["-e", '{"activate": {"h1": "failed"}}'],
            2,
            ["Wave 1 of 3: FAILED: h1", "Undone (rollback: fleet): none", "no answer"],
            ["Wave 2 of 3: h2"],
        ),
        (
            ["-e", '{"activate": {"h3": "failed"}, "after": {"h3": "h2"}}'],
            2,
            ["Wave 2 of 3: ok: h2; FAILED: h3", "Undone (rollback: fleet): h1 h2\n"],
            ["Wave 3 of 3: h4"],
        ),
        (
            ["-e", '{"activate": {"h2": "cut", "h3": "cut"}}'],
            2,
            ["UNREACHABLE: h2 h3", "Undone (rollback: fleet): h1\n"],
            ["Wave 3 of 3: h4"],
        ),
        (
            ["-e", '{"activate": {"h3": "failed"}, "after": {"h2": "h3"}}'],
            2,
            ["Wave 2 of 3: FAILED: h3; not activated: h2", "Undone (rollback: fleet): h1\n"],
            [],
        ),
        (["-e", '{"stage": {"h3": "cut"}}'], 4, ["Stopped: 1 host failed while staging", "Failed: h3"], ["Wave 1 of"]),
        (
            ["-e", '{"stage": {"h3": "failed"}}'],
            2,
            ["Stopped: 1 host failed while staging", "Failed: h3"],
            ["Wave 1 of"],
        ),
        (["-e", '{"removals": {"h3": ["a", "b"]}}'], 2, ["-e confirm_removals=2"], ["Wave 1 of"]),
        (["-e", '{"removals": {"h3": ["a", "b"]}}', "-e", "confirm_removals=2"], 0, ["Removes a: h3"], ["Stopped"]),
        (["-e", "agents=toy,tony"], 4, ["agents=tony: the fleet has no such agent"], ["Wave"]),
        (["-e", "agents=toy@9"], 4, ["agents=toy@9: the fleet has no such agent"], ["Wave"]),
        (["--limit", "h5", "-e", "agents=toy@0"], 0, ["Wave 1 of 1: h5", "only ['toy@0']"], []),
        (["--limit", "h5", "-e", "agents=all"], 0, ["Wave 1 of 1: h5", "only None"], []),
        (["--list-hosts"], 0, ["h6"], ["Fleet lab"]),
    ],
)
def test_rollouts(project: Path, arguments: list[str], code: int, seen: list[str], unseen: list[str]) -> None:
    found, text = _play(project, *arguments)
    assert found == code, text
    assert [part for part in seen if part not in text] == [], text
    assert [part for part in unseen if part in text] == [], text
    assert text.count("Fleet lab: ") <= 1


PLANNED = """
plugin: agentfactory.core.fleet
inventory: hosts.yml
environment: lab
artifacts: dist
agents:
  toy: {version: "1", source: toy, hosts: "h2,h3", count: 2, rollout: {waves: [100%], max_failures: 1}}
"""
BEFORE = "plugin: agentfactory.core.fleet\nagents:\n  toy: {h1: [0], h3: [1]}\n"
MOVED = {"removals": {"h1": ["toy@0"]}, "stage": {f"h{number}": "unchanged" for number in (4, 5, 6)}}
"""what staging finds for the plan, which moves toy@0 from h1 to h2"""


@pytest.fixture
def planned(project: Path) -> Path:
    """A plan, and the plays of deploy as they are, but for packaging, with this file's action in place of those that work on hosts."""
    (project / "fleet.yml").write_text(PLANNED)
    (project / "placement.yml").write_text(BEFORE)
    hosts = yaml.safe_load(HOSTS)
    hosts["all"]["vars"]["agentfactory_capacity"] = {"cpu": 1, "memory": "1G"}
    (project / "hosts.yml").write_text(yaml.safe_dump(hosts))
    for name, target in (("deploy", "play"), ("rollout", "rollout")):
        text = (ansible_programs.ROOT / "playbooks" / f"{name}.yml").read_text()
        plays = yaml.safe_load(_toys(text))
        for play in plays:
            if play["name"].startswith("Package"):
                play["tasks"] = [{"debug": {"msg": "packaged"}}]
        (project / f"{target}.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    _plan(project)
    return project


def _plan(project: Path, *arguments: str) -> None:
    command = ("agentfactory.core.plan", "-i", "hosts.yml", "-e", "fleet=fleet.yml", *arguments)
    code, text = _ansible(project, *command)
    assert code == 0, text


def _deploy(project: Path, *arguments: str, **facts: Any) -> tuple[int, str]:
    return _play(project, "-e", "plan=plan.json", "-e", json.dumps({**MOVED, **facts}), *arguments)


def test_a_plan_is_carried_out_and_settled(planned: Path) -> None:
    code, text = _deploy(planned)
    assert code == 0, text
    assert "h1: removes toy@0" in text
    assert yaml.safe_load((planned / "placement.yml").read_text())["agents"] == {"toy": {"h2": [0], "h3": [1]}}


def test_the_fleet_is_readable_while_its_first_plan_is_half_carried_out(planned: Path) -> None:
    (planned / "placement.yml").unlink()
    _plan(planned)
    code, text = _deploy(planned, removals={}, stage={}, activate={"h2": "failed", "h3": "failed"})
    assert code == 2, text
    code, text = _play(planned, "--list-hosts")
    assert code == 0, text
    assert "agents.toy: is not placed yet; run the plan again" in " ".join(text.split())


WAITING = """
plugin: agentfactory.core.fleet
inventory: hosts.yml
environment: lab
artifacts: dist
agents:
  big: {version: "1", source: big, hosts: h3, count: 1, resources: {cpu: 1}}
  toy: {version: "1", source: toy, hosts: h2, count: 1, resources: {cpu: 0.5}}
"""


def test_what_waits_for_room_gets_it_by_the_next_plan(planned: Path) -> None:
    """On h2, which is full until big, whose pattern has let go of h2, has left it."""
    (planned / "big").mkdir()
    (planned / "big/agent.yml").write_text(MANIFEST.replace("toy", "big"))
    (planned / "fleet.yml").write_text(WAITING)
    (planned / "placement.yml").write_text("plugin: agentfactory.core.fleet\nagents:\n  big: {h2: [0]}\n")
    _plan(planned)
    made = json.loads((planned / "plan.json").read_text())
    assert [step["text"] for step in made["steps"]] == ["move big@0 h2 -> h3"]
    assert [step["text"] for step in made["waiting"]] == ["new toy@0 on h2"]
    code, text = _deploy(planned, removals={"h2": ["big@0"]})
    assert code == 0, text
    assert "h2: removes big@0" in text
    _plan(planned)
    assert [step["text"] for step in json.loads((planned / "plan.json").read_text())["steps"]] == ["new toy@0 on h2"]
    code, text = _deploy(planned, removals={})
    assert code == 0, text
    assert yaml.safe_load((planned / "placement.yml").read_text())["agents"] == {"big": {"h3": [0]}, "toy": {"h2": [0]}}


def test_what_is_proven_elsewhere_is_retired_also_where_a_host_failed_within_the_budget(planned: Path) -> None:
    code, text = _deploy(planned, activate={"h3": "failed"})
    assert code == 2, text
    assert "h1: removes toy@0" in text
    assert text.index("h1: removes toy@0") < text.index("Failed: h3"), "and the verdict is the last word"
    assert yaml.safe_load((planned / "placement.yml").read_text()) == yaml.safe_load(BEFORE), "not all of it is proven"


@pytest.mark.parametrize(("status", "why"), [("failed", "toy@0: is stuck"), ("cut", "unreachable: cut")])
def test_what_cannot_be_retired_is_in_the_verdict(planned: Path, status: str, why: str) -> None:
    code, text = _deploy(planned, retire={"h1": status})
    assert code == 2, text
    assert _in_order(text, "Failed: h1", why), text


def test_nothing_is_retired_for_a_host_that_failed_or_once_the_budget_is_spent(planned: Path) -> None:
    for activate in ({"h2": "failed"}, {"h2": "failed", "h3": "failed"}):
        code, text = _deploy(planned, activate=activate)
        assert code == 2, text
        assert "removes toy@0" not in text


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--limit", "h1"], "goes without --limit"),
        (["-e", "agents=toy"], "a plan is of the whole fleet"),
        (["-e", '{"agentfactory_limit": ["h1"]}'], "a plan is of the whole fleet"),
        (["-e", "overwrite=true"], "overwrite=true would deploy other artifacts"),
    ],
)
def test_what_a_plan_goes_without(planned: Path, arguments: list[str], reason: str) -> None:
    code, text = _deploy(planned, *arguments)
    assert code, text
    assert reason in text
    assert "packaged" not in text


@pytest.mark.parametrize(
    ("staged", "portable"),
    [
        ("cut", False),  # it is off, as the plan has it
        ("ok", True),  # it is there again, and nothing is to run twice
    ],
)
def test_a_plan_without_a_lost_host_is_carried_out(planned: Path, staged: str, portable: bool) -> None:
    rule = ", state_portable: true" if portable else ""
    text = PLANNED.replace("count: 2", "count: 2" + rule).replace("max_failures: 1", "max_failures: 0")
    (planned / "fleet.yml").write_text(text)
    _plan(planned, "-e", "failed=h1")
    steps = json.loads((planned / "plan.json").read_text())["steps"]
    assert [step["text"] for step in steps] == ["restart toy@0 on h2 (h1 is lost)"]
    stage = {**MOVED["stage"], "h1": staged}
    if portable:
        code, text = _deploy(planned, stage=stage, activate={"h2": "failed"})
        assert code == 2, text
        assert "Runs again where it was: toy@0 on h1" in text
    code, text = _deploy(planned, stage=stage)
    assert code == 0, text
    assert "Lost, as the plan has it: h1" in text
    assert ("h1: stops toy@0" in text, "h1: removes toy@0" in text) == (portable, portable)
    assert "Wave 1 of 1: h2 h3\n" in text, "nothing is activated on a lost host"
    assert yaml.safe_load((planned / "placement.yml").read_text())["agents"] == {"toy": {"h2": [0], "h3": [1]}}


ONCE = """
plugin: agentfactory.core.fleet
inventory: hosts.yml
environment: lab
artifacts: dist
agents:
  toy:
    {version: "1", source: toy, hosts: "h2,h3", count: 2, state_portable: true, placement: {max_per_host: 1}, rollout: {waves: [1, 2]}}
"""
LEAVING = {"removals": {"h1": ["toy@0"], "h4": ["toy@1"]}, "stage": {"h5": "unchanged", "h6": "unchanged"}}
"""toy@0 moves from h1 to h2, and toy@1 from h4 to h3; the waves are h1, h2, and h3 with h4"""


@pytest.fixture
def once(planned: Path) -> Path:
    """The same with what must not run twice, and with a plan of it."""
    (planned / "fleet.yml").write_text(ONCE)
    (planned / "placement.yml").write_text("plugin: agentfactory.core.fleet\nagents:\n  toy: {h1: [0], h4: [1]}\n")
    _plan(planned)
    return planned


def _in_order(text: str, *parts: str) -> bool:
    places = [text.find(part) for part in parts]
    return -1 not in places and places == sorted(places)


def test_what_must_not_run_twice_moves_in_the_wave_of_its_new_host(once: Path) -> None:
    code, text = _deploy(once, **LEAVING)
    assert code == 0, text
    first = ("Wave 1 of 3: h1", "h1: stops toy@0", "Wave 2 of 3: h2", "h4: stops toy@1", "Wave 3 of 3: h3 h4")
    assert _in_order(text, *first, "h1: removes toy@0"), text
    assert _in_order(text, *first, "h4: removes toy@1"), text
    assert text.count("stops toy") == 2
    assert yaml.safe_load((once / "placement.yml").read_text())["agents"] == {"toy": {"h2": [0], "h3": [1]}}


@pytest.mark.parametrize("status", ["failed", "cut"])
def test_a_bad_canary_costs_one_move_and_that_one_is_taken_back(once: Path, status: str) -> None:
    code, text = _deploy(once, **LEAVING, activate={"h2": status})
    assert code == 2, text
    assert _in_order(text, "Wave 1 of 3: h1", "h1: stops toy@0", "h2: stops toy@0", "h1: starts toy@0"), text
    assert "Runs again where it was: toy@0 on h1" in text
    assert [part for part in ("toy@1", "removes") if part in text.partition("Fleet lab: ")[0]] == []


@pytest.mark.parametrize(
    ("retire", "seen"),
    [
        ({"h1": "failed"}, ["toy@0: has not stopped on h1, and must not run twice: toy@0: is stuck"]),
        ({"h1": "cut"}, ["toy@0: has not stopped on h1, and must not run twice: cut", "(h1 -> h2)"]),
        ({"h2": "cut"}, ["toy@0: may run on h2, so it is not started here again", "(h1 -> h2)"]),
    ],
)
def test_where_nobody_knows_whether_it_stopped_nothing_starts(
    once: Path, retire: dict[str, str], seen: list[str]
) -> None:
    code, text = _deploy(once, **LEAVING, retire=retire, activate={"h2": "failed"})
    assert code == 2, text
    assert [part for part in seen if part not in text] == [], text
    assert "h2: starts" not in text


def test_what_must_not_run_twice_moves_so_without_a_plan_too(once: Path) -> None:
    """As after a plan that was carried out in part: placement.yml says another place than where it runs."""
    (once / "placement.yml").write_text("plugin: agentfactory.core.fleet\nagents:\n  toy: {h2: [0], h3: [1]}\n")
    arguments = ("-e", json.dumps(LEAVING), "-e", "confirm_removals=2")
    code, text = _play(once, *arguments)
    assert code == 0, text
    assert _in_order(text, "h1: stops toy@0", "Wave 2 of 3: h2", "h4: stops toy@1", "Wave 3 of 3: h3 h4"), text
    assert "h1: removes toy@0" in text
    code, text = _play(once, *arguments, "--check")
    assert code == 0, text
    assert "stops" not in text


def test_only_a_deploy_carries_out_a_plan(planned: Path) -> None:
    path = planned / "play.yml"
    path.write_text(path.read_text().replace(", ''plan''", ""))
    code, text = _deploy(planned)
    assert code, text
    assert "only a deploy carries out a plan" in text


def test_what_is_settled_is_the_plan_that_the_run_began_with(planned: Path) -> None:
    """Somebody plans during the deploy: the file is another one by its end."""
    other = {**json.loads((planned / "plan.json").read_text()), "placement": {"toy": {"h3": [0, 1]}}}
    code, text = _deploy(planned, write={"h2": {"path": str(planned / "plan.json"), "text": json.dumps(other)}})
    assert code == 0, text
    assert yaml.safe_load((planned / "placement.yml").read_text())["agents"] == {"toy": {"h2": [0], "h3": [1]}}


def test_a_run_begins_with_the_plan_that_its_fleet_was_read_with(planned: Path) -> None:
    other = json.dumps({**json.loads((planned / "plan.json").read_text()), "placement": {"toy": {"h3": [0, 1]}}})
    task = {"copy": {"dest": str(planned / "plan.json"), "content": other, "mode": "0600"}, "run_once": True}
    first = [{"name": "Plan", "hosts": "h1", "gather_facts": False, "tasks": [task]}]
    path = planned / "play.yml"
    path.write_text(yaml.safe_dump([*first, *yaml.safe_load(path.read_text())], sort_keys=False))
    code, text = _deploy(planned)
    assert code, text
    assert "is another plan than this run began with" in text
    assert "Wave" not in text


def _toys(text: str) -> str:
    """Plays with this file's action in place of those that work on hosts."""
    return re.sub(r"agentfactory\.core\.agent_(service|release):", "toy:", text)


def test_a_playbook_of_ones_own_as_the_guide_has_it(project: Path) -> None:
    guide = (ansible_programs.ROOT / "docs/rollout.md").read_text()
    (text,) = re.findall(r"```yaml\n(- name: Stage\n.+?)```", guide, re.DOTALL)
    (project / "play.yml").write_text(text)
    code, said = _play(project, "--list-hosts")
    assert code == 0, said
    (project / "rollout.yml").write_text(_toys((ansible_programs.ROOT / "playbooks/rollout.yml").read_text()))
    (project / "play.yml").write_text(_toys(text).replace("agentfactory.core.rollout\n", "rollout.yml\n"))
    code, said = _play(
        project, "-e", "ansible_become=false", "-e", '{"activate": {"h2": "failed"}, "after": {"h2": "h3"}}'
    )
    assert code == 2, said
    assert "Undone (rollback: fleet): h1 h3\n" in said
    assert "Failed: h2" in said


def test_a_run_within_a_run_has_its_own_ledger(project: Path) -> None:
    """A playbook that is started by a task inherits the environment, and must not take the outer run for its own."""
    task = "- {hosts: h1, gather_facts: false, tasks: [{command: {cmd: ansible-playbook -i fleet.yml play.yml}}]}\n"
    path = project / "play.yml"
    (project / "outer.yml").write_text(path.read_text() + task)
    path.rename(project / "inner.yml")
    (project / "outer.yml").rename(path)
    path.write_text(
        path.read_text().replace(
            "ansible-playbook -i fleet.yml play.yml",
            f"{ansible_programs.BIN}/ansible-playbook -i {project}/fleet.yml {project}/inner.yml",
        )
    )
    code, text = _play(project)
    assert code == 0, text
    assert len(list((project / f"agentfactory-{os.getuid()}/runs").glob("*.jsonl"))) == 2


HERE = """
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        said = task_vars["said"].get(task_vars["inventory_hostname"], [])
        found = [dict(zip(("agent", "agent_id", "environment"), (i.split("@")[0], *i.split()), strict=True)) for i in said]
        return {"instances": found[:1], "kept": found[1:]}
"""
SAID = {"h2": ["old@0 lab", "older@0 lab"], "h4": ["old@1 lab", "theirs@0 other"]}


@pytest.mark.parametrize(
    ("agents", "asked", "nowhere"),
    [
        ("toy", False, ""),
        ("all", False, ""),
        ("old", True, ""),
        ("toy,old,older", True, ""),
        ("old@1", True, ""),
        ("old@2", True, "old@2"),
        ("toy,old,odl", True, "odl"),
        ("theirs", True, "theirs"),
    ],
)
def test_what_left_the_fleet_is_destroyed_where_a_host_has_it(
    project: Path, agents: str, asked: bool, nowhere: str
) -> None:
    """The playbook as it is, with an action that says what is on each host (an instance, and kept state) and one that removes nothing."""
    text = (ansible_programs.ROOT / "playbooks" / "destroy.yml").read_text().replace("become: true", "become: false")
    plays = yaml.safe_load(text.replace("agentfactory.core.agent_info:", "here:"))
    removing = plays[0]["tasks"][-1]
    removing["debug"] = {"msg": f"removes {removing.pop('agentfactory.core.agent_release')['only']}"}
    (project / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    (project / "action_plugins/here.py").write_text(HERE)
    code, text = _play(project, "-e", json.dumps({"agents": agents, "said": SAID}))
    assert bool(code) == bool(nowhere), text
    assert ("removes" in text) != bool(nowhere), text
    assert ("skipping: [h1]" in text) != asked, text
    assert (f"The fleet declares no agent {nowhere}, and no host that answered" in text) == bool(nowhere), text
