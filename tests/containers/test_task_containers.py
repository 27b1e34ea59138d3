"""Whole imports through the embedded stack with its ECS tasks as containers of the image."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.catalog.records import Job
from orchestration.composition.context import Context
from orchestration.platform.settings import Settings
from segmentation.jobs import FINAL
from tests.integration.whole_imports import (
    ENGINE,
    TENANT,
    assert_published,
    ended,
    failed_tries,
    running,
    sending,
    start_append,
    upload,
    write_file,
)
from tests.servers.images import PRODUCT, docker
from tests.waiting import until

pytestmark = [pytest.mark.containers, pytest.mark.integration]

IMPORTER = "orchestration.entrypoints.container task import"
PROCESS = f"{sys.executable} -m orchestration.entrypoints.container task"
"""A task outside a container; the image calls its Python by another path."""


@pytest.fixture(scope="module")
def context(start_module_stack: Callable[..., Settings]) -> Context:
    made = Context(
        start_module_stack(parts=None, task_runner="docker", task_image=PRODUCT, lambda_file_bytes=-1, partitions=4)
    )
    made.audiences.add_tenant(TENANT, now_ms=1)
    return made


def commands(context: Context) -> dict[str, str]:
    """Containers of the stack: id -> command."""
    label = f"label=muster.home={context.settings.home}"
    lines = docker("ps", "--all", "--no-trunc", "--filter", label, "--format", "{{.ID}} {{.Command}}").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def await_no_container(context: Context) -> None:
    """Wait until no container is left: the publishing one reports before it ends."""
    until(lambda: not commands(context), lambda: commands(context), timeout_s=300)


@pytest.mark.timeout(900)
def test_containerised_import_publishes_exactly_the_file(context: Context, tmp_path: Path) -> None:
    job, users = start_append(context, tmp_path, "in-containers")
    seen: set[str] = set()
    while context.jobs.get(job.job_id).state not in FINAL:
        seen |= set(commands(context).values())
        assert running(context, PROCESS) == []
        time.sleep(0.1)

    assert_published(context, ended(context, job), users)
    steps = ("verify", "import", "build", "publish")
    assert {step for step in steps if any(f" task {step} {job.job_id}" in c for c in seen)} == set(steps)
    await_no_container(context)


def held_importer(context: Context, folder: Path, audience: str) -> tuple[Job, set[str], str]:
    """Start an import and suspend its importer after it has begun to send: job, users of the file, container."""
    users = write_file(folder / "a.csv", len(audience), rows=150_000)
    upload(context, folder / "a.csv", audience)
    job = sending(context, audience)
    for process in running(context, IMPORTER):
        process.suspend()  # so that it is not over when the kill comes
    [container] = [id_ for id_, command in commands(context).items() if f"task import {job.job_id}" in command]
    assert context.jobs.get(job.job_id).state == "IMPORTING"
    return job, users, container


@pytest.mark.timeout(900)
def test_killed_import_container_costs_one_attempt_and_loses_and_duplicates_nothing(
    context: Context, tmp_path: Path
) -> None:
    job, users, container = held_importer(context, tmp_path, "killed")

    docker("kill", "--signal", "KILL", container)

    job = ended(context, job)
    assert_published(context, job, users)
    assert (job.attempt, failed_tries(context, job.execution)) == (2, ["States.TaskFailed"])


@pytest.mark.faults(
    "an engine that dies beside its containers, as tests/engine/test_task_containers.py, in an import", seconds=40
)
@pytest.mark.timeout(900)
def test_killed_engine_ends_its_import_container_and_loses_and_duplicates_nothing(
    context: Context, tmp_path: Path
) -> None:
    job, users, container = held_importer(context, tmp_path, "engine-killed")
    [engine] = running(context, ENGINE)

    engine.kill()

    job = ended(context, job)
    assert_published(context, job, users)
    assert (job.attempt, container in commands(context)) == (2, False)
