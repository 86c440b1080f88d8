# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations made into requests: with ansible-core's own templating and its tagged values."""

import json
from types import SimpleNamespace

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, is_trusted_as_template, trust_as_template

from ansible_collections.agentfactory.core.plugins.plugin_utils import declare
from ansible_collections.agentfactory.core.plugins.plugin_utils.declare import DeclarationError

MANIFEST = {
    "name": "arm", "version": "1.0", "command": ["arm"],
    "config": {"schema": {"type": "object", "properties": {"speed": {"type": "integer"}}}, "defaults": {"speed": 1, "deep": {"a": 1}}},
    "metrics": {"port": "http", "path": "/metrics"}, "secrets": ["token"],
    "resources": {"cpu": 0.5, "memory": None, "tasks": 64},
}  # fmt: skip


@pytest.fixture
def artifact(monkeypatch):
    image = SimpleNamespace(target="linux/amd64", tree="t" * 64, content="c" * 64)
    made = SimpleNamespace(manifest=json.loads(json.dumps(MANIFEST)), images=[image])

    def packaged(root, name, version):
        assert (root, name, version) == ("dist", "arm", "1.0")
        return made

    monkeypatch.setattr(declare, "packaged", packaged)
    return made


def load(tmp_path, text):
    """YAML as an inventory has it: strings know where they are from, and whether they may be templates."""
    path = tmp_path / "vars.yml"
    path.write_text(text)
    return DataLoader().load_from_file(str(path), trusted_as_template=True)


def templated(value, **variables):
    trusted = {k: trust_as_template(v) if isinstance(v, str) else v for k, v in variables.items()}
    return Templar(loader=DataLoader(), variables=trusted).template(value)


def build(config=None, secrets=None, **more):
    declared = {
        "name": "arm", "version": "1.0", "state": "started", "instances": ["0"], "ports": {"0": {"http": 8080}},
        "config": config if config is not None else {}, "resources": {"cpu": None}, **more,
    }  # fmt: skip
    given = {"arm": secrets if secrets is not None else {"token": "hunter2"}}
    return declare.build(
        [declared], given, "dist", lambda v: templated(v, speed=7, pw="hunter2"), is_trusted_as_template
    )


# -- build ------------------------------------------------------------------------------------------------------------


def test_a_declaration_becomes_a_request_of_plain_values(artifact, tmp_path):
    config = load(tmp_path, "speed: '{{ speed }}'\nlist: [1, 2.5, true, null, text]\n")
    found = build(config, load(tmp_path, "token: '{{ pw }}'"), instances=["0", "1"])
    assert found == [{
        "name": "arm", "state": "started",
        "manifest": {k: v for k, v in MANIFEST.items() if k != "config"},
        "images": [{"target": "linux/amd64", "tree": "t" * 64, "content": "c" * 64}],
        "config": {"speed": 7, "deep": {"a": 1}, "list": [1, 2.5, True, None, "text"]},
        "secrets": {"token": "hunter2"},
        "instances": [
            {"name": "0", "ports": {"http": 8080}, "resources": {"cpu": 0.5, "memory": None, "tasks": 64}},
            {"name": "1", "ports": {}, "resources": {"cpu": 0.5, "memory": None, "tasks": 64}},
        ],
    }]  # fmt: skip
    assert found[0]["secrets"]["token"].__class__ is str  # no tagged string: JSON has to take it


def test_declared_resources_come_before_the_manifests(artifact):
    found = build(resources={"cpu": None, "memory": 1 << 28, "tasks": 9})
    assert found[0]["instances"][0]["resources"] == {"cpu": 0.5, "memory": 1 << 28, "tasks": 9}


@pytest.mark.parametrize(
    ("secrets", "message"),
    [
        ("{}", "agents.arm.secrets.token: is missing"),
        ("{other: x}", "agents.arm.secrets.token: is missing"),
        ("{token: null}", "agents.arm.secrets.token: is missing"),
        ("{token: ''}", "agents.arm.secrets.token: is empty"),
        ("{token: '{{ nothing }}'}", "agents.arm.secrets.token: is empty"),
        ("{token: {a: b}}", "agents.arm.secrets.token: must be a string"),
        ("{token: [a]}", "agents.arm.secrets.token: must be a string"),
        ("{token: yes}", "agents.arm.secrets.token: must be a string"),
        ("{token: 1.10}", "agents.arm.secrets.token: must be a string"),
    ],
)
def test_a_secret_that_is_missing_empty_or_no_text_is_named(artifact, tmp_path, secrets, message):
    raw = load(tmp_path, secrets)
    with pytest.raises(DeclarationError, match=message):
        declare.build(
            [{"name": "arm", "version": "1.0", "state": "started", "instances": [], "ports": {}, "config": {}, "resources": {}}],
            {"arm": raw}, "dist", lambda v: templated(v, nothing=""), is_trusted_as_template,
        )  # fmt: skip


def test_no_secrets_at_all_is_missing(artifact):
    with pytest.raises(DeclarationError, match=r"secrets\.token: is missing"):
        declare.build(
            [{"name": "arm", "version": "1.0", "state": "started", "instances": [], "ports": {}, "config": {}, "resources": {}}],
            {}, "dist", templated, is_trusted_as_template,
        )  # fmt: skip


def test_undeclared_secrets_are_not_sent(artifact):
    assert build(secrets={"token": "x", "other": "y"})[0]["secrets"] == {"token": "x"}


def test_a_number_is_text_as_a_secret(artifact):
    assert build(secrets={"token": 1234})[0]["secrets"] == {"token": "1234"}


# -- validate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("speed", "wrong"), [(3, None), ("fast", "host-1: agents.arm.config"), (1.5, "speed")])
def test_a_configuration_is_checked_against_the_schema(artifact, speed, wrong):
    agents = build({"speed": speed})
    if wrong is None:
        declare.validate(agents, "dist", "host-1")
    else:
        with pytest.raises(DeclarationError, match=wrong):
            declare.validate(agents, "dist", "host-1")


# -- left-over templates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "variables", "complaint"),
    [
        ("a: plain", {}, None),
        ("a: '{{ x }}'", {"x": "value"}, None),
        ("a: '}} and { {'", {}, None),
        ("a: !unsafe '{{ x }}'", {"x": "value"}, None),
        ("a: {b: [1, !unsafe '{{ x }}']}", {}, None),
        ("a: '{{ \"{{\" }} x }}'", {}, r"config\.a: still holds '\{\{'"),
        ("a: {b: [1, '{{ \"{{\" }}']}", {}, r"config\.a\.b\.1: still holds"),
        ("a: '{{ x }}'", {"x": ["ok", '{{ "{{" }}']}, r"config\.a\.1: still holds"),
    ],
)
def test_what_is_still_a_template_is_refused(tmp_path, text, variables, complaint):
    raw = load(tmp_path, text)
    done = templated(raw, **variables)
    if complaint is None:
        declare.check_templated(raw, done, "config", is_trusted_as_template)
    else:
        with pytest.raises(DeclarationError, match=complaint):
            declare.check_templated(raw, done, "config", is_trusted_as_template)


def test_a_template_that_lost_its_trust_is_refused():
    """A string that was rebuilt in Python is no template any more for ansible-core, and would be deployed as it stands."""
    raw = {"a": "{{ vault_pw }}"}
    done = templated(raw, vault_pw="hunter2")
    assert done["a"] == "{{ vault_pw }}"
    with pytest.raises(DeclarationError, match="mark it !unsafe"):
        declare.check_templated(raw, done, "secrets", is_trusted_as_template)


def test_the_message_does_not_show_the_value(tmp_path):
    raw = {"token": "hunter2{{"}
    with pytest.raises(DeclarationError) as caught:
        declare.check_templated(raw, raw, "agents.arm.secrets", is_trusted_as_template)
    assert "hunter2" not in str(caught.value)
    assert "agents.arm.secrets.token" in str(caught.value)


# -- plain ------------------------------------------------------------------------------------------------------------


def all_types(value):
    found = {type(value)}
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    keys = {type(key) for key in value} if isinstance(value, dict) else set()
    return found.union(keys, *map(all_types, children))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1", {"a": 1}),
        ("1: a", {"1": "a"}),
        ("a: [1, 2.5, true, null, x, {b: c}]", {"a": [1, 2.5, True, None, "x", {"b": "c"}]}),
        ("a: !unsafe '{{ x }}'", {"a": "{{ x }}"}),
        ("{}", {}),
    ],
)
def test_tags_and_containers_of_ansible_go(tmp_path, text, expected):
    raw = load(tmp_path, text)
    for value in (raw, templated(raw)):
        found = declare.plain(value)
        assert found == expected
        assert all_types(found) <= {dict, list, str, int, float, bool, type(None)}
        assert json.loads(json.dumps(found)) == expected


def test_a_boolean_stays_one():
    assert declare.plain([True, 1, 1.0]) == [True, 1, 1.0]
    assert [type(v) for v in declare.plain([True, 1, 1.0])] == [bool, int, float]


@pytest.mark.parametrize("text", ["a: 2026-01-01", "a: {b: [2026-01-01T10:00:00]}"])
def test_what_json_cannot_hold_is_refused(tmp_path, text):
    with pytest.raises(DeclarationError, match="cannot hold"):
        declare.plain(load(tmp_path, text))
