"""Servers that die, and a locked catalog, in the middle of a whole import.

At each step of an import, for long, and with full disks: `tests/integration/test_outages.py`.
"""

from pathlib import Path

import pytest

from connectors.kafka.log_offsets import log_ends
from orchestration.composition.context import Context
from schemas.topics import IMPORTS_SMALL
from tests.faults.waiting import until
from tests.holding.holding import hold
from tests.integration.whole.conftest import PARTITIONS
from tests.integration.whole_imports import (
    assert_published,
    ended,
    failed_tries,
    kill,
    locked_catalog,
    pid_of,
    start_append,
)

pytestmark = [pytest.mark.integration, pytest.mark.faults("the simulator has outages of each server", seconds=25)]

ROWS = 200


def test_server_deaths_during_an_import_cost_only_time(context: Context, tmp_path: Path) -> None:
    before = {server: pid_of(context, server) for server in ("s3", "kafka")}
    with hold(context.settings.home, "importer") as importer:
        job, users = start_append(context, tmp_path, "servers-die", rows=ROWS)
        importer()
        for server in before:
            kill(context, server)
    assert_published(context, ended(context, job), users)
    assert all(pid_of(context, server) not in {None, pid} for server, pid in before.items())


def test_catalog_locked_during_an_import_is_awaited(context: Context, tmp_path: Path) -> None:
    def sent() -> int:
        return sum(log_ends(context.settings.kafka_bootstrap, IMPORTS_SMALL, PARTITIONS))

    with hold(context.settings.home, "importer") as importer:
        job, users = start_append(context, tmp_path, "locked", rows=ROWS)
        process, before = importer(), sent()
        with locked_catalog(context):
            process.resume()
            until(lambda: sent() == before + PARTITIONS, "the end markers")  # as far as it gets without the catalog
            assert context.jobs.get(job.job_id).state == "IMPORTING"
    job = ended(context, job)
    assert_published(context, job, users)
    assert (job.attempt, failed_tries(context, job.execution)) == (1, [])
