# Everything runs from .venv, which `make venv` makes of requirements.lock; each target does that
# first, and it takes no time when nothing has changed. ARGS goes to pytest: make test ARGS="-k sticky"

SHELL := /bin/bash
BIN := .venv/bin
ARGS ?=
CALLBACK_IS_COVERED := $(BIN)/coverage report --include=ccproxyd/worker/handler.py --fail-under=95
# One more than there are cores, up to five: a test of the whole daemon waits more than it works.
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
JOBS ?= $(shell n=$$(($(CORES) + 1)); echo $$((n < 5 ? n : 5)))

# For `make install`, which uses no .venv: PYTHON is the interpreter that will run ccproxyd, and
# BUILD_PYTHON one that has hatchling and installer, if that is another.
DESTDIR ?=
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
PYTHON ?= python3
BUILD_PYTHON ?= $(PYTHON)

.DEFAULT_GOAL := help
.PHONY: help venv run test live lint types bench bench-decide bench-records soak claude format completion lock install uninstall clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv:  ## the locked packages and ccproxyd itself, in .venv
	@scripts/setup

run: venv  ## the daemon in the foreground, with an offline demo provider behind it
	@exec $(BIN)/ccproxyd --demo

# LiteLLM's callback has a bound of its own; without ARGS, for some tests cover some of it. What is
# said of it is for who misses it alone: pytest's own line stays the last.
test: venv  ## the whole suite, with at least 90 % of the code covered
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --cov=ccproxyd $(ARGS)
	$(if $(ARGS),,@said=$$($(CALLBACK_IS_COVERED) 2>&1) || { echo "$$said"; exit 1; })

live: venv  ## the valid half of the matrix, asked of real providers whose keys are in the environment
	$(BIN)/python -m pytest --no-cov tests/integration/proxy/live.py $(ARGS)

lint: venv  ## style, formatting, security, and the floors of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive ccproxyd
	$(BIN)/lint-imports

types: venv  ## mypy --strict
	$(BIN)/mypy

format: venv  ## rewrite the sources as lint wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: venv  ## ccproxyd beside LiteLLM and other routers: 20 minutes; ARGS=--quick: 3
	scripts/bench.sh $(ARGS)

bench-decide: venv  ## what deciding a route costs
	$(BIN)/python scripts/bench_decide.py $(ARGS)

bench-records: venv  ## what the records of a request's life cost
	$(BIN)/python scripts/bench_records.py $(ARGS)

soak: venv  ## reloads, kills and replacements under load; minutes, prints what was lost
	$(BIN)/python scripts/reload_under_load.py

claude: venv  ## the real Claude Code through the daemon, offline: 5 minutes; needs npm, and Linux
	$(BIN)/python -m scripts.claude $(ARGS)

completion: venv  ## the shells' completion scripts, of the command line's parser
	$(BIN)/python scripts/write_completion.py

lock:  ## resolve pyproject.toml anew into requirements.lock
	scripts/lock

# -B: nothing is left beside the sources of a build that may run as root.
INSTALL = $(BUILD_PYTHON) -B scripts/install.py --destdir "$(DESTDIR)" --prefix "$(PREFIX)" \
	--sysconfdir "$(SYSCONFDIR)" --python "$(PYTHON)"

install:  ## for packages: below DESTDIR and PREFIX, without .venv and without the network
	$(INSTALL)

uninstall:  ## remove what make install, with the same words, would write
	$(INSTALL) --uninstall

clean:  ## remove what the other targets made
	rm -rf .venv .uv .cache .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache build dist htmlcov
	find ccproxyd scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
