"""What verification kept of a job: its rejects, and the table of its files."""

from typing import TYPE_CHECKING

from schemas.errors import UserError
from schemas.ids import JobId
from schemas.layout import files_key, rejects_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.storage.objects import ObjectStore
    from connectors.storage.pinned import SourceObject
    from orchestration.catalog.jobs import JobStore
    from orchestration.platform.settings import Settings
    from schemas.ids import TenantName


def rejects_file(job_id: JobId, *, jobs: "JobStore", objects: "ObjectStore", settings: "Settings") -> bytes | None:
    """The content of `rejects_object`."""
    found = rejects_object(job_id, jobs=jobs, objects=objects, settings=settings)
    return None if found is None else objects.get(found.bucket, found.key)


def rejects_object(
    job_id: JobId, *, jobs: "JobStore", objects: "ObjectStore", settings: "Settings"
) -> "SourceObject | None":
    """The Parquet file with the rejects of a job. None if it has none. Raises `UserError` UNKNOWN_JOB."""
    return _kept(rejects_key, job_id, jobs=jobs, objects=objects, settings=settings)


def files_table(
    job_id: JobId, *, jobs: "JobStore", objects: "ObjectStore", settings: "Settings"
) -> "SourceObject | None":
    """The Parquet file with the files of a job. None before verification, and for a job that reads one file."""
    return _kept(files_key, job_id, jobs=jobs, objects=objects, settings=settings)


def _kept(
    key: "Callable[[TenantName, JobId], str]",
    job_id: JobId,
    *,
    jobs: "JobStore",
    objects: "ObjectStore",
    settings: "Settings",
) -> "SourceObject | None":
    job = jobs.get(job_id)
    try:
        return objects.pin(settings.lake_bucket, key(job.tenant, job.job_id))
    except UserError as exc:
        if exc.code != "SOURCE_GONE":
            raise
    # A retry that reused the evidence of an earlier job has what that job has kept.
    earlier = None if job.retry_of is None else jobs.find(job.retry_of)
    if earlier is None or job.evidence is None or earlier.evidence != job.evidence:
        return None
    return _kept(key, earlier.job_id, jobs=jobs, objects=objects, settings=settings)
