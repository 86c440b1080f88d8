# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From numbers to the path of a line: zero is at y 18, the greatest value at y 2, x goes from 2 to 94."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils import sparkline

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ([], ""),
        ([None, NAN, INF, -INF], ""),
        ([0.0, 1.0], "M2 18L94 2"),
        ([1.0, 0.5, 0.0], "M2 2L48 10L94 18"),
        ([7.0, 7.0, 7.0], "M2 2L48 2L94 2"),
        ([0.0, 0.0], "M2 18L94 18"),
        ([5.0], "M2 2h0"),
        ([None, 5.0, None], "M48 2h0"),
        ([1.0, None, 1.0], "M2 2h0M94 2h0"),
        ([1.0, 1.0, NAN, 1.0, 1.0], "M2 2L25 2M71 2L94 2"),
        ([1.0, INF, 2.0], "M2 10h0M94 2h0"),
        ([-1.0, 1.0], "M2 18L94 2"),
        ([-1.0, -2.0], "M2 18L94 18"),
        ([1e-300, 1e300], "M2 18L94 2"),
    ],
)
def test_paths(values, path):
    assert sparkline.path(values) == path


@given(st.lists(st.one_of(st.none(), st.floats())))
def test_every_row_of_numbers_has_a_path_within_its_box(values):
    path = sparkline.path(values)
    assert re.fullmatch(r"([ML]\d+ \d+(h0)?)*", path)
    points = [(int(x), int(y)) for x, y in re.findall(r"(\d+) (\d+)", path)]
    assert len(points) == len(sparkline.finite(values))
    assert all(2 <= x <= 94 and 2 <= y <= 18 for x, y in points)
    assert [x for x, _y in points] == sorted(x for x, _y in points)
    gaps = sum(a is None or not math.isfinite(a) for a in values[:-1] if values)
    assert path.count("M") <= gaps + 1
