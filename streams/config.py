"""Settings of a worker as plain values; `orchestration.entrypoints.worker` fills them in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from connectors.storage.access import S3Access
from schemas.topics import DEAD_LETTERS, IMPORT_PROGRESS, IMPORTS, IMPORTS_SMALL, WORKER_GROUP

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """One worker. Sizes are bytes, times seconds.

    `buffer_bytes` bounds the rows in memory that are not yet staged, across all imports.
    `merge_bytes` bounds the memory of all concurrent merges.
    """

    bootstrap: str
    store: S3Access
    staging_bucket: str
    temp: Path
    group: str = WORKER_GROUP
    identity: str = ""  # client id in Kafka, for operators to find the worker by
    import_topic: str = IMPORTS
    small_import_topic: str = IMPORTS_SMALL
    progress_topic: str = IMPORT_PROGRESS
    dead_letter_topic: str = DEAD_LETTERS
    buffer_bytes: int = 64 * MIB
    run_bytes: int = 16 * MIB  # a group is flushed when it holds this much
    flush_after_s: float = 1.0  # ... or its oldest row is this old
    flush_after_messages: int = 256  # ... or this many messages of a topic-partition await acknowledgement
    flush_threads: int = 4
    merge_bytes: int = 512 * MIB
    merge_threads: int = 2
    merge_temp_bytes: int = 64 * 1024 * MIB
    idle_group_s: float = 300.0  # a group without rows in memory is forgotten after this; staging has its state
    session_timeout_s: float = 30.0
    heartbeat_s: float = 3.0
    commit_interval_s: float = 1.0
