"""Digests of rows over Arrow batches (`schemas.digest` defines them)."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.buffers import string_buffers, validity, word_values
from schemas.columns import USER_ID, RowSchema
from schemas.digest import Digest
from schemas.kernels.hashing import chain_strings, chain_words, sum_by_group
from schemas.partitioning import partitions_of

RowHashes = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]


def row_hashes(rows: pa.RecordBatch | pa.Table, schema: RowSchema) -> RowHashes:
    """The two hashes of every row, uint64[n] each. Columns are taken by name; others are ignored."""
    h0 = np.zeros(rows.num_rows, np.uint64)
    h1 = np.ones(rows.num_rows, np.uint64)
    for name, field in zip(schema.names, arrow_schema(schema), strict=True):
        column = rows.column(name)
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if isinstance(array, pa.ChunkedArray):  # combine_chunks keeps two chunks when offsets would pass 2 GiB
            raise ValueError(f"column {name} is too large for one array; hash it in batches")
        if array.type != field.type:
            raise TypeError(f"column {name} is {array.type}, but the schema says {field.type}")
        if pa.types.is_string(array.type):
            chain_strings(*string_buffers(array), validity(array), h0, h1)
        else:
            chain_words(word_values(array), validity(array), h0, h1)
    return h0, h1


def digest_rows(rows: pa.RecordBatch | pa.Table, schema: RowSchema) -> Digest:
    """Digest of all rows of a batch or table."""
    h0, h1 = row_hashes(rows, schema)
    return digest_hashes(h0, h1, schema.schema_id)


def digest_hashes(h0: npt.NDArray[np.uint64], h1: npt.NDArray[np.uint64], schema_id: str) -> Digest:
    """Digest of rows from their hashes."""
    return Digest(
        schema_id=schema_id,
        count=len(h0),
        sum0=int(np.sum(h0, dtype=np.uint64)),
        sum1=int(np.sum(h1, dtype=np.uint64)),
    )


class PartitionDigests:
    """Running count and digest of every partition in a stream of rows."""

    def __init__(self, schema: RowSchema, partitions: int) -> None:
        self._schema = schema
        self._counts = np.zeros(partitions, np.int64)
        self._sums = np.zeros((partitions, 2), np.uint64)

    def add(self, rows: pa.RecordBatch) -> None:
        """Add rows; columns are taken by name, as in `row_hashes`."""
        partition_of, counts = partitions_of(rows.column(USER_ID), len(self._counts))
        h0, h1 = row_hashes(rows, self._schema)
        self._counts += counts
        sum_by_group(partition_of, h0, h1, self._sums)

    def digests(self) -> tuple[Digest, ...]:
        """Digest of each partition, in order."""
        return tuple(
            Digest(schema_id=self._schema.schema_id, count=int(count), sum0=int(sums[0]), sum1=int(sums[1]))
            for count, sums in zip(self._counts, self._sums, strict=True)
        )
