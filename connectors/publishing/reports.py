"""What an attempt reports while it runs and at its end."""

from dataclasses import dataclass

from schemas.digest import Digest
from schemas.ids import Attempt, JobId, Partition


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishProgress:
    """How far an attempt has come: rows and message bytes queued, and rows per partition.

    `offsets`: per partition, the offsets of the first and last message that the broker has acknowledged; -1 if none.
    """

    rows: int
    bytes: int
    partitions: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionSent:
    """Totals sent to one partition; its end marker, if there are markers, has the same numbers."""

    partition: Partition
    chunks: int
    records: int
    digest: Digest
    end_offset: int  # of the end marker, or of the last chunk if there are no markers; -1 if neither


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReport:
    """A finished attempt: the broker has acknowledged all its messages."""

    import_id: JobId
    attempt: Attempt
    topic: str
    rows: int
    bytes: int  # of the messages, before compression
    partitions: tuple[PartitionSent, ...]
