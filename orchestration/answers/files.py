"""Where data lie."""

from typing import Any, Final

from orchestration.answers.reading import Reading
from orchestration.catalog.job_rows import unknown_job
from orchestration.operations.queries import rejects_files, version_files
from orchestration.readers.questions import FindRejectsFile, FindVersionFiles
from schemas.records import as_record


def find_version_files(reading: Reading, asked: FindVersionFiles) -> dict[str, Any]:
    """As `connectors.lake.sql.Resolved`. Raises `UserError` UNKNOWN_AUDIENCE, NOTHING_PUBLISHED, NO_SUCH_VERSION."""
    context = reading.context
    audience = context.audiences.get(asked.tenant, asked.audience)
    info, parts = version_files(context.versions, audience, asked.version)
    return {"files": [part.uri for part in parts], "schema": as_record(info.row_schema)}


def find_rejects_file(reading: Reading, asked: FindRejectsFile) -> dict[str, Any]:
    """As `connectors.lake.sql.Resolved`. Raises `UserError` UNKNOWN_JOB, NO_REJECTS."""
    context = reading.context
    job = context.jobs.find(asked.job, tenant=asked.tenant)
    if job is None:
        raise unknown_job(asked.job)
    return as_record(rejects_files(job, objects=context.objects, bucket=context.settings.lake_bucket))


ANSWERS: Final = {FindVersionFiles: find_version_files, FindRejectsFile: find_rejects_file}
