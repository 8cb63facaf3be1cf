# What a person types. `make` alone prints this list; every target installs what it needs into .venv first.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= out/demo

.DEFAULT_GOAL := help
.PHONY: help demo check test boot-test long-test bench golden docs system clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: system $(VENV)/ready ## build a server and an agent, boot both, show the cluster: no board, no vendor download
	PYTHONPATH=tests $(BIN)/python -m rack.demo $(DEMO)

check: $(VENV)/ready ## lint, types, scripts and the pure tests: seconds
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if command -v shellcheck >/dev/null; then shellcheck -s sh firstboot/lib.sh firstboot/run firstboot/report firstboot/steps/* \
	  $$(grep -lE '^(#!/bin/sh|# shellcheck shell)' firstboot/cluster/* firstboot/backup/* firstboot/power/* firstboot/vpn/*) installer/*; \
	else echo "shellcheck is not installed, scripts are not checked"; fi
	$(BIN)/pytest -q -x -n auto -m "not slow and not root and not archive and not boot" --ignore-glob='*_image*.py' \
	  tests/test_architecture.py tests/test_help.py tests/formats tests/profile tests/planning tests/families

test: system $(VENV)/ready ## every test but the boot lane and the archive's
	$(BIN)/pytest -q -n auto --dist loadgroup -m "not boot and not archive" tests

boot-test: system $(VENV)/ready ## build real Debian bases, boot x86, arm64 virt and raspi3b in QEMU, and a cluster
	$(BIN)/pytest -v -n 2 --dist loadgroup -m "(boot or archive) and not long" --timeout 3600 \
	  --ignore tests/lanes/whole_rack tests
	$(BIN)/pytest -v -s -m boot --timeout 3600 tests/lanes/whole_rack

long-test: system $(VENV)/ready ## a cluster's faults, and three servers: three quarters of an hour, not part of CI
	$(BIN)/pytest -v -rP -n 2 --dist loadgroup -m long --timeout 3600 tests

bench: system $(VENV)/ready ## measure what is claimed about speed and memory, side by side with a peer
	$(BIN)/python -m bench

golden: $(VENV)/ready ## write the golden plans anew; look at the diff before committing it
	$(BIN)/python tests/golden/regenerate.py

docs: $(VENV)/ready ## write the pages that are made from the code (docs/commands.md, the table of docs/boards.md)
	$(BIN)/python docs/make_commands.py
	$(BIN)/python docs/make_boards.py

# The tools that images are made with. Needs root once; else it prints the line to type.
system:
	@sh tools/install-system.sh

# On a bare Debian the venv module is a package of its own, so `system` goes first where both are needed.
$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

clean: ## remove what make made here (not the cache of base images)
	rm -rf $(VENV) out build dist
