"""Progress that the stream and the tasks report for running jobs."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.life_cycle import JOB_ID, of_job
from orchestration.catalog.records import PartitionProgress, StageProgress
from orchestration.catalog.selected import from_row
from orchestration.catalog.tables import partition_progress, stage_progress
from orchestration.catalog.upsert import upsert
from schemas.ids import JobId

_PARTITIONS: Final = (
    sa.select(partition_progress)
    .where(partition_progress.c.job_id == JOB_ID)
    .order_by(partition_progress.c.attempt, partition_progress.c.partition)
)


class ProgressStore:
    """Rows import x attempt x partition, written by the control plane; and the progress of each stage, for display."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_partitions(self, rows: Sequence[PartitionProgress]) -> None:
        """Store announcements. A materialised partition stays materialised: a later failure comes from a duplicate."""
        with self._database.write() as connection:
            for row in rows:
                upsert(
                    connection,
                    partition_progress,
                    {"job_id": row.job_id, "attempt": row.attempt, "partition": row.partition},
                    {"materialised": row.materialised, "record": dict(row.record), "at_ms": row.at_ms},
                    where=partition_progress.c.materialised.is_(False),
                )

    def partitions(self, job_id: JobId) -> list[PartitionProgress]:
        """All announcements about a job, by attempt and partition."""
        with self._database.read() as connection:
            return [PartitionProgress(**row) for row in connection.execute(_PARTITIONS, of_job(job_id)).mappings()]

    def stamps(self, job_ids: Collection[JobId]) -> dict[JobId, tuple[object, ...]]:
        """Of each of these jobs that has reported: how many reports it has, and when the last ones were stored."""
        found: dict[JobId, tuple[object, ...]] = {}
        with self._database.read() as connection:
            for table in (stage_progress, partition_progress):
                query = sa.select(table.c.job_id, sa.func.count(), sa.func.max(table.c.at_ms))
                rows = connection.execute(query.where(table.c.job_id.in_(job_ids)).group_by(table.c.job_id))
                for job_id, count, at_ms in rows:
                    found[job_id] = (*found.get(job_id, ()), table.name, count, at_ms)
        return found

    def put_stage(self, job_id: JobId, stage: str, record: Mapping[str, Any], *, now_ms: int) -> None:
        """Replace the progress of a stage."""
        key = {"job_id": job_id, "stage": stage}
        with self._database.write() as connection:
            upsert(connection, stage_progress, key, {"record": dict(record), "at_ms": now_ms})

    def stages(self, job_id: JobId) -> dict[str, StageProgress]:
        """The progress of each stage of a job."""
        query = sa.select(stage_progress).where(stage_progress.c.job_id == job_id)
        with self._database.read() as connection:
            return {row["stage"]: from_row(StageProgress, row) for row in connection.execute(query).mappings()}
