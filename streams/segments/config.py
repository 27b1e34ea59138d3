"""Settings of a segment worker as plain values. `orchestration.entrypoints.segment_worker` fills them in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from connectors.storage.access import S3Access
from schemas.topics import SEGMENT_WORKER_GROUP

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentWorkerConfig:
    """One worker. Sizes are bytes, times seconds.

    `tail_bytes` bounds the rows of one partition that are in memory and not yet in the archive's table: what comes in
    the seconds until a file is written and committed, or nothing is taken meanwhile. `queue_bytes` bounds the records
    of one partition that wait to be taken.
    """

    bootstrap: str
    partitions: int
    store: S3Access
    staging_bucket: str
    lake_bucket: str
    temp: Path
    name: str
    group: str = SEGMENT_WORKER_GROUP
    identity: str = ""  # what Kafka calls it, by which people find it
    step_s: float = 0.2  # how long records are gathered before they are taken together
    gather_bytes: int = MIB  # ... unless they come to this much
    step_bytes: int = 8 * MIB
    queue_bytes: int = 16 * MIB
    archive_bytes: int = 32 * MIB  # a file is written when its rows come to this much
    archive_after_s: float = 2.0  # ... or the oldest of them is this old
    archive_again_s: float = 30.0  # what was not committed by then is announced once more
    tail_bytes: int = 128 * MIB
    checkpoint_after_s: float = 60.0
    hole_after_s: float = 2.0  # without a record, before markers are looked for at the end of a log
    status_after_s: float = 2.0
    clock_skew_s: float = 60.0  # how far the clock may be off that of the broker
    session_timeout_s: float = 30.0
    heartbeat_s: float = 3.0
    commit_interval_s: float = 1.0
    threads: int = 2  # that fold, write and read
