# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module and lookup under ansible-playbook, against a real Prometheus. No host is there: the inventory's one cannot be reached."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from .. import ansible_programs

MODULE = "agentfactory.core.prometheus_query"
AT = "1790000060"
Run = Callable[..., tuple[list[dict[str, Any]], str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run tasks; gives the result of each, and all that was printed with -vvv."""

    def _run(*tasks: dict[str, Any], check: bool = False, **variables: Any) -> tuple[list[dict[str, Any]], str]:
        plays = [task | {"register": f"r{number}", "ignore_errors": True} for number, task in enumerate(tasks)]
        results = ", ".join(f"r{number}" for number in range(len(tasks)))
        write = {"content": f"{{{{ [{results}] | to_json }}}}", "dest": str(tmp_path / "results")}
        plays += [{"ansible.builtin.copy": write, "delegate_to": "localhost", "check_mode": False}]
        play = {"hosts": "h1", "gather_facts": False, "vars": variables, "tasks": plays}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
        (tmp_path / "hosts").write_text("h1 ansible_host=h1.invalid\n")
        command = ["ansible-playbook", "-vvv", "-i", "hosts", "play.yml", *["--check"] * check]
        done = ansible_programs.run(tmp_path, *command)
        text = done.stdout + done.stderr
        assert done.returncode == 0, text
        return json.loads((tmp_path / "results").read_text()), text

    return _run


def ask(query: str, **options: Any) -> dict[str, Any]:
    return {MODULE: {"query": query, **options}}


def look_up(query: str, **options: str) -> dict[str, Any]:
    """A task with the lookup in a template. An option is text, or the name of a variable in braces."""
    words = {name: value[3:-3] if value.startswith("{{") else repr(value) for name, value in options.items()}
    call = ", ".join([repr(MODULE), repr(query), *(f"{name}={word}" for name, word in words.items())])
    return {"ansible.builtin.debug": {"msg": f"{{{{ lookup({call}) }}}}"}}


def test_module(run: Run, prometheus: str) -> None:
    kitchen = 'room_temperature{room="kitchen"}'
    times = {"start": "2026-09-21T14:13:20Z", "end": "2026-09-21T14:14:20Z", "step": "1m"}
    (vector, matrix), _text = run(
        ask("sort(room_temperature)", time=int(AT)),
        ask(kitchen, **times),
        check=True,
        agentfactory_prometheus_url="{{ scheme }}" + prometheus.removeprefix("http"),
        scheme="http",
    )
    assert not vector["changed"]
    assert not vector["failed"]
    assert (vector["query"], vector["result_type"], vector["questions"]) == ("sort(room_temperature)", "vector", 1)
    assert [(item["labels"]["room"], item["value"], item["time"]) for item in vector["series"]] == [
        ("igloo", "-Inf", 1790000060.0), ("kitchen", 20.5, 1790000060.0), ("attic", "+Inf", 1790000060.0), ("cellar", "NaN", 1790000060.0),
    ]  # fmt: skip
    assert matrix["result_type"] == "matrix"
    assert matrix["series"][0]["samples"] == [[1790000000.0, 19.5], [1790000060.0, 20.5]]


def test_module_waits_and_says_so(run: Run, prometheus: str) -> None:
    # a template is rendered once, before the first question
    query, until = "time() - {{ now().timestamp() }}", {"operator": "ge", "value": 4}
    (met, never), text = run(
        ask(query, url=prometheus, until=until, retries=600, delay=0.1),
        ask("vector(2)", url=prometheus, until={"operator": "gt", "value": 3}, retries=1, delay=0),
    )
    assert (met["failed"], met["met"]) == (False, True)
    assert met["questions"] > 1
    assert "not yet all >= 4: 0 of 1 series >= 4; {} is " in text
    assert "again in 0.1 s (1 of 600)" in text
    assert (never["failed"], never["met"]) == (True, False)
    assert never["msg"] == "vector(2) never was all > 3, asked 2 times: 0 of 1 series > 3; {} is 2"
    assert never["series"][0]["value"] == 2.0


def test_check_mode_asks_once_and_does_not_fail(run: Run, prometheus: str) -> None:
    waiting = {"until": {"operator": "gt", "value": 3}, "delay": 3600}
    results, _text = run(
        ask("vector(2)", url=prometheus, **waiting), ask("1", url="http://127.0.0.1:1", **waiting), check=True
    )
    assert [(item["failed"], item["met"], item["questions"]) for item in results] == [(False, False, 1)] * 2


def test_module_and_lookup_say_what_is_wrong(run: Run, prometheus: str) -> None:
    table: list[tuple[dict[str, Any], str, str | None]] = [
        ({"query": "up{"}, "parse error", "bad_data"),
        ({"url": ""}, "url: give it, or define the variable agentfactory_prometheus_url", ""),
        ({"time": "1", "start": "1", "step": "1"}, "mutually exclusive: time|start", None),
        ({"start": "1"}, "missing parameter(s) required by 'start': step", None),
        ({"username": "Ada", "token": "geheim"}, "mutually exclusive: token|token_file|username", None),
        ({"password": "geheim"}, "missing parameter(s) required by 'password': username", None),
    ]
    options = [{"query": "1", "url": prometheus} | given for given, _words, _kind in table]
    operator = ask("1", url=prometheus, until={"operator": ">", "value": 1})
    results, text = run(*[ask(**given) for given in options], operator, *[look_up(**given) for given in options])
    assert all(result["failed"] for result in results)
    assert [result.get("error_type") for result in results[: len(table)]] == [kind for _given, _words, kind in table]
    assert "value of operator must be one of: eq, ne, gt, ge, lt, le" in results.pop(len(table))["msg"]
    for result, words in zip(results, [words for _given, words, _kind in table] * 2, strict=True):
        assert words in result["msg"]
    for shown in (text, json.dumps(results)):  # but for Ansible's own view of the template, which is the test's text
        assert "geheim" not in shown.replace("password='geheim'", "").replace("token='geheim'", "")


def test_secrets_are_in_nothing_that_is_printed(run: Run, secured: Any) -> None:
    options = secured.options
    password = options.pop("password")
    (secured.folder / "password").write_text(password)
    results, text = run(
        ask("1", **options, password="{{ secret }}"),
        ask("1", **options, password_file=str(secured.folder / "password")),
        look_up("1", **options, password="{{ secret }}"),
        ask("1", **options, password="{{ secret }} is wrong"),
        secret=password,
    )
    assert [result["failed"] for result in results] == [False, False, False, True]
    assert results[2]["msg"][0]["value"] == 1.0
    assert "status 401" in results[3]["msg"]
    assert password not in text + json.dumps(results)


def test_lookup_gives_the_list_of_series(run: Run, prometheus: str) -> None:
    queries = {"room_temperature": 4, "vector(1)": 1, "room_temperature == 0": 0}
    results, _text = run(
        *[look_up(query, time=AT) for query in queries], agentfactory_prometheus_url="{{ base }}", base=prometheus
    )
    assert [len(result["msg"]) for result in results] == [*queries.values()]
    assert all(set(item) == {"labels", "value", "time"} for result in results for item in result["msg"])


def test_what_a_prometheus_says_is_no_template(run: Run, prometheus: str) -> None:
    query = 'label_replace(vector(1), "x", "{{ 6 * 7 }}", "", "")'
    (module, lookup), _text = run(
        ask("{{ query }}", url=prometheus),
        {"ansible.builtin.debug": {"msg": f"{{{{ lookup('{MODULE}', query, url='{prometheus}') }}}}"}},
        query="{% raw %}" + query + "{% endraw %}",
    )
    assert module["series"][0]["labels"] == lookup["msg"][0]["labels"] == {"x": "{{ 6 * 7 }}"}
