# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which ports pass on. Python 3.9 syntax."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.module_utils import turns
from ansible_collections.agentfactory.core.plugins.module_utils.errors import HostError


def claims(**wanted):
    """``a0=([ports that it has], [ports that it is to have])``: instance 0 of agent a, and so on."""
    made = []
    for name, (has, wants) in wanted.items():
        made.append(turns.Claim(name[0], "%s@%s" % (name[0], name[1:]), frozenset(has), frozenset(wants)))
    return made


@pytest.mark.parametrize(
    ("wanted", "order"),
    [
        ({}, {}),
        ({"a0": ([], [1]), "b0": ([2], [2])}, {"a@0": (0, 0), "b@0": (0, 0)}),
        # a new base port: the last instance goes first
        ({"a0": ([1], [2]), "a1": ([2], [3]), "a2": ([3], [4])}, {"a@0": (0, 2), "a@1": (0, 1), "a@2": (0, 0)}),
        ({"a0": ([1], [3]), "b0": ([], [1]), "b1": ([5], [6])}, {"a@0": (0, 0), "b@0": (1, 0), "b@1": (1, 0)}),
        ({"a0": ([1], []), "b0": ([2], [1]), "c0": ([], [2])}, {"a@0": (0, 0), "b@0": (1, 0), "c@0": (2, 0)}),
        ({"a0": ([1, 2], [2, 1]), "b0": ([3], [3, 4])}, {"a@0": (0, 0), "b@0": (0, 0)}),
    ],
)
def test_each_comes_after_those_that_have_its_ports(wanted, order):
    assert turns.order(claims(**wanted)) == order


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"a0": ([1], [2]), "b0": ([2], [1])}, "a -> b -> a|b -> a -> b"),
        ({"a0": ([1], [2]), "a1": ([2], [1])}, "a@0 -> a@1 -> a@0|a@1 -> a@0 -> a@1"),
        # each agent goes as a whole
        ({"a0": ([1], [9]), "a1": ([2], [3]), "b0": ([3], [8]), "b1": ([4], [1])}, "a -> b -> a|b -> a -> b"),
    ],
)
def test_a_circle_is_named(wanted, said):
    with pytest.raises(HostError, match="^(%s): each would get a port that the next one has now" % said):
        turns.order(claims(**wanted))


PORTS = st.frozensets(st.integers(1, 8), max_size=2)


@st.composite
def hosts(draw):
    """Instances of which no two have, and no two are to have, the same port."""
    made, had, taken = [], set(), set()
    for agent_id in draw(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("012")), unique=True, max_size=6)):
        has, wants = draw(PORTS) - had, draw(PORTS) - taken
        had |= has
        taken |= wants
        made.append(turns.Claim(agent_id[0], "@".join(agent_id), has, wants))
    return made


@given(hosts())
def test_in_that_order_no_port_is_taken_when_it_is_needed(host):
    try:
        order = turns.order(host)
    except HostError:
        return
    held = {claim.id: claim.has for claim in host}
    for claim in sorted(host, key=lambda claim: order[claim.id]):
        others = frozenset().union(*(ports for agent_id, ports in held.items() if agent_id != claim.id))
        assert not claim.wants & others, "taken by another"
        held[claim.id] = claim.wants
    assert len({(claim.agent, order[claim.id][0]) for claim in host}) == len({claim.agent for claim in host})
