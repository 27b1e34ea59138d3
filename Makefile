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
# pyspark has the files of the client that the product uses too: an environment of its own.
SPARK = UV_PROJECT_ENVIRONMENT=.venv-spark $(BIN)/uv sync --frozen --only-group spark-server --no-install-workspace --python $(BIN)/python
# Airflow pins its packages: an environment of its own, with the client as it is here, however old the built one is.
AIRFLOW = cd providers/airflow && UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-airflow $(CURDIR)/$(BIN)/uv sync --frozen --quiet --reinstall-package muster-client --python $(CURDIR)/$(BIN)/python
# Compose v1 or v2, whichever is installed.
COMPOSE ?= $(shell command -v docker-compose || echo docker compose)
.PHONY: help setup assets hooks up down status demo demo-console docs lint types test test-browser test-airflow screenshots test-faults test-rotation test-containers test-container-faults hunt prove soak release advisories bench openapi monitoring workflow images compose-up compose-demo compose-down

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 24

setup: $(STAMP)  ## install all that the other targets need into .venv, with the command .venv/bin/muster

$(STAMP): pyproject.toml muster/pyproject.toml uv.lock orchestration/local/kafka/jgo.lock.toml tests/servers/oidc/package-lock.json web/package-lock.json
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "Muster needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Choose another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		echo "$(PYTHON) cannot create virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
		rm -rf $(VENV); exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet "uv~=$(UV_VERSION).0"
	$(BIN)/uv sync --frozen --all-extras --inexact --python $(BIN)/python
	$(BIN)/python -m orchestration.local.kafka.warm
	$(BIN)/python -m segmentation.warm
	$(BIN)/python -m connectors.sources.warm
	$(BIN)/python -m tests.servers.identity_provider
	$(BIN)/python -m web
	@touch $@

assets: $(STAMP)  ## install the files of others that the console serves, as web/package-lock.json pins them
	$(BIN)/python -m web

hooks: $(STAMP)  ## run make lint before each commit, and make types before each push
	$(BIN)/pre-commit install

up: $(STAMP)  ## start the embedded stack
	$(BIN)/muster up

down: $(STAMP)  ## stop the embedded stack
	$(BIN)/muster down

status: $(STAMP)  ## show what is running
	$(BIN)/muster status

demo: $(STAMP)  ## run two imports; show receipts, rejects, versions and an export
	$(BIN)/python -m orchestration.entrypoints.demo

demo-console: $(STAMP)  ## leave a stack running with data of every kind, and print the address of its console
	$(BIN)/python -m orchestration.entrypoints.demo_console

docs: $(STAMP)  ## build the site of the documentation in .docs/site; a broken link is an error
	$(BIN)/python -m docs_site

lint: $(STAMP)  ## check ruff, formatting, import contracts and uv.lock (the workflow's linter runs with the tests)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/uv lock --check --quiet

types: $(STAMP)  ## run mypy --strict
	$(BIN)/mypy

test: $(STAMP)  ## run all tests except those that need Docker, PostgreSQL, Spark or a browser
	$(BIN)/pytest -m "not containers and not faults and not browser" -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-browser: $(STAMP)  ## run the console in Chromium; leaves pictures of its pages in .browser
	$(BIN)/pytest -m browser tests/browser

test-airflow: $(STAMP)  ## install Airflow by its own lock, check the operators with mypy, and run DAGs on a real stack
	$(AIRFLOW)
	cd providers/airflow && $(CURDIR)/.venv-airflow/bin/mypy
	cd providers/airflow && $(CURDIR)/.venv-airflow/bin/pytest

screenshots: $(STAMP)  ## take the pictures of the docs again, of a stack with the data of make demo-console
	MUSTER_HOME=$${MUSTER_HOME:-$(CURDIR)/.browser/stack} MUSTER_PORTS=free $(BIN)/python -m tests.browser.screenshots

test-faults: $(STAMP)  ## run long tests of kills, outages and sweeps, with production timeouts
	$(BIN)/pytest -m "faults and not containers" -n $(TEST_PROCESSES) --dist loadfile
	$(BIN)/pytest --hypothesis-profile thorough -m "not containers and not faults" -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder tests/property

test-rotation: $(STAMP)  ## run a five-minute slice of test-faults, a different one for each change
	$(BIN)/python -m tests.rotation

test-containers: $(STAMP) images  ## run tests that need Docker, PostgreSQL or Spark, and a slice of test-container-faults
	$(BIN)/uv sync --frozen --all-extras --inexact --group collector --python $(BIN)/python
	$(SPARK)
	$(BIN)/python -m tests.servers.collector
	$(BIN)/pytest -m "containers and not faults" -n $(TEST_PROCESSES) --dist loadfile
	$(BIN)/python -m tests.rotation --containers

test-container-faults: $(STAMP) images  ## run long tests of kills and outages in containers
	$(BIN)/pytest -m "containers and faults"

hunt: $(STAMP)  ## run a suite in random order repeatedly, with the processors loaded; resumes where it stopped
	$(BIN)/python -m tests.hunt --times $(TIMES) --load $(LOAD) --processes $(TEST_PROCESSES) $(HUNT)

openapi: $(STAMP)  ## write docs/openapi.json, docs/api.md and the methods of the client from the operations of the service
	$(BIN)/python -m orchestration.api.write_document
	$(BIN)/python -m orchestration.api.write_client

monitoring: $(STAMP)  ## write docs/monitoring: rules of Prometheus and a dashboard of Grafana
	$(BIN)/python -m orchestration.deploy.monitoring

workflow: $(STAMP)  ## regenerate the state machines (.asl.json) from their tables of stages
	$(BIN)/python -m orchestration.workflow

images: $(STAMP)  ## build the container images; base images are built locally if no registry is reachable
	docker/build.sh

compose-up: images  ## start the stack in containers and wait until it is healthy
	docker/env.sh .env
	$(COMPOSE) up --detach --remove-orphans
	docker/healthy.sh 180 $(COMPOSE)

compose-demo: $(STAMP)  ## run the demo in the containers of compose-up
	$(COMPOSE) run --rm demo

compose-down: $(STAMP)  ## stop and remove the containers; the volumes keep the data
	$(COMPOSE) --profile tools down

prove: $(STAMP)  ## collect the full evidence (schedules, mutants, faults, hostile files, Spark) and write docs/evidence.md
	$(SPARK)
	$(BIN)/python -m tests.prove $(PROVE) $(EXHIBIT)

soak: $(STAMP)  ## run 200 imports with exports, rule changes and faults; check that nothing grows, leaks or lags
	$(BIN)/python -m tests.prove soak --minutes 120 $(PROVE)

release: $(STAMP)  ## date the changelog, commit, tag and build: make release VERSION=x.y.z; DRY_RUN=1 only shows it
	$(BIN)/python -m release $(VERSION) $(if $(DRY_RUN),--dry-run)

advisories: $(STAMP)  ## ask advisory databases about uv.lock and the npm locks; exit code 3 if none is reachable
	$(BIN)/python -m release.advisories

bench: $(STAMP)  ## run the benchmark: prints a table, and JSON
	$(BIN)/python -m benchmarks
