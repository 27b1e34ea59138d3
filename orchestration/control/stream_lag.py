"""Progress of workers in each partition of each import: committed offsets compared with what was sent.

A partition is announced only at its end marker. Until then offsets show progress, since a worker commits in order and
only what is durable. For display only; nothing is decided by it.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaException

from connectors.kafka.log_offsets import PartitionKey
from connectors.kafka.worker_group import WorkerGroup
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.records import Job
from orchestration.kinds.topics import import_topic

STAGE: Final = "materialise"
_log = logging.getLogger(__name__)


class StreamLag:
    """Updates the stage `materialise` of jobs that are being sent or awaited."""

    def __init__(self, progress: ProgressStore, group: WorkerGroup, activity_group: WorkerGroup) -> None:
        self._progress = progress
        self._group = group
        self._activity_group = activity_group

    def tick(self, jobs: Iterable[Job], now_ms: int) -> None:
        """Write what has changed. An outage of Kafka is logged; only the display suffers."""
        moving = [job for job in jobs if _is_sent(job)]
        if not moving:
            return
        kinds = {job.kind != "audience" for job in moving}
        groups = [
            group for activity, group in ((False, self._group), (True, self._activity_group)) if activity in kinds
        ]
        try:
            committed = {partition: offset for group in groups for partition, offset in group.committed().items()}
        except KafkaException as exc:
            _log.warning("cannot read the position of the workers: %s", exc)
            return
        for job in moving:
            stages = self._progress.stages(job.job_id)
            sent = stages["import"].record if "import" in stages else {}
            record = lag_record(job, sent, committed)
            if record is not None and (STAGE not in stages or stages[STAGE].record != record):
                self._progress.put_stage(job.job_id, STAGE, record, now_ms=now_ms)


def _is_sent(job: Job) -> bool:
    return job.state in {"IMPORTING", "AWAITING"} and job.attempt > 0 and job.segment is None


def lag_record(job: Job, sent: Mapping[str, Any], committed: Mapping[PartitionKey, int]) -> dict[str, Any] | None:
    """The stage as plain data, from the importer's report. None before the report of the current attempt."""
    if sent.get("attempt") != job.attempt or not (offsets := sent.get("offsets")):
        return None
    topic = import_topic(job)
    acknowledged = [committed.get((topic, p), -1) for p in range(len(offsets))]
    pairs = [
        durable_and_waiting(rows, span, at)
        for rows, span, at in zip(sent["partitions"], offsets, acknowledged, strict=True)
    ]
    rows = sum(pair[0] for pair in pairs)
    return {
        "done": rows,
        "total": sent["total"],
        "unit": "rows",
        "rows": rows,
        "partitions": [pair[0] for pair in pairs],
        "lag": [pair[1] for pair in pairs],
        "attempt": job.attempt,
        "started_at_ms": sent["started_at_ms"],
    }


def durable_and_waiting(rows: int, span: Sequence[int], committed: int) -> tuple[int, int]:
    """(durable rows, waiting messages) of a partition that was sent `rows` between the two offsets of `span`.

    Rows are estimated from the share of messages, since those of other imports may lie between; exact at both ends.
    """
    first, last = span
    if first < 0:
        return 0, 0
    waiting = min(max(last + 1 - max(committed, 0), 0), last + 1 - first)
    return rows * (last + 1 - first - waiting) // (last + 1 - first), waiting
