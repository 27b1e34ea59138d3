"""How far the workers are in each partition, from offsets alone."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from orchestration.catalog.records import Job
from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.control.stream_lag import durable_and_waiting, lag_record
from orchestration.control.worker_groups import WorkerGroups
from orchestration.operations.follow import without_worker_s
from orchestration.operations.workers import waiting_jobs
from orchestration.platform.settings import Settings
from schemas.ids import Attempt
from schemas.topics import IMPORTS, IMPORTS_SMALL
from tests.fakes.catalog import catalog_in
from tests.unit.orchestration.cli.jobs import JOB, job

SENT: dict[str, Any] = {
    "attempt": 1,
    "total": 100,
    "partitions": [60, 40],
    "offsets": [[10, 19], [0, 3]],
    "started_at_ms": 5,
}


@pytest.mark.parametrize(
    ("committed", "rows", "waiting"),
    [(-1, 0, 10), (0, 0, 10), (10, 0, 10), (15, 30, 5), (19, 54, 1), (20, 60, 0), (99, 60, 0)],
)
def test_processed_rows_follow_from_acknowledged_messages(committed: int, rows: int, waiting: int) -> None:
    assert durable_and_waiting(60, [10, 19], committed) == (rows, waiting)


def test_partition_without_messages_has_no_lag() -> None:
    assert durable_and_waiting(0, [-1, -1], 7) == (0, 0)


def test_job_lag_uses_its_own_lane() -> None:
    committed = {(IMPORTS_SMALL, 0): 15, (IMPORTS_SMALL, 1): 4, (IMPORTS, 0): 0, (IMPORTS, 1): 0}
    record = lag_record(job(attempt=Attempt(1), small=True), SENT, committed)
    assert record is not None
    assert (record["partitions"], record["lag"], record["done"], record["total"]) == ([30, 40], [5, 0], 70, 100)
    large = lag_record(job(attempt=Attempt(1), small=False), SENT, committed)
    assert large is not None
    assert large["lag"] == [10, 4]


@pytest.mark.parametrize("sent", [{}, {**SENT, "attempt": 2}, {**SENT, "offsets": []}])
def test_lag_requires_a_report_of_this_attempt(sent: dict[str, Any]) -> None:
    assert lag_record(job(attempt=Attempt(1)), sent, {}) is None


class GroupAt:
    """A `WorkerGroup` at given offsets."""

    def __init__(self) -> None:
        self.at: dict[tuple[str, int], int] = {}
        self.asked = 0
        self.away = False

    def committed(self) -> Mapping[tuple[str, int], int]:
        self.asked += 1
        if self.away:
            raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        return self.at


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    url = catalog_in(tmp_path)
    context = Context(Settings(home=tmp_path, catalog_url=url))
    yield context
    context.database.close()


def groups(imports: object, activity: object) -> WorkerGroups:
    """Of what stands for a `WorkerGroup`; the archive's is not asked."""
    watched: Any = {"imports": imports, "activity": activity, "archive": None}
    return WorkerGroups(**watched)


def test_the_relay_writes_the_lag_of_moving_jobs(context: Context) -> None:
    group = GroupAt()
    lag = control_plane.stream_lag(context, groups(group, group))
    moving = job(state="AWAITING", attempt=Attempt(1), small=True)
    context.progress.put_stage(JOB.job_id, "import", SENT, now_ms=1)

    lag.tick([replace(moving, state="VERIFYING"), replace(moving, state="READY")], 1)
    assert group.asked == 0

    group.at = {(IMPORTS_SMALL, 0): 15, (IMPORTS_SMALL, 1): 0}
    lag.tick([moving], 2)
    assert context.progress.stages(JOB.job_id)["materialise"].record["lag"] == [5, 4]
    group.at = {(IMPORTS_SMALL, 0): 20, (IMPORTS_SMALL, 1): 4}
    lag.tick([moving], 3)
    assert group.asked == 2
    assert context.progress.stages(JOB.job_id)["materialise"].record["lag"] == [0, 0]


def test_kafka_outage_costs_only_the_progress(context: Context) -> None:
    group = GroupAt()
    group.away = True
    context.progress.put_stage(JOB.job_id, "import", SENT, now_ms=1)
    control_plane.stream_lag(context, groups(group, group)).tick([job(state="AWAITING", attempt=Attempt(1))], 1)
    assert "materialise" not in context.progress.stages(JOB.job_id)


class GroupServing:
    """A `WorkerGroup` whose members have the partitions or not."""

    def __init__(self) -> None:
        self.has: bool | None = False

    def serving(self) -> bool:
        if self.has is None:
            raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        return self.has


def test_waiting_job_shows_how_long_its_partitions_lack_a_worker(context: Context) -> None:
    group, of_segments = GroupServing(), GroupServing()
    absence = control_plane.worker_absence(context, groups(group, of_segments))
    waiting, at_ms = job(state="AWAITING", attempt=Attempt(1)), 100_000

    def reported(after_s: int) -> float | None:
        return without_worker_s(waiting, context.progress.stages(JOB.job_id), at_ms + after_s * 1000)

    def look(after_s: int, *jobs: Job) -> None:
        absence.tick(jobs, at_ms + after_s * 1000)

    assert reported(0) is None
    look(0, replace(waiting, state="IMPORTING"))
    assert reported(0) is None
    look(1, waiting)
    assert reported(2) is None  # a rebalance
    assert reported(9) == 8.0
    look(7, waiting)
    assert reported(15) == 14.0
    assert reported(23) is None  # the control plane has reported nothing for a while
    group.has = None
    look(24, waiting)
    group.has = False
    look(25, waiting)
    assert reported(25) == 24.0
    group.has = True
    look(26, waiting)
    assert reported(26) is None
    group.has = False
    look(30, waiting)
    assert reported(40) == 10.0
    assert (
        without_worker_s(replace(waiting, state="READY"), context.progress.stages(JOB.job_id), at_ms + 40_000) is None
    )
    # the job is in no catalog
    assert waiting_jobs(at_ms + 40_000, jobs=context.jobs, progress=context.progress) is None
