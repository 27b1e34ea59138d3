"""The rules of publishing, as pure functions of an audience's history.

Adapters load the history, call `decide`, and commit on exactly that history; if the commit loses, they start over.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby

from schemas.columns import RowSchema
from schemas.errors import FatalError, UserError
from schemas.ids import Attempt, JobId, Version
from schemas.records import as_record
from segmentation.columns import check_change
from segmentation.versions import (
    AlreadyPublished,
    AudienceRef,
    BaseMoved,
    MembershipCounts,
    Part,
    PartsRead,
    PublishRequest,
    SupersededBy,
    VersionInfo,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HighWater:
    """The newest order key ever published, and by which import. It never falls, not even after a rollback."""

    order_key: str
    import_id: JobId
    version: Version


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionHistory:
    """The history of an audience. `versions` are the kept ones, oldest first; the last one is current.

    `last_version` counts expired ones too (0 = none yet). Expiry has removed versions up to `expired_through` (0 =
    none), except pinned ones.
    """

    versions: tuple[VersionInfo, ...] = ()
    last_version: int = 0
    high_water: HighWater | None = None
    expired_through: int = 0

    @property
    def current(self) -> VersionInfo | None:
        """The newest version."""
        return self.versions[-1] if self.versions else None

    @property
    def next_version(self) -> Version:
        """Number of the next version."""
        return Version(self.last_version + 1)

    def find_import(self, import_id: JobId) -> VersionInfo | None:
        """The version that an import or operation made, if it is kept."""
        return next((v for v in self.versions if v.import_id == import_id), None)

    def find_version(self, number: Version) -> VersionInfo | None:
        """A kept version by its number."""
        return next((v for v in self.versions if v.version == number), None)

    def raised_high_water(self, order_key: str, import_id: JobId) -> HighWater:
        """The high-water mark after the next version is published with this key."""
        mark = HighWater(order_key=order_key, import_id=import_id, version=self.next_version)
        return mark if self.high_water is None or order_key > self.high_water.order_key else self.high_water


def decide(history: VersionHistory, request: PublishRequest) -> AlreadyPublished | SupersededBy | BaseMoved | None:
    """The outcome that the history dictates. None if the request may be committed on exactly this history.

    Raises `UserError` AUDIENCE_WOULD_SHRINK, COLUMNS_WOULD_CHANGE.
    """
    if existing := history.find_import(request.import_id):
        return already_published(existing)
    current = history.current
    if request.mode == "replace":
        if (mark := history.high_water) is not None and mark.order_key >= request.order_key:
            return SupersededBy(import_id=mark.import_id, version=mark.version, order_key=mark.order_key)
    elif (current.version if current else None) != request.base_version:
        return BaseMoved(current_version=current.version if current else None)
    check_shrink(current, request.members, request.max_shrink_percent)
    if current is not None:
        check_change(
            request.audience.audience,
            current.row_schema,
            request.row_schema,
            drop=request.drop_columns,
            retype=request.retype_columns,
            from_file=request.rule is None,
        )
    return None


def already_published(version: VersionInfo) -> AlreadyPublished:
    """The answer to an import or operation that has made its version already."""
    return AlreadyPublished(
        version=version.version, snapshot_id=version.snapshot_id, members=version.members, digest=version.digest
    )


def new_version(
    history: VersionHistory, request: PublishRequest, partitioner: str, nulls: Mapping[str, int] | None
) -> VersionInfo:
    """The next version, made by a request; its snapshot is not known yet (0). `nulls`: see `VersionInfo`."""
    return VersionInfo(
        version=history.next_version,
        snapshot_id=0,
        import_id=request.import_id,
        attempt=request.attempt,
        mode=request.mode,
        order_key=request.order_key,
        partitions=request.partitions,
        partitioner=partitioner,
        row_schema=request.row_schema,
        members=request.members,
        digest=request.digest,
        base_version=request.base_version,
        source_version=None,
        counts=None if request.mode == "replace" else request.counts,  # none for a replace, whatever its base
        published_at=request.published_at,
        rule=request.rule,
        nulls=nulls,
    )


def valid_reads(request: PublishRequest, reads: Iterable[PartsRead]) -> tuple[PartsRead, ...]:
    """The reads of parts exactly as the request announces them, each part once."""
    unread, valid = {part.uri: part for part in request.parts}, []
    for one in reads:
        if all(unread.get(part.uri) == part for part in one.parts):
            valid.append(one)
            for part in one.parts:
                del unread[part.uri]
    return tuple(valid)


def unread_parts(request: PublishRequest, reads: Iterable[PartsRead]) -> tuple[Part, ...]:
    """The parts of a request that none of these reads has."""
    read = {part.uri for one in reads for part in one.parts}
    return tuple(part for part in request.parts if part.uri not in read)


def counts_of_reads(
    request: PublishRequest, reads: Sequence[PartsRead], before: VersionInfo | None
) -> MembershipCounts | None:
    """The counts of a replace, if these reads have all of its parts and compared each with the version before it."""
    base, members = (None, 0) if before is None else (before.version, before.members)
    matched = [one.matched for one in reads if one.matched is not None and one.base_version == base]
    if not reads or len(matched) < len(reads) or unread_parts(request, reads):
        return None
    updated = [one.updated for one in reads if one.updated is not None]
    return MembershipCounts(
        base=members,
        added=request.members - sum(matched),
        removed=members - sum(matched),
        kept=sum(matched),
        members=request.members,
        updated=sum(updated) if len(updated) == len(reads) else None,
        base_version=base,
    )


def rollback_version(
    history: VersionHistory, source: VersionInfo, *, operation_id: JobId, order_key: str, at: datetime, reason: str
) -> VersionInfo:
    """The next version, made by a rollback to `source`."""
    return replace(
        source,
        version=history.next_version,
        snapshot_id=0,
        import_id=operation_id,
        attempt=Attempt(1),
        mode="rollback",
        order_key=order_key,
        base_version=history.current.version if history.current else None,
        source_version=source.version,
        counts=None,
        published_at=at,
        reason=reason,
    )


def compacted_version(
    history: VersionHistory, current: VersionInfo, *, operation_id: JobId, at: datetime
) -> VersionInfo:
    """The next version, made by compacting the current one: the same members, not split by partition."""
    counts = MembershipCounts(
        base=current.members,
        added=0,
        removed=0,
        kept=current.members,
        members=current.members,
        base_version=current.version,
    )
    return replace(
        current,
        version=history.next_version,
        snapshot_id=0,
        import_id=operation_id,
        attempt=Attempt(1),
        mode="compact",
        partitions=0,
        partitioner="",
        base_version=current.version,
        source_version=current.version,
        counts=counts,
        published_at=at,
        reason="",
    )


def require_version(history: VersionHistory, audience: AudienceRef, number: Version) -> VersionInfo:
    """A kept version. Raises `UserError` NO_SUCH_VERSION."""
    if (version := history.find_version(number)) is None:
        kept = [v.version for v in history.versions]
        raise UserError(
            "NO_SUCH_VERSION",
            f"audience {audience.audience} has no version {number}"
            + (f"; versions kept: {', '.join(map(str, kept))}" if kept else "; nothing has been published yet"),
            audience=audience.audience,
            version=number,
            kept=kept,
        )
    return version


def version_before(versions: Iterable[VersionInfo], info: VersionInfo) -> VersionInfo | None:
    """The version before `info`. None for the first one, and if expiry has removed it."""
    return next((v for v in versions if v.version == info.version - 1), None)


def check_shrink(current: VersionInfo | None, members: int, max_shrink_percent: float | None) -> None:
    """Refuse a version that loses too many members. Raises `UserError` AUDIENCE_WOULD_SHRINK."""
    if current is None or max_shrink_percent is None or current.members == 0:
        return
    shrink_percent = 100 * (current.members - members) / current.members
    if shrink_percent > max_shrink_percent:
        raise UserError(
            "AUDIENCE_WOULD_SHRINK",
            f"the audience would go from {current.members:,} to {members:,} members, {shrink_percent:.1f} % fewer; "
            f"at most {max_shrink_percent:g} % are allowed. If that is intended, allow it: --allow-shrink, or "
            "the check box beside the button that runs the job again; otherwise check that the file is complete",
            current_version=current.version,
            current_members=current.members,
            members=members,
            shrink_percent=round(shrink_percent, 3),
            max_shrink_percent=max_shrink_percent,
        )


def check_request(request: PublishRequest) -> None:
    """Check a request before any file is read. Raises `FatalError` COUNTS_MISMATCH or PART_MISMATCH."""
    counts = request.counts
    if counts is None:
        if request.mode != "replace":
            raise FatalError("COUNTS_MISMATCH", f"{request.mode} of import {request.import_id} came without counts")
    elif fault := counts.fault() or _counts_fault(counts, request):
        raise FatalError("COUNTS_MISMATCH", f"counts of import {request.import_id}: {fault}", counts=as_record(counts))
    if duplicates := sorted(
        uri for uri, parts in groupby(sorted(p.uri for p in request.parts)) if len(list(parts)) > 1
    ):
        raise FatalError("PART_MISMATCH", f"part {duplicates[0]} is listed twice", parts=duplicates)
    partitions = [part.partition for part in request.parts]
    if len(set(partitions)) != len(partitions) or any(p is None or not 0 <= p < request.partitions for p in partitions):
        raise FatalError(
            "PART_MISMATCH",
            f"exactly one part per partition is needed, 0 to {request.partitions - 1}, not {partitions}",
            partitions=partitions,
        )


def _counts_fault(counts: MembershipCounts, request: PublishRequest) -> str | None:
    if counts.members != request.members:
        return f"members {counts.members}, but the parts have {request.members}"
    if request.mode != "replace" and counts.base_version != request.base_version:
        return f"counted against version {counts.base_version}, but built on {request.base_version}"
    if request.mode == "append" and counts.removed:
        return f"an append removed {counts.removed}"
    return f"a remove added {counts.added}" if request.mode == "remove" and counts.added else None


def merged_schema(base: RowSchema, incoming: RowSchema, drop: Set[str] = frozenset()) -> RowSchema:
    """Columns of the base except `drop`, then the new ones of an append. Raises `UserError` SCHEMA_MISMATCH."""
    check_columns(base, incoming)
    known = {c.name for c in base.columns}
    kept = (c for c in base.columns if c.name not in drop)
    return RowSchema(columns=(*kept, *(c for c in incoming.columns if c.name not in known)))


def check_columns(existing: RowSchema, incoming: RowSchema) -> None:
    """Refuse columns that change type or the case of their name: rows stay. Raises `UserError` SCHEMA_MISMATCH."""
    known = {c.name.lower(): c for c in existing.columns}
    for column in incoming.columns:
        old = known.get(column.name.lower())
        if old is not None and (old.name, old.type) != (column.name, column.type):
            raise UserError(
                "SCHEMA_MISMATCH",
                f"column {column.name} arrives as {column.type}, but the audience has {old.name} as {old.type}, and "
                "its members keep their values; give the new values their own column name, or replace the audience",
                column=column.name,
                type=column.type,
                existing_column=old.name,
                existing_type=old.type,
            )


def expired_versions(
    versions: Sequence[VersionInfo],
    *,
    keep_last: int,
    keep_younger_than: timedelta,
    now: datetime,
    pins: Set[Version],
) -> tuple[VersionInfo, ...]:
    """The versions that retention no longer keeps, oldest first; never the current one."""
    kept_by_number: Iterable[VersionInfo] = versions[-max(keep_last, 1) :]
    kept = {v.version for v in kept_by_number} | set(pins)
    return tuple(v for v in versions if v.version not in kept and now - v.published_at >= keep_younger_than)
