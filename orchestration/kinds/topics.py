"""The topic of a job, and the source id of a file of events or profiles."""

from connectors.storage.pinned import Source, SourceObject
from orchestration.catalog.records import Job
from schemas.topics import EVENTS, IMPORTS, IMPORTS_SMALL, PROFILES


def import_topic(job: Job) -> str:
    """The topic of a job. Members have two lanes, so that small imports do not wait behind large ones."""
    if job.kind != "audience":
        return EVENTS if job.kind == "events" else PROFILES
    return IMPORTS_SMALL if job.small else IMPORTS


def activity_source(source: SourceObject) -> str:
    """The id by which rows of a file of events or profiles are numbered: the pinned object, whatever else is imported.

    In a bucket without versioning, ETag and LastModified stand for the version, so that another file under the same key
    has other events.
    """
    if source.version_id is not None:
        return f"{source.uri}?versionId={source.version_id}"
    return f"{source.uri}?etag={source.etag}&lastModified={source.last_modified.isoformat()}"


def activity_sources(source: Source) -> tuple[str, ...]:
    """The id of each file of an import of events or profiles, in order."""
    return tuple(map(activity_source, source if isinstance(source, tuple) else (source,)))
