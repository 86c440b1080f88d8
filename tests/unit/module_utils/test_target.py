# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of an artifact's targets fits a host."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ansible_collections.agentfactory.core.plugins.module_utils import target
from ansible_collections.agentfactory.core.plugins.module_utils.errors import HostError
from ansible_collections.agentfactory.core.plugins.module_utils.target import Target

HOST = Target("linux", "amd64", "glibc2.36", "3.11")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("linux/amd64", Target("linux", "amd64", None, None)),
        ("linux/arm64+glibc2.28", Target("linux", "arm64", "glibc2.28", None)),
        ("linux/arm64+musl", Target("linux", "arm64", "musl", None)),
        ("linux/amd64+py3.11", Target("linux", "amd64", None, "3.11")),
        ("linux/amd64+glibc2.36+py3.11", HOST),
    ],
)
def test_targets_are_read_and_written(text, parsed):
    assert Target.parse(text) == parsed
    assert str(parsed) == text


@given(st.text() | st.from_regex(r"[a-z]+/[a-z0-9]+(\+[a-z0-9.]*)*"))
def test_anything_else_is_a_value_error(text):
    try:
        assert str(Target.parse(text)) == text
    except ValueError as error:
        assert repr(text) in str(error)


@pytest.mark.parametrize(
    ("text", "host", "expected"),
    [
        ("linux/amd64", HOST, True),
        ("linux/amd64+glibc2.36", HOST, True),
        ("linux/amd64+glibc2.9", HOST, True),  # a number, not a decimal fraction
        ("linux/amd64+glibc2.37", HOST, False),
        ("linux/amd64+glibc2.28+py3.11", HOST, True),
        ("linux/amd64+glibc2.28+py3.1", HOST, False),
        ("linux/amd64+py3.12", HOST, False),
        ("linux/arm64", HOST, False),
        ("linux/amd64+musl", HOST, False),
        ("linux/amd64+musl", Target("linux", "amd64", "musl", "3.12"), True),
        ("linux/amd64+glibc2.17", Target("linux", "amd64", "musl", "3.12"), False),
        ("linux/amd64+glibc2.17", Target("linux", "amd64", None, "3.12"), False),
        ("linux/amd64", Target("linux", "amd64", "musl", "3.12"), True),
        ("freebsd/amd64", HOST, False),
    ],
)
def test_what_fits(text, host, expected):
    assert target.fits(Target.parse(text), host) is expected


@pytest.mark.parametrize(
    ("targets", "chosen"),
    [
        (["linux/amd64"], "linux/amd64"),
        (["linux/arm64", "linux/amd64"], "linux/amd64"),
        (["linux/amd64+glibc2.17", "linux/amd64+glibc2.31", "linux/amd64+glibc2.41"], "linux/amd64+glibc2.31"),
        (["linux/amd64", "linux/amd64+glibc2.9"], "linux/amd64+glibc2.9"),
        (["linux/amd64+py3.9", "linux/amd64+py3.11", "linux/amd64+py3.13"], "linux/amd64+py3.11"),
    ],
)
def test_the_best_fitting_image_is_chosen(targets, chosen):
    assert target.choose([{"target": t} for t in targets], HOST, "arm 1.0")["target"] == chosen


@pytest.mark.parametrize("targets", [[], ["linux/arm64"], ["linux/amd64+py3.9", "linux/amd64+glibc2.41"]])
def test_that_nothing_fits_says_what_the_host_is_and_what_there_is(targets):
    with pytest.raises(HostError, match=r"arm 1\.0 is not packaged for this host") as caught:
        target.choose([{"target": t} for t in targets], HOST, "arm 1.0")
    assert "linux/amd64+glibc2.36+py3.11" in str(caught.value)
    assert all(t in str(caught.value) for t in targets or ["nothing"])


def test_this_interpreter_has_a_platform_that_fits_itself():
    here = target.here()
    assert Target.parse(str(here)) == here
    assert target.fits(here, here)


# -- requires-python --------------------------------------------------------------------------------------------------

NUMBERS = st.lists(st.integers(0, 13), min_size=1, max_size=4).map(lambda n: ".".join(map(str, [3] + n[1:])))
CLAUSE = st.builds(
    lambda operator, space, number, star: operator + space + number + star,
    st.sampled_from([">=", "<=", "==", "!=", ">", "<", "~="]), st.sampled_from(["", " "]), NUMBERS,
    st.sampled_from(["", "", "", ".*"]),
)  # fmt: skip


@given(st.lists(CLAUSE, max_size=2).map(",".join), st.tuples(st.just(3), st.integers(0, 14), st.integers(0, 14)))
def test_python_versions_are_compared_as_pep_440_says(specifiers, python):
    try:
        expected = SpecifierSet(specifiers).contains("%d.%d.%d" % python)
    except InvalidSpecifier:
        try:
            assert not target.python_satisfies(specifiers, python)  # a clause before the wrong one does not hold
        except HostError as error:
            assert "is not a version specifier" in str(error)
    else:
        assert target.python_satisfies(specifiers, python) is expected


@pytest.mark.parametrize(
    ("specifiers", "python", "expected"),
    [
        ("", (3, 9, 2), True),
        (">=3.9", (3, 9, 0), True),
        (">=3.9", (3, 13, 1), True),
        (">=3.9", (3, 8, 20), False),
        (">=3.9,<3.13", (3, 12, 9), True),
        (">=3.9,<3.13", (3, 13, 0), False),
        ("==3.11.*", (3, 11, 2), True),
        ("==3.11.*", (3, 12, 0), False),
        ("~=3.9", (3, 13, 0), True),
        ("~=3.9.2", (3, 10, 0), False),
        (" >= 3.9 , != 3.10.* ", (3, 10, 4), False),
        (">=3", (3, 9, 2), True),
        ("<4", (3, 13, 0), True),
    ],
)
def test_python_versions(specifiers, python, expected):
    assert target.python_satisfies(specifiers, python) is expected


@pytest.mark.parametrize("specifiers", ["3.9", "=3.9", ">=three", ">=3.9;<4", ">=3.9 <4"])
def test_what_is_no_specifier_is_named(specifiers):
    with pytest.raises(HostError, match=r"runtime\.python: .* is not a version specifier"):
        target.python_satisfies(specifiers, (3, 11, 0))
