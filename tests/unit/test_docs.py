# Copyright: agentfactory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is documented is what is accepted: modules, roles and the lists of them."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.agentfactory.core"
MODULES = sorted(path for path in (ROOT / "plugins/modules").glob("*.py") if path.name != "__init__.py")
ROLES = sorted(path for path in (ROOT / "roles").glob("*") if path.is_dir())
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
OPTION = ("type", "elements", "required", "choices", "aliases")

modules = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
roles = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
playbooks = pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda playbook: playbook.stem)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def docstrings(path: Path) -> tuple[dict, list, dict, Any]:
    """A module's documentation with its fragments, the plays or tasks of its examples, and its return values."""
    doc, examples, returns, _metadata = get_docstring(
        str(path), fragment_loader, collection_name="agentfactory.core", plugin_type="module"
    )
    return doc, yaml.safe_load(examples), returns if isinstance(returns, dict) else yaml.safe_load(returns)


def normal(options: dict[str, Any] | None, nested: str) -> dict[str, Any]:
    """Options of a documentation (nested: suboptions) or an argument spec (nested: options), as one form."""
    result = {}
    for name, option in (options or {}).items():
        short = {key: option[key] for key in OPTION if option.get(key)}
        short.setdefault("type", "str")
        if option.get("default") is not None:
            short["default"] = option["default"]
        if isinstance(short.get("choices"), dict):  # a documentation may explain each choice
            short["choices"] = list(short["choices"])
        if option.get(nested):
            short["options"] = normal(option[nested], nested)
        result[name] = short
    return result


def has_action(path: Path) -> bool:
    """Whether the controller does the work, or a part of it: the module's file is then documentation only."""
    return (ROOT / "plugins/action" / path.name).is_file()


@modules
def test_module_documentation_equals_argument_spec(path: Path) -> None:
    doc, _examples, _returns = docstrings(path)
    if has_action(path):
        spec = getattr(importlib.import_module(f"{COLLECTION}.plugins.action.{path.stem}"), path.stem.upper())
    else:
        spec = importlib.import_module(f"{COLLECTION}.plugins.modules.{path.stem}").ARGUMENT_SPEC
    assert normal(doc["options"], "suboptions") == normal(spec, "options")


@modules
def test_module_documents_itself_whole(path: Path) -> None:
    doc, examples, returns = docstrings(path)
    assert doc["module"] == path.stem
    assert {"check_mode", "diff_mode", "idempotent"} <= set(doc["attributes"])
    assert returns
    assert any(f"agentfactory.core.{path.stem}" in task for task in examples), "no example calls it by its full name"


def test_action_group_names_every_module_of_agents() -> None:
    groups = read(ROOT / "meta/runtime.yml")["action_groups"]
    assert sorted(groups["agents"]) == [path.stem for path in MODULES if path.stem.startswith("agent_")]


def test_lookup_takes_the_options_of_its_module() -> None:
    """Where both ask for the same: but for what one gives as a term, and what a template does not wait for."""
    argspec = importlib.import_module(f"{COLLECTION}.plugins.plugin_utils.prometheus_argspec")
    path = ROOT / "plugins/lookup/prometheus_query.py"
    doc, _examples, _returns, _metadata = get_docstring(
        str(path), fragment_loader, collection_name="agentfactory.core", plugin_type="lookup"
    )
    documented, spec = normal(doc["options"], "suboptions"), normal(argspec.PROMETHEUS_QUERY, "options")
    del documented["_terms"]
    for name in ("query", "until", "retries", "delay"):
        del spec[name]
    assert documented == spec


@roles
def test_role_defaults_equal_argument_specs(role: Path) -> None:
    specs = read(role / "meta/argument_specs.yml")["argument_specs"]
    file = role / "defaults/main.yml"
    defaults = (read(file) if file.is_file() else None) or {}
    documented = {name: option for spec in specs.values() for name, option in (spec.get("options") or {}).items()}
    assert defaults == {name: option["default"] for name, option in documented.items() if "default" in option}
    optional = {name for name, option in documented.items() if not option.get("required") and "default" not in option}
    assert not optional & set(defaults)


@roles
def test_role_describes_each_entry_point(role: Path) -> None:
    specs = read(role / "meta/argument_specs.yml")["argument_specs"]
    assert "main" in specs
    for name, spec in specs.items():
        assert spec.get("short_description"), name
        assert (role / "tasks" / f"{name}.yml").is_file(), name


@playbooks
def test_playbook_prompts_for_nothing(playbook: Path) -> None:
    plays = read(playbook)
    assert not [play for play in plays if "vars_prompt" in play]


def test_links_in_the_texts_lead_somewhere() -> None:
    broken = []
    for text in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text.read_text(encoding="utf-8")):
            if "://" not in target and not (text.parent / target).exists():
                broken.append(f"{text.relative_to(ROOT)}: {target}")
    assert not broken


def test_the_first_agent_of_the_readme_is_that_of_the_guide() -> None:
    """The guide's commands and files are run by a test on real hosts; the README shows the first of them."""
    blocks = re.compile(r"^```\w+\n.*?^```$", re.MULTILINE | re.DOTALL)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("## Your first own agent") : readme.index("## An operator's verbs")]
    guide = (ROOT / "docs/getting-started.md").read_text(encoding="utf-8")
    assert len(blocks.findall(section)) >= 5
    assert [block for block in blocks.findall(section) if block not in guide] == []
