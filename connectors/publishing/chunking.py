"""The rows of an import as `UserChunk`s; `connectors.publishing.cutting` says where one ends."""

from collections.abc import Iterator

import pyarrow as pa

from connectors.publishing.cutting import Piece, RowCutter
from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, JobId
from schemas.messages import UserChunk
from schemas.topics import CHUNK_MAX_BYTES, CHUNK_MAX_ROWS


class Chunker:
    """Turns batches of accepted rows into `UserChunk`s; use `add` for every batch in order, then `finish` once.

    `max_rows` and `max_bytes` bound a chunk (rows; bytes of its encoded message).
    """

    def __init__(
        self,
        *,
        schema: RowSchema,
        partitions: int,
        import_id: JobId,
        attempt: Attempt,
        max_rows: int = CHUNK_MAX_ROWS,
        max_bytes: int = CHUNK_MAX_BYTES,
    ) -> None:
        self._cutter = RowCutter(
            schema=schema, ordinal=True, partitions=partitions, max_rows=max_rows, max_bytes=max_bytes
        )
        self._import_id = import_id
        self._attempt = attempt

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunks made so far, per partition."""
        return self._cutter.pieces

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Digest of the rows in those chunks, per partition."""
        return self._cutter.digests

    def add(self, batch: pa.RecordBatch) -> Iterator[UserChunk]:
        """The chunks that are full after this batch (columns: _ordinal, user_id, those of the schema).

        Raises `ValueError` when one row alone is larger than a chunk: the parser rejects such rows.
        """
        return (self._chunk(piece) for piece in self._cutter.add(batch))

    def finish(self) -> Iterator[UserChunk]:
        """The last chunk of every partition that still holds rows."""
        return (self._chunk(piece) for piece in self._cutter.finish())

    def _chunk(self, piece: Piece) -> UserChunk:
        return UserChunk(
            import_id=self._import_id,
            attempt=self._attempt,
            partition=piece.partition,
            seq=piece.seq,
            count=piece.digest.count,
            digest=piece.digest,
            rows=piece.rows,
        )
