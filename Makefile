# SPDX-License-Identifier: GPL-3.0-or-later
# `make demo` and `make test` need nothing before them but a Debian machine with root or sudo: both call `prepare`.
# `make check` needs no root and no network; it asks for `make venv` where there is no Python environment yet.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
VENV := .venv
PYTHON := $(VENV)/bin/python
LINK := collections/ansible_collections/vacuum/htcondor
REQUIREMENTS := tests/requirements.txt tests/constraints.txt
STAMP := $(VENV)/.requirements-$(shell cat $(REQUIREMENTS) | sha256sum | cut -c 1-16)
STAGES = $(foreach stage,$(ONLY),--only $(stage))

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

.PHONY: help prepare apt venv demo check test lint unit sanity scenarios lives artifact constraints \
  lab-up lab-ssh lab-down lab-status clean

apt: ## install the Debian packages that the lab and the tests need
	@tests/install_packages

$(STAMP): $(REQUIREMENTS)
	@python3 -m venv $(VENV)
	@tests/with_progress "making the Python environment $(VENV) (tests/requirements.txt, tests/constraints.txt)" \
	  $(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt -c tests/constraints.txt
	@rm -f $(VENV)/.requirements-* && touch $@

$(LINK):
	@mkdir -p $(dir $@) && ln -s ../../.. $@

venv: $(STAMP) $(LINK) ## make the Python environment .venv (network, but no root)

prepare: apt
	@$(MAKE) --no-print-directory venv

demo: prepare ## a pool of three machines: watch VMs appear, work, and stop appearing (KEEP=1 leaves them up)
	@$(PYTHON) -m tests.demo $(if $(KEEP),--keep)

check: ## a minute without root or network: ruff, mypy, imports, dead code, yamllint, syntax, fast unit tests, three scenarios, spelling, headers
	@[ -e $(STAMP) ] && [ -e $(LINK) ] || { echo "make check: the Python environment $(VENV) is missing or out of date: run 'make venv'" >&2; exit 2; }
	@$(PYTHON) -m tests.run --check $(STAGES)

test: prepare ## every test (ONLY="unit lint": some stages; ALL=1: also those that are not for every run)
	@$(PYTHON) -m tests.run $(if $(ALL),--all) $(STAGES)

lint: prepare ## ruff, mypy, imports, dead code, shellcheck, yamllint, ansible-lint, documentation pages, galaxy-importer, spelling, headers, READMEs
	@tests/lint

unit: prepare ## unit tests
	@$(PYTHON) -m pytest -q -n 2 tests/unit

scenarios: prepare ## the factory's policies in simulated pools
	@$(PYTHON) -m pytest -q -n 2 tests/scenarios tests/lives

lives: venv ## random site lives with all policies (N=200; SEED=1: the first; ONLY="low_cpu bursts": with these labels)
	@$(PYTHON) -m tests.lives --number $(or $(N),200) --seed $(or $(SEED),1) $(if $(ONLY),--only $(ONLY))

sanity: prepare ## ansible-test sanity on a copy of the collection
	@tests/sanity/run

artifact: prepare ## build the collection's artifact in .cache/artifact, and check it
	@tests/artifact

constraints: venv ## renew tests/constraints.txt: the newest versions that tests/requirements.txt admits
	@$(PYTHON) -m tests.constraints

lab-up: prepare ## start lab machines: make lab-up HOSTS="node1 node2" IMAGE=prepared
	@$(PYTHON) -m tests.lab up $(or $(HOSTS),node1) --image $(or $(IMAGE),prepared)

lab-ssh: ## log in to a lab machine: make lab-ssh HOST=node1
	@$(PYTHON) -m tests.lab ssh $(or $(HOST),node1)

lab-down: ## stop all lab machines and remove their disks
	@$(PYTHON) -m tests.lab down

lab-status: ## what lab machines run
	@$(PYTHON) -m tests.lab status

clean: lab-down ## remove everything that was made here
	@$(SUDO) rm -rf .cache $(VENV) collections/ansible_collections .ansible tests/output
