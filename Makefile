# make demo and make test do all the set-up themselves, once. `make help` lists the rest.
#
# Variables: PYTHON (3.11 or newer; default: the first one found)
#            TORCH_INDEX (URL of a package index with CPU-only wheels of torch. Set it where plain `pip install torch`
#            would bring several gigabytes of CUDA libraries, which this repository's demo and tests do not need.)

SHELL := /bin/bash
.DEFAULT_GOAL := setup
.PHONY: help setup setup-dev system system-dev node demo test test-all lint format clean

VENV := .venv
BIN := $(VENV)/bin
# A file of tests stays with one worker: its tests share servers. Few workers: each has an engine and sandboxes.
PYTEST = $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -qq --constraint constraints.txt

PYTHON ?= $(shell for candidate in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$candidate; break; }; done)

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1|/' | awk -F'|' '{printf "make %-10s %s\n", $$1, $$2}'

setup: system $(VENV)/.runtime  ## install what `agenthost` needs: .venv, and Debian packages for the sandbox
	@echo 'Ready. Try `make demo`, or `. $(BIN)/activate` and `agenthost serve`.'

setup-dev: system system-dev $(VENV)/.dev  ## the same, with what tests and lint need

demo: system $(VENV)/.runtime  ## an agent solves three tasks: the embedded model, real tools, no download of a model
	@$(BIN)/python examples/demo.py

test: setup-dev node  ## the tests, without the slow ones
	$(PYTEST) -m "not slow"

test-all: setup-dev node  ## every test
	$(PYTEST)

lint: setup-dev  ## ruff, pyright and the rule which room may import which
	@command -v node >/dev/null || .ci/debian nodejs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: setup-dev  ## ruff's formatter and its safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove everything that make made
	rm -rf $(VENV) .ns .node *.egg-info build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache .schemathesis

# --- the pieces ---

# Asked for on every run, because packages come and go without make; it takes a few milliseconds.
system:
	@missing=; \
	command -v bwrap >/dev/null || missing="$$missing bubblewrap"; \
	command -v rg >/dev/null || missing="$$missing ripgrep"; \
	[ -z "$$missing" ] || .ci/debian $$missing

# A real browser, for the tests of the tools that use one.
system-dev:
	@command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || .ci/debian chromium-headless-shell

# MCP's own test suites come from npm. Without npm, or out of its reach, those tests are skipped and say so.
node: .node/.installed
.node/.installed: tests/node/package.json
	@mkdir -p .node && cp tests/node/package.json .node/
	@if ! command -v npm >/dev/null; then .ci/debian npm || true; fi
	@if npm install --prefix .node --no-audit --no-fund --loglevel=error >.node/log 2>&1; then touch $@; \
	else echo "MCP's conformance suite could not be installed (see .node/log): its tests will be skipped."; fi

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo 'Python 3.11 or newer is needed and none was found. On Debian 12 or newer: sudo apt-get install python3 python3-venv'; \
		exit 1; fi
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		.ci/debian $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
	@echo 'Creating $(VENV) with $(PYTHON) ...'
	@$(PYTHON) -m venv $(VENV)

# torch first: where it comes from its own index, nothing else should.
$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing agenthost and its packages into $(VENV) (a few minutes the first time) ...'
	@$(if $(TORCH_INDEX),$(PIP_INSTALL) --index-url $(TORCH_INDEX) torch)
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo 'Installing what tests and lint need ...'
	@$(PIP_INSTALL) --editable '.[browser,dev]'
	@mkdir -p .ns/agenthost  # links by which pyright finds the packages under their installed names
	@for room in engine server tools; do ln -sfn ../../$$room .ns/agenthost/$$room; done
	@touch $@
