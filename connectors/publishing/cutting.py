"""Cuts a stream of rows into pieces for one message each, one sequence per partition. Columnar: no Python per row.

A row goes to the partition of its user id (`schemas.partitioning`). Rows of a partition keep their order, and a piece
is cut at `CHUNK_MAX_ROWS` rows or before its encoded form would exceed `CHUNK_MAX_BYTES`, whichever comes first. Rows
that do not fill a piece are carried to the next batch, as a copy, so that a few rows never keep a whole batch alive:
memory is bounded by one batch and one piece per partition. Batch boundaries do not influence the cuts: the same rows in
the same order are always cut in the same way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.chunk_rule import fixed_row_bytes, rows_budget
from schemas.columns import USER_ID, RowSchema
from schemas.digest import Digest
from schemas.ids import Partition, Seq
from schemas.partitioning import partition_users
from schemas.row_digest import digest_rows
from schemas.rows import encode_rows
from schemas.topics import CHUNK_MAX_BYTES, CHUNK_MAX_ROWS


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The rows of one message, encoded (`schemas.rows`), and their sequence number in a partition."""

    partition: Partition
    seq: Seq
    digest: Digest
    rows: bytes


class RowCutter:
    """Turns batches of rows into `Piece`s; use `add` for every batch in order, then `finish`.

    `ordinal` says whether the rows have the column `_ordinal`; `max_rows` and `max_bytes` bound a piece (rows; bytes of
    its encoded message). `first_seqs`: where the sequence of each partition begins, by default at 0; sequences
    continue after `finish`.
    """

    def __init__(
        self,
        *,
        schema: RowSchema,
        ordinal: bool,
        partitions: int,
        max_rows: int = CHUNK_MAX_ROWS,
        max_bytes: int = CHUNK_MAX_BYTES,
        first_seqs: Sequence[int] = (),
    ) -> None:
        self._schema = schema
        self._arrow = arrow_schema(schema, ordinal=ordinal)
        self._max_rows = max_rows
        self._budget = rows_budget(self._arrow, max_bytes)
        self._fixed_row_bytes = fixed_row_bytes(self._arrow)
        self._carries = [_Carry() for _ in range(partitions)]
        self._first_seqs = tuple(first_seqs) or (0,) * partitions
        self._seqs = list(self._first_seqs)
        self._digests = [Digest(schema_id=schema.schema_id) for _ in range(partitions)]

    @property
    def pieces(self) -> tuple[int, ...]:
        """Pieces made so far, per partition."""
        return tuple(seq - first for seq, first in zip(self._seqs, self._first_seqs, strict=True))

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Digest of the rows in those pieces, per partition."""
        return tuple(self._digests)

    def add(self, batch: pa.RecordBatch) -> Iterator[Piece]:
        """The pieces that are full after this batch (columns: [_ordinal], user_id, those of the schema).

        Raises `ValueError` if a single row is larger than a piece: the parser rejects such rows.
        """
        rows = batch.select(self._arrow.names)
        if not rows.schema.equals(self._arrow):
            raise TypeError(f"rows are {rows.schema}, not {self._arrow}")
        grouped = partition_users(rows.column(USER_ID), len(self._carries))
        rows = rows.take(pa.array(grouped.order))
        ends = self._cumulative_bytes(rows)
        for partition in range(len(self._carries)):
            first, last = int(grouped.starts[partition]), int(grouped.starts[partition + 1])
            yield from self._cut(Partition(partition), rows, ends, first, last)

    def finish(self) -> Iterator[Piece]:
        """The last piece of every partition with remaining rows."""
        for partition, carry in enumerate(self._carries):
            if carry.rows:
                yield self._piece(Partition(partition), carry.release())

    def _cut(
        self, partition: Partition, rows: pa.RecordBatch, ends: npt.NDArray[np.int64], first: int, last: int
    ) -> Iterator[Piece]:
        carry = self._carries[partition]
        while first < last:
            # The piece takes rows first..cut-1: ends[k] is the total size in bytes of the rows before row k.
            room = ends[first] + self._budget - carry.bytes
            cut = int(np.searchsorted(ends, room, side="right")) - 1
            cut = min(cut, first + self._max_rows - carry.rows, last)
            if cut == last and carry.rows + cut - first < self._max_rows:
                # concat_batches copies, so the carried rows do not keep alive the batch that they are a slice of.
                copy = pa.concat_batches([rows.slice(first, last - first)])
                carry.add(copy, int(ends[last] - ends[first]))
                return
            if cut <= first and not carry.rows:
                raise ValueError(f"a row of {int(ends[first + 1] - ends[first])} bytes does not fit into a chunk")
            yield self._piece(partition, carry.release(rows.slice(first, max(cut - first, 0))))
            first = max(cut, first)

    def _piece(self, partition: Partition, rows: pa.RecordBatch) -> Piece:
        # The digest covers the very rows that are encoded, after partitioning, so that a fault there would show.
        digest = digest_rows(rows, self._schema)
        seq = self._seqs[partition]
        self._seqs[partition] = seq + 1
        self._digests[partition] += digest
        return Piece(partition=partition, seq=Seq(seq), digest=digest, rows=encode_rows(rows))

    def _cumulative_bytes(self, rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
        """int64[n + 1]: an upper bound of the encoded bytes of the rows before each row."""
        ends = np.arange(rows.num_rows + 1, dtype=np.int64) * self._fixed_row_bytes
        for column in rows.columns:
            if pa.types.is_string(column.type) and len(column):
                offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
                ends += offsets
                ends -= int(offsets[0])
        return ends


class _Carry:
    """Rows of one partition that do not fill a piece yet: copies, in order."""

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0
        self._batches: list[pa.RecordBatch] = []

    def add(self, batch: pa.RecordBatch, size: int) -> None:
        self._batches.append(batch)
        self.rows += batch.num_rows
        self.bytes += size

    def release(self, *more: pa.RecordBatch) -> pa.RecordBatch:
        """The carried rows and `more` as one batch; nothing is carried afterwards."""
        batches = [batch for batch in (*self._batches, *more) if batch.num_rows]
        self._batches = []
        self.rows = self.bytes = 0
        # Copies even a single batch: an encoded slice would end in bits of the rows behind it and vary.
        return pa.concat_batches(batches)
