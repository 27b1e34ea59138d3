"""The catalog's server crashes while a whole import runs: every step of the job meets it, none gives up."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.lake.store import IcebergVersionStore
from orchestration.composition.context import Context
from orchestration.local import stack as local_stack
from orchestration.local.home import Home
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Settings
from schemas.messages import JobState
from tests.integration.whole_imports import (
    STEPS,
    TENANT,
    assert_published,
    await_state,
    ended,
    failed_tries,
    job_of,
    prepare_append,
    upload,
)
from tests.servers.postgres import Postgres, postgres_server
from tests.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.containers]

ROWS = 400_000
"""Enough for every step to last longer than stopping the server takes."""


HOLD = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.attempt <> OLD.attempt OR (OLD.state = 'BUILDING' AND NEW.state <> OLD.state) THEN
        PERFORM pg_sleep(2);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER hold BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION hold();
"""
"""Delays the start of an attempt, and the end of the shortest step, so that the server is gone before either.

All other steps last long enough because of `ROWS`.
"""


@pytest.fixture
def server() -> Iterator[Postgres]:
    # Not below pytest's own folder, which is closed to other users: PostgreSQL does not run as root.
    with tempfile.TemporaryDirectory() as folder, postgres_server(Path(folder)) as running:
        yield running


def await_more(what: str, count: Callable[[], int], than: int) -> None:
    until(lambda: count() > than, f"a {what} that meets the outage")


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "lambda_file_bytes",
    [
        pytest.param(
            1 << 30, id="functions", marks=pytest.mark.faults("the same outages, met by functions", seconds=60)
        ),
        pytest.param(-1, id="tasks"),
    ],
)
def test_catalog_crash_at_any_step_costs_only_time(
    server: Postgres,
    start_stack: Callable[..., Settings],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    lambda_file_bytes: int,
) -> None:
    settings = start_stack(
        parts=None, partitions=4, lambda_file_bytes=lambda_file_bytes, catalog_url=server.url.reveal()
    )
    context = Context(settings)
    request.addfinalizer(context.close)
    context.audiences.add_tenant(TENANT, now_ms=1)
    home = Home(path=settings.home)
    relay_log, tasks_log = home.log_file("relay"), home.log_file("tasks")
    restarts = {part.name: part.restarts for part in local_stack.status(settings).parts}
    users = prepare_append(context, tmp_path / "a.csv", "crashes", rows=ROWS)
    with context.database.write() as connection:
        connection.exec_driver_sql(HOLD)

    def relay_warnings() -> int:
        return relay_log.read_text().count("CATALOG_UNAVAILABLE")

    def failed() -> int:
        """Tries of functions, and those that a task has made in place."""
        executions = context.workflow.list_executions(stateMachineArn=context.engine.machine_arn())["executions"]
        in_place = tasks_log.read_text().count("; retrying in") if tasks_log.exists() else 0
        return in_place + sum(len(failed_tries(context, execution["executionArn"])) for execution in executions)

    server.stop()
    upload(context, tmp_path / "a.csv", "crashes")
    await_more("registration", failed, 0)
    server.start()
    job = job_of(context, "crashes")

    gone_ms: dict[JobState, int] = {}
    for step in STEPS:
        await_state(context, job, step)
        tries, warnings = failed(), relay_warnings()
        server.stop()
        gone_ms[step] = now_ms()
        if step == "AWAITING":  # no step runs: the control plane needs the catalog
            await_more("round of the relay", relay_warnings, warnings)
        else:
            await_more("step", failed, tries)
        server.start()

    job = ended(context, job, timeout_s=300)
    assert_published(context, job, users)
    history = context.jobs.history(job.job_id)
    states = {step: [t.state for t in history if t.at_ms <= gone][-1] for step, gone in gone_ms.items()}
    assert states == {step: step for step in STEPS}, "it crashed too late to be missed in this step"
    assert job.attempt == 1
    assert set(failed_tries(context, job.execution)) <= {"RetriableError", "UnavailableError", "States.TaskFailed"}
    assert {part.name: part.restarts for part in local_stack.status(settings).parts} == restarts
    assert isinstance(context.versions, IcebergVersionStore)
    context.versions.close()
    context.database.close()
