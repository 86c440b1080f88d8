# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the hosts that are wanted and the containers that are there to what must be done. Pure."""

import dataclasses
import hashlib
import ipaddress
import json
from collections.abc import Iterator
from typing import Optional

from .command import LabError

FIRST_ADDRESS = 11


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A host of the lab: its name (also in the inventory), its container, and how that is run."""

    name: str
    container: str
    release: str
    image: str
    flags: tuple[str, ...] = ()

    @property
    def spec(self) -> str:
        """What makes a container another one than this: image and options, in 12 hex digits."""
        made_of = json.dumps([self.name, self.image, list(self.flags)])
        return hashlib.sha256(made_of.encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True)
class Present:
    """A container of the lab as podman tells it; ``state`` is podman's word."""

    container: str
    state: str
    spec: str
    address: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """Containers to remove, to make, to start; and the address of every wanted one."""

    remove: tuple[str, ...]
    create: tuple[Wanted, ...]
    start: tuple[str, ...]
    addresses: dict[str, str]

    @property
    def changed(self) -> bool:
        return bool(self.remove or self.create or self.start)


def container_name(lab: str, host: str) -> str:
    """Containers of several labs share the machine's names, so they begin with the lab's."""
    return host if host.startswith(f"{lab}-") else f"{lab}-{host}"


def make_plan(wanted: list[Wanted], present: list[Present], subnet: Optional[str]) -> Plan:
    """A host keeps its container, and its address, as long as nothing of it is to be different.

    Without ``subnet`` (the network is not there yet) addresses are empty.
    """
    there = {host.container: host for host in present}
    kept = {host.container for host in wanted if host.container in there and there[host.container].spec == host.spec}
    addresses = {host.container: there[host.container].address for host in wanted if host.container in there}
    free = _free_addresses(subnet, set(addresses.values())) if subnet else iter([""] * len(wanted))
    for host in wanted:
        if host.container not in addresses:
            addresses[host.container] = next(free)
    return Plan(
        remove=tuple(name for name in there if name not in kept),
        create=tuple(host for host in wanted if host.container not in kept),
        start=tuple(name for name in there if name in kept and there[name].state != "running"),
        addresses=addresses,
    )


def _free_addresses(subnet: str, used: set[str]) -> Iterator[str]:
    network = ipaddress.ip_network(subnet)
    for number in range(FIRST_ADDRESS, network.num_addresses - 1):
        address = str(network[number])
        if address not in used:
            yield address
    raise LabError(f"no address is left in {subnet}")
