"""The topic of a job, and the source id of a file of events or profiles."""

from connectors.storage.pinned import SourceObject
from orchestration.catalog.records import Job
from schemas.records import from_record
from schemas.topics import EVENTS, IMPORTS, IMPORTS_SMALL, PROFILES


def import_topic(job: Job) -> str:
    """The topic of a job. Members have two lanes, so that small imports do not wait behind large ones."""
    if job.kind != "audience":
        return EVENTS if job.kind == "events" else PROFILES
    return IMPORTS_SMALL if job.small else IMPORTS


def activity_source(job: Job) -> str:
    """The id by which rows of a file of events or profiles are numbered: the pinned object.

    In a bucket without versioning, ETag and LastModified stand for the version, so that another file under the same key
    has other events.
    """
    source = from_record(SourceObject, job.source)
    if source.version_id is not None:
        return f"{source.uri}?versionId={source.version_id}"
    return f"{source.uri}?etag={source.etag}&lastModified={source.last_modified.isoformat()}"
