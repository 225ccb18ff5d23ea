# Needs Python 3.11 or newer, make and pip; everything else is installed into .venv.

PORT ?= 8000
DATA ?= .demo
TESTS ?= tests
SOAK ?= tests/faults tests/grants/test_any_life.py tests/approvals tests/engines/test_masking.py tests/audit tests/reports
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Tools read the settings and open no database.
TOOLS := PYTHONPATH=cli/src JITPORTAL_TESTING=1 JITPORTAL_SECRET_KEY=tools-only PYTHONWARNINGS=ignore::RuntimeWarning \
	DATABASE_URL=postgres://nobody@127.0.0.1:1/none DATABASE_OWNER_URL=postgres://nobody@127.0.0.1:1/none

# Tests and demo start many processes: each would compile the portal anew, and each worker rewrite every test.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test soak mutate story bench lint types check lock

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/installed ## Run everything on this machine: make demo PORT=8000 DATA=.demo
	@JITPORTAL_DATA='$(DATA)' exec $(BIN)/python manage.py demo --port $(PORT)

test: $(VENV)/installed-dev ## Run the tests: make test TESTS=tests/policies
	$(BIN)/python -m pytest -n 4 $(TESTS)

soak: $(VENV)/installed-dev ## Break everything everywhere, for long: make soak SOAK=tests/faults
	JITPORTAL_SOAK=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(SOAK)

mutate: $(VENV)/installed-dev ## Change verify.py in many small ways: do its tests notice?
	$(BIN)/python tests/mutation/run.py

story: $(VENV)/installed ## Walk the whole way against a running demo, by API and psql
	$(BIN)/python tests/story/walk.py --url http://127.0.0.1:$(PORT) --data '$(DATA)'

bench: $(VENV)/installed-dev ## Measure life, console, ends, masking, verify.py, grid, reports and the record; the first two need a running demo
	$(BIN)/python benchmarks/bench_life.py --data '$(DATA)' --grants 20 --rounds 10
	$(BIN)/python benchmarks/bench_console.py --data '$(DATA)' --port $(PORT)
	$(BIN)/python benchmarks/bench_ends.py
	$(BIN)/python benchmarks/bench_masking.py --rows 200000
	$(BIN)/python benchmarks/bench_verify.py
	$(BIN)/python benchmarks/bench_grid.py
	$(BIN)/python benchmarks/bench_reports.py --entries 200000 --record 200000
	$(BIN)/python benchmarks/bench_audit.py --entries 200000
	$(BIN)/python benchmarks/bench_seal.py
	$(BIN)/python benchmarks/bench_audit_page.py --entries 500000

lint: $(VENV)/installed-dev ## Check style and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(TOOLS) $(BIN)/lint-imports

types: $(VENV)/installed-dev ## Check types
	$(TOOLS) $(BIN)/mypy

check: $(VENV)/installed-dev ## Check the configuration, and that migrations match the models
	$(TOOLS) $(BIN)/python manage.py check
	$(TOOLS) $(BIN)/python manage.py makemigrations --check --dry-run

lock: ## Renew both lock files (needs uv)
	.ci/lock

# Stamps: installed again only when a lock file has changed.
$(VENV)/installed: requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/installed-dev: requirements-dev.lock | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(BIN)/python:
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3'; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
