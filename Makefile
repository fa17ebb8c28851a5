# make run    the window on the demo        make test   everything, without a window
# Both set up .venv first; PYTHON=/path/to/python3.12 chooses the Python for it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help system-test system-window setup run test lint clean

BIN := .venv/bin
PYTHON ?=
WORKERS ?= 2

# The first Python of a fitting version that runs and can make environments, else one that
# installer/check_system.py can complain about.
FITS := import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
BASE_PYTHON = $(shell \
	for p in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
	  for test in 'import ensurepip, venv; $(FITS)' '$(FITS)'; do \
	    if "$$p" -c "$$test" >/dev/null 2>&1; then echo "$$p"; exit; fi; \
	  done; \
	done; \
	echo "$(or $(PYTHON),python3)")

help:
	@sed -n '1,2s/^# //p' Makefile

# Missing system libraries are named, with the command that installs them, before anything fails.
system-test system-window: export CHOSEN := $(BASE_PYTHON)
system-test system-window:
	@command -v "$$CHOSEN" >/dev/null || { \
	  echo "There is no Python here ($$CHOSEN); install Python 3.11, 3.12 or 3.13 first." >&2; exit 2; }
	@"$$CHOSEN" installer/check_system.py --for $(patsubst system-%,%,$@)

setup: system-test
	@"$(BASE_PYTHON)" installer/setup_venv.py

run: system-window setup
	$(BIN)/apical demo

test lint: export OMP_WAIT_POLICY := PASSIVE
test lint: export QT_QPA_PLATFORM := offscreen

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# pytest last: its closing line is the end of the output. A file's tests stay in one worker, with its fixtures.
test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info
	find app vjepa_core tests installer -name __pycache__ -type d -prune -exec rm -rf {} +
