# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet's declarations and every mistake in one, without Ansible's inventory."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfactory.core.plugins.plugin_utils import fleet, fleet_catalog, fleet_config, manifest

HOSTS = {
    "homes": ["h1", "h2", "h3"],
    "labs": ["l1"],
    "all": ["h1", "h2", "h3", "l1", "x1"],
    "inside": ["h1", "h2", "h3", "l1"],
}
SCHEMA = {
    "type": "object",
    "properties": {"set_point": {"type": "number", "maximum": 30}, "room": {"type": "string"}},
    "additionalProperties": False,
}
HEAD = "plugin: agentfactory.core.fleet\nenvironment: lab\nartifacts: ../dist\nmanaged: inside\nagents:\n"


def _manifest(name: str, **more: Any) -> dict[str, Any]:
    base = {"name": name, "version": "1.0", "command": [name], "health": {"notify": True}}
    return manifest.normalise({**base, **more}, file="agent.yml")


MANIFESTS = {
    "thermostat": _manifest(
        "thermostat",
        ports={"http": 8080},
        secrets=["pw"],
        config={"schema": SCHEMA, "defaults": {"set_point": 20}},
        resources={"memory": "128M", "cpu": 0.5},
    ),
    "bridge": _manifest("bridge", ports={"http": 8090, "admin": 8081}),
    "plain": _manifest("plain"),
    "strict": _manifest(
        "strict", config={"schema": {**SCHEMA, "required": ["set_point", "room"]}, "defaults": {"room": "x"}}
    ),
}


class _Catalog:
    def __init__(self, place: str) -> None:
        self.place = place

    def find(self, name: str, version: str, source: str | None) -> dict[str, Any]:
        if name not in MANIFESTS or version != "1.0":
            raise ValueError(f"version {version} is not packaged")
        return MANIFESTS[name]


def _select(pattern: str | list[str]) -> list[str]:
    if pattern == "bad[":
        raise ValueError("is no pattern")
    return (
        HOSTS.get(pattern, []) if isinstance(pattern, str) else [host for one in pattern for host in HOSTS.get(one, [])]
    )


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def _load(text: str) -> fleet.Fleet:
    return fleet.load(
        yaml.safe_load(text), path="/inv/fleet.yml", text=text, select=_select, catalog=_Catalog, label="fleet.yml"
    )


def _problems(text: str) -> list[str]:
    with pytest.raises(fleet.FleetError) as caught:
        _load(text)
    return [line.removeprefix("fleet.yml: ") for line in caught.value.problems]


GOOD = (
    HEAD
    + """
  thermostat:
    version: "1.0"
    hosts: homes
    instances: [east, west]
    config: {set_point: 21}
    secrets: {pw: x}
    resources: {memory: 256M}
    source: ../agents/thermostat
  plain: {version: "1.0", hosts: [homes, labs], state: stopped}
  old: {state: absent}
"""
)


def test_declarations() -> None:
    found = _load(GOOD)
    assert (found.environment, found.artifacts, found.max_removals) == ("lab", "/dist", 1)
    assert found.sources == {"thermostat": "/agents/thermostat"}
    thermostat = found.declared["h1"][0]
    assert thermostat == {
        "name": "thermostat",
        "version": "1.0",
        "state": "started",
        "instances": ["east", "west"],
        "ports": {"east": {"http": 8080}, "west": {"http": 8081}},
        "config": {"set_point": 21},
        "resources": {"cpu": 0.5, "memory": 256 << 20, "tasks": 256},
        "rollout": {"waves": [1, "25%", "100%"], "max_failures": 0, "rollback": "fleet"},
        "secrets": ["pw"],
        "token_budget": None,
    }
    assert [agent["name"] for agent in found.declared["l1"]] == ["plain", "old"]
    assert found.declared["h1"] is found.declared["h2"]
    assert found.secrets["h1"] == {"thermostat": {"pw": "x"}}
    assert found.secrets["l1"] == {}
    assert found.declared["h1"][2]["instances"] == []
    assert found.variables()["agentfactory_versions"] == {"thermostat": "1.0", "plain": "1.0", "old": None}


def test_values_are_the_very_objects_that_were_read() -> None:
    data = yaml.safe_load(GOOD)
    found = fleet.load(data, path="/inv/fleet.yml", text=GOOD, select=_select, catalog=_Catalog)
    assert found.declared["h1"][0]["config"] is data["agents"]["thermostat"]["config"]
    assert found.secrets["h1"]["thermostat"] is data["agents"]["thermostat"]["secrets"]


def test_a_managed_host_without_agents_has_an_empty_list() -> None:
    found = _load(HEAD.replace("agents:\n", "agents: {}\n"))
    assert found.declared == {host: [] for host in HOSTS["inside"]}


def _agent(text: str, name: str = "plain") -> str:
    return HEAD + f'  {name}: {{version: "1.0", hosts: homes, {text}}}\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (_agent("instnces: 2"), "agents.plain.instnces: unknown key (did you mean 'instances'?)"),
        (
            HEAD.replace("environment", "enviroment") + "  plain: {state: absent}",
            "enviroment: unknown key (did you mean 'environment'?)",
        ),
        (HEAD.replace("artifacts: ../dist\n", "") + "  plain: {state: absent}", "artifacts: is missing"),
        (HEAD + "  plain: {version: 1.10, hosts: homes}", 'agents.plain.version: is not a string: quote it: "1.10"'),
        (
            HEAD + "  plain: {version: 2026-01-02, hosts: homes}",
            'agents.plain.version: is not a string: quote it: "2026-01-02"',
        ),
        (HEAD + '  plain: {version: "2.0", hosts: homes}', "agents.plain: version 2.0 is not packaged"),
        (HEAD + '  Plain: {version: "1.0", hosts: homes}', "agents.Plain: 'Plain' must match"),
        (HEAD + '  plain: {version: "1.0"}', "agents.plain.hosts: is missing"),
        (HEAD + "  plain: {hosts: homes}", "agents.plain.version: is missing"),
        (HEAD + '  plain: {version: "1.0", hosts: homez}', "agents.plain.hosts: pattern 'homez' matches no host"),
        (HEAD + '  plain: {version: "1.0", hosts: "bad["}', "agents.plain.hosts: pattern 'bad[': is no pattern"),
        (HEAD + '  plain: {version: "1.0", hosts: all}', "agents.plain.hosts: x1 not in managed"),
        (
            HEAD + '  plain: {version: "{{ v }}", hosts: homes}',
            "agents.plain.version: is needed before any host is known",
        ),
        (HEAD.replace("inside", "nobody") + "  plain: {state: absent}", "managed: pattern 'nobody' matches no host"),
        (
            _agent("state: strted"),
            "agents.plain.state: must be one of started, stopped, absent, not 'strted' (did you mean",
        ),
        (_agent("count: 12"), "agents.plain.count: there is no placement.yml that says where: run the plan first"),
        (_agent("count: 0"), "agents.plain.count: must be from 1"),
        (_agent("count: 2, instances: 2"), "agents.plain.count: and instances exclude each other"),
        (_agent("placement: {surge: true}"), "agents.plain.placement: is for agents with count"),
        (_agent("state_portable: true"), "agents.plain.state_portable: is for agents with count"),
        (_agent("count: 2, placement: {spread: odd}"), "agents.plain.placement.spread: must be one of even, none"),
        (_agent("count: 2, placement: {spread: 0}"), "agents.plain.placement.spread: must be from 1"),
        (
            _agent("count: 2, placement: {resources: {cpu: 1}}"),
            "agents.plain.placement.resources.cpu: 'cpu' must be of",
        ),
        (_agent("count: 2, ports: {http: 1}"), "agents.plain.ports.http: is not in the manifest"),
        (_agent("instances: 0"), "agents.plain.instances: must be from 1 to 1000"),
        (_agent("instances: []"), "agents.plain.instances: must not be empty"),
        (_agent("instances: two"), "agents.plain.instances: must be a number or a list of names, not a string"),
        (_agent("instances: [a, B]"), "agents.plain.instances[1]: 'B' must be of a-z"),
        (_agent("instances: [a, a]"), "agents.plain.instances[1]: 'a' is listed twice"),
        (_agent("instances: [1]"), "agents.plain.instances[0]: must be a string, not a number: quote it"),
        (_agent("rollout: {waves: [2, 1]}"), "agents.plain.rollout.waves[1]: waves are cumulative"),
        (_agent("rollout: {waves: [50%, 20%]}"), "agents.plain.rollout.waves[1]: waves are cumulative"),
        (_agent("rollout: {waves: [0]}"), "agents.plain.rollout.waves[0]: must be at least 1"),
        (_agent("rollout: {waves: [101%]}"), "agents.plain.rollout.waves[0]: must be from 1% to 100%"),
        (_agent("rollout: {waves: [1.5]}"), "agents.plain.rollout.waves[0]: must be a number of hosts or a percentage"),
        (_agent("rollout: {waves: []}"), "agents.plain.rollout.waves: must be a list such as"),
        (_agent("rollout: {max_failures: -1}"), "agents.plain.rollout.max_failures: must be from 0"),
        (_agent("rollout: {rollback: all}"), "agents.plain.rollout.rollback: must be one of fleet, wave, none"),
        (_agent("resources: {memory: lots}"), "agents.plain.resources.memory: must be a size such as"),
        (_agent("token_budget: 2M"), "agents.plain.token_budget: must be a whole number, not a string"),
        (_agent("token_budget: 0"), "agents.plain.token_budget: must be from 1"),
        (_agent("secrets: {pw: x}"), "agents.plain.secrets.pw: is not in the manifest of plain 1.0; known are none"),
        (
            _agent("config: {a: 1}", "thermostat"),
            "agents.thermostat.secrets.pw: is missing: the manifest of thermostat 1.0",
        ),
        (
            _agent("secrets: {pw: 5}", "thermostat"),
            "agents.thermostat.secrets.pw: must be a string, not a number: quote it",
        ),
        (_agent("secrets: {pw: }", "thermostat"), "agents.thermostat.secrets.pw: is empty"),
        (
            _agent("secrets: {pw: x}, config: {set_point: 31}", "thermostat"),
            "agents.thermostat.config.set_point: 31 is greater",
        ),
        (
            _agent("secrets: {pw: x}, config: {set_pont: '{{ x }}'}", "thermostat"),
            "agents.thermostat.config.set_pont: is not in the schema (did you mean 'set_point'?)",
        ),
        (
            _agent("config: {room: '{{ x }}'}", "strict"),
            "agents.strict.config.set_point: is missing: the schema requires it",
        ),
        (
            _agent("secrets: {pw: x}, config: {1: 2}", "thermostat"),
            "agents.thermostat.config.1: a key must be a string: quote it",
        ),
        (
            _agent("secrets: {pw: x}, config: {set_point: 2026-01-02}", "thermostat"),
            "agents.thermostat.config.set_point: is a date",
        ),
        (
            _agent("secrets: {pw: x}, ports: {htp: 1}", "thermostat"),
            "agents.thermostat.ports.htp: is not in the manifest of",
        ),
        (
            _agent("secrets: {pw: x}, ports: {http: 65530}, instances: 9", "thermostat"),
            "agents.thermostat.ports.http: 65530 + 8 for the last instance is above 65535",
        ),
        (_agent("instances: 2, instances: 3"), "agents.plain.instances: is given twice (again in line 6)"),
        (
            HEAD.replace("managed", "max_removals: -1\nmanaged") + "  plain: {state: absent}",
            "max_removals: must be from 0",
        ),
    ],
)
def test_each_mistake_names_its_key(text: str, expected: str) -> None:
    found = _problems(text)
    assert any(line.startswith(expected) for line in found), found


def test_a_mistake_is_reported_without_its_consequences() -> None:
    assert len(_problems(_agent("secrets: {pw: 5}", "thermostat"))) == 1


def test_all_mistakes_are_reported_at_once() -> None:
    found = _problems(
        HEAD + "  plain: {version: 1.0, hosts: homez, state: on}\n  bridge: {version: '9', hosts: labs}\n"
    )
    assert len(found) == 4


@pytest.mark.parametrize(
    ("agents", "expected"),
    [
        (
            {"thermostat": 2, "bridge": 1},
            "agents.bridge.ports.admin: 8081 (instance 0) is also agents.thermostat.ports.http (instance 1) on h1 and 2 more",
        ),
        ({"thermostat": 1, "bridge": 1}, None),
        ({"bridge": 10}, "agents.bridge.ports.admin: 8090 (instance 9) is also agents.bridge.ports.http (instance 0)"),
    ],
)
def test_port_clashes(agents: dict[str, int], expected: str | None) -> None:
    text = HEAD + "".join(
        f'  {name}: {{version: "1.0", hosts: homes, instances: {count}, '
        f"secrets: {{{'pw: x' if name == 'thermostat' else ''}}}}}\n"
        for name, count in agents.items()
    )
    if expected is None:
        _load(text)
    else:
        assert any(line.startswith(expected) for line in _problems(text)), _problems(text)


def test_a_port_can_be_taken_on_different_hosts() -> None:
    _load(
        HEAD + '  thermostat: {version: "1.0", hosts: labs, instances: 2, secrets: {pw: x}}\n'
        '  bridge: {version: "1.0", hosts: homes}\n'
    )


def test_config_that_was_valid_is_not_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []
    monkeypatch.setattr(fleet_config, "check", lambda *given: judged.append(given))
    for config in ({"set_point": 1}, {"set_point": 1}, {"set_point": 2}):
        assert fleet_config.config_problems(MANIFESTS["thermostat"], config) == []
    assert len(judged) == 2


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.dates(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "plugin",
                        "agents",
                        "plain",
                        "version",
                        "hosts",
                        "instances",
                        "config",
                        "rollout",
                        "waves",
                        "ports",
                        "secrets",
                    ],
                )
                | st.integers(),
                inner,
                max_size=5,
            )
        ),
        max_leaves=25,
    )
)
def test_anything_that_is_not_a_fleet_is_a_fleet_error(data: Any) -> None:
    whole = {"plugin": "agentfactory.core.fleet", "agents": data}
    for value in (data, whole, {**whole, "agents": {"plain": data}}):
        with pytest.raises(fleet.FleetError):
            fleet.load(value, path="/inv/fleet.yml", text=yaml.safe_dump(value), select=_select, catalog=_Catalog)


def test_catalog_takes_the_source_where_nothing_is_packaged(tmp_path: Path) -> None:
    (tmp_path / "agent.yml").write_text('name: a\nversion: "2"\ncommand: [a]\nhealth: {notify: true}\n')
    catalog = fleet_catalog.Catalog(str(tmp_path / "dist"))
    assert catalog.find("a", "2", str(tmp_path))["version"] == "2"
    for name, version, source, reason in (
        ("a", "3", str(tmp_path), "version 3 cannot be had: source .* is 2, and .* has no artifact of a"),
        ("b", "2", str(tmp_path), "is of agent 'a'"),
        ("a", "2", None, "no source is given"),
        ("a", "2", str(tmp_path / "none"), "source: .*agent.yml: cannot be read"),
    ):
        with pytest.raises(ValueError, match=reason):
            catalog.find(name, version, source)
