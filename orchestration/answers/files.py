"""Where data lie."""

from typing import Any, Final

from connectors.lake.sql import Resolved
from orchestration.answers.reading import Reading
from orchestration.catalog.job_rows import unknown_job
from orchestration.catalog.records import Audience
from orchestration.catalog.references import ref_of
from orchestration.readers.questions import FindRejectsFile, FindVersionFiles
from schemas.errors import UserError
from schemas.ids import Version
from schemas.layout import rejects_key, s3_uri
from schemas.records import as_record
from segmentation.versions import Part, VersionInfo, VersionStore


def find_version_files(reading: Reading, asked: FindVersionFiles) -> dict[str, Any]:
    """As `connectors.lake.sql.Resolved`. Raises `UserError` UNKNOWN_AUDIENCE, NOTHING_PUBLISHED, NO_SUCH_VERSION."""
    context = reading.context
    audience = context.audiences.get(asked.tenant, asked.audience)
    info, parts = version_files(context.versions, audience, asked.version)
    return {"files": [part.uri for part in parts], "schema": as_record(info.row_schema)}


def find_rejects_file(reading: Reading, asked: FindRejectsFile) -> dict[str, Any]:
    """As `connectors.lake.sql.Resolved`: the file has its own columns. Raises `UserError` UNKNOWN_JOB, NO_REJECTS."""
    context = reading.context
    job = context.jobs.find(asked.job, tenant=asked.tenant)
    if job is None:
        raise unknown_job(asked.job)
    bucket, key = context.settings.lake_bucket, rejects_key(job.tenant, job.job_id)
    if not any(entry.key == key for entry in context.objects.list(bucket, key)):
        raise UserError("NO_REJECTS", f"job {job.job_id} has no rejects", job=job.job_id)
    return as_record(Resolved(files=[s3_uri(bucket, key)], schema=None))


def version_files(
    versions: VersionStore, audience: Audience, number: int | None
) -> tuple[VersionInfo, tuple[Part, ...]]:
    """A version (default: the current one) and its files. Raises `UserError` NOTHING_PUBLISHED, NO_SUCH_VERSION."""
    ref = ref_of(audience)
    info = versions.current(ref) if number is None else versions.version(ref, Version(number))
    if info is None:
        raise UserError("NOTHING_PUBLISHED", f"audience {audience.name} has no version yet", audience=audience.name)
    return info, tuple(versions.files(ref, info.version))


ANSWERS: Final = {FindVersionFiles: find_version_files, FindRejectsFile: find_rejects_file}
