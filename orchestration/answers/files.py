"""Where data lie that a query reads: the answers are `connectors.lake.sql.Resolved` as records."""

from datetime import datetime
from typing import Any, Final

from connectors.lake.sql import Resolved
from orchestration.answers.reading import Reading
from orchestration.catalog.job_rows import unknown_job
from orchestration.kinds.query_data import events_data, members_data, profiles_data, version_data, version_files
from orchestration.readers.questions import (
    FindEvents,
    FindMembers,
    FindProfiles,
    FindRejectsFile,
    FindVersionFiles,
)
from schemas.errors import UserError
from schemas.layout import rejects_key, s3_uri
from schemas.records import as_record


def find_version_files(reading: Reading, asked: FindVersionFiles) -> dict[str, Any]:
    """A version. Raises `UserError` UNKNOWN_AUDIENCE, NOTHING_PUBLISHED, NO_SUCH_VERSION."""
    context = reading.context
    audience = context.audiences.get(asked.tenant, asked.audience)
    return as_record(version_data(*version_files(context.versions, audience, asked.version)))


def find_rejects_file(reading: Reading, asked: FindRejectsFile) -> dict[str, Any]:
    """The file, which has its own columns. Raises `UserError` UNKNOWN_JOB, NO_REJECTS."""
    context = reading.context
    job = context.jobs.find(asked.job, tenant=asked.tenant)
    if job is None:
        raise unknown_job(asked.job)
    bucket, key = context.settings.lake_bucket, rejects_key(job.tenant, job.job_id)
    if not any(entry.key == key for entry in context.objects.list(bucket, key)):
        raise UserError("NO_REJECTS", f"job {job.job_id} has no rejects", job=job.job_id)
    return as_record(Resolved(files=[s3_uri(bucket, key)]))


def find_events(reading: Reading, asked: FindEvents) -> dict[str, Any]:
    """Events, each once."""
    since, until = (None if text is None else datetime.fromisoformat(text) for text in (asked.since, asked.until))
    return as_record(events_data(reading.meanings, asked.tenant, event=asked.event, since=since, until=until))


def find_profiles(reading: Reading, asked: FindProfiles) -> dict[str, Any]:
    """Users with their attributes."""
    return as_record(profiles_data(reading.meanings, asked.tenant))


def find_members(reading: Reading, asked: FindMembers) -> dict[str, Any]:
    """Members of a segment, with the instant as a column. Raises `UserError` UNKNOWN_SEGMENT, UNKNOWN_AUDIENCE."""
    return as_record(members_data(reading.meanings, asked.tenant, asked.segment, datetime.fromisoformat(asked.at)))


ANSWERS: Final = {
    FindVersionFiles: find_version_files,
    FindRejectsFile: find_rejects_file,
    FindEvents: find_events,
    FindProfiles: find_profiles,
    FindMembers: find_members,
}
