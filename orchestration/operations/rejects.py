"""The rejects of a job that verification kept."""

import io
from typing import TYPE_CHECKING, Any

from orchestration.platform.deferred import deferred
from schemas.errors import UserError
from schemas.ids import JobId
from schemas.layout import rejects_key

if TYPE_CHECKING:
    from connectors.storage.objects import ObjectStore
    from connectors.storage.pinned import SourceObject
    from orchestration.catalog.jobs import JobStore
    from orchestration.platform.settings import Settings

with deferred(__name__):
    from pyarrow import parquet as pq  # the service finds the file, and loads no Arrow


def rejects_file(job_id: JobId, *, jobs: "JobStore", objects: "ObjectStore", settings: "Settings") -> bytes | None:
    """The content of `rejects_object`."""
    found = rejects_object(job_id, jobs=jobs, objects=objects, settings=settings)
    return None if found is None else objects.get(found.bucket, found.key)


def rejects_object(
    job_id: JobId, *, jobs: "JobStore", objects: "ObjectStore", settings: "Settings"
) -> "SourceObject | None":
    """The Parquet file with the rejects of a job. None if it has none. Raises `UserError` UNKNOWN_JOB."""
    job = jobs.get(job_id)
    try:
        return objects.pin(settings.lake_bucket, rejects_key(job.tenant, job.job_id))
    except UserError as exc:
        if exc.code != "SOURCE_GONE":
            raise
    # A retry that reused the evidence of an earlier job has that job's rejects.
    earlier = None if job.retry_of is None else jobs.find(job.retry_of)
    if earlier is None or job.evidence is None or earlier.evidence != job.evidence:
        return None
    return rejects_object(earlier.job_id, jobs=jobs, objects=objects, settings=settings)


def some_rejects(file: bytes, *, code: str | None, skip: int, limit: int) -> list[dict[str, Any]]:
    """At most `limit` rejects [with a code], after the first `skip` of the file.

    Each has `number`, its place among all rejects of the file.
    """
    rows: list[dict[str, Any]] = []
    number = 0
    for batch in pq.ParquetFile(io.BytesIO(file)).iter_batches(batch_size=10_000):
        if number + batch.num_rows <= skip:
            number += batch.num_rows
            continue
        for row in batch.to_pylist():
            number += 1
            if number <= skip or code not in {None, row["code"]}:
                continue
            rows.append({"number": number, **row})
            if len(rows) == limit:
                return rows
    return rows


def kept_rejects(file: bytes) -> int:
    """How many rejects a file has."""
    return int(pq.ParquetFile(io.BytesIO(file)).metadata.num_rows)


def read_rejects(file: bytes, limit: int) -> tuple[list[dict[str, Any]], int]:
    """The first `limit` rejects as plain data, and the number of rejects in the file."""
    parquet = pq.ParquetFile(io.BytesIO(file))
    rows: list[dict[str, Any]] = []
    for batch in parquet.iter_batches(batch_size=max(1, min(limit, 10_000))):
        rows += batch.to_pylist()
        if len(rows) >= limit:
            break
    return rows[:limit], int(parquet.metadata.num_rows)
