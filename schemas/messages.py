"""Every message that Muster sends to Kafka, as a frozen value. The wire form is `schemas/avro/<Name>.avsc`.

Import topics carry `ImportMessage`s: no message per user, but chunks of up to 5,000 between start and end markers in
every partition. Chunks are identified by (import, attempt, seq): redelivered ones and dead attempts do no harm.
`ExportMessage`s are the reverse, on a topic of the receivers: docs/consuming.md is their contract.
Rules are evaluated over `EventMessage`s and `ProfileMessage`s: docs/events.md explains how to send them.
`SegmentMessage`s are in `schemas.segment_messages`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

from schemas.columns import ImportMode, RowSchema
from schemas.digest import Digest
from schemas.ids import DEFAULT_TENANT, Attempt, AudienceName, JobId, Partition, Seq, TenantName, Version
from schemas.manifest import Change
from schemas.segment_messages import SegmentMessage

JobState = Literal[
    "REGISTERED",
    "VERIFYING",
    "IMPORTING",
    "AWAITING",
    "BUILDING",
    "PUBLISHING",
    "READY",
    "FAILED",
    "SUPERSEDED",
    "CANCELLED",
]

PropertyValue = float | str | bool
AttributeValue = PropertyValue | date | datetime
"""A `datetime` has a zone."""
"""A property of an event, or an attribute of a profile: a finite number, a text, or a boolean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportStarted:
    """First message of an attempt in a partition; sent to every partition."""

    tenant: TenantName
    audience: AudienceName
    import_id: JobId
    attempt: Attempt
    partition: Partition
    partitions: int  # P, frozen on the job
    kind: Literal["audience"]
    mode: ImportMode
    source: str  # s3://bucket/key, with ?versionId= if the bucket keeps versions
    columns: RowSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChunk:
    """Up to `CHUNK_MAX_ROWS` users of one partition.

    `rows` is an Arrow IPC stream of one record batch: _ordinal int64, user_id string, then the columns of the import.
    `digest` covers user_id and the columns, not the ordinal.
    """

    import_id: JobId
    attempt: Attempt
    partition: Partition
    seq: Seq
    count: int
    digest: Digest
    rows: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportEnded:
    """Last message of one attempt in one partition; sent to every partition, even without users.

    Sent only after the broker has acknowledged every chunk of the attempt, so a gap seen here is final.
    """

    tenant: TenantName
    audience: AudienceName
    import_id: JobId
    attempt: Attempt
    partition: Partition
    partitions: int
    columns: RowSchema
    data_prefix: str  # s3://bucket/prefix/ for the sorted part of this partition
    chunks: int  # messages this attempt sent to this partition
    records: int  # rows in them
    digest: Digest  # order-free sum over those rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportAborted:
    """The import will not be published; `attempt` and all earlier ones may be dropped. Sent to every partition."""

    import_id: JobId
    attempt: Attempt
    partition: Partition
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionMaterialised:
    """One partition of one attempt reconciled with its end marker, and its sorted distinct part is durable."""

    import_id: JobId
    attempt: Attempt
    partition: Partition
    partitions: int
    chunks: int
    records: int
    digest: Digest  # of the records
    distinct: int
    distinct_digest: Digest  # of the rows in the part
    part: str | None  # s3://bucket/key of the part; None for a partition without users
    part_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionFailed:
    """One partition of one attempt did not reconcile with its end marker. Final for this attempt."""

    import_id: JobId
    attempt: Attempt
    partition: Partition
    partitions: int
    reason: str
    missing_count: int
    missing: tuple[int, ...]  # seqs, the first 100
    expected: Digest
    actual: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """A job's state has changed; for outside systems. Consumers skip a `sequence` that they have seen."""

    job_id: JobId
    tenant: TenantName
    audience: AudienceName
    sequence: int  # 1.. per job
    state: JobState
    attempt: Attempt
    version: int | None  # the published version, once READY
    code: str | None  # of the error, once FAILED
    occurred_at_us: int  # microseconds since 1970 UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportStarted:
    """First message of one attempt of an export in a partition of the receivers' topic; sent to every partition."""

    tenant: TenantName
    audience: AudienceName
    export_id: JobId
    attempt: Attempt
    partition: Partition
    partitions: int  # P of the topic, frozen on the job: determines the partition of each user id
    version: Version
    snapshot_id: int
    base_version: Version | None  # of a delta; None for a whole version
    columns: RowSchema
    created_at_us: int  # microseconds since 1970 UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportChunk:
    """Up to `CHUNK_MAX_ROWS` rows of one group in one partition, sorted by user id.

    `rows` is an Arrow IPC stream of one record batch: user_id string, then the columns of the export. The same (export,
    attempt, partition, group, seq) has the same rows, even if sent again.
    """

    export_id: JobId
    attempt: Attempt
    partition: Partition
    group: int  # 0.. ; groups share no user, and may be sent concurrently
    seq: Seq  # within the group and partition
    change: Change | None  # None: rows of a whole version
    count: int
    digest: Digest
    rows: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportEnded:
    """Last message of one attempt of an export in a partition; sent to every partition, even without users.

    Sent only after the broker has acknowledged every chunk of every group, so a gap seen here is final.
    """

    export_id: JobId
    attempt: Attempt
    partition: Partition
    partitions: int
    chunks: tuple[int, ...]  # of each group
    records: int  # rows in all of them
    digest: Digest  # of the rows that are not removals
    removed: Digest  # of the removals of a delta


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportAborted:
    """The export will not be finished; `attempt` and all earlier ones may be dropped. Sent to every partition."""

    export_id: JobId
    attempt: Attempt
    partition: Partition
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """An event of one user at one moment, sent by a producer as a single record. `schemas.activity` has the limits.

    Without `event_id` the record is identified by its offset in the topic, so a second copy is a second event.
    """

    user_id: str
    event: str
    occurred_at_us: int  # microseconds since 1970 UTC
    properties: Mapping[str, PropertyValue | None] = field(default_factory=dict)  # None: same as absent
    event_id: str | None = None
    tenant: TenantName = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRecord:
    """A change of one user's attributes: named ones are set, None unsets one, others stay. Later offsets win.

    `deleted` removes all attributes set before; such a record has none itself.
    """

    user_id: str
    attributes: Mapping[str, AttributeValue | None] = field(default_factory=dict)
    deleted: bool = False
    tenant: TenantName = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class EventChunk:
    """Up to `CHUNK_MAX_ROWS` events of one partition.

    `rows` is an Arrow IPC stream of one record batch: _ordinal int64, user_id string, event string, occurred_at
    timestamp, event_id string (or no such column), then a column for each property: double, string or boolean, null
    if absent.
    `digest` covers everything except the ordinal. An event without event_id is identified by (source, ordinal): however
    often, and in whatever chunks, a source is sent, the event is one.
    """

    tenant: TenantName
    source: str  # numbers the rows: s3://bucket/key?versionId=, or a name that a producer never uses again
    import_id: JobId | None  # None: sent by a producer, not by an import
    attempt: Attempt | None
    partition: Partition
    seq: Seq
    count: int
    digest: Digest
    rows: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileChunk:
    """Up to `CHUNK_MAX_ROWS` changes of profiles of one partition, in order.

    `rows` is an Arrow IPC stream of one record batch: _ordinal int64, user_id string, deleted boolean (or no such
    column), then a column for each attribute: double, string, boolean, date or timestamp. Every row sets all of these
    columns: null unsets; a deleted row sets none. `digest` covers everything except the ordinal.
    """

    tenant: TenantName
    source: str
    import_id: JobId | None
    attempt: Attempt | None
    partition: Partition
    seq: Seq
    count: int
    digest: Digest
    rows: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that was undecodable or refused, with its origin. `muster dead-letters replay` sends it again."""

    topic: str
    partition: Partition
    offset: int
    key: bytes | None
    value: bytes
    reason: str
    failed_at_us: int


ImportMessage = ImportStarted | UserChunk | ImportEnded | ImportAborted
ProgressMessage = PartitionMaterialised | PartitionFailed
ExportMessage = ExportStarted | ExportChunk | ExportEnded | ExportAborted
EventMessage = EventRecord | EventChunk
ProfileMessage = ProfileRecord | ProfileChunk
Message = (
    ImportMessage
    | ProgressMessage
    | ExportMessage
    | EventMessage
    | ProfileMessage
    | SegmentMessage
    | JobEvent
    | DeadLetter
)
