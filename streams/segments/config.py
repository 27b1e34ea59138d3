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

    `tail_bytes` bounds the rows of one partition in memory that the archive's table does not have yet, which is the
    input of the seconds until a file is written and committed; at the limit, no more records are taken. `queue_bytes`
    bounds the records of one partition that wait to be taken.
    """

    bootstrap: str
    partitions: int
    store: S3Access
    staging_bucket: str
    lake_bucket: str
    temp: Path
    name: str
    group: str = SEGMENT_WORKER_GROUP
    identity: str = ""  # client id in Kafka, for operators to find the worker by
    step_s: float = 0.2  # how long records are gathered for one step
    rest_s: float = 10.0  # ... at most, where nothing happens; all partitions look again at the same time
    gather_bytes: int = MIB  # ... unless they reach this size
    step_bytes: int = 8 * MIB
    queue_bytes: int = 16 * MIB
    archive_bytes: int = 32 * MIB  # a file is written when its rows reach this size
    archive_after_s: float = 2.0  # ... or the oldest of them is this old
    archive_again_s: float = 30.0  # announced files are announced again if not committed by then
    tail_bytes: int = 128 * MIB
    checkpoint_after_s: float = 60.0
    gap_after_s: float = 2.0  # time without a record, after which gaps at the end of a log are looked for
    status_after_s: float = 2.0  # a changed status is reported this long after the last one
    status_again_s: float = 30.0  # ... an unchanged one after this time, as a sign of life
    clock_skew_s: float = 60.0  # maximum difference from the broker's clock
    session_timeout_s: float = 30.0
    heartbeat_s: float = 3.0
    commit_interval_s: float = 1.0
    threads: int = 2  # for folding, reading and writing
