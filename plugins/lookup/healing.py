# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup agentfactory.core.healing: the hosts of the plays of agentfactory.core.heal."""

DOCUMENTATION = r"""
name: healing
short_description: The hosts of the plays that heal
version_added: 0.1.0
author: agentfactory contributors (@agentfactory)
description:
  - Gives the plays of C(agentfactory.core.heal) their hosts, from the alert that the playbook is run for and from what
    M(agentfactory.core.agent_healing) decided.
  - The alert is outside input. Its values are read raw, never as templates, and matched against strict patterns and the inventory.
options:
  _terms:
    description:
      - V(host) gives the alert's host, as a list. It fails where the alert is refused, and notes that in the healer's journal.
      - V(restart), V(rollback), V(diagnose) and V(failover) give that host where this is what was decided, else an empty list. (A
        rollback is diagnosed too.)
      - V(agents) gives the alert's agent id, as a list.
      - V(bundles) gives the directory for diagnoses, C(bundles) below C(healing_directory).
      - V(healer) gives the words with which hosts remember who acted.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Restart what is down
  ansible.builtin.import_playbook: agentfactory.core.restart
  vars:
    agentfactory_limit: "{{ lookup('agentfactory.core.healing', 'restart') }}"
    agents: "{{ lookup('agentfactory.core.healing', 'agents') }}"
"""

RETURN = r"""
_raw:
  description: One element, a string or a list, depending on the term.
  type: list
  elements: raw
"""

import os
import time
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.agentfactory.core.plugins.plugin_utils import fleet, healing, healing_journal

TERMS = ("host", "agents", "bundles", "healer", *healing.ACTIONS)


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        if not terms or terms[0] not in TERMS:
            raise AnsibleError(f"the first term must be one of {', '.join(TERMS)}")
        if any(context.CLIARGS.get(key) for key in ("syntax", "listhosts", "listtasks", "listtags")):
            return [[]]
        term, given = terms[0], variables or {}
        try:
            alert = healing.read(healing.given(given), given["groups"], fleet.GROUP)
        except healing.Refused as refusal:
            if term == "host":
                self._note(str(refusal), given)
            raise AnsibleError(f"the alert is refused: {refusal}. Nothing was done") from refusal
        if term == "host":
            return [[alert.host]]
        if term == "healer":
            return [alert.healer]
        if term == "bundles":
            return [os.path.join(self._journal(given).directory, "bundles")]
        if term == "agents":
            return [[alert.agent_id] if alert.agent_id else []]
        decided = self._decided(given, alert.host)
        return [[alert.host] if term == decided or (term, decided) == ("diagnose", "rollback") else []]

    def _decided(self, variables: dict[str, Any], host: str) -> str:
        return str((variables["hostvars"].raw_get(host).get("agentfactory_healing") or {}).get("action", ""))

    def _journal(self, variables: dict[str, Any]) -> healing_journal.Journal:
        directory = self._templar.template(variables.get("healing_directory", healing_journal.DEFAULT))
        return healing_journal.Journal(str(directory))

    def _note(self, reason: str, variables: dict[str, Any]) -> None:
        try:
            self._journal(variables).append(lambda _records: healing.record("refused", time.time(), reason=reason))
        except healing_journal.JournalError as error:
            raise AnsibleError(f"the alert is refused: {reason}. Nothing was done. {error}") from error
