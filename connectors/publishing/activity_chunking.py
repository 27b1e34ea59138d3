"""The rows of a file of events or profiles as chunks; `connectors.publishing.cutting` says where one ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from connectors.publishing.cutting import Piece, RowCutter
from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, JobId, TenantName
from schemas.messages import EventChunk, ProfileChunk
from schemas.topics import CHUNK_MAX_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivitySource:
    """Where the rows of one attempt come from.

    Events without an id are known by `source` and their ordinal, so it names one version of one object
    (`s3://bucket/key?versionId=...`): then every attempt, and every other import of that object, sends the same events.
    """

    kind: Literal["events", "profiles"]
    tenant: TenantName
    source: str
    import_id: JobId
    attempt: Attempt


class ActivityChunker:
    """Turns batches of accepted rows into chunks; use `add` for every batch in order, then `finish` once."""

    def __init__(self, source: ActivitySource, *, schema: RowSchema, partitions: int) -> None:
        self._source = source
        self._message = EventChunk if source.kind == "events" else ProfileChunk
        most = CHUNK_MAX_BYTES - len(source.source.encode())
        self._cutter = RowCutter(schema=schema, ordinal=True, partitions=partitions, max_bytes=most)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunks made so far, per partition."""
        return self._cutter.pieces

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Digest of the rows in those chunks, per partition."""
        return self._cutter.digests

    def add(self, batch: pa.RecordBatch) -> Iterator[EventChunk | ProfileChunk]:
        """The chunks that are full after this batch (columns: _ordinal, user_id, those of the schema).

        Raises `ValueError` when one row alone is larger than a chunk: the parser rejects such rows.
        """
        return (self._chunk(piece) for piece in self._cutter.add(batch))

    def finish(self) -> Iterator[EventChunk | ProfileChunk]:
        """The last chunk of every partition that still holds rows."""
        return (self._chunk(piece) for piece in self._cutter.finish())

    def _chunk(self, piece: Piece) -> EventChunk | ProfileChunk:
        return self._message(
            tenant=self._source.tenant,
            source=self._source.source,
            import_id=self._source.import_id,
            attempt=self._source.attempt,
            partition=piece.partition,
            seq=piece.seq,
            count=piece.digest.count,
            digest=piece.digest,
            rows=piece.rows,
        )
