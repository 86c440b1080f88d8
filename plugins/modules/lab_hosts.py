# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real systemd hosts in podman."""

DOCUMENTATION = r"""
module: lab_hosts
short_description: Real systemd hosts in podman, which enforce what their units ask for
version_added: 0.1.0
description:
  - Brings up containers that boot systemd and sshd, each with its own address on a network of the lab, several at a time.
  - Waits for every host's boot, then probes from inside units that sandboxes, limits and credentials are really enforced.
    The probes run once a boot. A host that fails is named, with what is wrong.
  - A host keeps its container and its address as long as nothing of it is to be different. Hosts of the lab that are no
    longer listed are removed.
  - Runs as root on the machine that is to carry the lab.
author:
  - agentfactory contributors (@agentfactory)
options:
  lab:
    description: Name of the lab; also of its network.
    type: str
    required: true
  hosts:
    description: The lab's hosts.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name in the inventory, and host name.
        type: str
        required: true
      release:
        description: Its Debian release.
        type: str
        required: true
      image:
        description: Its image, as M(agentfactory.core.lab_images) returns it.
        type: str
        required: true
  public_key:
    description: SSH public key that C(root) and C(operator) accept.
    type: str
    default: ""
  subnet:
    description: Subnet of the lab's network. Where it is empty podman chooses a free one.
    type: str
    default: ""
  boot_timeout:
    description: Seconds that a host may take to boot.
    type: int
    default: 60
  inotify_instances:
    description: The kernel's C(fs.inotify.max_user_instances) is raised to this.
    type: int
    default: 8192
  broker_password:
    description:
      - Password of the user C(thermostat) of an MQTT broker on the first host.
      - Without it there is no broker.
    type: str
  state:
    description: V(absent) removes the hosts and the network.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Says what would be made, started or removed. A host that is not there yet has no address then.
    support: full
  diff_mode:
    description: Shows the hosts before and after.
    support: full
  idempotent:
    description: Hosts that run as asked are left alone.
    support: full
seealso:
  - module: agentfactory.core.lab_images
"""

EXAMPLES = r"""
- name: Bring up two hosts
  agentfactory.core.lab_hosts:
    lab: demo
    hosts:
      - {name: home-1, release: bookworm, image: "{{ made.images.bookworm }}"}
      - {name: home-2, release: trixie, image: "{{ made.images.trixie }}"}
    public_key: "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
  become: true
"""

RETURN = r"""
hosts:
  description: The hosts in the order asked for; in check mode those that are not there yet have no address and no key.
  returned: when O(state=present)
  type: list
  elements: dict
  contains:
    name:
      description: Name of the host.
      type: str
    container:
      description: Name of its container.
      type: str
    release:
      description: Its Debian release.
      type: str
    address:
      description: Its address.
      type: str
    host_key:
      description: Its SSH host key.
      type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.lab import broker, hosts, machine
from ..module_utils.lab.command import LabError, locked
from ..module_utils.lab.plan import Wanted, container_name, make_plan

HOST: dict[str, Any] = {name: {"type": "str", "required": True} for name in ("name", "release", "image")}
ARGUMENT_SPEC: dict[str, Any] = {
    "lab": {"type": "str", "required": True},
    "hosts": {"type": "list", "elements": "dict", "default": [], "options": HOST},
    "public_key": {"type": "str", "default": "", "no_log": False},
    "subnet": {"type": "str", "default": ""},
    "boot_timeout": {"type": "int", "default": 60},
    "inotify_instances": {"type": "int", "default": 8192},
    "broker_password": {"type": "str", "no_log": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def wanted_hosts(params: dict[str, Any]) -> list[Wanted]:
    flags = (*machine.flags(machine.this_machine()), f"--env=LAB_KEY={params['public_key']}")
    return [
        Wanted(
            name=host["name"],
            container=container_name(params["lab"], host["name"]),
            release=host["release"],
            image=host["image"],
            flags=flags,
        )
        for host in params["hosts"]
    ]


def absent(params: dict[str, Any], check: bool) -> dict[str, Any]:
    there = hosts.present(params["lab"])
    subnet = hosts.network_subnet(params["lab"])
    if not check:
        hosts.each(hosts.remove, [host.container for host in there])
        if subnet:
            hosts.remove_network(params["lab"])
    before = "".join(f"{host.container}\n" for host in there)
    return {"changed": bool(there or subnet), "diff": {"before": before, "after": ""}}


def present(params: dict[str, Any], check: bool) -> dict[str, Any]:
    lab = params["lab"]
    raised = machine.raise_inotify(params["inotify_instances"], check)
    there = hosts.present(lab)
    subnet = hosts.network_subnet(lab)
    without_network = subnet is None
    if without_network and not check:
        subnet = hosts.create_network(lab, params["subnet"])
    wanted = wanted_hosts(params)
    plan = make_plan(wanted, there, subnet)
    running = [host.container for host in wanted if host not in plan.create and host.container not in plan.start]
    answers: dict[str, Any] = {}
    if not check:
        hosts.apply(lab, plan)
        running = [host.container for host in wanted]
    answers = dict(zip(running, hosts.each(lambda name: hosts.ask(name, params["boot_timeout"]), running)))
    serving = set_up_broker(params, wanted, running, check)
    result = [
        {
            "name": host.name,
            "container": host.container,
            "release": host.release,
            "address": plan.addresses[host.container],
            "host_key": answers.get(host.container, {}).get("host_key", ""),
        }
        for host in wanted
    ]
    diff = {
        "before": "".join(f"{host.container} {host.spec} {host.state}\n" for host in there),
        "after": "".join(f"{host.container} {host.spec} running\n" for host in wanted),
    }
    return {"changed": raised or without_network or plan.changed or serving, "hosts": result, "diff": diff}


def set_up_broker(params: dict[str, Any], wanted: list[Wanted], running: list[str], check: bool) -> bool:
    """Whether the broker had to be set up (or, in check mode, would be)."""
    password = params["broker_password"]
    if not password or not wanted:
        return False
    container = wanted[0].container
    if container in running and broker.is_set_up(container, password):
        return False
    if not check:
        broker.set_up(container, password)
    return True


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    ensure = present if module.params["state"] == "present" else absent
    try:
        with locked(f"lab-{module.params['lab']}"):
            result = ensure(module.params, module.check_mode)
    except LabError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
