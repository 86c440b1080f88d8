# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""agent.yml: each mistake, and what is said of it."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils import config, fleet_config
from ansible_collections.agentfactory.core.plugins.plugin_utils import manifest as m
from ansible_collections.agentfactory.core.plugins.plugin_utils.tree import canonical

FULL: dict[str, Any] = {
    "name": "thermostat",
    "version": "1.4.2",
    "description": "Keeps rooms  at\ntheir set point.",
    "source": ".",
    "runtime": {"type": "python", "python": ">=3.9", "platforms": ["linux/amd64+glibc2.28+py3.11"]},
    "command": ["thermostat", "serve", "--port={port.http}", "{state_dir}/x", "", '{"literal": {}}'],
    "ports": {"http": 8080, "mqtt": 1883},
    "health": {
        "http": {"port": "http", "path": "/healthz", "status": 204},
        "tcp": {"port": "mqtt"},
        "command": ["thermostat", "check"],
        "notify": True,
        "start_timeout": 10,
        "bake": 0.5,
        "preflight": ["thermostat", "check", "{config}"],
    },
    "metrics": {"port": "http", "path": "/metrics"},
    "slo": {"objective": 0.995, "good": 'jobs_total{result=~"ok|\\\\d", kind!="x"}', "total": "jobs_total"},
    "config": {
        "schema": {"type": "object", "required": ["room"], "properties": {"set_point": {"type": "number"}}},
        "defaults": {"set_point": 20},
    },
    "secrets": ["mqtt_password"],
    "resources": {"cpu": 0.25, "memory": "128M", "tasks": 64},
    "permissions": {
        "outbound": ["192.0.2.0/24", "2001:db8::1"],
        "inbound": [],
        "write": ["/srv//data/"],
        "devices": ["/dev/ttyUSB0"],
        "groups": ["dialout"],
        "capabilities": ["CAP_NET_BIND_SERVICE"],
        "proc": "all",
        "jit": True,
    },
    "stop": {"signal": "SIGINT", "timeout": 5},
}
LEAST: dict[str, Any] = {"name": "a", "version": "1", "command": ["a"], "health": {"notify": True}}


def errors(value: object) -> list[str]:
    with pytest.raises(m.ManifestError) as caught:
        m.normalise(value, file="agent.yml")
    return caught.value.problems


def put(key: str, value: object) -> dict[str, Any]:
    """FULL with one key set; `...` removes it."""
    changed = copy.deepcopy(FULL)
    *parents, last = key.split(".")
    place = changed
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return changed


def test_full() -> None:
    found = m.normalise(FULL, file="agent.yml")
    assert found["description"] == "Keeps rooms at their set point."
    assert found["resources"]["memory"] == 128 << 20
    assert found["health"]["command"] == {"argv": ["thermostat", "check"], "timeout": 5}
    assert found["permissions"]["outbound"] == ["192.0.2.0/24", "2001:db8::1/128"]
    assert found["permissions"]["write"] == ["/srv/data"]
    assert m.normalise(found, file="agent.yml") == found
    assert canonical(found) == canonical(json.loads(canonical(found)))


def test_defaults() -> None:
    assert m.normalise(LEAST, file="agent.yml") == {
        "name": "a",
        "version": "1",
        "description": "",
        "source": ".",
        "runtime": {"type": "python", "python": ">=3.9", "platforms": []},
        "command": ["a"],
        "ports": {},
        "health": {
            "http": None,
            "tcp": None,
            "command": None,
            "notify": True,
            "start_timeout": 30,
            "bake": 5,
            "preflight": None,
        },
        "metrics": None,
        "slo": None,
        "config": {"schema": None, "defaults": {}},
        "secrets": [],
        "resources": {"cpu": None, "memory": None, "tasks": 256},
        "permissions": {
            "outbound": [],
            "inbound": [],
            "write": [],
            "devices": [],
            "groups": [],
            "capabilities": [],
            "proc": "own",
            "jit": False,
        },
        "stop": {"signal": "SIGTERM", "timeout": 20},
    }


def test_manifests_share_nothing() -> None:
    first, second = m.normalise(LEAST, file="f"), m.normalise(LEAST, file="f")
    first["permissions"]["write"].append("/x")
    first["config"]["defaults"]["a"] = 1
    assert second == m.normalise(LEAST, file="f")


def test_an_objective_that_there_is_not_leaves_the_content_as_it_was() -> None:
    assert "slo" not in m.stored(m.normalise(LEAST, file="f"))
    assert m.stored(m.normalise(FULL, file="f"))["slo"] == FULL["slo"]


def test_stored_has_neither_source_nor_platforms() -> None:
    found = m.stored(m.normalise(FULL, file="f"))
    assert "source" not in found
    assert found["runtime"] == {"type": "python", "python": ">=3.9"}


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("nmae", "x", "nmae: unknown key (did you mean 'name'?)"),
        ("resources.mem", 1, "resources.mem: unknown key (did you mean 'memory'?)"),
        ("stop.zzz", 1, "stop.zzz: unknown key; known are signal, timeout"),
        ("name", ..., "name: is missing"),
        ("name", "Thermostat", "name: 'Thermostat' must match ^[a-z][a-z0-9-]{0,38}$"),
        ("name", "a" * 40, "must match"),
        ("name", 5, "name: must be a string, not a number: quote it"),
        ("name", "a\n", "name: must be at most 4096 characters, none of them control characters"),
        ("version", 1.4, 'version: is a number: quote it, as in version: "1.4.2"'),
        ("version", 2, "version: is a number: quote it"),
        ("version", "latest", "version: 'latest' says nothing"),
        ("version", "1/2", "version: '1/2' must be of letters, digits"),
        ("version", "1.0+local", "version: '1.0+local' must be of letters"),
        ("version", None, "version: must be a string, not nothing"),
        ("description", 5, "description: must be a string, not a number"),
        ("source", 5, "source: must be a directory, {requirement: ...} or {file: ..., sha256: ...}"),
        ("source", {"requirement": "a b"}, "source.requirement: 'a b' is not a requirement"),
        (
            "source",
            {"requirement": "a @ https://example.org/a.whl"},
            "source.requirement: must be a name and a version",
        ),
        ("source", {"file": "x"}, "source.sha256: is missing"),
        ("source", {"file": "x", "sha256": "ab"}, "source.sha256: 'ab' must be 64 lower-case"),
        (
            "source",
            {"file": "x", "sha256": "a" * 64},
            "runtime.type: must be executable for a source with file, not python",
        ),
        ("runtime", "python", "runtime: must be a mapping, not a string"),
        (
            "runtime.type",
            "pyhton",
            "runtime.type: must be one of python, executable, container, not 'pyhton' (did you mean 'python'?)",
        ),
        ("runtime.python", 3.9, 'runtime.python: must be a string such as ">=3.9"'),
        ("runtime.python", "3.9", "runtime.python: '3.9' must be such as"),
        ("runtime.type", "executable", "runtime.python: does not go with type executable"),
        ("runtime.platforms", ["amd64"], "runtime.platforms[0]: 'amd64' is not a target such as"),
        ("runtime.platforms", ["linux/z80+glibc2.36+py3.11"], "is not a target such as"),
        ("runtime.platforms", ["linux/amd64"], "must name libc and Python"),
        ("runtime.platforms", ["linux/amd64+glibc2.31+py3.8"], "does not go with runtime.python >=3.9"),
        ("command", "thermostat serve", "command: must be a list of words, not a string: [thermostat, serve]"),
        ("command", [], "command: must not be empty"),
        ("command", ["/usr/bin/x"], "command[0]: '/usr/bin/x' must be a console script or a path in the artifact"),
        ("command", ["../x"], "command[0]: '../x' must be"),
        ("command", ["x", 8080], "command[1]: must be a string, not a number: quote it"),
        ("command", ["x", "{port.htpp}"], "command[1]: unknown placeholder {port.htpp} (did you mean 'port.http'?)"),
        ("command", ["x", "{home}"], "command[1]: unknown placeholder {home}; known are config, instance, state_dir"),
        ("ports", [8080], "ports: must be a mapping, not a list"),
        ("ports.http", "8080", "ports.http: must be a whole number (without quotes), not a string"),
        ("ports.http", 0, "ports.http: must be from 1 to 65535"),
        ("ports.http", 65536, "ports.http: must be from 1 to 65535"),
        ("ports.http", True, "ports.http: must be a whole number, not a boolean"),
        ("ports.Web", 1, "ports.Web: 'Web' must be of lower-case letters"),
        ("ports.other", 8080, "ports.other: is 8080, as ports.http"),
        ("health", ..., "health: is missing"),
        ("health", {"start_timeout": 5}, "health: needs at least one probe"),
        ("health.http.port", "htpp", "health.http.port: 'htpp' is not in ports (did you mean 'http'?)"),
        ("health.http.port", 8080, "health.http.port: must be a string"),
        ("health.http.path", "healthz", "health.http.path: 'healthz' must be a path that begins with /"),
        ("health.http.status", 99, "health.http.status: must be from 100 to 599"),
        ("health.tcp", {"port": "x"}, "health.tcp.port: 'x' is not in ports"),
        ("health.command", {"argv": ["x"], "timeout": 0}, "health.command.timeout: must be from 0.1 to 3600 seconds"),
        ("health.command", ["x", "{nope}"], "health.command.argv[1]: unknown placeholder {nope}"),
        ("health.notify", "yes", "health.notify: must be true or false, not a string"),
        ("health.start_timeout", 0, "health.start_timeout: must be from 1 to 3600 seconds"),
        ("health.bake", float("nan"), "health.bake: must be from 0 to 3600 seconds"),
        ("health.preflight", "x", "health.preflight: must be a list of words"),
        ("health.preflight", ["x", "{nope}"], "health.preflight[1]: unknown placeholder {nope}"),
        ("metrics.port", "x", "metrics.port: 'x' is not in ports"),
        ("metrics", ..., "slo: is judged by the agent's own metrics, and the manifest names none"),
        ("slo", 0.99, "slo: must be a mapping, not a number"),
        ("slo", {}, "slo.objective: is missing"),
        ("slo", {"target": 0.99}, "slo.target: unknown key; known are objective, good, total"),
        ("slo.objective", 99.5, "slo.objective: is a ratio: write 99.5 % as 0.995"),
        ("slo.objective", 1, "slo.objective: must be from 0.85 to 0.99999"),
        ("slo.objective", True, "slo.objective: must be a number, not a boolean"),
        ("slo.total", ..., "slo: good and total go together"),
        ("slo.good", "rate(jobs_total[5m])", "slo.good: 'rate(jobs_total[5m])' must be a counter's selector"),
        ("slo.good", "jobs_total{a=1}", "slo.good: 'jobs_total{a=1}' must be a counter's selector"),
        ("slo.good", 'a{b="c"} or vector(1)', "must be a counter's selector"),
        ("slo.good", 'a{b="c", agent=~".*"}', "slo.good: the label agent is set by the fleet: leave it out"),
        ("slo.good", 'a{__name__="b"}', "slo.good: the counter's name comes before the braces: leave __name__ out"),
        ("slo.good", 'a{b=~"("}', 'slo.good: "(" of the label b is no regular expression that Prometheus takes'),
        ("slo.total", 5, "slo.total: must be a string, not a number"),
        ("config.schema", 5, "config.schema: must be a file's name or a JSON Schema, not a number"),
        ("config.schema", {"type": "strnig"}, "config.schema.type: is not a valid JSON Schema"),
        ("config.schema", {"$schema": 5}, "config.schema: $schema must be a string"),
        ("config.schema", "missing.json", "config.schema: 'missing.json' cannot be read: No such file"),
        ("config.defaults", [1], "config.defaults: must be a mapping, not a list"),
        ("config.defaults", {"set_point": "warm"}, "config.defaults.set_point: 'warm' is not of type 'number'"),
        ("config.defaults", {1: 2}, "config.defaults: the key 1 must be a string: quote it"),
        ("config.defaults", {"a": {"b": float("inf")}}, "config.defaults.a.b: must be a finite number"),
        ("secrets", {"a": "b"}, "secrets: must be a list, not a mapping"),
        ("secrets", ["a b"], "secrets[0]: 'a b' must be of letters"),
        ("secrets", ["a", "a"], "secrets[1]: 'a' is listed twice"),
        ("secrets", ["config"], "secrets[0]: 'config' is reserved"),
        ("resources.cpu", 0, "resources.cpu: must be from 0.01"),
        ("resources.memory", "128MB", "resources.memory: must be a size such as 128M or 2G, not '128MB'"),
        ("resources.memory", 5, "resources.memory: must be at least 1M, not 5"),
        ("resources.tasks", 0, "resources.tasks: must be from 1"),
        ("resources.tasks", 1.5, "resources.tasks: must be a whole number"),
        ("permissions.outbound", ["192.0.2.1/24"], "permissions.outbound[0]: 192.0.2.1/24 has host bits set"),
        ("permissions.outbound", ["example.org"], "a name is not possible, give its address"),
        ("permissions.outbound", [5], "permissions.outbound[0]: must be an address or a network"),
        ("permissions.outbound", ["fe80::1%eth0"], "permissions.outbound[0]: must be an address or a network"),
        ("permissions.inbound", "192.0.2.0/24", "permissions.inbound: must be a list, not a string"),
        ("permissions.inbound", ["192.0.2.0/24"], "permissions.inbound: cannot be enforced yet"),
        ("permissions.write", ["data"], "permissions.write[0]: 'data' must be an absolute path"),
        ("permissions.write", ["/"], "permissions.write[0]: '/' must be below /"),
        ("permissions.write", ["/srv/../etc"], "permissions.write[0]: '/srv/../etc' must not contain '..'"),
        ("permissions.devices", ["/etc/passwd"], "permissions.devices[0]: '/etc/passwd' must be below /dev/"),
        ("permissions.groups", ["Dial Out"], "permissions.groups[0]: 'Dial Out' is not a group's name"),
        ("permissions.capabilities", ["net_raw"], "permissions.capabilities[0]: 'net_raw' is not known"),
        ("permissions.capabilities", ["cap_net_raw"], "(did you mean 'CAP_NET_RAW'?)"),
        ("permissions.proc", "any", "permissions.proc: must be one of own, all, not 'any'"),
        ("permissions.jit", 1, "permissions.jit: must be true or false"),
        ("stop.signal", "TERM", "stop.signal: 'TERM' is not known (did you mean 'SIGTERM'?)"),
        ("stop.timeout", "20", "stop.timeout: must be a whole number (without quotes), not a string"),
    ],
)
def test_mistakes(key: str, value: object, problem: str) -> None:
    found = errors(put(key, value))
    assert any(line.startswith("agent.yml: ") and problem in line for line in found), found


def test_all_mistakes_are_reported_at_once() -> None:
    found = errors({"name": "A", "version": 1, "comand": [], "command": ["x"], "health": {"notify": 5}})
    assert [line.split(": ")[1] for line in found] == ["comand", "name", "version", "health.notify"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: a\nname: b\n", "agent.yml: line 2, column 1: the key 'name' is given twice"),
        ("config: {defaults: {a: 1, a: 2}}", "the key 'a' is given twice"),
        ("a: [", "agent.yml: line"),
        ("- a", "must be a mapping that begins with name: and version:, not a list"),
        ("", "must be a mapping that begins with name: and version:, not nothing"),
        ("a: 2024-99-99", "is not YAML that can be read"),
        ("a: !!bool x", "is not YAML that can be read"),
        ("a: !python/object:os.system x", "could not determine a constructor"),
        ("\x00", "is not YAML that can be read"),
        ("[" * 3000, "is nested too deeply"),
        ("config: {defaults: {when: 2024-01-01}}", "config.defaults.when: is a date, which JSON cannot say: quote it"),
        ("a: &a [*a]", "a: unknown key"),
        ("config: {defaults: &a {a: *a}}", "config.defaults: is nested deeper than 40 levels"),
    ],
)
def test_yaml(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "agent.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(m.ManifestError) as caught:
        m.load(str(tmp_path))
    assert problem in str(caught.value)
    assert str(file) in str(caught.value)


def test_repeated_aliases_do_not_blow_up(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (tmp_path / "agent.yml").write_text("\n".join([*lines, "config: {defaults: {a: *a8}}"]), encoding="utf-8")
    with pytest.raises(m.ManifestError, match="holds more than 100000 values"):
        m.load(str(tmp_path))


def test_schema_file_is_inlined(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"type": "object"}', encoding="utf-8")
    (tmp_path / "agent.yml").write_text(yaml.safe_dump({**LEAST, "config": {"schema": "s.json"}}), encoding="utf-8")
    assert m.load(str(tmp_path / "agent.yml"))["config"]["schema"] == {"type": "object"}
    (tmp_path / "s.json").write_text('{"type": "object", "type": "array"}', encoding="utf-8")
    with pytest.raises(m.ManifestError, match=r"config.schema: 's.json' cannot be read: a key is given twice"):
        m.load(str(tmp_path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(m.ManifestError, match="cannot be read: No such file"):
        m.load(str(tmp_path / "agent.yml"))


@pytest.mark.parametrize(("size", "found"), [("1M", 1 << 20), ("1.5G", 3 << 29), (1 << 20, 1 << 20), ("2T", 2 << 40)])
def test_sizes(size: object, found: int) -> None:
    assert m.parse_size(size) == found


SCHEMA = {
    "type": "object",
    "required": ["room"],
    "additionalProperties": False,
    "properties": {
        "room": {"type": "string"},
        "set_point": {"type": "number", "maximum": 30},
        "mqtt": {"type": "object", "properties": {"port": {"type": "integer"}}},
        "tags": {"type": "array"},
    },
}


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, ("", "'room' is a required property")),
        ({"room": 5}, ("room", "5 is not of type 'string'")),
        ({"room": "a", "colour": 1}, ("", "Additional properties are not allowed ('colour' was unexpected)")),
        ({"room": "a", "mqtt": {"port": "x"}}, ("mqtt.port", "'x' is not of type 'integer'")),
    ],
)
def test_bad_config(config: dict[str, object], problem: tuple[str, str]) -> None:
    manifest = m.normalise({**LEAST, "config": {"schema": SCHEMA}}, file="f")
    assert fleet_config.violations(manifest["config"], config) == [problem]


def test_config_merges_mappings_and_replaces_lists() -> None:
    defaults = {"mqtt": {"port": 1883}, "tags": [1, 2]}
    manifest = m.normalise({**LEAST, "config": {"schema": SCHEMA, "defaults": defaults}}, file="f")
    given_value: list[int] = [3]
    laid_over = {"room": "a", "mqtt": {"host": "b"}, "tags": given_value}
    merged = config.merge(manifest["config"]["defaults"], laid_over)
    assert fleet_config.violations(manifest["config"], laid_over) == []
    assert merged == {"room": "a", "mqtt": {"port": 1883, "host": "b"}, "tags": [3]}
    assert merged["tags"] is given_value
    assert manifest["config"]["defaults"] == defaults


def test_any_config_without_a_schema() -> None:
    manifest = m.normalise(LEAST, file="f")
    assert fleet_config.violations(manifest["config"], {"a": {"b": [1]}}) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"required": ["a"]},
        {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"minProperties": 3},
        {"if": {"not": {"required": ["a"]}}, "then": {"properties": {"x": {"const": 2}}}},
        {"properties": {"deep": {"required": ["a"]}}},
        {"not": {"not": {"required": ["a"]}}},
    ],
)
def test_defaults_may_be_incomplete(schema: dict[str, Any]) -> None:
    m.normalise({**LEAST, "config": {"schema": schema, "defaults": {"x": 1, "deep": {}}}}, file="f")


def test_a_schema_fetches_nothing() -> None:
    with pytest.raises(m.ManifestError, match="the schema cannot be applied"):
        m.normalise(
            {**LEAST, "config": {"schema": {"$ref": "http://192.0.2.1/x.json"}, "defaults": {"x": 1}}}, file="f"
        )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["http", "{config}", "1M", "/x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def _keys(value: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, inner in value.items():
        found.append(prefix + key)
        if isinstance(inner, dict) and prefix + key != "config.schema":
            found += _keys(inner, prefix + key + ".")
    return found


@given(key=st.sampled_from(_keys(FULL)), value=JSON)
def test_nothing_but_a_manifest_or_its_error(key: str, value: object) -> None:
    try:
        found = m.normalise(put(key, value), file="agent.yml")
    except m.ManifestError as error:
        assert error.problems
        assert all(line.startswith("agent.yml: ") for line in error.problems)
        return
    assert m.normalise(found, file="agent.yml") == found
    json.loads(canonical(found))


@given(data=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yml"
    file.write_bytes(data)
    with pytest.raises(m.ManifestError):
        m.load(str(file))
