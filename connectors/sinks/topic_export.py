"""What an export to a topic is, in all of its steps, and what was sent of each of its groups."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.ids import Attempt, AudienceName, JobId, TenantName, Version
from schemas.manifest_selection import Account, Change
from schemas.topics import OWN_PREFIX

SCHEME: Final = "kafka://"
TOPIC_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
"""Kafka's own rule (`org.apache.kafka.common.internals.Topic`), which refuses `.` and `..` as well."""

FIRST: Final = Attempt(1)

RESERVED_PREFIXES: Final = (OWN_PREFIX, "__")
"""Muster's own topics, and those of the broker."""


def topic_of(uri: str) -> str:
    """The topic of `kafka://TOPIC`, on the broker of this deployment. Whether it exists is asked by `open_topic`.

    Raises `UserError` BAD_URI, and DESTINATION_NOT_WRITABLE for a topic that is not for exports.
    """
    topic = uri.removeprefix(SCHEME)
    if topic == uri or not TOPIC_NAME.fullmatch(topic) or topic in {".", ".."}:
        raise UserError(
            "BAD_URI",
            f"{uri[:300]!r} is not of the form kafka://TOPIC (a name of 1 to 249 of A-Z, a-z, 0-9, '.', '_' and '-'; "
            "no host, it is the broker of Muster)",
            uri=uri[:300],
        )
    if topic.startswith(RESERVED_PREFIXES):
        raise UserError(
            "DESTINATION_NOT_WRITABLE",
            f"{topic} belongs to {'Muster' if topic.startswith(OWN_PREFIX) else 'the broker'} itself: choose a topic "
            "of your own",
            topic=topic,
        )
    return topic


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportAttempt:
    """What is known of an attempt of an export when nothing else of it is any more: enough to abort it."""

    export_id: JobId
    partitions: int
    attempt: Attempt = FIRST


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicExport:
    """One attempt of an export to a topic: the same values in every step and in every repetition of one.

    `partitions` is the P of the topic when the job was registered. A repeated step keeps `attempt`, whatever died; an
    export that is begun anew under its id, after `abort` or in other groups, needs a higher one: to receivers the rows
    of a chunk never change.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPart:
    """What one partition was sent of one group: chunks, and the digests of rows that are no removals and that are."""

    chunks: int
    digest: Digest
    removed: Digest

    @property
    def records(self) -> int:
        """Rows in the chunks."""
        return self.digest.count + self.removed.count


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSent:
    """One group, of which the broker has acknowledged every chunk. `bytes` of messages, before compression.

    `accounts`: of the rows that were read, where not all were taken as they are.
    """

    export_id: JobId
    attempt: Attempt
    group: int
    bytes: int
    partitions: tuple[SentPart, ...]
    accounts: tuple[Account, ...] = ()

    @property
    def rows(self) -> int:
        """Of all partitions."""
        return sum(part.records for part in self.partitions)

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data: about 150 bytes for each partition."""
        return {
            "export_id": self.export_id,
            "attempt": self.attempt,
            "group": self.group,
            "rows": self.rows,
            "bytes": self.bytes,
            "partitions": [
                {"chunks": part.chunks, "digest": str(part.digest), "removed": str(part.removed)}
                for part in self.partitions
            ],
            "accounts": [account.as_record() for account in self.accounts],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Inverse of `as_record`."""
        return cls(
            export_id=JobId(record["export_id"]),
            attempt=Attempt(record["attempt"]),
            group=record["group"],
            bytes=record["bytes"],
            partitions=tuple(
                SentPart(
                    chunks=part["chunks"], digest=Digest.parse(part["digest"]), removed=Digest.parse(part["removed"])
                )
                for part in record["partitions"]
            ),
            accounts=tuple(Account.from_record(account) for account in record["accounts"]),
        )


def totals(export: TopicExport, groups: Iterable[GroupSent]) -> dict[Change | None, Digest]:
    """Digest of all rows of each kind of change: what a version, or its base and it, are held against before `end`.

    Of a whole version that of None is its digest; of a delta, digest(base) - removed + added is.
    """
    parts = [part for group in groups for part in group.partitions]
    digest = Digest.total(export.columns.schema_id, (part.digest for part in parts))
    if export.base_version is None:
        return {None: digest}
    return {"added": digest, "removed": Digest.total(export.columns.schema_id, (part.removed for part in parts))}
