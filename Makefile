# Every target sets up what it needs in an environment of its own, $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help study test test-slow mutants lint experiments benchmarks ledger constraints clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'Another Python or environment: make test PYTHON=python3.12 VENV=/tmp/venv312'

study: $(VENV)/installed  ## Train 64 networks on real digits, each from a seed of its own, and write runs/*/report.html
	$(BIN)/mlpjax study

test: $(VENV)/installed-test  ## Check style and types, and run the test suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist loadfile

test-slow: $(VENV)/installed-test  ## Run the tests that are left out of make test: about twenty minutes
	$(BIN)/pytest -m slow

mutants: $(VENV)/installed-mutants  ## Break the library in small ways, hours long, and count what the tests notice
	$(BIN)/python tests/mutants.py

lint: $(VENV)/installed-test  ## Mend style where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# An experiment whose data is absent exits with 3.
experiments: $(VENV)/installed-experiments  ## Run every experiment in full (experiments/README.md has the times); QUICK=1: a minute each
	@skipped= failed=; \
	for file in experiments/*.py; do \
		name=$$(basename $$file .py); \
		echo "experiment $$name"; \
		$(BIN)/python $$file $(if $(QUICK),--quick); \
		case $$? in 0) ;; 3) skipped="$$skipped $$name" ;; *) failed="$$failed $$name" ;; esac; \
	done; \
	if [ "$$skipped" ]; then echo "skipped, without their data (see README.md):$$skipped"; fi; \
	if [ "$$failed" ]; then echo "failed:$$failed"; exit 1; fi

benchmarks: $(VENV)/installed  ## Measure speed, alone on the machine: an hour and a half (needs pip install '.[peers]' as well)
	for name in roofline against_peers jit_speed scaling landscape notebooks images convolution page; do $(BIN)/python benchmarks/$$name.py || exit 1; done

ledger: $(VENV)/installed  ## Make experiments/README.md, and README.md's table of claims, from the committed results
	$(BIN)/python -m mlpjax.claims --readme README.md

# Made with the oldest Python: the newest releases that it can have, newer Pythons can have too.
constraints: PYTHON := python3.11
constraints:  ## Pin the newest versions of everything in .constraints.txt
	rm -rf $(VENV)/fresh
	$(PYTHON) -m venv $(VENV)/fresh
	$(VENV)/fresh/bin/pip install -q -e '.[test]'
	$(VENV)/fresh/bin/pip freeze --all --exclude pip --exclude-editable > .constraints.txt
	rm -rf $(VENV)/fresh

clean:  ## Remove the environment and every cache, but no run
	rm -rf $(VENV) .mutants build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml .constraints.txt | $(BIN)/pip
	@echo 'Installing mlpjax with all it needs, 1.3 GB, into $(VENV): a minute or two, this once'
	$(BIN)/pip install -q -c .constraints.txt -e .
	@touch $@

$(VENV)/installed-%: pyproject.toml .constraints.txt | $(BIN)/pip
	@echo 'Installing mlpjax with all it needs, 1.4 GB, into $(VENV): a minute or two, this once'
	$(BIN)/pip install -q -c .constraints.txt -e '.[$*]'
	@touch $(VENV)/installed $@
