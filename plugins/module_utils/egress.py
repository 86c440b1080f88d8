# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an instance may reach: nftables rules by its user id, loaded by its unit before it starts.

Answers to connections that others opened pass (probes, clients); its own ports on the loopback interface pass; listed
networks pass; everything else is refused at once and counted. One table for all, one chain an instance, one verdict map by
user id, and each file is one transaction that can be repeated. See nft(8).
"""

import re
import shutil
from pathlib import Path
from typing import Any, Optional

from .errors import HostError
from .layout import Instance
from .systemd import run

PATH = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
EVERYWHERE = {"0.0.0.0/0", "::/0"}
TABLE = """\
add table inet agentfactory
add map inet agentfactory agents {{ type uid : verdict; }}
add chain inet agentfactory output {{ type filter hook output priority 0; policy accept; }}
add chain inet agentfactory {chain}
flush chain inet agentfactory output
add rule inet agentfactory output ct state established,related accept
add rule inet agentfactory output meta skuid vmap @agents
flush chain inet agentfactory {chain}
{rules}
add rule inet agentfactory {chain} meta l4proto tcp counter reject with tcp reset
add rule inet agentfactory {chain} counter reject with icmpx type admin-prohibited
add element inet agentfactory agents {{ {uid} : jump {chain} }}
"""


def enforced(outbound: "list[str]") -> bool:
    """Whether rules are needed at all: not when everything is allowed."""
    return not set(outbound) >= EVERYWHERE


def program() -> str:
    path = shutil.which("nft", path=PATH)
    if not path:
        raise HostError(
            "nft is not installed, and without it permissions.outbound cannot be enforced: install the package nftables, "
            "or allow 0.0.0.0/0 and ::/0 in the manifest"
        )
    return path


def rules(instance: Instance, uid: int, outbound: "list[str]", ports: "dict[str, int]") -> str:
    """The nft script that confines `instance`."""
    chain = instance.user
    lines = []
    if ports:
        own = ", ".join(str(p) for p in sorted(ports.values()))
        lines.append('add rule inet agentfactory %s oifname "lo" tcp dport { %s } accept' % (chain, own))
    for version, family in ((4, "ip"), (6, "ip6")):
        networks = _collapse(outbound, version)
        if networks:
            lines.append("add rule inet agentfactory %s %s daddr { %s } accept" % (chain, family, ", ".join(networks)))
    return TABLE.format(chain=chain, uid=uid, rules="\n".join(lines))


def _collapse(outbound: "list[str]", version: int) -> "list[str]":
    """The networks of one family without overlaps (nft refuses those in a set)."""
    import ipaddress  # only here: most calls write no rules

    networks = [ipaddress.ip_network(n, strict=False) for n in outbound]
    chosen: list[Any] = [n for n in networks if n.version == version]
    return [str(n) for n in ipaddress.collapse_addresses(chosen)]


def refused(instance: Instance) -> int:
    """How many packets of this start of the instance its rules have refused."""
    nft = shutil.which("nft", path=PATH)
    if not nft:
        return 0
    return refused_in(run([nft, "list", "chain", "inet", "agentfactory", instance.user], check=False), instance) or 0


def refused_in(rules: str, instance: Instance) -> Optional[int]:
    """The same from a listing; None where the instance is not in it."""
    chain = rules.partition(chain_of(instance))[2].partition("\n\t}")[0]
    return sum(int(n) for n in re.findall(r"counter packets (\d+) .*reject", chain)) if chain else None


def load(script: Path) -> None:
    """Put the rules of a release in place, in one transaction."""
    run([program(), "-f", str(script)])


def allow(instance: Instance, uid: int, outbound: "list[str]", ports: "dict[str, int]") -> None:
    """Put rules in place that are no release's."""
    if enforced(outbound):
        run([program(), "-f", "-"], data=rules(instance, uid, outbound, ports).encode())
    else:
        remove(instance)


def confines(instance: Instance) -> bool:
    """Whether there are rules for the instance now."""
    return chain_of(instance) in listing()


def chain_of(instance: Instance) -> str:
    """How the instance's chain begins in a listing."""
    return "chain %s {" % instance.user


def remove(instance: Instance) -> bool:
    """Take the instance out of the table: whoever has its user id is not confined any more. True if it was in it."""
    if not confines(instance):
        return False
    nft = program()
    found = re.search(r"(\d+) : jump %s\b" % instance.user, listing(nft))
    element = "delete element inet agentfactory agents { %s }\n" % found[1] if found else ""
    chain = "inet agentfactory %s" % instance.user
    run([nft, "-f", "-"], data=("%sflush chain %s\ndelete chain %s\n" % (element, chain, chain)).encode())
    return True


def remove_table() -> None:
    """After the last instance: the table itself. (While there are instances, one may be about to load its rules.)"""
    if listing():
        run([program(), "delete", "table", "inet", "agentfactory"])


def listing(nft: Optional[str] = None) -> str:
    """The table as nft prints it, or nothing."""
    nft = nft or shutil.which("nft", path=PATH)
    return run([nft, "--numeric", "list", "table", "inet", "agentfactory"], check=False) if nft else ""
