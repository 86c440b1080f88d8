# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter agentfactory.core.scrypt: the hash of a password as the exporter's configuration has it."""

DOCUMENTATION = r"""
name: scrypt
short_description: Hash a password for the exporter
version_added: 0.1.0
author: agentfactory contributors (@agentfactory)
description:
  - Gives the scrypt hash (RFC 7914) of a password, in the form that the exporter of the role
    P(agentfactory.core.monitoring#role) reads. The same password and salt give the same hash.
positional: salt
options:
  _input:
    description: The password.
    type: str
    required: true
  salt:
    description: What keeps equal passwords from having equal hashes, such as the host's name.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Configure the exporter
  ansible.builtin.copy:
    content: "{{ {'users': {'prometheus': monitoring_password | agentfactory.core.scrypt(inventory_hostname)}} | to_json }}"
    dest: /etc/agentfactory-exporter/config.json
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_value:
  description: The salt, a dollar sign and the hash in hexadecimal digits.
  type: str
"""

from collections.abc import Callable

from ansible_collections.agentfactory.core.plugins.module_utils.exporter import password_hash


class FilterModule:
    def filters(self) -> dict[str, Callable[..., str]]:
        return {"scrypt": lambda password, salt: password_hash(str(password), str(salt))}
