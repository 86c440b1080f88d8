# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan knows of hosts' variables, and what it does not: values that are vaulted."""

from pathlib import Path
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.agentfactory.core.plugins.plugin_utils.fleet_variables import Variables

PLAIN = "point: 21\nword: hunter2\nlist: [hunter2, {a: hunter2, b: true}]\nnested: '{{ point }}'\n"


@pytest.mark.parametrize("vaulted", [False, True])
def test_what_is_in_a_vaulted_file_is_not_looked_at(tmp_path: Path, vaulted: bool) -> None:
    """Its names are: so what hides is left out, and what it names is found."""
    secret = VaultSecret(b"a password")
    text = VaultLib([("default", secret)]).encrypt(PLAIN, secret=secret) if vaulted else PLAIN.encode()
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_bytes(text)
    hosts = tmp_path / "hosts.yml"
    hosts.write_text("all: {hosts: {h1: {open: '{{ word }}'}}}")
    loader = DataLoader()
    loader.set_vault_secrets([("default", secret)])
    variables = Variables(loader, InventoryManager(loader=loader, sources=[str(hosts)]))
    found = variables.behind("h1", {"x": "{{ open }} {{ list }} {{ nested }}"})
    inside: dict[str, Any] = {
        "word": "hunter2", "list": ["hunter2", {"a": "hunter2", "b": True}], "nested": "{{ point }}", "point": 21,
    }  # fmt: skip
    hidden = {"word": None, "list": [None, {"a": None, "b": True}], "nested": None, "point": None}
    assert found == {"open": "{{ word }}", **(hidden if vaulted else inside)}
