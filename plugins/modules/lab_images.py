# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root file systems for the lab's hosts."""

DOCUMENTATION = r"""
module: lab_images
short_description: Make the root file systems of the lab's hosts
version_added: 0.1.0
description:
  - Makes one podman image for each Debian release with C(mmdebstrap), from the mirror in this machine's apt configuration.
  - An image is tagged by what it is made of (release, packages, recipe), so it is made once.
  - Runs as root on the machine that is to carry the lab.
author:
  - agentfactory contributors (@agentfactory)
options:
  releases:
    description: Debian releases by code name.
    type: list
    elements: str
    default: []
  packages:
    description: Packages beside those that every host of the lab has.
    type: list
    elements: str
    default: []
  mirror:
    description:
      - Debian mirror to use instead of this machine's own.
      - Where this is empty and the machine has no Debian mirror, C(mmdebstrap) chooses.
    type: str
    default: ""
  jobs:
    description: How many are made at a time.
    type: int
    default: 2
  state:
    description: V(absent) removes every image that this module ever made.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Says which images would be made or removed.
    support: full
  diff_mode:
    description: Images have no text to compare.
    support: none
  idempotent:
    description: An image that is there is not made again.
    support: full
"""

EXAMPLES = r"""
- name: Have a root file system of two releases
  agentfactory.core.lab_images:
    releases: [bookworm, trixie]
    packages: [keepalived]
  become: true
"""

RETURN = r"""
images:
  description: The image of each release.
  returned: when O(state=present)
  type: dict
  sample: {bookworm: "localhost/agentfactory-lab/bookworm:0123456789ab"}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.lab import image
from ..module_utils.lab.command import LabError, locked

ARGUMENT_SPEC: dict[str, Any] = {
    "releases": {"type": "list", "elements": "str", "default": []},
    "packages": {"type": "list", "elements": "str", "default": []},
    "mirror": {"type": "str", "default": ""},
    "jobs": {"type": "int", "default": 2},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def ensure(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """The images as asked for; the result as Ansible wants it."""
    if params["state"] == "absent":
        there = image.listed()
        if there and not check:
            image.remove(there)
        return {"changed": bool(there)}
    packages = image.all_packages(params["packages"])
    images = {release: image.tag(release, packages) for release in params["releases"]}
    there = image.listed()
    to_make = [release for release, name in images.items() if name not in there]
    if to_make and not check:
        image.build_all(to_make, packages, params["mirror"], params["jobs"])
    return {"changed": bool(to_make), "images": images}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        with locked("lab-images"):
            result = ensure(module.params, module.check_mode)
    except LabError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
