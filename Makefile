# The commands of this repository. `make help` lists them. Needs GNU make and Python 3.11 or newer; uses uv if it is there.

# The interpreter to build .venv from: yours if you say `make setup PYTHON=...`, otherwise the first of these that works.
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)

BIN := .venv/bin
STAMP := .venv/.installed
PYTEST := $(BIN)/python -m pytest -n 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all drawing-tools check format bench bench-peers chaos uncovered lock clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do \
		printf '%-18s %s\n' "$$name" "$$what"; done

setup: $(STAMP) ## make .venv with the pinned tools and Penstock itself; nothing to do if it is up to date
	@echo "setup: .venv is ready"

$(STAMP): requirements-dev.txt pyproject.toml
	@rm -f $@; \
	if [ -z "$(PYTHON)" ]; then \
		echo "setup: no Python 3.11 or newer found; name one: make setup PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	set -e; \
	if command -v uv >/dev/null 2>&1; then \
		if ! [ -x $(BIN)/python ]; then \
			echo "setup: making .venv with uv from $(PYTHON)"; \
			rm -rf .venv; uv venv --quiet --python "$(PYTHON)" .venv; fi; \
		echo "setup: installing the pinned tools with uv"; \
		uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.txt; \
		echo "setup: installing Penstock itself, editable"; \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else \
		if ! [ -x $(BIN)/pip ]; then \
			echo "setup: making .venv from $(PYTHON) (no uv on the path)"; \
			rm -rf .venv; "$(PYTHON)" -m venv .venv; fi; \
		echo "setup: installing the pinned tools with pip"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt; \
		echo "setup: installing Penstock itself, editable"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi; \
	touch $@

demo: $(STAMP) ## run examples/stdlib_atlas.py, which writes into build/atlas
	$(BIN)/penstock run examples/stdlib_atlas.py

drawing-tools: ## install what tests of drawings check Mermaid with (needs npm)
	cd tests/mermaid && npm ci --silent --no-audit --no-fund

test: check ## check, then all tests that are not slow
	$(PYTEST) -m "not slow"

test-all: check ## check, then all tests, the slow ones too, with 10,000 random graphs and every mutant
	PENSTOCK_GRAPHS=$${PENSTOCK_GRAPHS:-10000} PENSTOCK_MUTANTS=$${PENSTOCK_MUTANTS:-all} $(PYTEST)

check: $(STAMP) ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## put the sources into their format and mend what ruff can mend safely
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## measure against the hand-written floors
	$(BIN)/python -m bench

bench-peers: $(STAMP) ## measure eight other engines beside Penstock, each in .bench/peers (installs them; 25 minutes)
	$(BIN)/python -m bench.peers

chaos: $(STAMP) ## kill a worker of Dask, and then of Ray, every second during 100 runs each
	$(BIN)/python -m tests.kill.chaos dask --runs 100
	$(BIN)/python -m tests.kill.chaos ray --runs 100

uncovered: $(STAMP) ## list the failure modes that no test is named after
	$(BIN)/python scripts/uncovered.py

lock: ## compile requirements-dev.in to requirements-dev.txt (needs uv); nothing younger than a week
	uv pip compile --quiet --upgrade --generate-hashes --universal --no-header --no-emit-index-url --python-version 3.11 \
		--exclude-newer "$$(date -u -d '7 days ago' +%Y-%m-%d)" requirements-dev.in -o requirements-dev.txt

clean: ## remove all that these commands made: .venv, build, caches
	rm -rf .venv .bench build dist htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
