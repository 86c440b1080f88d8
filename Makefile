# `make help` says what there is. Everything lives in .venv, .cache and dist, and can be run again at any time.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
.NOTPARALLEL:
export MYPYPATH := $(CURDIR)/.venv/collections
export PYTHONDONTWRITEBYTECODE := 1

PYTEST := .venv/bin/python -m pytest
# Half of the unit tests start Ansible: they share the processors.
SHARED := -n auto --dist worksteal
ARGS ?=

.PHONY: help setup packages requirements dashboards lab lab-down demo bench test lint unit unit-oldest unit-py39 integration molecule sanity docs build clean

help: ## This list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv, with every tool in it
	@tools/setup main

packages: ## Install the programs that the lab and the tests run (podman and others), where missing
	@tools/packages

requirements: setup ## Pin the requirements*.txt anew from the requirements*.in
	@tools/requirements

lab: setup packages ## Start the test hosts (or repair them), and write inventories/lab
	ansible-playbook playbooks/lab.yml $(ARGS)

lab-down: setup ## Remove the test hosts
	ansible-playbook playbooks/lab.yml -e lab_state=absent $(ARGS)

demo: setup packages ## Two agents on three hosts: deployed, updated, rolled back, watched; a broken update undone, a dead agent healed
	@tools/setup eda
	tools/demo

bench: setup ## Measure against a plain role, pyinfra and plain ssh; placements against other schedulers; monitoring
	@tools/packages bench
	@tools/setup bench
	tools/bench $(ARGS)

test: lint unit unit-oldest unit-py39 sanity integration molecule ## Everything, fast first

lint: setup ## ruff, mypy, yamllint, ansible-lint, documentation, changelog
	@tools/lint

unit: setup ## Unit tests
	@tools/packages unit || echo "unit: what needs these is skipped" >&2
	$(PYTEST) tests/unit $(SHARED) $(ARGS)

unit-oldest: ## Unit tests on the oldest supported ansible-core and Python
	@tools/setup oldest
	@tools/packages unit || echo "unit: what needs these is skipped" >&2
	PATH="$(CURDIR)/.venv-oldest/bin:$$PATH" .venv-oldest/bin/python -m pytest tests/unit --ignore tests/unit/monitoring $(SHARED) $(ARGS)

unit-py39: ## Unit tests of what runs on hosts, on the hosts' oldest Python
	@tools/unit-py39 $(ARGS)

sanity: setup ## ansible-test sanity
	@tools/sanity $(ARGS)

integration: setup ## Tests on real hosts, and of the example agents
	@tools/packages tests
	@tools/setup eda
	@tools/setup oldest
	$(PYTEST) examples/agents/thermostat
	$(PYTEST) tests/integration -n 2 --dist loadfile --durations 15 $(ARGS)

molecule: setup packages ## The scenarios under molecule/
	@tools/molecule $(ARGS)

dashboards: setup ## Write the dashboards of the role monitoring anew (tools/dashboards)
	.venv/bin/python tools/dashboards

docs: setup ## The reference of modules, plugins and roles, as HTML in dist/docs
	@tools/docs

build: setup ## The collection's archive, in dist
	ansible-galaxy collection build --force --output-path dist

clean: ## Remove everything that these targets make, but for the lab (make lab-down)
	rm -rf .venv .venv-oldest .venv-py39 .venv-bench .venv-eda .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis dist tests/output
