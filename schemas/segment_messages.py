"""Messages around rule segments: what is to be evaluated, who entered and left, what has been archived.

Every message of a partition is about the users of that partition (`schemas.partitioning`), which has the same number in
all topics of events, profiles, activations and changes.
"""

from dataclasses import dataclass
from typing import Literal

from schemas.digest import Digest
from schemas.ids import AudienceName, JobId, Partition, TenantName, Version

ChangeCause = Literal["event", "time", "profile", "members", "rule"]
"""Why a membership changed: an event came, time passed, a profile changed, an audience changed, the rule changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleActivated:
    """From this offset on the segment is evaluated by this rule. Sent to every partition; a copy changes nothing."""

    tenant: TenantName
    segment: AudienceName
    rule_version: int  # 1.. per segment
    rule: str  # JSON, schemas/rule.schema.json


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPaused:
    """From this offset on the segment is not evaluated: its members stay as they are, and nothing is told."""

    tenant: TenantName
    segment: AudienceName
    rule_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDeleted:
    """From this offset on the segment is gone: all of its members leave."""

    tenant: TenantName
    segment: AudienceName
    rule_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceActivated:
    """From this offset on "member of the audience" means this version of it."""

    tenant: TenantName
    audience: AudienceName
    version: Version


@dataclass(frozen=True, slots=True, kw_only=True)
class CutRequested:
    """A partition is to write down who is in the segment at one instant, as soon as its time has come there.

    A request dies with the owner that holds it: who asked asks again, until every partition has answered. An owner
    answers a cut once.
    """

    cut_id: JobId
    tenant: TenantName
    segment: AudienceName
    at_us: int  # microseconds since 1970 UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerStarted:
    """A worker has taken over a partition of the changes. The offset of this message is its generation.

    Changes of lower generations that come after it are those of an owner that was replaced: receivers drop them.
    """

    partition: Partition
    worker: str
    started_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipChanges:
    """Up to `CHUNK_MAX_ROWS` users who entered or left a segment, of one partition, each at most once in a message.

    `rows` is an Arrow IPC stream of one record batch: user_id string, entered bool, effective_at timestamp[us, UTC].
    `seq` goes up by one with each message of a generation: 0.. . The answer is so at the offsets and the instant given
    here, as in `SegmentCut`.
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
    """Who is in a segment in one partition, at one place of the log and one instant.

    The answer takes in what lies before the positions `events` and `profiles` and the offset `activations`, and no
    more. `changes` is the offset from which changes come that are not part of it; no owner later than `generation` has
    begun before it. `digest` is of rows that are a user_id and nothing else.
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
    part: str | None  # s3://bucket/key of a Parquet file of user_id, sorted; none where nobody is in the segment


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentStatus:
    """How many are in a segment in one partition, and how far its worker has come."""

    tenant: TenantName
    segment: AudienceName
    rule_version: int
    partition: Partition
    partitions: int
    members: int
    at_us: int
    events: int  # offsets, as in SegmentCut
    profiles: int
    activations: int
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveWritten:
    """All rows of the records `first_offset`..`end_offset` - 1 of a partition are durable in these files.

    Parquet of `schemas.activity.EVENT_ROWS` or `PROFILE_ROWS` and `ARCHIVE_PARTITION`, one tenant a file. Records of
    the range that made no rows (refused, sent on) are in none. Both offsets are positions, of the `era` that the worker
    knows of (`segmentation.archived`).
    """

    topic: str  # muster.events or muster.profiles
    partition: Partition
    first_offset: int
    end_offset: int
    files: tuple[str, ...]  # s3://bucket/key
    era: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveCommitted:
    """The archive's table holds the rows of all records of a partition below the position `end_offset`."""

    topic: str
    partition: Partition
    end_offset: int


ActivationMessage = RuleActivated | SegmentPaused | SegmentDeleted | AudienceActivated | CutRequested
ChangesMessage = OwnerStarted | MembershipChanges
StatusMessage = SegmentCut | SegmentStatus
ArchiveMessage = ArchiveWritten | ArchiveCommitted
SegmentMessage = ActivationMessage | ChangesMessage | StatusMessage | ArchiveMessage
