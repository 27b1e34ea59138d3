"""In-memory `VersionStore`: the same rules on a dictionary, to test the layers above it."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from schemas.columns import Column, RowSchema
from schemas.errors import FatalError, UserError
from schemas.ids import AudienceName, JobId, Partition, Version
from schemas.partitioning import PARTITIONER
from segmentation.part_check import check_part
from segmentation.publishing import (
    HighWater,
    VersionHistory,
    already_published,
    check_request,
    compacted_version,
    counts_of_reads,
    decide,
    expired_versions,
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
    MembershipCounts,
    Part,
    PartsRead,
    Published,
    PublishOutcome,
    PublishRequest,
    TableAddress,
    VersionInfo,
)

ReadPart = Callable[[Part, RowSchema], Iterable[pa.RecordBatch]]


@dataclass(slots=True, kw_only=True)
class _Audience:
    name: AudienceName
    columns: dict[str, Column]  # of all versions so far, by lower-case name
    history: VersionHistory
    parts: dict[Version, tuple[Part, ...]]


class InMemoryVersionStore:
    """One process, no files of its own: `read` returns the rows of a part (None: counts of parts are trusted).

    Concurrent publishes run one after the other, as conditional commits do.
    """

    def __init__(self, read: ReadPart | None = None) -> None:
        self._read = read
        self._committing = threading.Lock()
        self._audiences: dict[JobId, _Audience] = {}
        self._dropped: set[JobId] = set()
        self._held: set[tuple[JobId, Version, JobId]] = set()

    def publish(
        self,
        request: PublishRequest,
        on_rows: Callable[[int], None] | None = None,
        *,
        read: Sequence[PartsRead] = (),
    ) -> PublishOutcome:
        """See `VersionStore.publish`."""
        with self._committing:
            return self._publish(request, on_rows, read)

    def read_parts(self, request: PublishRequest, partitions: Set[Partition]) -> PartsRead:
        """See `VersionStore.read_parts`."""
        parts = tuple(part for part in request.parts if part.partition in partitions)
        read = PartsRead(parts=parts, nulls=self._check(request, parts, None))
        if request.mode != "replace" or self._read is None:
            return read
        before = self._history(request.audience).current
        known = () if before is None else self._audiences[request.audience.audience_id].parts[before.version]
        same = tuple(part for part in known if part.partition in partitions)
        made = new_version(VersionHistory(), request, PARTITIONER, None)
        counts = self._compared(made, parts, before, same)
        base = None if before is None else before.version
        return replace(read, base_version=base, matched=counts.kept, updated=counts.updated)

    def _check(self, request: PublishRequest, parts: Sequence[Part], on_rows: Callable[[int], None] | None) -> Any:
        read, nulls = 0, Counter({column.name: 0 for column in request.row_schema.columns})
        for part in parts:
            if self._read is not None:
                rows = self._read(part, request.row_schema)
                nulls.update(check_part(part, rows, request.row_schema, request.partitions))
            read += part.rows
            if on_rows is not None:
                on_rows(read)
        return nulls

    def _publish(
        self, request: PublishRequest, on_rows: Callable[[int], None] | None, read: Sequence[PartsRead]
    ) -> PublishOutcome:
        check_request(request)
        history = self._history(request.audience)
        if outcome := decide(history, request):
            return outcome
        read = valid_reads(request, read)
        nulls = self._check(request, unread_parts(request, read), on_rows)
        for one in read:
            nulls.update(one.nulls)
        made = new_version(history, request, PARTITIONER, nulls if self._read is not None else None)
        if request.mode == "replace":
            made = replace(made, counts=counts_of_reads(request, read, history.current))
        info = self._counted(request.audience, made, request.parts)
        mark = history.raised_high_water(request.order_key, request.import_id)
        return self._add(request.audience, info, request.parts, mark, request.retype_columns)

    def current(self, audience: AudienceRef) -> VersionInfo | None:
        """See `VersionStore.current`."""
        return self._history(audience).current

    def version(self, audience: AudienceRef, number: Version) -> VersionInfo:
        """See `VersionStore.version`."""
        return require_version(self._history(audience), audience, number)

    def versions(self, audience: AudienceRef) -> Sequence[VersionInfo]:
        """See `VersionStore.versions`."""
        return self._history(audience).versions

    def expired_through(self, audience: AudienceRef) -> int:
        """See `VersionStore.expired_through`."""
        return self._history(audience).expired_through

    def address(self, audience: AudienceRef) -> TableAddress | None:
        """See `VersionStore.address`."""
        history = self._history(audience)
        if history.current is None:
            return None
        name, place = self._audiences[audience.audience_id].name, f"memory://{audience.audience_id}"
        metadata = f"{place}/metadata/{history.last_version}.json"
        return TableAddress(name=f"{audience.tenant}.{name}", location=place, metadata=metadata)

    def files(self, audience: AudienceRef, number: Version) -> Sequence[Part]:
        """See `VersionStore.files`."""
        self.version(audience, number)
        parts = (p for p in self._audiences[audience.audience_id].parts[number] if p.rows)
        return sorted(parts, key=lambda p: (p.partition is None, p.partition or 0, p.uri))

    def lease(self, audience: AudienceRef, number: Version, leaseholder: JobId) -> None:
        """See `VersionStore.lease`."""
        self.version(audience, number)
        self._held.add((audience.audience_id, number, leaseholder))

    def release(self, audience: AudienceRef, leaseholder: JobId) -> None:
        """See `VersionStore.release`."""
        self._held = {h for h in self._held if (h[0], h[2]) != (audience.audience_id, leaseholder)}

    def leaseholders(self, audience: AudienceRef) -> Set[JobId]:
        """See `VersionStore.leaseholders`."""
        return {leaseholder for ref, _, leaseholder in self._held if ref == audience.audience_id}

    def leased(self, audience: AudienceRef, number: Version, leaseholder: JobId) -> tuple[VersionInfo, Sequence[Part]]:
        """See `VersionStore.leased`."""
        if audience.audience_id in self._dropped:
            raise UserError("AUDIENCE_DELETED", f"audience {audience.audience} has been deleted")
        if (audience.audience_id, number, leaseholder) not in self._held:
            raise FatalError("NOT_HELD", f"version {number} of {audience.audience} is not leased by {leaseholder}")
        return self.version(audience, number), self.files(audience, number)

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
        history = self._history(audience)
        if mine := history.find_import(operation_id):
            return already_published(mine)
        source = require_version(history, audience, to_version)
        current = history.current.version if history.current else None
        if expected_current is not None and current != expected_current:
            return BaseMoved(current_version=current)
        info = rollback_version(history, source, operation_id=operation_id, order_key=order_key, at=at, reason=reason)
        mark = history.raised_high_water(order_key, operation_id)
        parts = self._audiences[audience.audience_id].parts[to_version]
        info = self._counted(audience, info, parts)
        return self._add(audience, info, parts, mark, {c.name for c in info.row_schema.columns})

    def compact(self, audience: AudienceRef, *, operation_id: JobId, at: datetime, target_bytes: int) -> PublishOutcome:
        """See `VersionStore.compact`; the files stay unchanged, only their partitions are forgotten."""
        history = self._history(audience)
        if mine := history.find_import(operation_id):
            return already_published(mine)
        current = require_version(history, audience, Version(history.last_version))
        parts = self.files(audience, current.version)
        if len(parts) <= 1 or all(p.bytes >= target_bytes for p in parts):
            return already_published(current)
        info = compacted_version(history, current, operation_id=operation_id, at=at)
        return self._add(audience, info, [replace(p, partition=None) for p in parts], history.high_water)

    def expire(
        self,
        audience: AudienceRef,
        *,
        keep_last: int,
        keep_younger_than: timedelta,
        now: datetime,
        pins: Set[Version] = frozenset(),
        live_imports: Set[JobId] = frozenset(),  # noqa: ARG002  # files are not kept here
        grace: timedelta = DEFAULT_GRACE,  # noqa: ARG002
    ) -> Expired:
        """See `VersionStore.expire`; deletes nothing, since there are no files."""
        history = self._history(audience)
        leased = {version for ref, version, _ in self._held if ref == audience.audience_id}
        gone = expired_versions(
            history.versions, keep_last=keep_last, keep_younger_than=keep_younger_than, now=now, pins=pins | leased
        )
        if gone:
            kept = tuple(v for v in history.versions if v not in gone)
            through = max(history.expired_through, *(v.version for v in gone))
            self._audiences[audience.audience_id].history = replace(history, versions=kept, expired_through=through)
        return Expired(versions=tuple(v.version for v in gone), files=0, bytes=0)

    def rename(self, audience: AudienceRef, name: AudienceName) -> AudienceRef:
        """See `VersionStore.rename`."""
        self._refuse_taken(audience, name)
        if audience.audience_id in self._audiences:
            self._audiences[audience.audience_id].name = name
        return replace(audience, audience=name)

    def drop(self, audience: AudienceRef) -> None:
        """See `VersionStore.drop`."""
        self._audiences.pop(audience.audience_id, None)
        self._dropped.add(audience.audience_id)

    def _counted(self, audience: AudienceRef, info: VersionInfo, parts: Iterable[Part]) -> VersionInfo:
        """Count against the previous version; without `read`, nothing is counted."""
        if info.counts is not None or self._read is None:
            return info
        before = self._history(audience).current
        known = () if before is None else self._audiences[audience.audience_id].parts[before.version]
        return replace(info, counts=self._compared(info, parts, before, known))

    def _compared(
        self, info: VersionInfo, parts: Iterable[Part], before: VersionInfo | None, known: Iterable[Part]
    ) -> MembershipCounts:
        old = {} if before is None else self._rows(known, before)
        new, names = self._rows(parts, info), [column.name for column in info.row_schema.columns]
        kept = old.keys() & new.keys()
        return MembershipCounts(
            base=len(old),
            added=len(new.keys() - old.keys()),
            removed=len(old.keys() - new.keys()),
            kept=len(kept),
            members=len(new),
            updated=sum(any(old[user].get(name) != new[user][name] for name in names) for user in kept),
            base_version=None if before is None else before.version,
        )

    def _rows(self, parts: Iterable[Part], info: VersionInfo) -> dict[str, dict[str, Any]]:
        assert self._read is not None
        batches = (batch for part in parts if part.rows for batch in self._read(part, info.row_schema))
        return {row["user_id"]: row for batch in batches for row in batch.to_pylist()}

    def _evolve(self, known: _Audience, info: VersionInfo, retype: Set[str]) -> None:
        for column in info.row_schema.columns:
            old = known.columns.setdefault(column.name.lower(), column)
            if (old.name, old.type) != (column.name, column.type):
                if column.name not in retype:
                    raise UserError("SCHEMA_MISMATCH", f"the audience has {old.name} as {old.type}")
                known.columns[column.name.lower()] = column

    def _history(self, audience: AudienceRef) -> VersionHistory:
        known = self._audiences.get(audience.audience_id)
        return known.history if known is not None else VersionHistory()

    def _refuse_taken(self, audience: AudienceRef, name: AudienceName) -> None:
        if any(a.name == name for other, a in self._audiences.items() if other != audience.audience_id):
            raise UserError("AUDIENCE_NAME_TAKEN", f"another audience is named {name}; choose another name")

    def _add(
        self,
        audience: AudienceRef,
        info: VersionInfo,
        parts: Iterable[Part],
        mark: HighWater | None,
        retype: Set[str] = frozenset(),
    ) -> PublishOutcome:
        if audience.audience_id in self._dropped:
            raise UserError("AUDIENCE_DELETED", f"audience {audience.audience} has been deleted")
        known = self._audiences.get(audience.audience_id)
        if known is None:
            self._refuse_taken(audience, audience.audience)
            known = _Audience(name=audience.audience, columns={}, history=VersionHistory(), parts={})
        self._evolve(known, info, retype)
        made = replace(info, snapshot_id=int(info.version))
        known.history = replace(
            known.history,
            versions=(*known.history.versions, made),
            last_version=int(info.version),
            high_water=mark,
        )
        known.parts[info.version] = tuple(parts)
        self._audiences[audience.audience_id] = known
        return Published(version=made.version, snapshot_id=made.snapshot_id, members=made.members, digest=made.digest)
