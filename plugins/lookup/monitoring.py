# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup agentfactory.core.monitoring: what the role monitoring needs to know of the fleet."""

DOCUMENTATION = r"""
name: monitoring
short_description: Scrape targets and expectations of a fleet
version_added: 0.1.0
author: agentfactory contributors (@agentfactory)
description:
  - Gives Prometheus' view of the fleet in the inventory, for the role P(agentfactory.core.monitoring#role).
  - All hosts of the group C(agentfactory) count, also those that a C(--limit) leaves out.
options:
  _terms:
    description:
      - V(hosts) gives the targets of an exporter that runs on every host, as groups for C(file_sd_configs).
      - V(agents) gives the targets of the agents' own metrics, where their manifests name some.
      - V(expected) gives recording rules that say which agents the fleet expects and how many of each it needs, the agents' objectives and
        token budgets, and which hosts are in maintenance (C(agentfactory_maintenance)).
      - V(environment) gives what the fleet is called.
      - V(exporter) gives the path on the controller of the exporter's program.
      - V(programs) gives the paths on the host of those of O(names) that come from O(archives), by name.
      - V(fetched) gives these programs as C({src, dest}), after it has fetched the archives and checked their digests.
      - V(too_old) gives what speaks against the packages in O(policy).
    type: list
    elements: str
    required: true
  port:
    description:
      - With V(hosts), the exporter's port.
      - With V(agents), the port of the exporter that passes their pages on. Without it, they are asked themselves.
    type: int
  archives:
    description: The role's C(monitoring_archives).
    type: dict
    default: {}
  architectures:
    description: The role's C(monitoring_architectures).
    type: dict
    default: {}
  machine:
    description: The host's C(uname -m).
    type: str
    default: ''
  names:
    description: With V(programs) and V(fetched), which programs.
    type: list
    elements: str
    default: []
  policy:
    description: With V(too_old), what C(apt-cache policy) printed.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Say whom to scrape
  ansible.builtin.copy:
    content: "{{ lookup('agentfactory.core.monitoring', 'hosts', port=9100) | to_nice_json }}"
    dest: /etc/prometheus/targets/node/production.json
    mode: "0644"
"""

RETURN = r"""
_raw:
  description: One element, a list, a mapping or a path, depending on the term.
  type: list
  elements: raw
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.agentfactory.core.plugins.plugin_utils import (
    declare,
    expectations,
    monitoring,
    programs,
    run,
    tree,
)
from ansible_collections.agentfactory.core.plugins.plugin_utils.fleet import GROUP

TERMS = ("hosts", "agents", "expected", "environment", "exporter", "programs", "fetched", "too_old")


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        if len(terms) != 1 or terms[0] not in TERMS:
            raise AnsibleError(f"give one term of {', '.join(TERMS)}")
        try:
            return [self._one(terms[0], variables or {})]
        except (declare.DeclarationError, run.RunError, programs.ProgramError, tree.PackageError) as error:
            raise AnsibleError(str(error)) from error

    def _one(self, term: str, variables: dict[str, Any]) -> Any:
        if term == "exporter":
            return monitoring.exporter(_version())
        if term == "hosts":
            if self.get_option("port") is None:
                raise AnsibleError("port: is missing: of which exporter?")
            return monitoring.hosts(_members(variables), int(self.get_option("port")))
        if term == "environment":
            return _of_fleet(variables, "agentfactory_environment")
        if term == "agents":
            return monitoring.agents(
                _members(variables), _of_fleet(variables, "agentfactory_artifacts"), self.get_option("port")
            )
        if term == "expected":
            return expectations.expected(_members(variables), _of_fleet(variables, "agentfactory_artifacts"))
        if term == "too_old":
            return programs.candidates_too_old(self.get_option("policy"))
        return self._programs(term)

    def _programs(self, term: str) -> Any:
        given = {name: self.get_option(name) for name in ("archives", "architectures", "machine")}
        if not given["archives"]:
            return {} if term == "programs" else []
        archives = programs.Archives(given["archives"], given["architectures"], given["machine"])
        paths = archives.paths(self.get_option("names"))
        if term == "programs":
            return paths
        return [{"src": path, "dest": paths[name]} for name, path in archives.fetch(self.get_option("names")).items()]


def _names(variables: dict[str, Any]) -> list[str]:
    """The fleet's hosts. A group of this name that somebody else has made is none."""
    names = list(variables["groups"].get(GROUP, []))
    if GROUP not in variables["groups"] or any(
        "agentfactory_artifacts" not in variables["hostvars"][name] for name in names[:1]
    ):
        raise AnsibleError("there is no fleet in this inventory: no source with 'plugin: agentfactory.core.fleet'")
    return names


def _members(variables: dict[str, Any]) -> list[monitoring.Member]:
    return [monitoring.Member.of(name, variables["hostvars"][name]) for name in _names(variables)]


def _of_fleet(variables: dict[str, Any], name: str) -> str:
    """A variable that is the same on all of the fleet's hosts; empty where it has none."""
    return "".join(str(variables["hostvars"][host][name]) for host in _names(variables)[:1])


def _version() -> str:
    import importlib.resources

    import yaml

    package = importlib.resources.files("ansible_collections.agentfactory.core")
    for name, key in (("galaxy.yml", None), ("MANIFEST.json", "collection_info")):
        file = package / name
        if file.is_file():
            found = yaml.safe_load(file.read_text())
            return str((found[key] if key else found)["version"])
    return "unknown"
