"""What an attempt reports while it runs, and what it has done in the end."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.digest import Digest
from schemas.ids import Attempt, JobId, Partition


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishProgress:
    """How far an attempt has got: rows and message bytes queued, and of every partition the rows.

    `offsets`: of every partition the first and last message that the broker has acknowledged; -1 without one.
    """

    rows: int
    bytes: int
    partitions: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionSent:
    """What one partition was sent; its end marker, if there are markers, carries the same numbers."""

    partition: Partition
    chunks: int
    records: int
    digest: Digest
    end_offset: int  # of the end marker, or of the last chunk where there are no markers; -1 without one


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReport:
    """A finished attempt: every message of it has been acknowledged by the broker."""

    import_id: JobId
    attempt: Attempt
    topic: str
    rows: int
    bytes: int  # of the messages, before compression
    partitions: tuple[PartitionSent, ...]

    def as_record(self) -> Mapping[str, object]:
        """Plain JSON data; digests as `schema_id:count:sum0:sum1`."""
        return {
            "import_id": self.import_id,
            "attempt": self.attempt,
            "topic": self.topic,
            "rows": self.rows,
            "bytes": self.bytes,
            "partitions": [
                {
                    "partition": sent.partition,
                    "chunks": sent.chunks,
                    "records": sent.records,
                    "digest": str(sent.digest),
                    "end_offset": sent.end_offset,
                }
                for sent in self.partitions
            ],
        }
