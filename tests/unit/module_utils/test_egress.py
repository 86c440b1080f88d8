# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an instance may reach, as nft reads it."""

import shutil
import subprocess

import pytest

from ansible_collections.agentfactory.core.plugins.module_utils import egress
from ansible_collections.agentfactory.core.plugins.module_utils.errors import HostError
from ansible_collections.agentfactory.core.plugins.module_utils.layout import Instance

NFT = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("outbound", "expected"),
    [
        ([], True),
        (["10.0.0.0/8"], True),
        (["0.0.0.0/0"], True),
        (["::/0"], True),
        (["0.0.0.0/0", "::/0"], False),
        (["::/0", "10.0.0.0/8", "0.0.0.0/0"], False),
    ],
)
def test_rules_are_needed_unless_everything_is_allowed(outbound, expected):
    assert egress.enforced(outbound) is expected


@pytest.mark.parametrize(
    ("outbound", "ports", "accepted"),
    [
        ([], {}, []),
        ([], {"http": 8080}, ['oifname "lo" tcp dport { 8080 }']),
        ([], {"b": 9090, "a": 8080}, ['oifname "lo" tcp dport { 8080, 9090 }']),
        (["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32"], {}, ["ip daddr { 10.0.0.0/8, 192.0.2.7/32 }"]),
        (["192.0.2.0/25", "192.0.2.128/25"], {}, ["ip daddr { 192.0.2.0/24 }"]),
        (["fd00::/8", "10.0.0.0/8"], {}, ["ip daddr { 10.0.0.0/8 }", "ip6 daddr { fd00::/8 }"]),
    ],
)
def test_only_what_is_listed_is_accepted_and_the_rest_refused(instance, outbound, ports, accepted):
    chain = "add rule inet agentfactory %s " % instance.user
    mine = [
        line[len(chain) :]
        for line in egress.rules(instance, 990, outbound, ports).splitlines()
        if line.startswith(chain)
    ]
    assert [line[: -len(" accept")] for line in mine if line.endswith(" accept")] == accepted
    assert [line for line in mine if not line.endswith(" accept")] == mine[-2:]
    assert mine[-2] == "meta l4proto tcp counter reject with tcp reset"
    assert mine[-1] == "counter reject with icmpx type admin-prohibited"


def _in_a_network_of_its_own(script):
    if not NFT or not shutil.which("unshare"):
        pytest.skip("nft and unshare are not both installed")
    if subprocess.run(["unshare", "--net", NFT, "list", "ruleset"], capture_output=True, check=False).returncode:
        pytest.skip("no right to a network namespace with nftables")
    return subprocess.run(["unshare", "--net", "sh", "-euc", script], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("outbound", "ports"),
    [
        ([], {}),
        ([], {"a": 8080, "b": 8080}),
        (["0.0.0.0/0"], {"a": 8080}),
        (["::/0"], {}),
        (["0.0.0.0/0", "10.0.0.0/8"], {}),
        (["10.0.0.0/8", "10.1.0.0/16", "::1/128", "fd00::/8", "192.0.2.1/32"], {"a": 1, "b": 65535}),
    ],
)
def test_nft_takes_the_rules_again_and_again(instance, tmp_path, outbound, ports):
    sibling = Instance(instance.layout, instance.agent, "1")
    (tmp_path / "one").write_text(egress.rules(instance, 990, outbound, ports))
    (tmp_path / "two").write_text(egress.rules(sibling, 991, ["192.0.2.0/24"], {}))
    load = "%s -f %s\n"
    script = "".join(load % (NFT, tmp_path / name) for name in ("one", "two", "one"))
    done = _in_a_network_of_its_own(script + "%s --numeric list table inet agentfactory" % NFT)
    assert done.returncode == 0, done.stderr
    assert "elements = { 990 : jump %s" % instance.user in done.stdout
    assert "991 : jump %s" % sibling.user in done.stdout
    assert done.stdout.count("chain af-") == 2
    assert done.stdout.count("vmap @agents") == 1
    assert done.stdout.count("with tcp reset") == 2


def test_without_nft_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setattr(egress.shutil, "which", lambda *_args, **_more: None)
    with pytest.raises(HostError, match="install the package nftables"):
        egress.program()
    assert egress.listing() == ""


MINE = " chain af-28c4df20fd48 {\n }\n"
MAP = " map agents { elements = { 990 : jump af-28c4df20fd48, 991 : jump af-000000000000 } }\n"


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("", []),
        ("table inet agentfactory {\n chain af-000000000000 {\n }\n}\n", []),
        ("table inet agentfactory {\n" + MAP + MINE + "}\n", ["delete element inet agentfactory agents { 990 }"]),
        ("table inet agentfactory {\n" + MINE + "}\n", []),
    ],
)
def test_removal_takes_the_chain_and_its_element(instance, monkeypatch, listed, expected):
    """nft is played by a list of answers: the calls are what counts here; real rules are loaded above."""
    calls = []

    def run(argv, **more):
        if "list" in argv:
            return listed
        calls.append(more["data"].decode())
        return ""

    monkeypatch.setattr(egress, "run", run)
    monkeypatch.setattr(egress.shutil, "which", lambda *_args, **_more: "/usr/sbin/nft")
    assert egress.remove(instance) is (MINE in listed)
    assert len(calls) == (MINE in listed)
    for call in calls:
        assert [line for line in call.splitlines() if "element" in line] == expected
        assert "delete chain inet agentfactory %s\n" % instance.user in call


@pytest.mark.parametrize(
    ("listed", "expected"), [("", []), ("table inet agentfactory {\n}\n", ["delete table inet agentfactory"])]
)
def test_the_table_goes_if_it_is_there(monkeypatch, listed, expected):
    calls = []
    monkeypatch.setattr(
        egress, "run", lambda argv, **_more: listed if "list" in argv else calls.append(" ".join(argv[1:]))
    )
    monkeypatch.setattr(egress.shutil, "which", lambda *_args, **_more: "/usr/sbin/nft")
    egress.remove_table()
    assert calls == expected
