"""The rejects of a job that verification kept."""

from typing import TYPE_CHECKING

from schemas.errors import UserError
from schemas.ids import JobId
from schemas.layout import rejects_key

if TYPE_CHECKING:
    from connectors.storage.objects import ObjectStore
    from connectors.storage.pinned import SourceObject
    from orchestration.catalog.jobs import JobStore
    from orchestration.platform.settings import Settings


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
