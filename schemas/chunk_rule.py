"""Where a chunk of an import ends: the rule by which rows are cut, and by which chunks are counted in advance.

A partition's chunk ends at `CHUNK_MAX_ROWS` rows, or before a row with which its encoded form could exceed
`CHUNK_MAX_BYTES`. The bound of that form is the sum of its rows' bounds, whatever batches they come in: so verification
knows how many chunks a part of a source will be, and parts that are sent side by side know their sequence numbers.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import arrow_schema
from schemas.columns import USER_ID, RowSchema
from schemas.kernels.chunks import count_chunks
from schemas.partitioning import partitions_of
from schemas.rows import encode_rows
from schemas.topics import CHUNK_MAX_BYTES, CHUNK_MAX_ROWS

CHUNK_RULE: Final = 1
"""Version of the rule: chunks that were counted by another one are not those that will be cut."""

ENVELOPE_BYTES: Final = 256
"""Upper bound of what the Avro form of a chunk adds to its rows: 10 of header, 27 of job id, 80 of digest, varints."""

BUFFER_PADDING_BYTES: Final = 3 * 8 + 8
"""Per column: Arrow IPC pads each of at most three buffers to 8 bytes; a string column has one closing offset."""


def rows_budget(rows: pa.Schema, max_bytes: int) -> int:
    """Bytes that the rows of a chunk may have by `fixed_row_bytes` and their texts."""
    empty = pa.RecordBatch.from_pylist([], schema=rows)
    return max_bytes - ENVELOPE_BYTES - len(encode_rows(empty)) - BUFFER_PADDING_BYTES * len(rows)


def fixed_row_bytes(rows: pa.Schema) -> int:
    """Bytes of a row without its texts; validity bits and booleans count as whole bytes."""
    return sum(_fixed_bytes(field.type) for field in rows)


def _fixed_bytes(data_type: pa.DataType) -> int:
    if pa.types.is_string(data_type):
        return 4 + 1
    return max(int(data_type.bit_width) // 8, 1) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkCounts:
    """Chunks of some rows, per partition: those that are full, and rows and bytes of the one that is still open.

    `overhead_bytes`: of a chunk's message beyond its rows and the envelope.
    """

    full: tuple[int, ...]
    rows: tuple[int, ...]
    bytes: tuple[int, ...]
    overhead_bytes: int = 0

    @classmethod
    def none(cls, partitions: int, *, overhead_bytes: int = 0) -> Self:
        """Before the first row."""
        zeros = (0,) * partitions
        return cls(full=zeros, rows=zeros, bytes=zeros, overhead_bytes=overhead_bytes)

    @property
    def partitions(self) -> int:
        """Number of partitions. ValueError unless it is the same throughout, with no negative number."""
        if not len(self.full) == len(self.rows) == len(self.bytes) or min(*self.full, *self.rows, *self.bytes) < 0:
            raise ValueError("the counts of chunks do not fit together")
        return len(self.full)

    def closed(self) -> Self:
        """After the open chunks have ended: `full` are all."""
        zeros = (0,) * len(self.full)
        full = tuple(chunks + (rows > 0) for chunks, rows in zip(self.full, self.rows, strict=True))
        return replace(self, full=full, rows=zeros, bytes=zeros)


class ChunkCounter:
    """Counts the chunks into which batches of rows will be cut, after those `before`; `add` every batch in order."""

    def __init__(
        self,
        schema: RowSchema,
        before: ChunkCounts,
        *,
        max_rows: int = CHUNK_MAX_ROWS,
        max_bytes: int = CHUNK_MAX_BYTES,
    ) -> None:
        self._before = before
        self._max_rows = max_rows
        rows = arrow_schema(schema, ordinal=True)
        self._texts = [field.name for field in rows if pa.types.is_string(field.type)]
        self._fixed = fixed_row_bytes(rows)
        self._budget = rows_budget(rows, max_bytes - before.overhead_bytes)
        self._full, self._rows, self._used = (
            np.array(values, np.int64) for values in (before.full, before.rows, before.bytes)
        )

    def add(self, batch: pa.RecordBatch) -> None:
        """Count accepted rows."""
        partition_of, _ = partitions_of(batch.column(USER_ID), len(self._full))
        sizes: npt.NDArray[np.int64] = np.full(batch.num_rows, self._fixed, np.int64)
        for name in self._texts:
            sizes += pc.fill_null(pc.binary_length(batch.column(name)), 0).to_numpy(zero_copy_only=False)
        count_chunks(partition_of, sizes, self._max_rows, self._budget, self._rows, self._used, self._full)

    @property
    def counts(self) -> ChunkCounts:
        """Counts of all rows so far."""
        full, rows, used = (tuple(values.tolist()) for values in (self._full, self._rows, self._used))
        return replace(self._before, full=full, rows=rows, bytes=used)
