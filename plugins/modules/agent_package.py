#!/usr/bin/python
# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: agent_package
short_description: Package an agent as a reproducible OCI artifact
description:
  - Reads an agent's manifest, C(agent.yml), builds its source, resolves its dependencies for the hosts' platforms with C(uv),
    and writes the result as one version of an OCI image layout, C(<artifacts>/<name>).
  - The same manifest, source and lock give the same digest on another day and on another machine.
  - Runs on the controller; no host is contacted. Use it with C(run_once).
version_added: 0.1.0
author:
  - agentfactory contributors (@agentfactory)
requirements:
  - uv on the controller, as the Python package or on E(PATH), for agents that are Python programs
  - jsonschema (4.18 or later) on the controller, for manifests with a schema
attributes:
  check_mode:
    description: Builds in a temporary directory where something changed, and writes neither artifact nor lock.
    support: full
  diff_mode:
    description: Shows the list of files against that of the same version, or else of the newest other one.
    support: full
  idempotent:
    description: Nothing is built where manifest, source, lock and platforms are those that the artifact was made from.
    support: full
options:
  source:
    description: The directory of an agent, or its C(agent.yml). A relative path begins at the playbook.
    type: path
    required: true
  artifacts:
    description: The directory of artifacts. A relative path begins at the playbook.
    type: path
    required: true
  platforms:
    description:
      - The hosts' platforms, such as V(linux/amd64+glibc2.36+py3.11). They replace C(runtime.platforms) of the manifest.
      - A version that is there already with the same content gets the platforms that it lacks.
    type: list
    elements: str
  default_platforms:
    description:
      - Platforms for an agent whose manifest names none, where O(platforms) is not given.
      - Those that do not go with C(runtime.python) are left out, and C(+py) is dropped for an agent that is no Python program.
    type: list
    elements: str
  overwrite:
    description: Replaces a version that is there with other content. Without it that is an error.
    type: bool
    default: false
  upgrade_lock:
    description: Resolves the dependencies anew, and writes C(agent.lock) beside C(agent.yml).
    type: bool
    default: false
seealso:
  - module: agentfactory.core.agent_release
"""

EXAMPLES = r"""
- name: Package the thermostat for two kinds of hosts
  agentfactory.core.agent_package:
    source: ../agents/thermostat
    artifacts: ../dist
    platforms:
      - linux/amd64+glibc2.36+py3.11
      - linux/arm64+glibc2.36+py3.11
  run_once: true

- name: Renew what it depends on, under a new version
  agentfactory.core.agent_package:
    source: ../agents/thermostat
    artifacts: ../dist
    upgrade_lock: true
  run_once: true
"""

RETURN = r"""
name:
  description: The agent's name.
  returned: success
  type: str
  sample: thermostat
version:
  description: The version that was packaged.
  returned: success
  type: str
  sample: 1.4.2
digest:
  description: The OCI digest of the version's image index.
  returned: success
  type: str
  sample: sha256:f08a0fbc4eae29ec8f6f92aecbbf330280a2833580c88fc7a40725b2cd6bb5ce
artifact:
  description: Where the version is; C(oci:) before it makes it a reference for skopeo and podman.
  returned: success
  type: str
  sample: /srv/dist/thermostat:1.4.2
targets:
  description: What the version holds for each platform.
  returned: success
  type: list
  elements: dict
  contains:
    target:
      description: The platform.
      type: str
      sample: linux/amd64+glibc2.36+py3.11
    tree:
      description: Digest of the files.
      type: str
    content:
      description: Digest of files and manifest.
      type: str
size:
  description: Bytes of all the version's blobs.
  returned: success
  type: int
  sample: 1200000
msg:
  description: What was done, in a sentence.
  returned: always
  type: str
  sample: thermostat 1.4.2 packaged for 2 targets, 1.2 MB in all
"""
