"""Progress that the stream and the tasks report for running jobs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.life_cycle import JOB_ID, of_job
from orchestration.catalog.records import PartitionProgress, StageProgress
from orchestration.catalog.selected import from_row
from orchestration.catalog.tables import partition_progress, stage_progress
from orchestration.catalog.upsert import upsert
from schemas.ids import JobId

_UNIT: Final = "#"
"""Between the name of a stage and the number of a unit."""
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

    def put_stage(
        self, job_id: JobId, stage: str, record: Mapping[str, Any], *, now_ms: int, unit: int | None = None
    ) -> None:
        """Replace the progress of a stage, or of one of the units that it takes side by side."""
        key = {"job_id": job_id, "stage": stage if unit is None else f"{stage}{_UNIT}{unit}"}
        with self._database.write() as connection:
            upsert(connection, stage_progress, key, {"record": dict(record), "at_ms": now_ms})

    def end_unit(self, job_id: JobId, stage: str, unit: int, record: Mapping[str, Any] | None, *, now_ms: int) -> None:
        """Add what a unit has done to its stage, and drop its own progress; None adds nothing."""
        table = stage_progress
        mine = (table.c.job_id == job_id) & (table.c.stage == f"{stage}{_UNIT}{unit}")
        whole = (table.c.job_id == job_id) & (table.c.stage == stage)
        with self._database.write() as connection:
            found = connection.execute(sa.select(table.c.record).where(whole).with_for_update()).scalar_one_or_none()
            if found is not None and record is not None:
                added = _added(found, record)
                connection.execute(table.update().where(whole).values(record=added, at_ms=now_ms))
            connection.execute(table.delete().where(mine))

    def stages(self, job_id: JobId) -> dict[str, StageProgress]:
        """The progress of each stage of a job; that of units is in the stage's."""
        query = sa.select(stage_progress).where(stage_progress.c.job_id == job_id).order_by(stage_progress.c.stage)
        found: dict[str, StageProgress] = {}
        with self._database.read() as connection:
            for row in connection.execute(query).mappings():
                name = row["stage"].partition(_UNIT)[0]
                if (known := found.get(name)) is None:
                    found[name] = from_row(StageProgress, row, stage=name)
                else:
                    record, at_ms = _added(known.record, row["record"]), max(known.at_ms, row["at_ms"])
                    found[name] = replace(known, record=record, at_ms=at_ms)
        return found


def _added(whole: Mapping[str, Any], unit: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a stage with that of a unit, which a repeated unit may exceed."""
    if whole.get("finished") or whole.get("attempt") != unit.get("attempt"):
        return dict(whole)
    counts = {"done": min(whole["done"] + unit["done"], whole["total"]), "rows": whole["rows"] + unit["rows"]}
    if whole["partitions"] and unit["partitions"]:
        partitions = [a + b for a, b in zip(whole["partitions"], unit["partitions"], strict=True)]
    else:
        partitions = whole["partitions"] or unit["partitions"]
    more = {"offsets": _spans(whole["offsets"], unit["offsets"])} if "offsets" in whole and "offsets" in unit else {}
    return {**whole, **counts, "partitions": partitions, **more}


def _spans(some: Sequence[Sequence[int]], others: Sequence[Sequence[int]]) -> list[list[int]]:
    """Per partition, the first and last offset of both; -1 if none."""
    return [
        [min((at for at in (a, b) if at >= 0), default=-1), max(last, end)]
        for (a, last), (b, end) in zip(some, others, strict=True)
    ]
