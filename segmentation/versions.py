"""Versions of an audience: the values, and the port through which they are published and read.

A version is the whole of one reconciled import, or of one operation on older versions (rollback, compaction). It is
immutable; its number is one above the highest that the audience ever had. `segmentation.publishing` holds the rules.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Protocol, Self

from schemas.columns import ImportMode, RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, AudienceName, JobId, Partition, TenantName, Version

VersionMode = Literal[ImportMode, "rollback", "compact"]
DEFAULT_GRACE: Final = timedelta(days=7)
"""Age that an object nobody refers to must have before expiry deletes it: above the longest life of a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceRef:
    """An audience. Its identity is `audience_id`; the name may change, and a stale one still finds it."""

    tenant: TenantName
    audience: AudienceName
    audience_id: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAddress:
    """Where what reads Iceberg finds the table of an audience. Each version has a `metadata` file of its own."""

    name: str
    location: str
    metadata: str

    def as_record(self) -> dict[str, str]:
        """Plain JSON data."""
        return {"name": self.name, "location": self.location, "metadata": self.metadata}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One sorted Parquet file of distinct members. `partition` is none where a file holds users of several."""

    uri: str
    rows: int
    bytes: int
    digest: Digest
    partition: Partition | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipCounts:
    """What a version does to the members of `base_version` (none = there was no version), exactly.

    base = removed + kept; members = added + kept; `updated` of the kept ones have other attributes (none = not
    compared).
    """

    base: int
    added: int
    removed: int
    kept: int
    members: int
    updated: int | None = 0
    base_version: Version | None = None

    def fault(self) -> str | None:
        """Which of the sums does not add up, or none."""
        if min(self.base, self.added, self.removed, self.kept, self.members, self.updated or 0) < 0:
            return "a count is negative"
        if self.removed + self.kept != self.base:
            return f"removed {self.removed} + kept {self.kept} is not base {self.base}"
        if self.added + self.kept != self.members:
            return f"added {self.added} + kept {self.kept} is not members {self.members}"
        return f"updated {self.updated} is above kept {self.kept}" if (self.updated or 0) > self.kept else None

    def as_record(self) -> dict[str, int | None]:
        """Plain JSON data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRule:
    """Which rule of a segment its members were found by, and as of when."""

    segment: AudienceName
    rule_version: int
    rule_hash: str
    as_of: datetime

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "segment": self.segment,
            "rule_version": self.rule_version,
            "rule_hash": self.rule_hash,
            "as_of": self.as_of.isoformat(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Inverse of `as_record`."""
        return cls(**{**record, "as_of": datetime.fromisoformat(record["as_of"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """One reconciled import, ready to become a version.

    `order_key` is sortable text (LastModified, sequencer, registration). `base_version` is the version that append and
    remove parts were built on (none = there was no version). `counts` come with these two; a replace is counted when it
    is published.
    `max_shrink_percent`: refuse when more than that share of the current members would go (none = no guard).
    `drop_columns`, `retype_columns`: names of columns that may go, or change their type.
    `rule`: of the segment whose snapshot it is; none for files.
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
class VersionInfo:
    """One version, as its snapshot tells it. `source_version` is the one whose members a rollback or compaction took.

    `partitions` is 0 where the files are not cut by partition. `counts` are against the version before it; none where
    counting would have taken more memory and disk than there is, and for versions that were made before replaces and
    rollbacks were counted. `rule`: of the segment whose members at an instant these are; none for all others.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The version exists from now on."""

    version: Version
    snapshot_id: int
    members: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyPublished:
    """The import had been published before: a repeated call, or one whose answer was lost. Same as success."""

    version: Version
    snapshot_id: int
    members: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class SupersededBy:
    """A newer import has been published: this one is too late, for good."""

    import_id: JobId
    version: Version
    order_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseMoved:
    """The parts were built on a version that is no longer the current one: build again on `current_version`."""

    current_version: Version | None


PublishOutcome = Published | AlreadyPublished | SupersededBy | BaseMoved


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """What an expiry removed."""

    versions: tuple[Version, ...]
    files: int
    bytes: int


class VersionStore(Protocol):
    """Audience versions. Calls block; they may be repeated and may run at once in any number of processes.

    Outages raise `RetriableError`; a call that raised may have taken effect, and repeating it tells.
    Readers see one version or another, never a mix.
    """

    def publish(self, request: PublishRequest, on_rows: Callable[[int], None] | None = None) -> PublishOutcome:
        """Re-read and check every part, then make the version in one commit.

        `on_rows` is told, from any thread, how many rows have been re-read so far; a part may be read in its midst.
        Raises `UserError` AUDIENCE_WOULD_SHRINK, COLUMNS_WOULD_CHANGE, SCHEMA_MISMATCH or AUDIENCE_DELETED,
        `FatalError` PART_MISMATCH, LAKE_FILE_MISSING or COUNTS_MISMATCH, `RetriableError` PUBLISH_CONFLICT when others
        kept winning.
        """

    def current(self, audience: AudienceRef) -> VersionInfo | None:
        """The newest version; none before the first one."""

    def version(self, audience: AudienceRef, number: Version) -> VersionInfo:
        """One version. Raises `UserError` NO_SUCH_VERSION."""

    def versions(self, audience: AudienceRef) -> Sequence[VersionInfo]:
        """All kept versions, oldest first."""

    def expired_through(self, audience: AudienceRef) -> int:
        """The highest number that expiry has forgotten, 0 when it never has; older ones may be kept as pinned."""

    def address(self, audience: AudienceRef) -> TableAddress | None:
        """Where the table is; none before the first version."""

    def files(self, audience: AudienceRef, number: Version) -> Sequence[Part]:
        """The files of a version, without empty ones, ordered by partition. Raises `UserError` NO_SUCH_VERSION."""

    def hold(self, audience: AudienceRef, number: Version, holder: JobId) -> None:
        """Keep a version for a job until `release`, whatever expiry says. Holding it again is no error.

        Raises `UserError` NO_SUCH_VERSION, `RetriableError` HOLD_CONFLICT when others kept winning.
        """

    def release(self, audience: AudienceRef, holder: JobId) -> None:
        """Give up all that a job holds of an audience; nothing, or a deleted audience, is no error."""

    def holders(self, audience: AudienceRef) -> Set[JobId]:
        """Everybody who holds a version of the audience."""

    def held(self, audience: AudienceRef, number: Version, holder: JobId) -> tuple[VersionInfo, Sequence[Part]]:
        """A version that the job holds, and its files. Raises `UserError` AUDIENCE_DELETED, `FatalError` NOT_HELD."""

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
        """A new version of the files of an older one. Imports older than `order_key` are superseded from then on.

        `BaseMoved` when the current version is not `expected_current` (none = the one at the time of the call).
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
        """Forget versions that are neither among the last, nor young, nor pinned, and delete what nobody refers to.

        The current version is always kept. Objects of `live_imports`, and objects younger than `grace`, stay.
        """

    def compact(self, audience: AudienceRef, *, operation_id: JobId, at: datetime, target_bytes: int) -> PublishOutcome:
        """A new version of the current members in files of about `target_bytes`. Order of imports is not touched."""

    def rename(self, audience: AudienceRef, name: AudienceName) -> AudienceRef:
        """Give the audience another name. Raises `UserError` AUDIENCE_NAME_TAKEN."""

    def drop(self, audience: AudienceRef) -> None:
        """Delete the audience and all its files, for good: a late publish raises `UserError` AUDIENCE_DELETED."""
