"""Removes what the archive's tables no longer need: snapshots and unreferenced objects.

A commit every few seconds creates one snapshot each, and every commit rewrites the metadata file, which lists them all.
Appends only add, so the files of a snapshot are in every later one until an exchange (`archive_compaction`). Therefore
only the current snapshot is kept, plus each exchange and the snapshot before it for a grace period: the files a reader
has found stay available for that long.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from connectors.lake.archive_tables import ArchiveTables, archived_to
from connectors.lake.optimistic import Decision, Settled, Staged, commit_conflict, decide_and_commit
from connectors.lake.retention import referenced_uris
from connectors.storage.access import S3Access
from connectors.storage.listing import ObjectInfo, delete_objects, list_objects
from schemas.ids import Partition
from schemas.layout import ArchiveKey, activity_prefix, s3_uri

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata

DEFAULT_GRACE: Final = timedelta(hours=12)
"""Longer than reading the whole archive takes, and than a backup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """Objects that were deleted."""

    files: int
    bytes: int


def expire_snapshots(
    tables: ArchiveTables, topic: str, *, now: datetime, grace: timedelta, sleep: Callable[[float], None]
) -> int:
    """Expire snapshots; returns their number. Raises `RetriableError` ARCHIVE_CONFLICT."""
    from pyiceberg.table.update.snapshot import ExpireSnapshots

    attempted: set[int] = set()

    def decide(table: "Table | None") -> Decision[int]:
        if table is None:
            return Settled(0)
        expirable = expirable_snapshots(table.metadata, now, grace)
        # Snapshots removed by a commit whose response was lost.
        removed_before = len(attempted - {snapshot.snapshot_id for snapshot in table.metadata.snapshots})
        if not expirable:
            return Settled(removed_before)
        attempted.update(expirable)
        transaction = table.transaction()
        ExpireSnapshots(transaction).by_ids(expirable).commit()
        return Staged(transaction, removed_before + len(expirable))

    return decide_and_commit(
        lambda: tables.find(topic),
        decide,
        doing=f"expiring snapshots of {topic}",
        conflict=commit_conflict("ARCHIVE_CONFLICT", topic=topic),
        sleep=sleep,
    )


def expirable_snapshots(metadata: "TableMetadata", now: datetime, grace: timedelta) -> list[int]:
    """The snapshots of a table that may be expired."""
    from pyiceberg.table.snapshots import Operation

    kept = {metadata.current_snapshot_id}
    for snapshot in metadata.snapshots:
        age = timedelta(milliseconds=now.timestamp() * 1000 - snapshot.timestamp_ms)
        if snapshot.summary is not None and snapshot.summary.operation is not Operation.APPEND and age < grace:
            kept |= {snapshot.snapshot_id, snapshot.parent_snapshot_id}
    return [snapshot.snapshot_id for snapshot in metadata.snapshots if snapshot.snapshot_id not in kept]


def remove_garbage(tables: ArchiveTables, s3: S3Access, topic: str, *, now: datetime, grace: timedelta) -> Removed:
    """Delete objects that the table does not refer to and never will."""
    # Listed before the table is loaded: objects added by a commit in between are not in the list.
    stored = list(list_objects(s3.client(), tables.bucket, activity_prefix(topic)))
    if (table := tables.find(topic)) is None:
        return Removed(files=0, bytes=0)
    referenced, ends = referenced_uris(table), archived_to(table)
    garbage = [
        entry
        for entry in stored
        if now - entry.last_modified >= grace
        and s3_uri(tables.bucket, _owning_key(entry)) not in referenced
        and _is_obsolete(entry, topic, ends)
    ]
    delete_objects(s3.client(), tables.bucket, [entry.key for entry in garbage])
    return Removed(files=len(garbage), bytes=sum(entry.size for entry in garbage))


def _owning_key(entry: ObjectInfo) -> str:
    """Key of the object that decides whether this one is needed: for a list of users, its file; otherwise itself."""
    key = ArchiveKey.parse_users(entry.key)
    return entry.key if key is None else str(key)


def _is_obsolete(entry: ObjectInfo, topic: str, ends: Mapping[Partition, int]) -> bool:
    """True if an unreferenced object can never become part of the table.

    A file of records that the table does not have yet may have been announced long ago.
    """
    if (key := ArchiveKey.parse(_owning_key(entry))) is not None:
        return key.end_offset <= ends.get(key.partition, -1)
    return re.fullmatch(rf"{re.escape(activity_prefix(topic))}metadata/[^/]+", entry.key) is not None
