"""Where data lie that a query reads: the answers are `connectors.lake.sql.Resolved` as records."""

from datetime import date, datetime
from typing import Any, Final

from connectors.lake.activity_sql import events_table, moment_sql, profiles_table
from connectors.lake.segment_queries import segment_tables
from connectors.lake.sql import Resolved, TableQuery
from orchestration.answers.reading import Reading
from orchestration.catalog.job_rows import unknown_job
from orchestration.catalog.records import Audience
from orchestration.catalog.references import ref_of
from orchestration.readers.questions import (
    FindEvents,
    FindMembers,
    FindProfiles,
    FindRejectsFile,
    FindVersionFiles,
)
from schemas.columns import USER_ID
from schemas.errors import UserError
from schemas.ids import Version
from schemas.layout import rejects_key, s3_uri
from schemas.records import as_record
from schemas.sql_text import identifier
from segmentation.rules.nodes import Group, Member, Rule
from segmentation.versions import Part, VersionInfo, VersionStore

TABLES: Final = "_muster_segment "
"""Begins the names of tables with members of segments, before the tenant: no name in a query begins so."""


def find_version_files(reading: Reading, asked: FindVersionFiles) -> dict[str, Any]:
    """A version. Raises `UserError` UNKNOWN_AUDIENCE, NOTHING_PUBLISHED, NO_SUCH_VERSION."""
    context = reading.context
    audience = context.audiences.get(asked.tenant, asked.audience)
    info, parts = version_files(context.versions, audience, asked.version)
    return as_record(Resolved(files=[part.uri for part in parts], schema=info.row_schema))


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
    activity = reading.meanings.activity(asked.tenant)
    since, until = (None if text is None else datetime.fromisoformat(text) for text in (asked.since, asked.until))
    sql = events_table(activity, event=asked.event, since=since, until=until)
    return as_record(Resolved(files=[file.uri for file in activity.events], sql=sql))


def find_profiles(reading: Reading, asked: FindProfiles) -> dict[str, Any]:
    """Users with their attributes."""
    activity = reading.meanings.activity(asked.tenant)
    return as_record(Resolved(files=[file.uri for file in activity.profiles], sql=profiles_table(activity)))


def find_members(reading: Reading, asked: FindMembers) -> dict[str, Any]:
    """Members of a segment, with the instant as a column. Raises `UserError` UNKNOWN_SEGMENT, UNKNOWN_AUDIENCE."""
    at = datetime.fromisoformat(asked.at)
    rule = Rule(groups=(Group(conditions=(Member(kind="segment", name=asked.segment),)),))
    meaning = reading.meanings.resolve(asked.tenant, rule)
    activity = reading.meanings.activity(asked.tenant)
    prefix = f"{TABLES}{asked.tenant} "
    tables, _ = segment_tables(meaning.question(activity), at, prefix)
    audiences = [uri for _, uris in meaning.versions.values() for uri in uris]
    members = identifier(f"{prefix}{asked.segment}")
    return as_record(
        Resolved(
            files=[*activity.uris, *audiences],
            sql=f"SELECT {USER_ID}, {moment_sql(at)} AS as_of FROM {members}",  # noqa: S608  # quoted
            tables=[
                TableQuery(name=name, sql=sql.text, parameters=[_plain(one) for one in sql.parameters])
                for name, sql in tables.items()
            ],
        )
    )


def _plain(parameter: Any) -> Any:
    """A parameter as JSON data: it is cast to its type."""
    return parameter.isoformat() if isinstance(parameter, date) else parameter


def version_files(
    versions: VersionStore, audience: Audience, number: int | None
) -> tuple[VersionInfo, tuple[Part, ...]]:
    """A version (default: the current one) and its files. Raises `UserError` NOTHING_PUBLISHED, NO_SUCH_VERSION."""
    ref = ref_of(audience)
    info = versions.current(ref) if number is None else versions.version(ref, Version(number))
    if info is None:
        raise UserError("NOTHING_PUBLISHED", f"audience {audience.name} has no version yet", audience=audience.name)
    return info, tuple(versions.files(ref, info.version))


ANSWERS: Final = {
    FindVersionFiles: find_version_files,
    FindRejectsFile: find_rejects_file,
    FindEvents: find_events,
    FindProfiles: find_profiles,
    FindMembers: find_members,
}
