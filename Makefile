# Everything a person or CI runs. Each target sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# No compiling: modules are compiled when they are first imported, and most never are.
PIP = $(BIN)/pip install --quiet --no-compile --disable-pip-version-check
SEEDS ?= 10000
JOBS ?= 2
KILLS ?= 500
SEED ?= 1
COUNT ?= 200
MINUTES ?= 60
LIGHT = -p no:schemathesis -p no:playwright -p no:base_url # plugins that the quick tests do without and that load slowly

unexport PYTHONDONTWRITEBYTECODE # every process that a test starts would compile the whole product anew

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo test test-fast coverage mutants lint types format bench bench-gates simulate kill soak docs site lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.main: requirements/main.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements/main.txt
	@echo '$(CURDIR)' > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/rollout-checkout.pth"
	@printf '%s\n' '#!/bin/sh' 'exec "$(abspath $(BIN))/python" -P -c "import sys; sys.argv[0] = '"'rollout'"'; import rollout.interfaces.cli; rollout.interfaces.cli.main()" "$$@"' > $(BIN)/rollout
	@chmod +x $(BIN)/rollout
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.main
	@$(PIP) --require-hashes -r requirements/dev.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.docs: requirements/docs.txt $(VENV)/.main
	@$(PIP) --require-hashes -r requirements/docs.txt
	@touch $@

install: $(VENV)/.main ## the runtime packages in .venv, hash-checked, and the program as .venv/bin/rollout
install-dev: $(VENV)/.dev ## those and the ones for development

demo: install ## a good version promoted and a bad one rolled back, live, in about a minute
	@$(BIN)/python -m rollout demo

test: install-dev ## the whole suite, in four processes; a test that cannot run says why
	@$(BIN)/python -m pytest -n 4 --dist loadfile $(ARGS)

test-fast: install-dev ## the rules and the scenarios alone, in about 100 seconds on two cores
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m "not slow" $(LIGHT) tests/unit tests/scenarios $(ARGS)

coverage: install-dev ## lines and branches of the rules and the engine that the quick tests reach; fails below 95 %
	@$(BIN)/coverage run -m pytest -q -m "not slow" $(LIGHT) tests/unit tests/scenarios $(ARGS)
	@$(BIN)/coverage report

mutants: install-dev ## random faults put into the code, and those that the tests see; SEED=1 COUNT=200 MINUTES=60
	@$(BIN)/python -m tests.mutation --seed $(SEED) --count $(COUNT) --minutes $(MINUTES) --jobs $(JOBS)

types: install-dev ## mypy --strict
	$(BIN)/mypy

lint: install-dev ## ruff, mypy --strict, the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: install-dev ## formats the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install-dev ## the whole job measured beside what people use instead
	@$(BIN)/python -m benchmarks.speed

bench-gates: install-dev ## the gates against modelled callers, beside other rules on the same calls
	@$(BIN)/python -m benchmarks.gates

simulate: install-dev ## seeded histories of the whole core; SEEDS=10000
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) --jobs $(JOBS)

kill: install-dev ## kills and pauses of real processes; KILLS=500
	@$(BIN)/python -m tests.processes --kills $(KILLS)

soak: install-dev ## twenty minutes of load on a real service, then the answers of a long history
	@$(BIN)/python -m tests.soak
	@$(BIN)/python -m tests.soak --ended 5000 --calls 300000

docs: install-dev ## the documents that are generated from the code
	@$(BIN)/python -m rollout.adapters.planfile > config/plan.schema.json
	@$(BIN)/python -m tests.documents
	@$(BIN)/python -m tests.reference

site: $(VENV)/.docs ## the documents as a site, in site/; fails on a broken link or anchor, or a page in no menu
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

lock: install-dev ## the pinned requirements, with hashes and without addresses
	@for set in main dev; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header pyproject.toml $$(test $$set = dev && echo --group dev) \
	    -o requirements/$$set.txt || exit 1; done
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header requirements/build.in -o requirements/build.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header --constraint requirements/dev.txt requirements/docs.in -o requirements/docs.txt

clean: ## everything that can be made again
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
