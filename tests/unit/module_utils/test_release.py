# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases: their names, what is kept, what a rollback means, and what no sequence of events can lose."""

import json
import os
import pwd
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ansible_collections.agentfactory.core.plugins.module_utils import credentials, files, release, unit
from ansible_collections.agentfactory.core.plugins.module_utils.layout import Instance, Layout
from ansible_collections.agentfactory.core.plugins.module_utils.release import GOOD, STAGED, UNDONE, VOID, Release

KEY = b"k" * 32
ME = pwd.getpwuid(os.getuid())
CONFIG = {"speed": 3}
SECRETS = {"token": "hunter2"}
PARTS = ["unit", "config.json", "credentials/token"]


# -- identity ---------------------------------------------------------------------------------------------------------


def test_the_name_of_a_release_is_stable(spec):
    names = {release.identify(KEY, spec(), "content", dict(CONFIG), dict(SECRETS)) for _time in range(3)}
    assert len(names) == 1
    assert re.fullmatch(r"1\.0-[0-9a-f]{12}", names.pop())


def test_the_order_of_keys_does_not_matter(spec):
    one = release.identify(KEY, spec(), "content", {"a": 1, "b": 2}, {"x": "1", "y": "2"})
    assert one == release.identify(KEY, spec(), "content", {"b": 2, "a": 1}, {"y": "2", "x": "1"})


@pytest.mark.parametrize(
    "change",
    [
        {"content": "other"},
        {"config": {"speed": 4}},
        {"config": {"speed": 3.0}},
        {"config": {"speed": "3"}},
        {"config": {}},
        {"secrets": {"token": "hunter3"}},
        {"secrets": {}},
        {"key": b"x" * 32},
        {"spec": {"tree": "cd" * 32}},
        {"spec": {"ports": {"http": 8081}}},
        {"spec": {"resources": {"memory": 1 << 27}}},
        {"spec": {"permissions": {"jit": True}}},
        {"spec": {"command": ["arm", "serve", "--fast"]}},
        {"spec": {"environment": "production"}},
        {"spec": {"systemd": 252}},
        {"spec": {"delivery": credentials.BOUND}},
        {"spec": {"nft": "/usr/sbin/nft"}},
        {"spec": {"version": "1.1"}},
    ],
)
def test_another_tree_configuration_secret_or_unit_is_another_release(spec, change):
    values = {"key": KEY, "content": "content", "config": CONFIG, "secrets": SECRETS}
    usual = release.identify(spec=spec(), **values)
    asked = dict(values, **{k: v for k, v in change.items() if k != "spec"})
    assert release.identify(spec=spec(**change.get("spec", {})), **asked) != usual


# -- staging ----------------------------------------------------------------------------------------------------------


def stage(made, config=None, secrets=None, content="content"):
    config, secrets = CONFIG if config is None else config, SECRETS if secrets is None else secrets
    name = release.identify(KEY, made, content, config, secrets)
    release.stage(name, KEY, made, content, config, secrets, ME)
    return name


def test_a_staged_release_is_whole_private_and_names_itself(spec, instance):
    name = stage(spec(secrets=["token"], nft="/usr/sbin/nft", health={"preflight": ["arm", "check"]}))
    directory = instance.releases / name
    assert sorted(p.name for p in directory.iterdir()) == [
        "config.json", "credentials", "egress.nft", "preflight", "release.json", "unit",
    ]  # fmt: skip
    assert release.complete(instance, name)
    for path in [*directory.rglob("*"), directory]:
        assert path.stat().st_mode & 0o077 == 0, path
    text = release.unit_text(instance, name).decode()
    assert unit.RELEASE not in text + (directory / "preflight").read_text()
    assert release.named_by(directory / "unit") == name
    assert [p.name for p in instance.releases.iterdir()] == [name]
    facts = release.read(instance, name)
    assert (facts["release"], facts["version"], facts["environment"], facts["delivery"]) == (
        name,
        "1.0",
        "lab",
        "loaded",
    )


def test_no_plain_secret_is_in_anything_but_its_credential(spec, instance):
    name = stage(spec(secrets=["token"]))
    for path in (instance.releases / name).rglob("*"):
        if path.is_file() and path.name != "token":
            assert b"hunter2" not in path.read_bytes()
    assert (instance.releases / name / "credentials/token").read_text() == "hunter2"


@pytest.mark.parametrize(
    ("damage", "path"),
    [(damage, path) for damage in (Path.unlink, lambda path: path.write_bytes(b"")) for path in PARTS]
    + [(Path.unlink, "release.json")],
)
def test_a_release_that_lost_something_is_not_complete(spec, instance, path, damage):
    name = stage(spec(secrets=["token"]))
    damage(instance.releases / name / path)
    assert not release.complete(instance, name)
    stage(spec(secrets=["token"]))
    assert release.complete(instance, name)


def test_a_damaged_record_is_as_good_as_none(spec, instance):
    name = stage(spec())
    path = instance.releases / name / "release.json"
    path.write_bytes(path.read_bytes()[:20])
    assert release.everything(instance) == {}
    assert not release.complete(instance, name)
    assert stage(spec()) == name
    assert release.complete(instance, name)


@pytest.mark.parametrize("path", PARTS)
def test_a_release_whose_files_were_changed_is_not_complete(spec, instance, path):
    name = stage(spec(secrets=["token"]))
    path = instance.releases / name / path
    path.write_bytes(path.read_bytes() + b" ")
    assert not release.complete(instance, name)


def test_staging_again_is_the_same_release_and_keeps_its_verdict(spec, instance):
    name = stage(spec())
    release.judge(instance, name, GOOD, {})
    assert release.everything(instance)[name].status == GOOD
    assert stage(spec()) == name
    assert {name: r.status for name, r in release.everything(instance).items()} == {name: GOOD}


def test_what_is_read_of_nothing(instance):
    assert release.everything(instance) == {}
    assert release.read(instance, "absent") == {}
    assert not release.complete(instance, "absent")
    assert release.proven(instance) is None
    assert release.choose(instance, "previous") is None
    assert release.prune(instance, 3) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[Service]\nEnvironment="AGENT_RELEASE=1.0-aa"\n', "1.0-aa"),
        ('Environment="AGENT_ID=x"\nEnvironment="AGENT_RELEASE=1.0-aa"\nEnvironment="AGENT_RELEASE=2"', "1.0-aa"),
        ('#Environment="AGENT_RELEASE=1.0-aa"\n', None),
        ("", None),
        (None, None),
    ],
)
def test_the_unit_in_etc_says_what_boots(instance, text, name):
    if text is not None:
        files.write_atomic(instance.unit_file, text.encode())
    assert release.proven(instance) == name


# -- pruning and choosing: tables -------------------------------------------------------------------------------------


def made(text):
    """``a+ b- c`` is a good, a void and a staged release, the oldest verdict first."""
    status = {"+": GOOD, "-": VOID, "": STAGED}
    found = re.findall(r"([a-z]+)([+-]?)", text)
    return [Release(n, "v", "t", "c", "lab", status[s], order, {}) for order, (n, s) in enumerate(found, 1)]


@pytest.mark.parametrize(
    ("releases", "keep", "needed", "gone"),
    [
        ("", 3, "", ""),
        ("a+ b+ c+", 3, "", ""),
        ("a+ b+ c+ d+", 3, "", "a"),
        ("a+ b+ c+ d+", 3, "a", ""),
        ("a+ b+ c+", 1, "c", "ab"),
        ("a+ b+ c+", 0, "", "ab"),
        ("a+ b+ c+", -5, "", "ab"),
        ("a+ b- c- d- e- f-", 1, "", "bcde"),  # however many failures follow
        ("a+ b- c- d-", 1, "c", "b"),
        ("a- b-", 3, "", "a"),
        ("a b c+", 3, "", "ab"),
        ("a b c+", 3, "b", "a"),
        ("a+ b+ c+ d+ e-", 2, "a", "b"),
    ],
)
def test_what_is_pruned(releases, keep, needed, gone):
    assert release.surplus(made(releases), keep=keep, needed=set(needed)) == list(gone)


def lay(instance, name, status=STAGED, version=None, tree="t"):
    facts = {
        "release": name, "version": version or name.split("-")[0], "tree": tree, "content": "c", "environment": "lab",
        "secrets": {}, "ports": {}, "delivery": "loaded",
    }  # fmt: skip
    files.write_json(instance.releases / name / "release.json", facts)
    files.write_atomic(instance.releases / name / "unit", ('Environment="AGENT_RELEASE=%s"\n' % name).encode())
    if status != STAGED:
        release.judge(instance, name, status, {"summary": "because"} if status == VOID else {})


def boot(instance, name):
    files.write_atomic(instance.unit_file, release.unit_text(instance, name))


@pytest.mark.parametrize(
    ("history", "running", "wanted", "expected"),
    [
        (["1-a+", "2-b+"], "2-b", "previous", "1-a"),
        (["1-a+", "2-b+", "3-c-"], "2-b", "previous", "1-a"),
        (["1-a+", "2-b+", "3-c+"], "2-b", "previous", "1-a"),
        (["1-a+", "2-b-", "3-c+"], "3-c", "previous", "1-a"),
        (["1-a+"], "1-a", "previous", None),
        (["1-a-", "2-b+"], "2-b", "previous", None),
        (["1-a+", "2-b+"], None, "previous", "2-b"),
        (["1-a+", "2-b+"], "9-gone", "previous", "2-b"),
        (["1-a+", "1-b+", "2-c+"], "2-c", "1", "1-b"),
        (["1-a+", "1-b-", "2-c+"], "2-c", "1", "1-a"),
        (["1-a-", "2-c+"], "2-c", "1", None),
        (["1-a", "2-c+"], "2-c", "1", None),
        (["1-a+", "1-b+", "2-c+"], "2-c", "1-a", "1-a"),
        (["1-a-", "2-c+"], "2-c", "1-a", None),
        (["1-a+"], "1-a", "7", None),
    ],
)
def test_which_release_a_rollback_means(instance, history, running, wanted, expected):
    for item in history:
        lay(instance, item.rstrip("+-"), {"+": GOOD, "-": VOID}.get(item[-1], STAGED))
    if running:
        files.write_atomic(instance.unit_file, ('Environment="AGENT_RELEASE=%s"\n' % running).encode())
    found = release.choose(instance, wanted)
    assert (found and found.name) == expected


def test_verdicts_are_ordered_whatever_the_clock_does(instance):
    for name in ("1-a", "2-b", "3-c"):
        lay(instance, name, GOOD)
    release.judge(instance, "1-a", GOOD, {})
    assert list(release.everything(instance)) == ["2-b", "3-c", "1-a"]
    release.judge(instance, "2-b", VOID, {"summary": "x"})
    assert list(release.everything(instance)) == ["3-c", "1-a", "2-b"]
    assert release.everything(instance)["2-b"].evidence == {"summary": "x"}


@pytest.mark.parametrize("place", ["unit_file", "proof_file", "staged"])
def test_what_boots_is_under_proof_or_is_staged_is_never_pruned(instance, place):
    for number in range(9):
        lay(instance, "%d-a" % number, GOOD if number else VOID)
    lay(instance, "9-last", VOID)
    needed = "0-a"
    if place == "staged":
        files.write_json(instance.staged, {"release": needed})
    else:
        files.write_atomic(getattr(instance, place), release.unit_text(instance, needed))
    (instance.releases / ".new-killed").mkdir()
    assert release.prune(instance, 2) == ["%d-a" % number for number in range(1, 7)]
    assert sorted(os.listdir(instance.releases)) == ["0-a", "7-a", "8-a", "9-last"]


# -- differences ------------------------------------------------------------------------------------------------------


def test_a_diff_shows_configuration_and_unit_and_of_secrets_only_that_they_change(spec, instance):
    old = stage(spec(secrets=["token", "pin"]), CONFIG, {"token": "hunter2", "pin": "1234"})
    new = spec(secrets=["token", "pin"], command=["arm", "other"])
    secrets = {"token": "hunter3", "pin": "1234"}
    found = release.differences(instance, old, new, "1.0-bbbbbbbbbbbb", {"speed": 4}, secrets, KEY)
    shown = {item["before_header"].split()[1]: item for item in found}
    assert set(shown) == {"unit", "config", "secrets"}
    assert '"speed": 3' in shown["config"]["before"]
    assert '"speed": 4' in shown["config"]["after"]
    assert shown["secrets"]["after"] == "pin: (set)\ntoken: (changed)\n"
    assert not re.search("hunter|1234", json.dumps(found))


def test_nothing_differs_from_itself_and_everything_from_nothing(spec, instance):
    name = stage(spec())
    assert release.differences(instance, name, spec(), name, CONFIG, SECRETS, KEY) == []
    found = release.differences(instance, None, spec(), name, CONFIG, SECRETS, KEY)
    assert [item["before"] for item in found] == ["", "", ""]


# -- any sequence of events -------------------------------------------------------------------------------------------


FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # every step is flushed several times


class Life(RuleBasedStateMachine):
    """Deploy, fail, roll back, take back and prune in any order, on real files.

    The machine does by hand what activation does around the library: the unit under /run, the verdict, the rename into /etc.
    """

    @initialize(keep=st.integers(0, 4))
    def begin(self, keep):
        self.place = tempfile.mkdtemp(dir=FAST)
        self.instance = Instance(Layout(Path(self.place)), "arm", "0")
        self.keep, self.number = keep, 0
        self.running = None  # what boots
        self.good = []  # every release that proved itself, the newest proof last
        self.void = set()
        self.switch = (
            None  # the last one that went well: its run, what booted before, to what, whether that was good, ...
        )

    def _previous(self):
        found = release.choose(self.instance, "previous")
        return found and found.name

    def _switch(self, name, healthy, deployed=True):
        files.write_atomic(self.instance.proof_file, release.unit_text(self.instance, name))
        if healthy:
            self.number += 1
            run, before = "run-%d" % self.number, self.running
            self.switch = (run, before, name, name in self.good, self._previous()) if before != name else None
            boot(self.instance, name)
            release.judge(self.instance, name, GOOD, {}, deployed=deployed, after=before or "", run=run)
            self.running = name
            self.good = [n for n in self.good if n != name] + [name]
            self.void.discard(name)
        elif name != self.running:
            release.fail(self.instance, name, {"summary": "it failed"})
            if name not in self.good:  # what was proven once stays good, whatever the day's weather
                self.void.add(name)
        files.remove(self.instance.proof_file)

    @rule(healthy=st.booleans(), version=st.sampled_from("123"), pruned=st.booleans())
    def deploy(self, healthy, version, pruned):
        self.number += 1
        name = "%s-%012x" % (version, self.number)
        lay(self.instance, name)
        files.write_json(self.instance.staged, {"release": name})
        if pruned:
            release.prune(self.instance, self.keep)
            self.switch = None
        self._switch(name, healthy)

    @rule(wanted=st.sampled_from(["previous", "1", "2", "3"]), healthy=st.booleans())
    def roll_back(self, wanted, healthy):
        found = release.choose(self.instance, wanted)
        if found is None:
            return
        assert found.good
        assert found.name not in self.void
        assert wanted in ("previous", found.version)
        if wanted == "previous":
            assert found.name != self.running
        files.write_json(self.instance.staged, {"release": found.name})
        self._switch(found.name, healthy, deployed=False)

    @rule(version=st.sampled_from("123"))
    def deploy_what_was_good(self, version):
        found = release.choose(self.instance, version)
        if found is not None:
            files.write_json(self.instance.staged, {"release": found.name})
            self._switch(found.name, healthy=True)

    @precondition(lambda self: self.switch)
    @rule()
    def take_back(self):
        """The last switch is undone with others that failed: every release is as good as it was before it."""
        run, before, name, was_good, previous = self.switch
        self.switch, self.running = None, before
        expected = {n: r.status for n, r in release.everything(self.instance).items()}
        expected[name] = GOOD if was_good else UNDONE
        if before is None:
            files.remove(self.instance.unit_file)
        else:
            boot(self.instance, before)
            release.judge(self.instance, before, GOOD, {}, deployed=False, run=run)
        for _killed_right_after in range(2):
            release.take_back(self.instance, name, run)
        assert {n: r.status for n, r in release.everything(self.instance).items()} == expected
        assert self._previous() == previous
        self.good = [n for n in self.good if n not in (before, name) or (n == name and was_good)]
        self.good += [before] if before else []

    @rule(name=st.sampled_from(["1-lost", "2-lost"]))
    def stage_only(self, name):
        lay(self.instance, name)

    @rule()
    def prune(self):
        before, self.switch = set(release.everything(self.instance)), None
        gone = release.prune(self.instance, self.keep)
        assert set(release.everything(self.instance)) == before - set(gone)
        self.good = [n for n in self.good if n not in gone]
        kept_good = [r.name for r in release.everything(self.instance).values() if r.good]
        assert len(kept_good) <= max(self.keep, 1) + 3

    @precondition(lambda self: self.running)
    @rule()
    def killed_in_proof(self):
        """The host goes down with a release under proof; a prune comes before the next activation."""
        self.number += 1
        name = "9-%012x" % self.number
        lay(self.instance, name)
        files.write_atomic(self.instance.proof_file, release.unit_text(self.instance, name))
        release.prune(self.instance, self.keep)
        self.switch = None
        self.good = [n for n in self.good if n in release.everything(self.instance)]
        assert name in release.everything(self.instance)
        files.remove(self.instance.proof_file)

    @invariant()
    def what_boots_is_there_and_was_proven(self):
        if getattr(self, "running", None):
            assert release.proven(self.instance) == self.running
            assert self.running in release.everything(self.instance)

    @invariant()
    def the_last_good_release_is_there_whatever_failed_since(self):
        if getattr(self, "good", None):
            known = release.everything(self.instance)
            assert self.good[-1] in known
            assert known[self.good[-1]].good

    @invariant()
    def void_releases_stay_void(self):
        for name, found in (release.everything(self.instance) if hasattr(self, "instance") else {}).items():
            assert (found.status == VOID) == (name in self.void)

    def teardown(self):
        shutil.rmtree(getattr(self, "place", ""), ignore_errors=True)


TestLife = Life.TestCase
TestLife.settings = settings(settings.get_profile("default"), max_examples=40, stateful_step_count=25)


def test_previous_goes_back_and_back_and_never_to_what_was_taken_back(instance):
    """v1 to v4 were proven in turn, v4 was then taken back with others that failed; from v3 it goes to v2, then to v1."""
    for name in ("1-a", "2-b", "3-c", "4-d"):
        lay(instance, name, GOOD)
    release.judge(instance, "4-d", UNDONE, {})
    for running, expected in (("3-c", "2-b"), ("2-b", "1-a"), ("1-a", None)):
        boot(instance, running)
        release.judge(instance, running, GOOD, {}, deployed=False)  # proven again, as a rollback does
        found = release.choose(instance, "previous")
        assert (found and found.name) == expected
    assert release.choose(instance, "4") is None


def test_previous_is_what_was_deployed_before_however_old_it_is(instance):
    lay(instance, "1-a", GOOD)
    lay(instance, "2-b", GOOD)
    release.judge(instance, "1-a", GOOD, {})
    lay(instance, "3-c", GOOD)
    boot(instance, "3-c")
    found = release.choose(instance, "previous")
    assert found
    assert found.name == "1-a"


def test_previous_is_what_was_replaced_also_after_a_rollback(instance):
    """1 ran, 2 replaced it, 1 was gone back to, 3 replaced that: back from 3 is 1, not the 2 that somebody left."""
    lay(instance, "1-a", GOOD)
    lay(instance, "2-b")
    release.judge(instance, "2-b", GOOD, {}, after="1-a")
    release.judge(instance, "1-a", GOOD, {}, deployed=False, after="2-b")
    lay(instance, "3-c")
    release.judge(instance, "3-c", GOOD, {}, after="1-a")
    boot(instance, "3-c")
    found = release.choose(instance, "previous")
    assert found
    assert found.name == "1-a"


def test_a_good_release_that_fails_later_stays_good_with_the_evidence(instance):
    lay(instance, "1-a", GOOD)
    lay(instance, "2-b", GOOD)
    release.fail(instance, "1-a", {"summary": "the broker is away"})
    found = release.everything(instance)
    assert list(found) == ["1-a", "2-b"]
    assert (found["1-a"].status, found["1-a"].evidence) == (GOOD, {"summary": "the broker is away"})
