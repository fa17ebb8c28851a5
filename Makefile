# make run      open the window on the demo      make test     linters, types, import rules and tests
# make lint     linters, types, import rules     make format   format the code and sort its imports
# make shots    render docs/screenshot.png       make bench    quick benchmarks for a CPU (minutes)
# All set up .venv first; PYTHON=/path/to/python3.12 chooses the Python for it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help system-test system-window setup run test lint format shots bench clean

BIN := .venv/bin
PYTHON ?=
WORKERS ?= 2
# make test COVERAGE= leaves the measurement of coverage out.
COVERAGE ?= --cov --cov-report=term

# The first supported Python that can create virtual environments, else any Python, so that
# installer/check_system.py can report what is wrong with it.
FITS := import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
BASE_PYTHON = $(shell \
	for p in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
	  for test in 'import ensurepip, venv; $(FITS)' '$(FITS)'; do \
	    if "$$p" -c "$$test" >/dev/null 2>&1; then echo "$$p"; exit; fi; \
	  done; \
	done; \
	echo "$(or $(PYTHON),python3)")

help:
	@sed -n '1,4s/^# //p' Makefile

# Report missing system libraries first, with the command that installs them.
system-test system-window: export CHOSEN := $(BASE_PYTHON)
system-test system-window:
	@command -v "$$CHOSEN" >/dev/null || { \
	  echo "There is no Python here ($$CHOSEN); install Python 3.11, 3.12 or 3.13 first." >&2; exit 2; }
	@"$$CHOSEN" installer/check_system.py --for $(patsubst system-%,%,$@)

setup: system-test
	@"$(BASE_PYTHON)" installer/setup_venv.py

run: system-window setup
	$(BIN)/apical demo

test lint shots bench: export OMP_WAIT_POLICY := PASSIVE
test lint shots bench: export QT_QPA_PLATFORM := offscreen

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

# pytest runs last, so that its summary ends the output. The tests of a file share a worker and their fixtures.
# From Python 3.12 on, sys.monitoring measures coverage at almost no cost.
test: export PYTEST_ADDOPTS := $(COVERAGE)
test: export COVERAGE_CORE = $(shell $(BIN)/python -c \
	'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")' 2>/dev/null)
test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

shots: setup
	$(BIN)/apical demo --screenshot docs/screenshot.png

bench: setup
	$(BIN)/apical bench decode --repeats 2
	$(BIN)/apical bench robustness --files 500
	$(BIN)/apical bench encode --architecture vit_small --rounds 1
	$(BIN)/apical bench fit --rounds 1

clean:
	rm -rf .venv build dist .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find app vjepa_core tests installer -name __pycache__ -type d -prune -exec rm -rf {} +
