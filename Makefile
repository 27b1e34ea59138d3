# One command surface for people, pre-commit and CI. Prerequisites: Python 3.11 - 3.13 and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done
UV_VERSION := 0.13
# Files of tests run beside each other, each process with a stack of its own: two for each processor, since a part of
# their time is waiting.
TEST_PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(min(2 * (os.cpu_count() or 1), 8))')
# Without bytecode, every command and every process of the stack compiles all that it imports: twice the time.
export PYTHONDONTWRITEBYTECODE :=
# For make hunt: passes that each test needs, runnable processes, and arguments for pytest (the suite of make test).
TIMES ?= 20
LOAD ?= 8
HUNT ?=

.DEFAULT_GOAL := help
# Compose v1 or v2, whichever is installed.
COMPOSE ?= $(shell command -v docker-compose || echo docker compose)
.PHONY: help setup hooks up down status demo lint types test test-faults test-rotation test-containers test-container-faults hunt prove soak release bench workflow images compose-up compose-demo compose-down

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(STAMP)  ## everything that the rest needs, in .venv; leaves the command .venv/bin/muster

$(STAMP): pyproject.toml uv.lock orchestration/local/kafka/jgo.lock.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "Muster needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
		rm -rf $(VENV); exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet "uv~=$(UV_VERSION).0"
	$(BIN)/uv sync --frozen --all-extras --inexact --python $(BIN)/python
	$(BIN)/python -m orchestration.local.kafka.warm
	$(BIN)/python -m segmentation.warm
	$(BIN)/python -m connectors.sources.warm
	@touch $@

hooks: $(STAMP)  ## run make lint before each commit, and make types before each push
	$(BIN)/pre-commit install

up: $(STAMP)  ## start the embedded stack
	$(BIN)/muster up

down: $(STAMP)  ## stop it
	$(BIN)/muster down

status: $(STAMP)  ## what runs
	$(BIN)/muster status

demo: $(STAMP)  ## two imports, their receipts, rejects, versions and an export
	$(BIN)/python -m orchestration.entrypoints.demo

lint: $(STAMP)  ## ruff, formatting, import contracts, uv.lock (the workflow's linter runs with the tests)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/uv lock --check --quiet

types: $(STAMP)  ## mypy --strict
	$(BIN)/mypy

test: $(STAMP)  ## all tests but those that need Docker, PostgreSQL or Spark
	$(BIN)/pytest -m "not containers and not faults" -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-faults: $(STAMP)  ## kills, outages and sweeps at length, with production time-outs
	$(BIN)/pytest -m "faults and not containers" -n $(TEST_PROCESSES) --dist loadfile
	$(BIN)/pytest --hypothesis-profile thorough -m "not containers and not faults" -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder tests/property

test-rotation: $(STAMP)  ## a slice of test-faults in five minutes, another one with every change
	$(BIN)/python -m tests.rotation

test-containers: $(STAMP) images  ## tests that need Docker, PostgreSQL or Spark, and a slice of test-container-faults
	$(BIN)/uv sync --frozen --all-extras --inexact --group spark --python $(BIN)/python
	$(BIN)/pytest -m "containers and not faults" -n $(TEST_PROCESSES) --dist loadfile
	$(BIN)/python -m tests.rotation --containers

test-container-faults: $(STAMP) images  ## kills and outages at length, in containers
	$(BIN)/pytest -m "containers and faults"

hunt: $(STAMP)  ## a suite in random order, again and again, with the processors loaded; goes on where it ended
	$(BIN)/python -m tests.hunt --times $(TIMES) --load $(LOAD) --processes $(TEST_PROCESSES) $(HUNT)

workflow: $(STAMP)  ## write the state machines (.asl.json) again from their tables of stages
	$(BIN)/python -m orchestration.workflow

images: $(STAMP)  ## the container images; bases are built here where no registry can be reached
	docker/build.sh

compose-up: images  ## start the stack in containers and wait until it is healthy
	docker/env.sh .env
	$(COMPOSE) up --detach
	docker/healthy.sh 180 $(COMPOSE)

compose-demo: $(STAMP)  ## the demo, in the containers of compose-up
	$(COMPOSE) run --rm demo

compose-down: $(STAMP)  ## stop and remove the containers; the volumes keep the data
	$(COMPOSE) --profile tools down

prove: $(STAMP)  ## the evidence at length: schedules, mutants, faults, hostile files; writes docs/evidence.md
	$(BIN)/python -m tests.prove $(PROVE) $(EXHIBIT)

soak: $(STAMP)  ## 200 imports with exports, changes of rules and faults: nothing grows, leaks or lags behind
	$(BIN)/python -m tests.prove soak --minutes 120 $(PROVE)

release: $(STAMP)  ## make release VERSION=x.y.z: date the changelog, commit, tag, build; DRY_RUN=1 only shows it
	$(BIN)/python -m release $(VERSION) $(if $(DRY_RUN),--dry-run)

bench: $(STAMP)  ## the benchmark: a table, and JSON
	$(BIN)/python -m benchmarks
