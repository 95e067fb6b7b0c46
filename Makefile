# Needs only make and Python 3.11 or newer with venv; everything else goes into .venv.
.DEFAULT_GOAL := help
.PHONY: help setup demo test simulate crash fuzz live-faults live-kills conformance check format docs bench clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?=
TEST_WORKERS ?= 2
KILLS ?= 500
SEEDS ?= 1000
FIRST ?= 0
WORKERS ?= 2
MUTANT ?=
HOURS ?= 4
INPUTS ?= 1000000
SEED ?= 1
VENUE ?= kalshi
# Shells may have a variable of this name for themselves, so it counts only where it is given to make.
ifneq ($(origin ENV),command line)
ENV := local
endif

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-11s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## create .venv with everything the other targets need, and compile the kernels

demo: setup ## trade ten generated markets on paper for a minute, live; Ctrl-C stops it
	@$(BIN)/pr3dict warm
	@$(BIN)/pr3dict demo

test: setup ## run all tests (under ten minutes)
	-@$(BIN)/pr3dict warm
	@$(BIN)/python -m pytest -n $(TEST_WORKERS)

simulate: setup ## trade SEEDS=1000 seeded worlds full of faults (FIRST=0, WORKERS=2, MUTANT=all)
	-@$(BIN)/pr3dict warm
	@PYTHONPATH=tests $(BIN)/python -m simulation.run --seeds $(SEEDS) --first $(FIRST) \
		--workers $(WORKERS) --mutant "$(MUTANT)"

crash: setup ## kill the real process KILLS times at random, and 20 times at each named point
	-@$(BIN)/pr3dict warm
	@$(BIN)/python tests/crash/run.py --kills $(KILLS)

conformance: setup ## test each numbered row of docs/venues/VENUE.md (VENUE=kalshi, ENV=demo: the demo account)
	-@$(BIN)/pr3dict warm
	@PYTHONPATH=tests $(BIN)/python -m conformance.run --venue $(VENUE) --env $(ENV)

fuzz: setup ## feed INPUTS=1000000 damaged messages to the adapter of VENUE=kalshi (SEED=1, WORKERS=2)
	-@$(BIN)/pr3dict warm
	@PYTHONPATH=tests $(BIN)/python -m fuzz.run --venue $(VENUE) --inputs $(INPUTS) --seed $(SEED) \
		--workers $(WORKERS)

live-faults: setup ## trade HOURS=4 of venue time in which everything goes wrong (VENUE=kalshi, some minutes)
	-@$(BIN)/pr3dict warm
	@PYTHONPATH=tests $(BIN)/python -m live.fault_run --venue $(VENUE) --hours $(HOURS)

live-kills: setup ## kill `pr3dict live` KILLS times at random while everything goes wrong (VENUE=kalshi)
	-@$(BIN)/pr3dict warm
	@PYTHONPATH=tests $(BIN)/python -m live.kills --venue $(VENUE) --kills $(KILLS)

check: setup ## style, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## apply the formatter and the fixes that are safe
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: setup ## write the generated pages of docs/reference again
	@$(BIN)/python -m pr3dict.cli.reference > docs/reference/cli.md
	@$(BIN)/python -m pr3dict.cli.settings_reference > docs/reference/config.md
	@PYTHONPATH=tests $(BIN)/python -m conformance.docs

bench: setup ## run every benchmark; each ends in one JSON line
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean: ## remove .venv and all caches below this folder
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build

# One Python is chosen: $PYTHON if given, else the first of these that is new enough and can make a venv.
define find_python
found=; for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python; do \
	if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then found=$$candidate; break; fi; done; \
if [ -z "$$found" ]; then \
	echo "error: no Python 3.11 or newer with venv found; install one (Debian: apt install python3-venv)" \
		"or name it: make setup PYTHON=/path/to/python3" >&2; exit 1; fi
endef

# hftbacktest is the peer of one benchmark: only its engine is used, so its plotting dependencies (400 MB)
# stay out. Its own dependencies are ours, in versions that constraints.txt keeps inside its limits.
$(STAMP): pyproject.toml constraints.txt
	@if ! $(BIN)/python -c '' >/dev/null 2>&1; then \
		$(find_python); echo "Creating $(VENV) with $$($$found --version)"; \
		"$$found" -m venv --clear $(VENV); fi
	@echo "Installing into $(VENV) (the first time some 250 MB are downloaded)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps hftbacktest
	@touch $@
	-@$(BIN)/pr3dict warm
