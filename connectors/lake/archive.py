"""The archive of events and profile changes: two Iceberg tables for all tenants, appended to by one committer.

Several committers do no harm: each reads from the table what it has; of two concurrent commits one loses and retries.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from connectors.lake.archive_commit import Appended, append_ranges
from connectors.lake.archive_compaction import Compacted, compact
from connectors.lake.archive_rebase import rebase
from connectors.lake.archive_tables import (
    ArchivedFile,
    ArchiveTables,
    archived_log,
    archived_to,
    archived_topic_id,
    check_topic,
    live_files,
)
from connectors.lake.archive_upkeep import DEFAULT_GRACE, Removed, expire_snapshots, remove_garbage
from connectors.lake.archive_users import users_fault, with_user_lists, write_users
from connectors.lake.catalog import LakeCatalog
from connectors.lake.faults import lake_faults
from connectors.storage.access import S3Access
from schemas.ids import Partition, TenantName
from schemas.segment_messages import ArchiveWritten
from segmentation.archived import ArchivedLog


class ActivityArchive:
    """`catalog_url` is a SQLAlchemy URL (SQLite, postgresql+psycopg).

    Cheap to construct: the first call opens the catalog. `close` it at the end. Thread-safe; every call reloads the
    tables. Every method raises `RetriableError` LAKE_UNAVAILABLE, CATALOG_UNAVAILABLE.
    """

    def __init__(
        self, *, catalog_url: str, s3: S3Access, bucket: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._s3 = s3
        self._sleep = sleep
        self._catalog = LakeCatalog(catalog_url=catalog_url, s3=s3, bucket=bucket, sleep=sleep)
        self._tables = ArchiveTables(self._catalog, bucket)

    def close(self) -> None:
        """Close the catalog's database connections."""
        self._catalog.close()

    def append(self, topic: str, ranges: Sequence[ArchiveWritten], *, topic_id: str | None = None) -> Appended:
        """Append offset ranges of a topic, in their order and in one commit. Idempotent.

        Each range is in the table completely or not at all, and each record once. `topic_id`: Kafka's id of the topic,
        which tells a recreated topic from the archived one. Raises `RetriableError` ARCHIVE_CONFLICT, TOPIC_REPLACED.
        """
        return append_ranges(self._tables, topic, ranges, topic_id, self._sleep)

    def archived_to(self, topic: str, *, topic_id: str | None = None) -> Mapping[Partition, int]:
        """The position below which the archive has all records, for each partition with archived records.

        Raises `RetriableError` TOPIC_REPLACED.
        """
        with lake_faults(f"reading the archive position of {topic}"):
            table = self._tables.find(topic)
        check_topic(table, topic, topic_id)
        return archived_to(table)

    def log(self, topic: str, *, topic_id: str | None = None) -> ArchivedLog:
        """How offsets of a topic map to positions. Raises `RetriableError` TOPIC_REPLACED."""
        with lake_faults(f"reading which log epoch of {topic} is archived"):
            table = self._tables.find(topic)
        check_topic(table, topic, topic_id)
        return archived_log(table)

    def topic_id(self, topic: str) -> str | None:
        """Kafka's id of the topic whose records are archived. None if unknown."""
        with lake_faults(f"reading which topic the archive of {topic} belongs to"):
            table = self._tables.find(topic)
        return archived_topic_id(table)

    def rebase(self, topic: str, *, topic_id: str, starts: Mapping[Partition, int], log_epoch: int) -> ArchivedLog:
        """Archive the topic with this id from here on; see `connectors.lake.archive_rebase`.

        Raises `RetriableError` ARCHIVE_CONFLICT.
        """
        return rebase(self._tables, topic, topic_id=topic_id, starts=starts, log_epoch=log_epoch, sleep=self._sleep)

    def files(
        self,
        topic: str,
        *,
        tenant: TenantName | None = None,
        partition: Partition | None = None,
        occurred_after_us: int | None = None,
        with_users: bool = False,
    ) -> Sequence[ArchivedFile]:
        """The files that make up the archive now, ordered by tenant, partition and offset.

        `occurred_after_us`: files whose events all occurred at or before it may be left out. `with_users`: also look up
        the lists of their users. The files stay readable for at least `archive_upkeep.DEFAULT_GRACE`. Raises
        `FatalError` LAKE_MISMATCH.
        """
        with lake_faults(f"reading the files of {topic}"):
            table = self._tables.find(topic)
            found = live_files(table, tenant=tenant, partition=partition, occurred_after_us=occurred_after_us)
            files = [file for file, _ in found]
            if not (with_users and files):
                return files
            return with_user_lists(self._s3, self._tables.bucket, topic, files, tenant=tenant, partition=partition)

    def snapshot(self, topic: str) -> int | None:
        """The snapshot that is the archive now. None before the first commit.

        Upkeep expires it once others follow: who reads it by number must begin soon.
        """
        with lake_faults(f"reading the snapshot of {topic}"):
            table = self._tables.find(topic)
            return None if table is None else table.metadata.current_snapshot_id

    def compact(self, topic: str, *, temp_directory: Path) -> Compacted:
        """Merge small neighbouring files; readers find the same rows in the same order.

        Raises `RetriableError` ARCHIVE_CONFLICT, `FatalError` LAKE_MISMATCH, LAKE_FILE_MISSING, LAKE_UNREADABLE.
        """
        return compact(self._tables, self._s3, topic, temp_directory=temp_directory, sleep=self._sleep)

    def write_users(self, topic: str, *, temp_directory: Path) -> int:
        """Write a list of users beside each large file, for queries over all known users; returns the number of files.

        Raises `FatalError` LAKE_MISMATCH, LAKE_FILE_MISSING, LAKE_UNREADABLE.
        """
        return write_users(self._tables, self._s3, topic, temp_directory=temp_directory)

    def users_fault(self, file: ArchivedFile, *, deep: bool) -> str | None:
        """Why the list of users beside a file (from `files`, `with_users`) is wrong; as `archive_users.users_fault`."""
        return users_fault(self._s3, file, deep=deep)

    def expire(self, topic: str, *, now: datetime, grace: timedelta = DEFAULT_GRACE) -> int:
        """Expire snapshots that no reader can use; returns their number. Raises `RetriableError` ARCHIVE_CONFLICT."""
        return expire_snapshots(self._tables, topic, now=now, grace=grace, sleep=self._sleep)

    def remove_garbage(self, topic: str, *, now: datetime, grace: timedelta = DEFAULT_GRACE) -> Removed:
        """Delete objects that the table does not refer to and never will."""
        with lake_faults(f"looking for unused files of {topic}"):
            return remove_garbage(self._tables, self._s3, topic, now=now, grace=grace)
