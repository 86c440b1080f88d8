# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything lives on a host. Paths only: nothing here reads or writes."""

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple, Optional


class Layout(NamedTuple):
    """Every path of the factory below `root` (``/`` on a host, a scratch directory in tests)."""

    root: Path = Path("/")

    @property
    def opt(self) -> Path:
        return self.root / "opt/agentfactory"

    @property
    def lib(self) -> Path:
        return self.opt / "lib"

    @property
    def store(self) -> Path:
        return self.opt / "store"

    @property
    def reserved(self) -> Path:
        """What was distributed or installed ahead of its configuration, a JSON file an agent."""
        return self.opt / "reserved"

    @property
    def trees(self) -> Path:
        return self.opt / "trees"

    @property
    def agents(self) -> Path:
        return self.opt / "agents"

    @property
    def state(self) -> Path:
        return self.root / "var/lib/agentfactory"

    @property
    def factory(self) -> Path:
        return self.state / ".factory"

    @property
    def kept(self) -> Path:
        """Whose the state is that removed instances left, a JSON file an agent id."""
        return self.factory / "kept"

    @property
    def units(self) -> Path:
        """Units here survive a reboot: only proven releases."""
        return self.root / "etc/systemd/system"

    @property
    def proof_units(self) -> Path:
        """Units here take precedence over `units` and are gone after a reboot: releases under proof."""
        return self.root / "run/systemd/system.control"

    @property
    def scratch_units(self) -> Path:
        """Units of one moment: preflight checks."""
        return self.root / "run/systemd/system"

    @property
    def run(self) -> Path:
        return self.root / "run/agentfactory"


class Instance(NamedTuple):
    """One running copy of an agent and the names that follow from it."""

    layout: Layout
    agent: str
    name: str

    @property
    def id(self) -> str:
        return "%s@%s" % (self.agent, self.name)

    @property
    def unit(self) -> str:
        return "agentfactory-%s.service" % self.id

    @property
    def slice(self) -> str:
        return agent_slice(self.agent)

    @property
    def user(self) -> str:
        return "af-" + hashlib.sha256(self.id.encode()).hexdigest()[:12]

    @property
    def home(self) -> Path:
        return self.layout.agents / self.agent / self.name

    @property
    def releases(self) -> Path:
        return self.home / "releases"

    @property
    def current(self) -> Path:
        return self.home / "current"

    @property
    def staged(self) -> Path:
        """What the next activation takes: a small JSON file."""
        return self.home / "staged.json"

    @property
    def oom_kills(self) -> Path:
        """A line ``oom_kill N`` for each process of the unit that ended with N kills at its memory limit."""
        return self.home / "oom-kills"

    @property
    def state(self) -> Path:
        return self.layout.state / self.agent / self.name

    @property
    def unit_file(self) -> Path:
        return self.layout.units / self.unit

    @property
    def proof_file(self) -> Path:
        return self.layout.proof_units / self.unit

    @property
    def preflight_unit(self) -> str:
        return "agentfactory-preflight-%s.%s.service" % (self.agent, self.name)

    @property
    def wants(self) -> Path:
        return self.layout.units / "multi-user.target.wants" / self.unit


def meant(agent_id: str, only: "Optional[Collection[str]]") -> bool:
    """Whether a call is about an instance: `only` has agents' names and agent ids, or is None for all."""
    return only is None or agent_id in only or agent_id.partition("@")[0] in only


def agent_slice(agent: str) -> str:
    """A dash in a slice's name nests it, so an agent's dashes become underscores."""
    return "agentfactory-%s.slice" % agent.replace("-", "_")


def instances(layout: Layout) -> "list[Instance]":
    """Every instance that has a directory on this host, in order."""
    found = layout.agents.glob("*/*/releases")
    return sorted((Instance(layout, p.parent.parent.name, p.parent.name) for p in found), key=lambda i: i.id)
