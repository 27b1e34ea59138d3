"""Messages about rule segments: rules to evaluate, membership changes, archived records.

Every message in a partition is about that partition's users (`schemas.partitioning`); a user's partition number is the
same in all topics of events, profiles, activations and changes.
"""

from dataclasses import dataclass
from typing import Literal

from schemas.digest import Digest
from schemas.ids import AudienceName, JobId, Partition, TenantName, Version

ChangeCause = Literal["event", "time", "profile", "members", "rule"]
"""Cause of a membership change: an event, the passage of time, a profile, an audience, or the rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleActivated:
    """From this offset on, the segment is evaluated by this rule. Sent to every partition; a copy changes nothing."""

    tenant: TenantName
    segment: AudienceName
    rule_version: int  # 1.. per segment
    rule: str  # JSON, schemas/rule.schema.json


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPaused:
    """From this offset on, the segment is not evaluated: its members stay unchanged, and it emits no changes."""

    tenant: TenantName
    segment: AudienceName
    rule_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDeleted:
    """From this offset on, the segment no longer exists: all of its members leave."""

    tenant: TenantName
    segment: AudienceName
    rule_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceActivated:
    """From this offset on, "member of the audience" refers to this version."""

    tenant: TenantName
    audience: AudienceName
    version: Version


@dataclass(frozen=True, slots=True, kw_only=True)
class CutRequested:
    """Requests a consistent snapshot: each partition writes the segment's members at one instant, once that has come.

    A request is lost with the owner that has it: the requester repeats it until every partition has answered. An owner
    answers each request once.
    """

    cut_id: JobId
    tenant: TenantName
    segment: AudienceName
    at_us: int  # microseconds since 1970 UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerStarted:
    """A worker has taken over a partition of the changes. The offset of this message is its generation.

    Later changes with lower generations come from a replaced owner: receivers drop them.
    """

    partition: Partition
    worker: str
    started_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipChanges:
    """Up to `CHUNK_MAX_ROWS` users of one partition who entered or left a segment, each at most once per message.

    `rows` is an Arrow IPC stream of one record batch: user_id string, entered bool, effective_at timestamp[us, UTC].
    `seq` counts the messages of a generation: 0.. . The answer holds at the offsets and the instant given here, as in
    `SegmentCut`.
    """

    tenant: TenantName
    segment: AudienceName
    rule_version: int
    partition: Partition
    generation: int  # offset of the OwnerStarted
    seq: int
    cause: ChangeCause
    at_us: int
    events: int
    profiles: int
    activations: int
    count: int
    rows: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentCut:
    """The members of a segment in one partition, at one log position and one instant: a consistent snapshot.

    The answer includes exactly the records before the positions `events` and `profiles` and the offset `activations`.
    Changes from the offset `changes` on are not part of it; no owner later than `generation` started before that
    offset. `digest` covers rows with only a user_id.
    """

    cut_id: JobId
    tenant: TenantName
    segment: AudienceName
    rule_version: int
    partition: Partition
    partitions: int
    at_us: int
    events: int
    profiles: int
    activations: int
    changes: int
    generation: int
    members: int
    digest: Digest
    part: str | None  # s3://bucket/key of a Parquet file of user_id, sorted; None if there are no members


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentStatus:
    """The size of a segment in one partition, and the progress of its worker."""

    tenant: TenantName
    segment: AudienceName
    rule_version: int
    partition: Partition
    partitions: int
    members: int
    at_us: int
    events: int  # positions, as in SegmentCut
    profiles: int
    activations: int
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveWritten:
    """All rows of the records `first_offset`..`end_offset` - 1 of a partition are durable in these files.

    Parquet of `schemas.activity.EVENT_ROWS` or `PROFILE_ROWS` and `ARCHIVE_PARTITION`, one tenant per file. Records of
    the range that produced no rows (refused, forwarded) are in no file. Both offsets are positions in the log epoch
    log epoch (`era`) that the worker knows (`segmentation.archived`).
    """

    topic: str  # muster.events or muster.profiles
    partition: Partition
    first_offset: int
    end_offset: int
    files: tuple[str, ...]  # s3://bucket/key
    era: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveCommitted:
    """The archive's table has the rows of all records of a partition below the position `end_offset`."""

    topic: str
    partition: Partition
    end_offset: int


ActivationMessage = RuleActivated | SegmentPaused | SegmentDeleted | AudienceActivated | CutRequested
ChangesMessage = OwnerStarted | MembershipChanges
StatusMessage = SegmentCut | SegmentStatus
ArchiveMessage = ArchiveWritten | ArchiveCommitted
SegmentMessage = ActivationMessage | ChangesMessage | StatusMessage | ArchiveMessage
