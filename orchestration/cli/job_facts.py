"""Facts of a job of any kind, as the service answers it. Pure."""

from typing import Any, Final

from muster.following import FINAL_STATES
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
    return f"segment {source['segment']}" if "segment" in source else place_of(source)


def place_of(source: Record) -> str:
    """The object of an import, or what its files have in common and how many they are, for display."""
    if "query" in source:
        return f"query {source['query']['sha256'][:12]}"
    files = "" if "files" not in source else f" ({source['files']:,} files{_left_out(source)})"
    return f"s3://{source['bucket']}/{source['key']}{files}"


def _left_out(source: Record) -> str:
    return f", {source['left_out']:,} left out" if source.get("left_out") else ""


def ended(job: Record) -> bool:
    """Whether its state is final."""
    return job["state"] in FINAL_STATES


def without_progress(job: Record) -> dict[str, Any]:
    """The job alone: without its history, progress and notifications."""
    return {name: value for name, value in job.items() if name not in _PROGRESS}
