# make plan    from nothing to the first answer      (needs Python 3.11 or newer, and git)
# make test    every test, with every optional library
# make test-dates    the quick tests on the days that come 400 and 2,000 days after today
# make lint    style
# make refresh-tables DATA=DIR    newer tables of GPUs, prices and carbon into profiles/ (see profiles/refresh/README.md)
# make loop    the planner checks itself here: calibrate, train small models, validate, correct, validate on others (minutes)
#
# A target installs only when pyproject.toml, .ci/constraints.txt or this file changed.
# Without a GPU, torch's build for the processor is a much smaller download: see pytorch.org for its index and set
# PIP_EXTRA_INDEX_URL to it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: plan test test-dates lint refresh-tables loop clean

VENV := .venv
PYTHON = $(VENV)/bin/python
PIP = $(PYTHON) -m pip --disable-pip-version-check
CONSTRAINTS := $(wildcard .ci/constraints.txt)
INPUTS := pyproject.toml Makefile $(CONSTRAINTS)
MODEL ?= Llama-3.2-1B
DATA ?= profiles/examples/support_tickets.jsonl

plan: $(VENV)/.installed-run
	$(VENV)/bin/planner estimate $(MODEL) $(DATA)

test: $(VENV)/.installed-dev
	@bash .ci/browser
	$(PYTHON) -m pytest

test-dates: $(VENV)/.installed-dev
	@bash .ci/browser
	for days in 400 2000; do PLANNER_TEST_DAYS_AHEAD=$$days $(PYTHON) -m pytest -m "not slow"; done

lint: $(VENV)/.installed-dev
	$(PYTHON) -m ruff check planner tests benchmarks

refresh-tables: $(VENV)/.installed-run
	$(PYTHON) benchmarks/refresh_tables.py $(DATA)

loop: $(VENV)/.installed-dev
	$(PYTHON) benchmarks/loop.py

clean:
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
	$(PIP) install --quiet $(addprefix -c ,$(CONSTRAINTS)) -e '.[data]'
	@touch $@

$(VENV)/.installed-dev: $(INPUTS) | $(VENV)/bin/python
	$(PIP) install --quiet $(addprefix -c ,$(CONSTRAINTS)) -e '.[all,dev]'
	@touch $@ $(VENV)/.installed-run
