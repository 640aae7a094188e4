# Every target says what it does in `make help`. Python 3.11 or newer with venv, and make, are all that must be there first.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes --only-binary :all:

UNITS := tests/schemas $(wildcard tests/deploy/test_settings*.py) tests/deploy/test_rights.py tests/linker/test_saga.py tests/linker/test_claims.py \
  tests/workers/deliver/test_policy.py tests/workers/deliver/test_window.py tests/workers/dispatch/test_normalise.py

.DEFAULT_GOAL := help
.PHONY: help demo test check lint format lock chaos kills interop bench clean

help: ## what can be made
	@sed -n 's/^\([a-z]*\):[^#]*## /\1	/p' Makefile | expand -t 10

demo: .venv/run ## the whole main job on this machine against a simulated Ring (KEEP=1 leaves it running)
	@$(BIN)/ringhook demo $(if $(KEEP),--keep)

test: .venv/dev ## everything, against a real Apache Kafka and a real PostgreSQL that are started for it
	@$(BIN)/python -m deploy.local prepare
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint ## what each commit passes: lint, types, arrows between packages, unit tests
	@$(BIN)/python -m pytest --quiet --quiet $(UNITS)

lint: .venv/dev ## lint, types, arrows between packages
	@mkdir -p build
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache > build/arrows 2>&1 || { cat build/arrows; exit 1; }

format: .venv/dev ## put the code in its form
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

chaos: .venv/dev ## kill and freeze everything at random under load for SECONDS (default 60), then count
	@RINGHOOK_CHAOS_LINKS=200 RINGHOOK_CHAOS_SECONDS=$(or $(SECONDS),60) $(BIN)/python -m pytest tests/chaos -m chaos $(ARGS)

kills: .venv/dev ## kill copies of deliver KILLS times (default 200) under load, and count what comes twice
	@RINGHOOK_CHAOS_KILLS=$(or $(KILLS),200) $(BIN)/python -m pytest -s tests/chaos/test_deliver.py -m chaos $(ARGS)

interop: .venv/dev ## sign in at a certified OIDC provider on loopback (needs Node.js)
	@command -v npm > /dev/null || { echo "make interop needs Node.js 20 or newer and npm"; exit 2; }
	@mkdir -p build/interop && cp tests/interop/package*.json tests/interop/provider.mjs build/interop/
	@cd build/interop && npm ci --ignore-scripts --no-audit --no-fund --silent
	@$(BIN)/python -m pytest tests/interop/certified.py $(ARGS)

bench: .venv/dev ## ratios beside honest baselines, three rounds in turn (ARGS="--only ingress --write")
	@$(BIN)/python -m tests.bench $(ARGS)

lock: .venv/dev ## renew the pinned and hashed requirements
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
	  --extra build -o deploy/requirements/run.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
	  --extra build --extra dev --extra bench -c deploy/requirements/run.txt -o deploy/requirements/dev.txt pyproject.toml

clean: ## forget what was built and installed
	@rm -rf .venv build var

.venv/made: # stamped at the end: an attempt that failed half-way is made anew
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ringhook needs Python 3.11 or newer, this is " + sys.version)'
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || \
	  { echo "ringhook needs Python's venv: on Debian and Ubuntu \`apt install python3-venv\`, then the same again"; exit 2; }
	@echo "making .venv (once)"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/run: deploy/requirements/run.txt pyproject.toml | .venv/made
	@echo "installing what ringhook runs on, each file checked by hash (once)"
	@$(PIP) -r deploy/requirements/run.txt
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/run deploy/requirements/dev.txt
	@echo "installing what the tests run on, each file checked by hash (once)"
	@$(PIP) -r deploy/requirements/dev.txt
	@touch $@
