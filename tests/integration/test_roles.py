# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles package, distribute, install, configure and start, one after the other in a playbook of one's own, on one host."""

import shutil

import yaml

from .harness import AGENTS, Fleet, Host

# What is there of an agent, a word each.
THERE = r"""
for what in store trees agents; do test -z "$(ls -A /opt/agentfactory/$what 2>/dev/null)" || echo $what; done
getent passwd | grep -q '^af-' && echo user
ls /etc/systemd/system/agentfactory-* >/dev/null 2>&1 && echo unit
systemctl is-active --quiet agentfactory-probe-agent@0 && echo runs
true
"""
STEPS = {
    "package": [],
    "distribute": ["store"],
    "install": ["store", "trees"],
    "configure": ["store", "trees", "agents", "user"],
    "start": ["store", "trees", "agents", "user", "unit", "runs"],
}


def test_each_role_reaches_its_step_and_no_more_and_the_second_run_changes_nothing(
    fleet: Fleet, hosts: list[Host]
) -> None:
    host = hosts[2]
    shutil.copytree(AGENTS / "probe-agent", fleet.folder / "source")
    fleet.write({"probe-agent": {"source": "source"}}, artifacts="artifacts")
    there = {"ansible.builtin.shell": THERE, "changed_when": False, "check_mode": False}
    tasks = [
        task
        for role in STEPS
        for task in ({"ansible.builtin.import_role": {"name": f"agentfactory.core.{role}"}}, there)
    ]
    playbook = fleet.folder / "steps.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": host.name, "gather_facts": False, "become": True, "tasks": tasks}]))
    first = fleet.run(playbook).ok()
    assert [result["stdout"].split() for result in first.of(host, "shell")] == list(STEPS.values())
    assert first.recap[host.name]["changed"] == len(STEPS)
    assert (fleet.folder / "artifacts" / "probe-agent" / "index.json").is_file()
    said = host.agent()
    assert said["version"] == "1.0.0"
    second = fleet.run(playbook).ok()
    assert second.changed == 0, second.output
    assert [result["stdout"].split() for result in second.of(host, "shell")] == [STEPS["start"]] * len(STEPS)
    assert host.agent()["pid"] == said["pid"]
