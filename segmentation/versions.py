"""Versions of an audience: the values, and the port that publishes and reads them.

A version is the whole of one reconciled import, or of one operation on older versions (rollback, compaction). It is
immutable; its number is one above the highest the audience ever had. `segmentation.publishing` holds the rules.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from schemas.columns import ImportMode, RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, AudienceName, JobId, Partition, TenantName, Version

VersionMode = Literal[ImportMode, "rollback", "compact"]
DEFAULT_GRACE: Final = timedelta(days=7)
"""Minimum age of an unreferenced object before expiry deletes it; longer than any job lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceRef:
    """An audience. `audience_id` is its identity; the name may change, and a stale name still works."""

    tenant: TenantName
    audience: AudienceName
    audience_id: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAddress:
    """Address of an audience's table for Iceberg readers. Each version has its own `metadata` file."""

    name: str
    location: str
    metadata: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One sorted Parquet file of distinct members. `partition` is None if it holds users of several partitions."""

    uri: str
    rows: int
    bytes: int
    digest: Digest
    partition: Partition | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipCounts:
    """Exact effect of a version on the members of `base_version` (None = there was no version).

    base = removed + kept; members = added + kept; `updated` of the kept ones have changed attributes (None = not
    compared, which would have exceeded memory and disk, or was not done by an earlier release).
    """

    base: int
    added: int
    removed: int
    kept: int
    members: int
    updated: int | None = 0
    base_version: Version | None = None

    def fault(self) -> str | None:
        """The sum that does not add up. None if all do."""
        if min(self.base, self.added, self.removed, self.kept, self.members, self.updated or 0) < 0:
            return "a count is negative"
        if self.removed + self.kept != self.base:
            return f"removed {self.removed} + kept {self.kept} does not equal base {self.base}"
        if self.added + self.kept != self.members:
            return f"added {self.added} + kept {self.kept} does not equal members {self.members}"
        return f"updated {self.updated} is above kept {self.kept}" if (self.updated or 0) > self.kept else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRule:
    """The segment rule that selected the members, and the instant it was evaluated at."""

    segment: AudienceName
    rule_version: int
    rule_hash: str
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """One reconciled import, ready to become a version.

    `order_key` is sortable text (LastModified, sequencer, registration). `base_version` is the version that append and
    remove parts were built on (None = there was no version). `counts` come with these two; a replace is counted when it
    is published.
    `max_shrink_percent`: refuse to remove more than this share of the current members (None = no guard).
    `drop_columns`, `retype_columns`: names of columns that may be dropped, or change their type.
    `rule`: the rule of the segment that this is a snapshot of; None for files.
    """

    audience: AudienceRef
    import_id: JobId
    attempt: Attempt
    mode: ImportMode
    order_key: str
    parts: tuple[Part, ...]
    partitions: int
    row_schema: RowSchema
    base_version: Version | None
    counts: MembershipCounts | None
    max_shrink_percent: float | None
    published_at: datetime
    rule: SegmentRule | None = None
    drop_columns: Set[str] = frozenset()
    retype_columns: Set[str] = frozenset()

    @property
    def members(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def digest(self) -> Digest:
        """Digest of all parts."""
        return Digest.total(self.row_schema.schema_id, (part.digest for part in self.parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsRead:
    """What reading some parts of a version again has shown: they are as announced, and this is in them.

    `nulls`: members without a value, by column. `matched` of a replace's members are in the same partitions of
    `base_version` too, `updated` of them with other attributes; None if that was not, or could not be, compared.
    """

    parts: tuple[Part, ...]
    nulls: Mapping[str, int]
    base_version: Version | None = None
    matched: int | None = None
    updated: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """One version, as recorded in its snapshot. `source_version`: whose members a rollback or compaction took.

    `partitions` is 0 if the files are not split by partition. `counts` compare it with the version before it; None if
    counting would have exceeded memory and disk, and for versions made before replaces and rollbacks were counted.
    `rule`: the rule of the segment whose members at an instant these are; None for all other versions.
    `nulls`: members without a value, by column; None for versions made before they were counted.
    """

    version: Version
    snapshot_id: int
    import_id: JobId
    attempt: Attempt
    mode: VersionMode
    order_key: str
    partitions: int
    partitioner: str
    row_schema: RowSchema
    members: int
    digest: Digest
    base_version: Version | None
    source_version: Version | None
    counts: MembershipCounts | None
    published_at: datetime
    reason: str = ""
    rule: SegmentRule | None = None
    nulls: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The version exists from now on."""

    version: Version
    snapshot_id: int
    members: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyPublished:
    """The import was published before: a repeated call, or one whose answer was lost. Same as success."""

    version: Version
    snapshot_id: int
    members: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class SupersededBy:
    """A newer import has been published: this one is too late, permanently."""

    import_id: JobId
    version: Version
    order_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseMoved:
    """The parts were built on a version that is no longer current: rebuild them on `current_version`."""

    current_version: Version | None


PublishOutcome = Published | AlreadyPublished | SupersededBy | BaseMoved


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """The result of an expiry."""

    versions: tuple[Version, ...]
    files: int
    bytes: int


def emptied_columns(before: VersionInfo | None, members: int, nulls: Mapping[str, int] | None) -> list[str] | None:
    """Columns that have values in the version before and none in the next one, of `members` with these `nulls`.

    None if that is unknown: one of the two has not counted its nulls.
    """
    if before is None:
        return []
    if nulls is None or before.nulls is None:
        return None
    had_values = {name for name, count in before.nulls.items() if count < before.members}
    return [name for name, count in nulls.items() if name in had_values and count == members > 0]


class VersionStore(Protocol):
    """Audience versions. Calls block; they may be repeated and may run concurrently in any number of processes.

    Outages raise `RetriableError`; a call that raised may have taken effect, and repeating it tells.
    Readers see one version or another, never a mix.
    """

    def publish(
        self,
        request: PublishRequest,
        on_rows: Callable[[int], None] | None = None,
        *,
        read: Sequence[PartsRead] = (),
    ) -> PublishOutcome:
        """Re-read and check every part, then create the version in one commit.

        `read`: parts that `read_parts` has checked already. `on_rows` gets the number of rows re-read so far, from any
        thread, possibly in the middle of a part. Raises `UserError` AUDIENCE_WOULD_SHRINK, COLUMNS_WOULD_CHANGE,
        SCHEMA_MISMATCH or AUDIENCE_DELETED, `FatalError` PART_MISMATCH, LAKE_FILE_MISSING or COUNTS_MISMATCH,
        `RetriableError` PUBLISH_CONFLICT if other commits keep winning.
        """

    def read_parts(self, request: PublishRequest, partitions: Set[Partition]) -> PartsRead:
        """Re-read and check the parts of some partitions, and compare those of a replace with the current version.

        Creates nothing. Raises `FatalError` PART_MISMATCH, LAKE_FILE_MISSING.
        """

    def current(self, audience: AudienceRef) -> VersionInfo | None:
        """The newest version. None before the first one."""

    def version(self, audience: AudienceRef, number: Version) -> VersionInfo:
        """One version. Raises `UserError` NO_SUCH_VERSION."""

    def versions(self, audience: AudienceRef) -> Sequence[VersionInfo]:
        """All kept versions, oldest first."""

    def expired_through(self, audience: AudienceRef) -> int:
        """The highest version number that expiry has removed, 0 if none; older ones may still be kept as pinned."""

    def address(self, audience: AudienceRef) -> TableAddress | None:
        """The address of the table. None before the first version."""

    def files(self, audience: AudienceRef, number: Version) -> Sequence[Part]:
        """The files of a version, without empty ones, ordered by partition. Raises `UserError` NO_SUCH_VERSION."""

    def lease(self, audience: AudienceRef, number: Version, leaseholder: JobId) -> None:
        """Keep a version for a job until `release`, regardless of expiry. Repeating the call is allowed.

        Raises `UserError` NO_SUCH_VERSION, `RetriableError` HOLD_CONFLICT if other commits keep winning.
        """

    def release(self, audience: AudienceRef, leaseholder: JobId) -> None:
        """Release all leases of a job on an audience. Having none, or a deleted audience, is no error."""

    def leaseholders(self, audience: AudienceRef) -> Set[JobId]:
        """All jobs with a lease on a version of the audience."""

    def leased(self, audience: AudienceRef, number: Version, leaseholder: JobId) -> tuple[VersionInfo, Sequence[Part]]:
        """A version leased by the job, and its files. Raises `UserError` AUDIENCE_DELETED, `FatalError` NOT_HELD."""

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
        """Create a version from the files of an older one. Imports older than `order_key` are superseded from then on.

        `BaseMoved` if the current version is not `expected_current` (None = the current one at the time of the call).
        Raises `UserError` NO_SUCH_VERSION.
        """

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
        """Remove versions that are neither among the last, nor young, nor pinned, and delete unreferenced objects.

        The current version is always kept. Objects of `live_imports`, and objects younger than `grace`, stay.
        """

    def compact(self, audience: AudienceRef, *, operation_id: JobId, at: datetime, target_bytes: int) -> PublishOutcome:
        """Create a version of the current members in files of about `target_bytes`. The order of imports stays."""

    def rename(self, audience: AudienceRef, name: AudienceName) -> AudienceRef:
        """Rename the audience. Raises `UserError` AUDIENCE_NAME_TAKEN."""

    def drop(self, audience: AudienceRef) -> None:
        """Delete the audience and all its files, permanently: a late publish raises `UserError` AUDIENCE_DELETED."""
