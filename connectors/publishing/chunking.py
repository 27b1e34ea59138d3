"""Turns the rows of an attempt into chunk messages; `connectors.publishing.cutting` decides where a chunk ends."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from connectors.publishing.attempts import Chunk, ImportAttempt
from connectors.publishing.cutting import RowCutter
from schemas.digest import Digest
from schemas.topics import CHUNK_MAX_BYTES, CHUNK_MAX_ROWS


class Chunker:
    """Turns batches of accepted rows into chunks; use `add` for every batch in order, then `finish` once.

    Before the first batch of each file of a set, use `begin_file`.
    `max_rows` and `max_bytes` bound a chunk (rows; bytes of its encoded message). `first_seqs`: as of `RowCutter`.
    """

    def __init__(
        self,
        attempt: ImportAttempt,
        *,
        max_rows: int = CHUNK_MAX_ROWS,
        max_bytes: int = CHUNK_MAX_BYTES,
        first_seqs: Sequence[int] = (),
    ) -> None:
        self._whole = attempt
        self._attempt = attempt
        self._cutter = RowCutter(
            schema=attempt.columns,
            ordinal=True,
            partitions=attempt.partitions,
            max_rows=max_rows,
            max_bytes=max_bytes - attempt.chunk_overhead_bytes,
            first_seqs=first_seqs,
        )

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunks made so far, per partition."""
        return self._cutter.pieces

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Digest of the rows in those chunks, per partition."""
        return self._cutter.digests

    def add(self, batch: pa.RecordBatch) -> Iterator[Chunk]:
        """The chunks that are full after this batch (columns: _ordinal, user_id, those of the schema).

        Raises `ValueError` if a single row is larger than a chunk: the parser rejects such rows.
        """
        return map(self._attempt.chunk, self._cutter.add(batch))

    def begin_file(self, number: int) -> Iterator[Chunk]:
        """The last chunks of the file before this one, if chunks have rows of one file only."""
        of_file = self._whole.of_file(number)
        if of_file is not None:
            yield from self.finish()
            self._attempt = of_file

    def finish(self) -> Iterator[Chunk]:
        """The last chunk of every partition with remaining rows; more may follow with other rows."""
        return map(self._attempt.chunk, self._cutter.finish())
