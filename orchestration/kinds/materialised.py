"""Announcements of the stream about a job: to and from rows of the catalog, and the parts they name."""

from typing import Final

from connectors.verification.evidence import Evidence
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.records import Job, PartitionProgress
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.ids import Attempt
from schemas.messages import PartitionFailed, PartitionMaterialised, ProgressMessage
from schemas.records import as_record, from_record
from segmentation.completion import Complete, Completion, complete_attempt, completion
from segmentation.versions import Part

_COLUMNS: Final = ("import_id", "attempt", "partition")
"""Fields of an announcement with a column of their own."""


def as_row(message: ProgressMessage, at_ms: int) -> PartitionProgress:
    """An announcement as a row of the catalog."""
    record = {name: value for name, value in as_record(message).items() if name not in _COLUMNS}
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
    message: type[ProgressMessage] = PartitionMaterialised if row.materialised else PartitionFailed
    columns = {"import_id": row.job_id, "attempt": row.attempt, "partition": row.partition}
    return from_record(message, {**row.record, **columns})


def completion_of(progress: ProgressStore, job: Job) -> Completion:
    """The completion of an import, as far as the catalog knows."""
    return completion(job.attempt, *_facts(progress, job))


def require_complete(progress: ProgressStore, job: Job, *, attempt: Attempt | None = None) -> Complete:
    """The newest complete attempt, or `attempt`. Raises `FatalError` NOT_COMPLETE."""
    facts = _facts(progress, job)
    requested = None if attempt is None else complete_attempt(attempt, *facts)
    found = requested or completion(job.attempt, *facts)
    if not isinstance(found, Complete):
        raise FatalError("NOT_COMPLETE", f"job {job.job_id} is {job.state}, but {found}", job=job.job_id)
    return found


def _facts(progress: ProgressStore, job: Job) -> tuple[tuple[Digest, ...], list[ProgressMessage]]:
    """The verified digest of each partition, and all announcements."""
    if job.evidence is None:
        raise FatalError("NOT_VERIFIED", f"job {job.job_id} has no evidence", job=job.job_id)
    announced = [from_row(row) for row in progress.partitions(job.job_id)]
    return from_record(Evidence, job.evidence).partitions, announced


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
