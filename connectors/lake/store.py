"""`VersionStore` on Apache Iceberg: pyiceberg tables in a SQL catalog, files in an S3 bucket."""

import time
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from datetime import datetime, timedelta

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
from connectors.lake.part_checks import check_parts, within_limits
from connectors.lake.retention import Retention, expire_table
from connectors.lake.tables import AudienceTables
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.ids import AudienceName, JobId, Partition, Version
from schemas.layout import data_prefix
from schemas.partitioning import PARTITIONER
from segmentation.publishing import (
    VersionHistory,
    already_published,
    check_request,
    compacted_version,
    counts_of_reads,
    decide,
    new_version,
    require_version,
    rollback_version,
    unread_parts,
    valid_reads,
)
from segmentation.versions import (
    DEFAULT_GRACE,
    AudienceRef,
    BaseMoved,
    Expired,
    Part,
    PartsRead,
    PublishOutcome,
    PublishRequest,
    TableAddress,
    VersionInfo,
)


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

    def publish(
        self,
        request: PublishRequest,
        on_rows: Callable[[int], None] | None = None,
        *,
        read: Sequence[PartsRead] = (),
    ) -> PublishOutcome:
        """See `VersionStore.publish`."""
        check_request(request)
        if outcome := decide(load_history(self._tables, request.audience), request):
            return outcome  # decided before any part is read
        read = valid_reads(request, read)
        unread = unread_parts(request, read)
        nulls = Counter(check_parts(self._s3, unread, request.row_schema, request.partitions, on_rows))
        for one in read:
            nulls.update(one.nulls)

        def plan(history: VersionHistory) -> PublishOutcome | VersionChange:
            if outcome := decide(history, request):
                return outcome
            info = new_version(history, request, PARTITIONER, nulls)
            if request.mode == "replace":
                info = replace(info, counts=counts_of_reads(request, read, history.current))
            return VersionChange(
                info=self._with_counts(request.audience, history.current, info, request.parts),
                parts=request.parts,
                mark=history.raised_high_water(request.order_key, request.import_id),
                retype=request.retype_columns,
            )

        return commit_version(self._tables, request.audience, plan, request.row_schema, self._sleep)

    def read_parts(self, request: PublishRequest, partitions: Set[Partition]) -> PartsRead:
        """See `VersionStore.read_parts`."""
        parts = tuple(part for part in request.parts if part.partition in partitions)
        nulls = check_parts(self._s3, parts, request.row_schema, request.partitions)
        read = PartsRead(parts=parts, nulls=nulls)
        if request.mode != "replace":  # it was counted when it was built
            return read
        before = load_history(self._tables, request.audience).current
        if before is None:
            return replace(read, matched=0, updated=0)
        from connectors.lake.build import BaseVersion, ImportedParts, overlap_with  # DuckDB is slow to import

        base = BaseVersion(info=before, parts=self.files(request.audience, before.version))
        if not base.aligned(request.partitions):
            return read  # only all partitions together can be compared with it
        new = ImportedParts(
            import_id=request.import_id,
            attempt=request.attempt,
            mode="replace",
            partitions=request.partitions,
            row_schema=request.row_schema,
            parts=parts,
        )

        def compared(attributes: bool) -> PartsRead:  # noqa: FBT001  # of `within_limits`
            found = overlap_with(new, base, partitions, s3=self._s3, limits=self._limits, attributes=attributes)
            updated = found.updated if attributes else None
            return replace(read, base_version=before.version, matched=found.matched, updated=updated)

        return within_limits(compared, f"part of a version of {request.audience.audience}") or read

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
        check_parts(self._s3, parts, base.row_schema, 1)

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

        new = BaseVersion(info=info, parts=parts).as_replace()
        base = None if before is None else BaseVersion(info=before, parts=self.files(audience, before.version))

        def counted(attributes: bool) -> VersionInfo:  # noqa: FBT001  # of `within_limits`
            return replace(info, counts=compare(new, base, s3=self._s3, limits=self._limits, attributes=attributes))

        return within_limits(counted, f"version {info.version} of {audience.audience}") or info


def _base_moved(now: VersionHistory, operation_id: JobId, expected: Version | None) -> PublishOutcome | None:
    """The outcome that ends an operation on the current version: already done, or another version is current."""
    if existing := now.find_import(operation_id):
        return already_published(existing)
    current = now.current.version if now.current else None
    return BaseMoved(current_version=current) if current != expected else None
