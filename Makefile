# The commands of this repository; `make` lists them. Needs GNU make and Python 3.11 or newer; the rest goes to .venv.
PYTHON    ?= python3
PIP_FLAGS ?=
JOBS      ?= $(shell nproc 2>/dev/null || echo 2)

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_FLAGS)
DEV := .venv/dev.stamp
DOC := .venv/docs.stamp

.DEFAULT_GOAL := help
.PHONY: help demo test check soak oldest docs clean

help: ## List these commands.
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(DEV) ## Train on handwritten digits, sample them and write report.html (minutes on a laptop).
	$(BIN)/obverse demo --out report.html

test: $(DEV) ## Run the tests, one process a core.
	$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 8

check: $(DEV) ## Check format, lint, types and the rules of the house.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/house

soak: $(DEV) ## Run the long tests.
	$(BIN)/python -m pytest -m slow --timeout 7200 -n $(JOBS) --maxprocesses 8

oldest: ## Run the tests with the oldest release that pyproject.toml allows of every package.
	$(PYTHON) -m venv build/oldest
	grep -vE '^(bench|docs|fid) ' pyproject.toml | grep -oE '"[a-z0-9-]+>=[0-9a-z.]+"' | tr -d '"' | sed 's/>=/==/' > build/oldest/packages
	build/oldest/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -r build/oldest/packages -e .
	build/oldest/bin/python -m pytest -n $(JOBS) --maxprocesses 8

docs: $(DOC) ## Build the documentation into build/docs.
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "Open build/docs/index.html"

clean: ## Remove everything that these commands have made, .venv included.
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis report.html
	find src tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "obverse needs Python 3.11 or newer and $(PYTHON) is not: try 'make PYTHON=python3.12 ...'."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	{ echo "$(PYTHON) cannot make virtual environments: on Debian, 'apt-get install python3-venv' adds this."; exit 1; }
	$(PYTHON) -m venv .venv

# PyTorch first and alone: it is most of the download. PIP_FLAGS can name another source of it, such as a CPU-only one.
$(DEV): .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing PyTorch (once)"
	@$(PIP) torch
	@echo "Installing obverse and its tools (once)"
	@$(PIP) -e '.[dev]'
	@touch $@

$(DOC): $(DEV)
	@echo "Installing the documentation tools (once)"
	@$(PIP) -e '.[docs]'
	@touch $@
