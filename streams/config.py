"""Settings of a worker as plain values; `orchestration.entrypoints.worker` fills them in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from connectors.storage.access import S3Access
from schemas.topics import DEAD_LETTERS, IMPORT_PROGRESS, IMPORTS, IMPORTS_SMALL, WORKER_GROUP

MIB: Final = 1024 * 1024
RUN_BYTES: Final = 16 * MIB
UNACKNOWLEDGED_BYTES: Final = 384 * MIB
UNACKNOWLEDGED_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """One worker. Sizes are bytes, times seconds.

    `buffer_bytes` bounds the rows of open groups in memory, across all imports; `run_bytes` is the size of a file for
    which they make room. `merge_bytes` bounds the memory of all concurrent merges.
    Rows are staged when a topic-partition holds back `unacknowledged_records`, or half of `unacknowledged_bytes`, or
    some of them have waited for `unacknowledged_s`; importers wait at twice as much (`BacklogLimit`).
    """

    bootstrap: str
    store: S3Access
    staging_bucket: str
    temp: Path
    buffer_bytes: int
    group: str = WORKER_GROUP
    identity: str = ""  # client id in Kafka, for operators to find the worker by
    import_topic: str = IMPORTS
    small_import_topic: str = IMPORTS_SMALL
    progress_topic: str = IMPORT_PROGRESS
    dead_letter_topic: str = DEAD_LETTERS
    run_bytes: int = RUN_BYTES
    unacknowledged_records: int = 512
    unacknowledged_bytes: int = UNACKNOWLEDGED_BYTES
    unacknowledged_s: float = UNACKNOWLEDGED_S
    write_threads: int = 4
    merge_bytes: int = 512 * MIB
    merge_threads: int = 2
    merge_temp_bytes: int = 64 * 1024 * MIB
    idle_group_s: float = 300.0  # a group without rows in memory is forgotten after this; staging has its state
    session_timeout_s: float = 30.0
    heartbeat_s: float = 3.0
    commit_interval_s: float = 1.0
