"""Announcements of the stream about a job: to and from rows of the catalog, and the parts they name."""

from collections.abc import Mapping
from typing import Any

from connectors.verification.evidence import Evidence
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.records import Job, PartitionProgress
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.ids import Attempt, Partition
from schemas.messages import PartitionFailed, PartitionMaterialised, ProgressMessage
from segmentation.completion import Complete, Completion, completion, whole_attempt
from segmentation.versions import Part


def as_row(message: ProgressMessage, at_ms: int) -> PartitionProgress:
    """An announcement as a row of the catalog."""
    match message:
        case PartitionMaterialised():
            record: dict[str, Any] = {
                "partitions": message.partitions,
                "chunks": message.chunks,
                "records": message.records,
                "digest": str(message.digest),
                "distinct": message.distinct,
                "distinct_digest": str(message.distinct_digest),
                "part": message.part,
                "part_bytes": message.part_bytes,
            }
        case PartitionFailed():
            record = {
                "partitions": message.partitions,
                "reason": message.reason,
                "missing_count": message.missing_count,
                "missing": list(message.missing),
                "expected": str(message.expected),
                "actual": str(message.actual),
            }
    return PartitionProgress(
        job_id=message.import_id,
        attempt=message.attempt,
        partition=message.partition,
        materialised=isinstance(message, PartitionMaterialised),
        record=record,
        at_ms=at_ms,
    )


def from_row(row: PartitionProgress) -> ProgressMessage:
    """Inverse of `as_row`."""
    record: Mapping[str, Any] = row.record
    if row.materialised:
        return PartitionMaterialised(
            import_id=row.job_id,
            attempt=row.attempt,
            partition=Partition(row.partition),
            partitions=record["partitions"],
            chunks=record["chunks"],
            records=record["records"],
            digest=Digest.parse(record["digest"]),
            distinct=record["distinct"],
            distinct_digest=Digest.parse(record["distinct_digest"]),
            part=record["part"],
            part_bytes=record["part_bytes"],
        )
    return PartitionFailed(
        import_id=row.job_id,
        attempt=row.attempt,
        partition=Partition(row.partition),
        partitions=record["partitions"],
        reason=record["reason"],
        missing_count=record["missing_count"],
        missing=tuple(record["missing"]),
        expected=Digest.parse(record["expected"]),
        actual=Digest.parse(record["actual"]),
    )


def completion_of(progress: ProgressStore, job: Job) -> Completion:
    """The completion of an import, as far as the catalog knows."""
    return completion(job.attempt, *_facts(progress, job))


def require_complete(progress: ProgressStore, job: Job, *, attempt: Attempt | None = None) -> Complete:
    """The newest complete attempt, or `attempt`. Raises `FatalError` NOT_COMPLETE."""
    facts = _facts(progress, job)
    requested = None if attempt is None else whole_attempt(attempt, *facts)
    found = requested or completion(job.attempt, *facts)
    if not isinstance(found, Complete):
        raise FatalError("NOT_COMPLETE", f"job {job.job_id} is {job.state}, but {found}", job=job.job_id)
    return found


def _facts(progress: ProgressStore, job: Job) -> tuple[tuple[Digest, ...], list[ProgressMessage]]:
    """The verified digest of each partition, and all announcements."""
    if job.evidence is None:
        raise FatalError("NOT_VERIFIED", f"job {job.job_id} has no evidence", job=job.job_id)
    announced = [from_row(row) for row in progress.partitions(job.job_id)]
    return Evidence.from_record(job.evidence).partitions, announced


def parts_of(found: Complete) -> tuple[Part, ...]:
    """The sorted parts of a complete attempt. Partitions without users have none."""
    return tuple(
        Part(
            uri=message.part,
            rows=message.distinct,
            bytes=message.part_bytes,
            digest=message.distinct_digest,
            partition=message.partition,
        )
        for message in found.partitions
        if message.part is not None
    )
