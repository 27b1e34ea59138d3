"""`VersionStore` on Apache Iceberg: pyiceberg tables in a SQL catalog, files in an S3 bucket."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from connectors.lake.commit import VersionChange, commit_version, load_history
from connectors.lake.compaction import merge_files
from connectors.lake.faults import lake_faults
from connectors.lake.leases import (
    lease_version,
    leased_version,
    leaseholders,
    parts_of,
    release_versions,
    require_table,
)
from connectors.lake.parts import read_part
from connectors.lake.retention import Retention, expire_table
from connectors.lake.tables import AudienceTables
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.errors import FatalError, RetriableError
from schemas.ids import AudienceName, JobId, Version
from schemas.layout import data_prefix
from schemas.partitioning import PARTITIONER
from segmentation.part_check import check_part
from segmentation.publishing import (
    VersionHistory,
    already_published,
    check_request,
    compacted_version,
    decide,
    new_version,
    require_version,
    rollback_version,
)
from segmentation.versions import (
    DEFAULT_GRACE,
    AudienceRef,
    BaseMoved,
    Expired,
    Part,
    PublishOutcome,
    PublishRequest,
    TableAddress,
    VersionInfo,
)

if TYPE_CHECKING:
    import pyarrow as pa

CHECK_THREADS: Final = 2

log = logging.getLogger("muster.lake")


class IcebergVersionStore:
    """Audience versions as tagged snapshots. `catalog_url` is a SQLAlchemy URL (SQLite, postgresql+psycopg).

    `limits` bound DuckDB, which compacts and counts changes. Cheap to construct: the first call opens the catalog.
    `close` it at the end. Thread-safe; every call reloads the table.
    """

    def __init__(
        self,
        *,
        catalog_url: str,
        s3: S3Access,
        bucket: str,
        limits: DuckLimits,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._s3 = s3
        self._limits = limits
        self._bucket = bucket
        self._sleep = sleep
        self._tables = AudienceTables(catalog_url=catalog_url, s3=s3, bucket=bucket, sleep=sleep)

    def close(self) -> None:
        """Close the catalog's database connections."""
        self._tables.close()

    def publish(self, request: PublishRequest, on_rows: Callable[[int], None] | None = None) -> PublishOutcome:
        """See `VersionStore.publish`."""
        check_request(request)
        if outcome := decide(load_history(self._tables, request.audience), request):
            return outcome  # decided before any part is read
        nulls = self._check_parts(request.parts, request.row_schema, request.partitions, on_rows)

        def plan(history: VersionHistory) -> PublishOutcome | VersionChange:
            if outcome := decide(history, request):
                return outcome
            info = new_version(history, request, PARTITIONER, nulls)
            return VersionChange(
                info=self._with_counts(request.audience, history.current, info, request.parts),
                parts=request.parts,
                mark=history.raised_high_water(request.order_key, request.import_id),
                retype=request.retype_columns,
            )

        return commit_version(self._tables, request.audience, plan, request.row_schema, self._sleep)

    def current(self, audience: AudienceRef) -> VersionInfo | None:
        """See `VersionStore.current`."""
        return load_history(self._tables, audience).current

    def version(self, audience: AudienceRef, number: Version) -> VersionInfo:
        """See `VersionStore.version`."""
        return require_version(load_history(self._tables, audience), audience, number)

    def versions(self, audience: AudienceRef) -> Sequence[VersionInfo]:
        """See `VersionStore.versions`."""
        return load_history(self._tables, audience).versions

    def expired_through(self, audience: AudienceRef) -> int:
        """See `VersionStore.expired_through`."""
        return load_history(self._tables, audience).expired_through

    def address(self, audience: AudienceRef) -> TableAddress | None:
        """See `VersionStore.address`."""
        with lake_faults(f"looking for the table of {audience.audience}"):
            table = self._tables.find(audience)
        if table is None:
            return None
        return TableAddress(name=".".join(table.name()), location=table.location(), metadata=table.metadata_location)

    def files(self, audience: AudienceRef, number: Version) -> Sequence[Part]:
        """See `VersionStore.files`: what the manifests list, with the digests of the snapshot's summary.

        Raises `FatalError` LAKE_MISMATCH if the two disagree.
        """
        with lake_faults(f"reading the files of {audience.audience} version {number}"):
            table, info = require_table(self._tables.find(audience), audience, number)
            return parts_of(table, audience, info)

    def lease(self, audience: AudienceRef, number: Version, leaseholder: JobId) -> None:
        """See `VersionStore.lease`: a tag of its own on the snapshot."""
        lease_version(self._tables, audience, number, leaseholder, self._sleep)

    def release(self, audience: AudienceRef, leaseholder: JobId) -> None:
        """See `VersionStore.release`."""
        release_versions(self._tables, audience, leaseholder, self._sleep)

    def leaseholders(self, audience: AudienceRef) -> Set[JobId]:
        """See `VersionStore.leaseholders`."""
        with lake_faults(f"reading the leases of {audience.audience}"):
            return leaseholders(self._tables, audience)

    def leased(self, audience: AudienceRef, number: Version, leaseholder: JobId) -> tuple[VersionInfo, Sequence[Part]]:
        """See `VersionStore.leased`. Also raises what `files` raises."""
        with lake_faults(f"reading version {number} of {audience.audience}"):
            return leased_version(self._tables, audience, number, leaseholder)

    def rollback(
        self,
        audience: AudienceRef,
        to_version: Version,
        *,
        operation_id: JobId,
        order_key: str,
        at: datetime,
        reason: str = "",
        expected_current: Version | None = None,
    ) -> PublishOutcome:
        """See `VersionStore.rollback`."""
        history = load_history(self._tables, audience)
        if existing := history.find_import(operation_id):
            return already_published(existing)
        source = require_version(history, audience, to_version)
        expected = expected_current or (history.current.version if history.current else None)
        parts = self.files(audience, to_version)

        def plan(now: VersionHistory) -> PublishOutcome | VersionChange:
            if outcome := _base_moved(now, operation_id, expected):
                return outcome
            require_version(now, audience, to_version)
            info = rollback_version(now, source, operation_id=operation_id, order_key=order_key, at=at, reason=reason)
            info = self._with_counts(audience, now.current, info, parts)
            return VersionChange(
                info=info, parts=parts, mark=now.raised_high_water(order_key, operation_id), source=source
            )

        return commit_version(self._tables, audience, plan, source.row_schema, self._sleep)

    def compact(self, audience: AudienceRef, *, operation_id: JobId, at: datetime, target_bytes: int) -> PublishOutcome:
        """See `VersionStore.compact`. Raises `FatalError` PART_MISMATCH if the merge lost or duplicated a member."""
        history = load_history(self._tables, audience)
        if existing := history.find_import(operation_id):
            return already_published(existing)
        base = require_version(history, audience, Version(history.last_version))
        parts = merge_files(
            self.files(audience, base.version),
            base.row_schema,
            target_bytes=target_bytes,
            operation_id=operation_id,
            s3=self._s3,
            limits=self._limits,
            data_prefix=data_prefix(self._bucket, audience.tenant, audience.audience_id),
        )
        if parts is None:
            return already_published(base)
        if Digest.total(base.digest.schema_id, (part.digest for part in parts)) != base.digest:
            raise FatalError(
                "PART_MISMATCH", f"the merged files of {audience.audience} do not match version {base.version}"
            )
        self._check_parts(parts, base.row_schema, 1)

        def plan(now: VersionHistory) -> PublishOutcome | VersionChange:
            if outcome := _base_moved(now, operation_id, base.version):
                return outcome
            return VersionChange(
                info=compacted_version(now, base, operation_id=operation_id, at=at), parts=parts, mark=None
            )

        return commit_version(self._tables, audience, plan, base.row_schema, self._sleep)

    def expire(
        self,
        audience: AudienceRef,
        *,
        keep_last: int,
        keep_younger_than: timedelta,
        now: datetime,
        pins: Set[Version] = frozenset(),
        live_imports: Set[JobId] = frozenset(),
        grace: timedelta = DEFAULT_GRACE,
    ) -> Expired:
        """See `VersionStore.expire`."""
        retention = Retention(
            keep_last=keep_last,
            keep_younger_than=keep_younger_than,
            now=now,
            pins=pins,
            live_imports=live_imports,
            grace=grace,
        )
        with lake_faults(f"expiring versions of {audience.audience}"):
            return expire_table(self._tables, self._s3, self._bucket, audience, retention, self._sleep)

    def rename(self, audience: AudienceRef, name: AudienceName) -> AudienceRef:
        """See `VersionStore.rename`."""
        with lake_faults(f"renaming {audience.audience}"):
            self._tables.rename(audience, name)
        return replace(audience, audience=name)

    def drop(self, audience: AudienceRef) -> None:
        """See `VersionStore.drop`."""
        with lake_faults(f"dropping {audience.audience}"):
            self._tables.drop(audience)

    def _with_counts(
        self, audience: AudienceRef, before: VersionInfo | None, info: VersionInfo, parts: Sequence[Part]
    ) -> VersionInfo:
        """The version with its counts relative to the one before it, unless it has counts already."""
        if info.counts is not None:
            return info
        from connectors.lake.build import BaseVersion, compare  # DuckDB is slow to import
        from connectors.lake.faults import exceeds_limits

        new = BaseVersion(info=info, parts=parts).as_replace()
        base = None if before is None else BaseVersion(info=before, parts=self.files(audience, before.version))
        # The members are safe and known: publishing the version matters more than its counts.
        for attributes, lost in ((True, "the count of changed members"), (False, "counts")):
            try:
                counts = compare(new, base, s3=self._s3, limits=self._limits, attributes=attributes)
                return replace(info, counts=counts)
            except RetriableError as exc:
                if not exceeds_limits(exc):
                    raise
                log.warning("version %d of %s has to do without %s: %s", info.version, audience.audience, lost, exc)
        return info

    def _check_parts(
        self,
        parts: Sequence[Part],
        schema: RowSchema,
        partitions: int,
        on_rows: Callable[[int], None] | None = None,
    ) -> Mapping[str, int]:
        """Re-read all parts; returns the nulls of each column. Raises `FatalError` PART_MISMATCH."""
        rows = RunningTotal(on_rows)
        nulls = Counter({column.name: 0 for column in schema.columns})

        def check(part: Part) -> Counter[str]:
            return check_part(part, rows.counted(read_part(self._s3, part, schema)), schema, partitions)

        with ThreadPoolExecutor(CHECK_THREADS) as pool:
            for found in pool.map(check, parts):
                nulls.update(found)
        return nulls


class RunningTotal:
    """Counts the rows that several threads read, and reports the total to `on_rows` after each batch."""

    def __init__(self, on_rows: Callable[[int], None] | None) -> None:
        self._on_rows = on_rows
        self._rows = 0
        self._lock = threading.Lock()

    def counted(self, batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        """The batches; each counts when the next one is requested."""
        for batch in batches:
            yield batch
            if self._on_rows is not None:
                with self._lock:
                    self._rows += batch.num_rows
                    self._on_rows(self._rows)


def _base_moved(now: VersionHistory, operation_id: JobId, expected: Version | None) -> PublishOutcome | None:
    """The outcome that ends an operation on the current version: already done, or another version is current."""
    if existing := now.find_import(operation_id):
        return already_published(existing)
    current = now.current.version if now.current else None
    return BaseMoved(current_version=current) if current != expected else None
