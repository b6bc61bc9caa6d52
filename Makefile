# make help says what there is. A target installs only when pyproject.toml, .ci/constraints.txt or this file changed.
# Without a GPU, torch's build for the processor is a much smaller download: see pytorch.org for its index and set
# PIP_EXTRA_INDEX_URL to it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: help plan test test-slow test-all test-dates lint style types format wheel docs pictures refresh-tables loop clean

VENV := .venv
PYTHON = $(VENV)/bin/python
PIP = $(PYTHON) -m pip --disable-pip-version-check
CONSTRAINTS := $(wildcard .ci/constraints.txt)
# where Python may write no bytecode (PYTHONDONTWRITEBYTECODE), each command would compile 290 files: 0.3 s
PRECOMPILE = @$(PYTHON) -m compileall -q planner
INPUTS := pyproject.toml Makefile $(CONSTRAINTS)
CODE := planner tests benchmarks docs/site
MODEL ?= Llama-3.2-1B
DATA ?= profiles/examples/support_tickets.jsonl
# one process a core, each with one thread of torch (tests/conftest.py); a free process takes over waiting tests
# with their bytecode kept, as every process would rewrite each assertion of all tests anew: 8 s of each
PYTEST = env -u PYTHONDONTWRITEBYTECODE $(PYTHON) -m pytest -n logical --maxprocesses 8 --dist worksteal

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' Makefile

plan: $(VENV)/.installed-run  ## from nothing to the first answer (needs Python 3.11 or newer, and git)
	$(VENV)/bin/planner estimate $(MODEL) $(DATA)

test: $(VENV)/.installed-dev  ## every test but the slow proofs, with every optional library, in parallel
	@bash .ci/browser
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.installed-dev  ## the slow proofs alone
	@bash .ci/browser
	@bash .ci/office
	$(PYTEST) -m slow

test-all: test test-slow  ## every test

# each quick test on one of two later days: tests/test_run_parts.py holds these lines to all of the tests
test-dates: $(VENV)/.installed-dev  ## the quick tests again, half 400 and half 2,000 days after today
	@bash .ci/browser
	PLANNER_TEST_PART=1/2 PLANNER_TEST_DAYS_AHEAD=400 $(PYTEST) -m "not slow"
	PLANNER_TEST_PART=2/2 PLANNER_TEST_DAYS_AHEAD=2000 $(PYTEST) -m "not slow"

lint: style types  ## style and types

style: $(VENV)/.installed-dev  ## format, lines of at most 100 columns, import order
	$(PYTHON) -m ruff format --check $(CODE)
	$(PYTHON) -m ruff check $(CODE)

types: $(VENV)/.installed-dev  ## pyright: basic for all of planner, strict for the rooms that pyproject.toml names
	$(PYTHON) -m pyright

format: $(VENV)/.installed-dev  ## format the code and sort its imports
	$(PYTHON) -m ruff check --select I --fix $(CODE)
	$(PYTHON) -m ruff format $(CODE)

wheel: $(VENV)/.installed-dev  ## dist/planner-*.whl; tests/test_wheel.py asks it a question without the checkout
	$(PYTHON) -m hatchling build -t wheel

docs: $(VENV)/.installed-dev  ## the documentation as pages in build/site, every command in it run
	$(PYTHON) -m mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml

pictures: $(VENV)/.installed-dev  ## the pictures of README.md and docs/, made anew
	$(PYTHON) benchmarks/pictures.py

refresh-tables: $(VENV)/.installed-run  ## newer tables of GPUs, prices and carbon: DATA=DIR (see profiles/refresh/README.md)
	$(PYTHON) benchmarks/refresh_tables.py $(DATA)

loop: $(VENV)/.installed-dev  ## the planner checks itself here: calibrate, train, validate, correct, validate on others (minutes)
	$(PYTHON) benchmarks/loop.py

clean:  ## remove the virtual environment and what was built
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/bin/python:
	@for python in python3 python3.13 python3.12 python3.11; do \
	  if command -v $$python >/dev/null && $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    $$python -m venv $(VENV) && exit 0; \
	    echo "planner: $$python cannot make a virtual environment. Install its venv package (Debian: apt-get install python3-venv)" >&2; exit 1; \
	  fi; \
	done; \
	echo "planner: no Python 3.11 or newer was found. Install one (https://www.python.org/downloads/) and run make again" >&2; exit 1

$(VENV)/.installed-run: $(INPUTS) | $(VENV)/bin/python
	$(PIP) install --quiet $(addprefix -c ,$(CONSTRAINTS)) -e '.[data,report,serve]'
	$(PRECOMPILE)
	@touch $@

$(VENV)/.installed-dev: $(INPUTS) | $(VENV)/bin/python
	$(PIP) install --quiet $(addprefix -c ,$(CONSTRAINTS)) -e '.[all,dev]'
	$(PRECOMPILE)
	@touch $@ $(VENV)/.installed-run
