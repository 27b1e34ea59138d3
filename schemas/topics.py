"""The topic table: every Kafka topic of Muster, declared in one place and created by deploy tooling, never by Faust."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

MESSAGE_MAX_BYTES: Final = 1_048_588
"""Kafka's own default for `max.message.bytes` (1 MiB + 12 bytes of record batch overhead)."""

CHUNK_MAX_ROWS: Final = 5_000
CHUNK_MAX_BYTES: Final = 768 * 1024
"""Encoded size at which a chunk ends before it has `CHUNK_MAX_ROWS` rows: well under `MESSAGE_MAX_BYTES`."""

ROW_MAX_BYTES: Final = CHUNK_MAX_BYTES // 2
"""A row whose values together exceed this does not fit in one message and is a reject (`row_too_large`)."""

HOUR_MS: Final = 60 * 60 * 1000
RETENTION_MS: Final = 7 * 24 * HOUR_MS
USERS_SEGMENT_MS: Final = 24 * HOUR_MS
"""How long a log segment with users stays open. Kafka deletes whole segments, so a record outlives its retention by up
to this; Kafka's default is a week, even in busy topics."""
MAX_JOB_AGE_S: Final = 3 * 24 * 60 * 60
"""The reconciler fails older jobs, so that no job outlives the messages it depends on (7 days)."""

OWN_PREFIX: Final = "muster."
"""Prefix of all of Muster's own topics: none of them takes an export."""

IMPORTS: Final = "muster.imports"
IMPORTS_SMALL: Final = "muster.imports.small"
IMPORT_PROGRESS: Final = "muster.import-progress"
JOB_EVENTS: Final = "muster.job-events"
DEAD_LETTERS: Final = "muster.dead-letters"
EVENTS: Final = "muster.events"
PROFILES: Final = "muster.profiles"
SEGMENT_ACTIVATIONS: Final = "muster.segment-activations"
MEMBERSHIP_CHANGES: Final = "muster.membership-changes"
SEGMENT_STATUS: Final = "muster.segment-status"
ARCHIVE: Final = "muster.archive"
ARCHIVE_COMMITS: Final = "muster.archive-commits"

IMPORT_TOPICS: Final = (IMPORTS, IMPORTS_SMALL)
ACTIVITY_TOPICS: Final = (EVENTS, PROFILES)
"""Topics that rules are evaluated over; ordinary producers write to them. They have as many partitions as the import
topics, so that a user has one partition number everywhere."""
OWN_GROUP_PREFIX: Final = "muster-"
"""Prefix of all of Muster's own consumer groups: outside programs join none of them."""
FEED_TRANSACTIONS: Final = "muster-feed-"
"""Prefix of the ids of transactions; the id of the feed follows."""
WORKER_GROUP: Final = "muster-materialiser"
"""Consumer group id (and Faust app id) of the materialiser."""
SEGMENT_WORKER_GROUP: Final = "muster-segments"
"""Consumer group id (and Faust app id) of the workers that evaluate rules."""
RELAY_GROUP: Final = "muster-relay"
ARCHIVE_GROUP: Final = "muster-archive"
"""Consumer group id of the control plane's committer, which appends to the archive."""
SEGMENT_STATUS_GROUP: Final = "muster-relay-segments"
FOREVER_MS: Final = -1
"""Retention of messages that are never sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """Required properties of a topic. `partitions=None` means the deployment's number of import partitions (P)."""

    name: str
    partitions: int | None
    cleanup: Literal["delete", "compact"] = "delete"
    retention_ms: int = RETENTION_MS
    message_max_bytes: int = MESSAGE_MAX_BYTES
    holds_users: bool = False

    def config(self, replication_factor: int = 1) -> Mapping[str, str]:
        """Topic-level configuration by Kafka's names. With one replica down, nothing acknowledged is lost."""
        config = {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.message_max_bytes),
            "message.timestamp.type": "LogAppendTime",
            "min.insync.replicas": str(max(1, replication_factor - 1)),
        }
        return config | {"segment.ms": str(USERS_SEGMENT_MS)} if self.holds_users else config


TOPICS: Final = (
    TopicSpec(name=IMPORTS, partitions=None, holds_users=True),
    TopicSpec(name=IMPORTS_SMALL, partitions=None, holds_users=True),
    TopicSpec(name=IMPORT_PROGRESS, partitions=1),
    TopicSpec(name=JOB_EVENTS, partitions=1),
    TopicSpec(name=EVENTS, partitions=None, holds_users=True),
    # Not compacted: a later change does not repeat attributes set by earlier ones.
    TopicSpec(name=PROFILES, partitions=None, holds_users=True),
    TopicSpec(name=SEGMENT_ACTIVATIONS, partitions=None, retention_ms=FOREVER_MS),
    TopicSpec(name=MEMBERSHIP_CHANGES, partitions=None, holds_users=True),
    TopicSpec(name=SEGMENT_STATUS, partitions=1),
    TopicSpec(name=ARCHIVE, partitions=1),
    TopicSpec(name=ARCHIVE_COMMITS, partitions=1, cleanup="compact"),  # key: <topic>/<partition>
    TopicSpec(
        name=DEAD_LETTERS,
        partitions=1,
        retention_ms=3 * RETENTION_MS,
        holds_users=True,
        message_max_bytes=MESSAGE_MAX_BYTES + 64 * 1024,  # the whole undecodable message and the reason
    ),
)
