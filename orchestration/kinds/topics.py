"""Where the rows of a job go, and what numbers those of a file of events or profiles."""

from connectors.storage.pinned import SourceObject
from orchestration.catalog.records import Job
from schemas.topics import EVENTS, IMPORTS, IMPORTS_SMALL, PROFILES


def import_topic(job: Job) -> str:
    """Where the rows of a job go. Members have two lanes: small imports do not wait behind large ones."""
    if job.kind != "audience":
        return EVENTS if job.kind == "events" else PROFILES
    return IMPORTS_SMALL if job.small else IMPORTS


def activity_source(job: Job) -> str:
    """What numbers the rows of a file of events or profiles: the object as it was pinned.

    Where the bucket keeps no versions, the content (its ETag) and the time of writing stand for one, so that another
    file under the same key has other events.
    """
    source = SourceObject.from_record(job.source)
    if source.version_id is not None:
        return f"{source.uri}?versionId={source.version_id}"
    return f"{source.uri}?etag={source.etag}&lastModified={source.last_modified.isoformat()}"
