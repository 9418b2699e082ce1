# SPDX-License-Identifier: GPL-3.0-or-later
# `make demo` and `make test` need nothing before them but a Debian machine with root or sudo: both call `prepare`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
VENV := .venv
PYTHON := $(VENV)/bin/python
LINK := collections/ansible_collections/vacuum/htcondor
STAMP := $(VENV)/.requirements-$(shell sha256sum tests/requirements.txt | cut -c 1-16)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

.PHONY: help prepare apt demo test lint unit sanity scenarios artifact lab-up lab-ssh lab-down lab-status clean

apt: ## install the Debian packages that the lab and the tests need
	@tests/install_packages

$(STAMP): tests/requirements.txt
	@echo "== making the Python environment $(VENV) (tests/requirements.txt)"
	@python3 -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@rm -f $(VENV)/.requirements-* && touch $@

$(LINK):
	@mkdir -p $(dir $@) && ln -s ../../.. $@

prepare: apt
	@$(MAKE) --no-print-directory $(STAMP) $(LINK)

demo: prepare ## a pool in a box: watch VMs appear, work, and stop appearing (KEEP=1 leaves it up)
	@$(PYTHON) -m tests.demo $(if $(KEEP),--keep)

test: prepare ## every test (ONLY=unit: one stage; ALL=1: also two experiments and the newest HTCondor)
	@$(PYTHON) -m tests.run_all $(if $(ALL),--all) $(foreach stage,$(ONLY),--only $(stage))

lint: prepare ## ruff, mypy, yamllint, ansible-lint
	@tests/lint

unit: prepare ## unit tests, and those against a real schedd
	@$(PYTHON) -m pytest -q

sanity: prepare ## ansible-test sanity on a copy of the collection
	@tests/sanity/run

artifact: prepare ## build the collection's artifact in .cache/artifact, and check it
	@tests/artifact

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
