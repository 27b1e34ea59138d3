"""The messages of an attempt, by what it imports: members of an audience, or events and profile changes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

from connectors.publishing.cutting import Piece
from schemas.columns import ImportMode, RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, AudienceName, JobId, Partition, TenantName
from schemas.messages import EventChunk, ImportEnded, ImportStarted, ProfileChunk, UserChunk

Chunk = UserChunk | EventChunk | ProfileChunk


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportAttempt(ABC):
    """One attempt of an import job, as the catalog started it. `partitions` is the P frozen on the job.

    `source` is the pinned object (`s3://bucket/key?versionId=...`); of several files, what they have in common.
    """

    tenant: TenantName
    import_id: JobId
    attempt: Attempt
    partitions: int
    source: str
    columns: RowSchema

    @property
    def chunk_overhead_bytes(self) -> int:
        """Size of a chunk's message beyond its rows and `chunk_rule.ENVELOPE_BYTES`."""
        return 0

    def of_file(self, number: int) -> Self | None:
        """The attempt for the chunks of one of its files. None if chunks may have rows of several files."""
        del number
        return None

    @abstractmethod
    def chunk(self, piece: Piece) -> Chunk:
        """The message for a piece."""

    def start_markers(self) -> Sequence[ImportStarted]:
        """One marker for each partition; none if the attempt has no markers."""
        return ()

    def end_markers(self, chunks: Sequence[int], digests: Sequence[Digest]) -> Sequence[ImportEnded]:
        """One marker for each partition, with the totals sent to it; none if the attempt has no markers."""
        del chunks, digests
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceAttempt(ImportAttempt):
    """An import of an audience: its chunks lie between markers.

    `data_prefix` is the `s3://bucket/prefix/` under which the workers write the sorted parts.
    """

    audience: AudienceName
    mode: ImportMode
    data_prefix: str

    def chunk(self, piece: Piece) -> UserChunk:
        """See `ImportAttempt`."""
        return UserChunk(
            import_id=self.import_id,
            attempt=self.attempt,
            partition=piece.partition,
            seq=piece.seq,
            count=piece.digest.count,
            digest=piece.digest,
            rows=piece.rows,
        )

    def start_markers(self) -> Sequence[ImportStarted]:
        """See `ImportAttempt`."""
        return [
            ImportStarted(
                tenant=self.tenant,
                audience=self.audience,
                import_id=self.import_id,
                attempt=self.attempt,
                partition=Partition(number),
                partitions=self.partitions,
                kind="audience",
                mode=self.mode,
                source=self.source,
                columns=self.columns,
            )
            for number in range(self.partitions)
        ]

    def end_markers(self, chunks: Sequence[int], digests: Sequence[Digest]) -> Sequence[ImportEnded]:
        """See `ImportAttempt`."""
        return [
            ImportEnded(
                tenant=self.tenant,
                audience=self.audience,
                import_id=self.import_id,
                attempt=self.attempt,
                partition=Partition(number),
                partitions=self.partitions,
                columns=self.columns,
                data_prefix=self.data_prefix,
                chunks=sent,
                records=digest.count,
                digest=digest,
            )
            for number, (sent, digest) in enumerate(zip(chunks, digests, strict=True))
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityAttempt(ImportAttempt):
    """An import of events or profiles, without markers: its rows are added to the existing ones, and count once read.

    An attempt that dies leaves the first part of its rows, and the next one sends all of them again: events are
    identified by the object and their row, so each counts once; profile changes set the same values again.

    Events without an id are identified by `source` and their ordinal, so `source` must name one version of one object:
    then every attempt, and every other import of that object, sends the same events. `sources`: those of several files,
    in order; each chunk has rows of one file, and names that.
    """

    kind: Literal["events", "profiles"]
    sources: tuple[str, ...] = ()

    @property
    def chunk_overhead_bytes(self) -> int:
        """See `ImportAttempt`. Of several files, for the longest source, so that all are cut alike."""
        return max(len(source.encode()) for source in (self.source, *self.sources))

    def of_file(self, number: int) -> Self | None:
        """See `ImportAttempt`."""
        return replace(self, source=self.sources[number]) if self.sources else None

    def chunk(self, piece: Piece) -> EventChunk | ProfileChunk:
        """See `ImportAttempt`."""
        message = EventChunk if self.kind == "events" else ProfileChunk
        return message(
            tenant=self.tenant,
            source=self.source,
            import_id=self.import_id,
            attempt=self.attempt,
            partition=piece.partition,
            seq=piece.seq,
            count=piece.digest.count,
            digest=piece.digest,
            rows=piece.rows,
        )
