# Every target sets up what it needs in an environment of its own, .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help study test test-slow lint ledger experiments clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

study: $(VENV)/installed  ## Train 64 seeds on real digits and write runs/*/report.html
	$(BIN)/mlpjax study

test: $(VENV)/installed-test  ## Check style and types, and run the test suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

test-slow: $(VENV)/installed-test  ## Run the tests that take minutes
	$(BIN)/pytest -m slow

lint: $(VENV)/installed-test  ## Mend style where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

experiments: $(VENV)/installed  ## Run every experiment in full (see experiments/README.md for the times)
	for file in experiments/*.py; do $(BIN)/python $$file || exit 1; done

ledger: $(VENV)/installed  ## Make experiments/README.md from the committed results
	$(BIN)/python -m mlpjax.claims

clean:  ## Remove the environment and every cache, but no run
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml .constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install -q -c .constraints.txt -e .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install -q -c .constraints.txt -e '.[test]'
	@touch $@
