"""Records of an export to a topic: its values, the same in all steps, and the messages sent for each group."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, AudienceName, JobId, TenantName, Version
from schemas.manifest_selection import Account, Change
from schemas.records import fields_record

FIRST: Final = Attempt(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportAttempt:
    """The part of an export attempt that is known when all else is lost: enough to abort it."""

    export_id: JobId
    partitions: int
    attempt: Attempt = FIRST
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicExport:
    """One attempt of an export to a topic: the same values in every step and every repetition of a step.

    `partitions` is the P of the topic when the job was registered. A repeated step keeps `attempt`, whatever died. An
    export restarted under its id, after `abort` or with other groups, needs a higher one: for receivers the rows of a
    chunk never change. `json`: a record for each user instead of chunks.
    """

    export_id: JobId
    tenant: TenantName
    audience: AudienceName
    version: Version
    snapshot_id: int
    base_version: Version | None
    columns: RowSchema
    partitions: int
    created_at_us: int  # microseconds since 1970 UTC
    attempt: Attempt = FIRST
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPart:
    """What was sent of one group to one partition: chunks, and digests of rows that are not removals and that are.

    In JSON, `chunks` are messages; a member with other values is in both digests and has one message.
    """

    chunks: int
    digest: Digest
    removed: Digest

    @property
    def records(self) -> int:
        """Rows of both kinds."""
        return self.digest.count + self.removed.count


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSent:
    """One group whose chunks are all acknowledged by the broker. `bytes` of messages, before compression.

    `accounts`: of the rows read, if the shape selects from them.
    """

    export_id: JobId
    attempt: Attempt
    group: int
    bytes: int
    partitions: tuple[SentPart, ...]
    accounts: tuple[Account, ...] = ()

    @property
    def rows(self) -> int:
        """Rows in all partitions."""
        return sum(part.records for part in self.partitions)

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data, about 150 bytes per partition; with `rows`."""
        return {**fields_record(self), "rows": self.rows}


def totals(export: TopicExport, groups: Iterable[GroupSent]) -> dict[Change | None, Digest]:
    """Digest of all rows of each kind of change, to compare with the version, or with it and its base, before `end`.

    For a whole version, the digest of None must be the version's; for a delta, digest(base) - removed + added must be.
    """
    parts = [part for group in groups for part in group.partitions]
    digest = Digest.total(export.columns.schema_id, (part.digest for part in parts))
    if export.base_version is None:
        return {None: digest}
    return {"added": digest, "removed": Digest.total(export.columns.schema_id, (part.removed for part in parts))}
