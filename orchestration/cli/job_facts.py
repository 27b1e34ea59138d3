"""Facts of a job of any kind, as the service answers it. Pure."""

from typing import Any, Final

from muster.following import ENDED
from muster.records import Record

_PROGRESS: Final = frozenset(
    {
        "attempts",
        "groups",
        "history",
        "no_worker_s",
        "notifications",
        "partition_progress",
        "queue_position",
        "stages",
    }
)


def origin_of(job: Record) -> str:
    """Source of the rows of an import or a snapshot, for display."""
    source = job["source"]
    return f"segment {source['segment']}" if "segment" in source else f"s3://{source['bucket']}/{source['key']}"


def ended(job: Record) -> bool:
    """Whether its state is final."""
    return job["state"] in ENDED


def without_progress(job: Record) -> dict[str, Any]:
    """The job alone: without its history, progress and notifications."""
    return {name: value for name, value in job.items() if name not in _PROGRESS}
