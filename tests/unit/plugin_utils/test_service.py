# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An activation from the controller's side: started, followed to its end, and told."""

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils import activator
from ansible_collections.agentfactory.core.plugins.plugin_utils import service
from ansible_collections.agentfactory.core.plugins.plugin_utils.remote import RemoteError
from ansible_collections.agentfactory.core.plugins.plugin_utils.service import Service, arrow


def step(**more):
    return {
        "agent": "arm", "instance": "0", "action": "activate", "from": "1-a", "to": "2-b", "phase": "done",
        "result": "ok", "message": "2-b is healthy", **more,
    }  # fmt: skip


class Task:
    """What Service uses of an action; `answers` are the host's, one a call."""

    def __init__(self, *answers, check=False):
        self.answers, self.calls, self.told, self.check = list(answers), [], [], check

    def remote(self):
        return self

    def call(self, request):
        self.calls.append(request)
        return self.answers.pop(0)

    def request(self, operation, **more):
        return {"op": operation, "check": self.check, **more}

    def keep(self):
        return 3

    def tell(self, line):
        self.told.append(line)


def test_it_is_followed_to_its_end_and_progress_is_told_once():
    task = Task(
        {"done": False, "allowed": 600, "steps": [step(phase="switching"), step(instance="1", phase="planned")]},
        {"done": False, "allowed": 600, "steps": [step(phase="switching"), step(instance="1", phase="planned")]},
        {
            "done": False,
            "allowed": 600,
            "steps": [step(phase="switching", note="healthy, baking"), step(instance="1", phase="planned")],
        },
        {"done": True, "steps": [step(gap=0.25), step(instance="1", gap=None)]},
    )
    service = Service(task)
    result = service.run("started", as_declared=True)
    assert [c["op"] for c in task.calls] == ["activate", "follow", "follow", "follow"]
    assert all((c["state"], c["keep"], c["as_declared"]) == ("started", 3, True) for c in task.calls)
    assert task.told == [
        "arm@0: switching ...", "arm@1: planned ...", "arm@0: healthy, baking ...",
        "arm@0: 1-a -> 2-b is healthy after 0.2 s", "arm@1: 1-a -> 2-b is healthy",
    ]  # fmt: skip
    assert result["changed"]
    assert service.switched
    assert [i["result"] for i in result["instances"]] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("phases", "told"), [(("switching", "done"), "arm@0: switching"), (("done", "done"), "on its way back")]
)
def test_an_activation_that_never_ends_is_not_waited_for_for_ever(monkeypatch, phases, told):
    """Each call takes 20 seconds of this clock."""
    steps = [step(instance=str(number), phase=phase) for number, phase in enumerate(phases)]
    task = Task(*[{"done": False, "allowed": 1040.0, "steps": steps}] * 60)
    monkeypatch.setattr(service.time, "monotonic", lambda: 20.0 * len(task.calls))
    with pytest.raises(RemoteError, match=rf"not come to an end within 1040 s \({told}\).* run this again"):
        Service(task).run("started", fail=False)
    assert len(task.calls) == 54
    assert "agentfactory-activation" in activator.UNIT


def test_nothing_to_do_changes_nothing():
    service = Service(Task({"done": True, "steps": []}))
    result = service.run("started")
    assert (result["changed"], result["changes"], service.switched) == (False, [], False)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, "arm@0: 1-a -> 2-b is healthy"),
        ({"from": None}, "arm@0: 2-b is healthy"),
        ({"from": "2-b"}, "arm@0: 2-b is healthy"),
        ({"gap": 1.26}, "arm@0: 1-a -> 2-b is healthy after 1.3 s"),
        ({"action": "stop", "to": None}, "arm@0: is stopped"),
        ({"action": "enable", "to": None}, "arm@0: starts at boot"),
        ({"action": "remove", "to": None}, "arm@0: is removed"),
        ({"action": "purge", "to": None}, "arm@0: has no state any more"),
        ({"action": "deactivate", "to": None}, "arm@0: is off again"),
        ({"result": "skipped", "message": "not attempted"}, "arm@0: SKIPPED: not attempted"),
    ],
)
def test_each_outcome_in_a_line(more, line):
    task = Task({"done": True, "steps": [step(**more)]})
    assert Service(task).run("started")["changes"] == task.told == [line]


FAILED = [step(result="undone", message="undone with its sibling"), step(instance="1", result="failed", message="2-b failed: tcp"),
          step(instance="2", result="skipped", message="not attempted")]  # fmt: skip


def test_failures_fail_the_task_with_one_message_an_instance():
    service = Service(Task({"done": True, "steps": FAILED}))
    with pytest.raises(RemoteError) as caught:
        service.run("started")
    assert str(caught.value) == "arm@0: undone with its sibling\narm@1: 2-b failed: tcp"
    assert service.switched


def test_failures_are_a_result_in_a_rollout():
    result = Service(Task({"done": True, "steps": FAILED})).run("started", fail=False)
    assert result["failures"] == ["arm@0: undone with its sibling", "arm@1: 2-b failed: tcp"]
    assert [i["result"] for i in result["instances"]] == ["undone", "failed", "skipped"]


@pytest.mark.parametrize(("steps", "failed"), [([step(**{"from": "2-b", "to": "1-a"})], []), (FAILED, FAILED[:2])])
def test_what_an_undo_cannot_bring_back_is_a_failure_of_its_own(steps, failed):
    task = Task({"done": False, "allowed": 600, "steps": steps, "gone": ["eye@0"]}, {"done": True, "steps": steps})
    told = [f"arm@{item['instance']}: {item['message']}" for item in failed]
    result = Service(task).run("undone", fail=False)
    assert result["failures"] == [*told, "eye@0: this run removed it, and cannot bring it back"]


def test_an_interruption_by_a_reboot_always_fails():
    service = Service(Task({"done": True, "interrupted": True, "steps": [step(phase="switching")]}))
    with pytest.raises(RemoteError, match="was restarted in the middle"):
        service.run("started", fail=False)
    assert service.switched


@pytest.mark.parametrize(("steps", "changed"), [([], False), ([step(phase="planned")], True)])
def test_a_check_tells_the_plan_and_follows_nothing(steps, changed):
    task = Task({"done": True, "steps": steps}, check=True)
    service = Service(task)
    result = service.run("started")
    assert (result["changed"], result["changes"]) == (changed, ["arm@0: activate 1-a -> 2-b"] if changed else [])
    assert task.told == (["would arm@0: activate 1-a -> 2-b"] if changed else [])
    assert not service.switched
    assert len(task.calls) == 1


def test_arrows():
    assert arrow(step()) == "1-a -> 2-b"
    assert arrow(step(action="stop")) == ""
