"""The digest: an order-free fingerprint of a multiset of rows, bound to their schema. docs/digest.md has test vectors.

A row's hash is a chain over its columns, user_id first: h = XXH64(value, seed=h), starting from seed 0 for the first
lane and seed 1 for the second; a null is XXH64(b"", seed=~h). The digest of rows is (count, sum of lane 0 mod 2^64, sum
of lane 1 mod 2^64). Sums, not xor: xor cancels pairs, so a doubled row would not show. Chunks, partitions, files and
exports of the same rows agree whatever their order, and one row can be subtracted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.buffers import string_buffers, validity, word_values
from schemas.columns import RowSchema
from schemas.hashing import chain_strings, chain_words, sum_by_group

MODULUS: Final = 2**64
RowHashes = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """Digest of `count` rows of schema `schema_id`; `sum0` and `sum1` are 0 .. 2^64 - 1."""

    schema_id: str
    count: int = 0
    sum0: int = 0
    sum1: int = 0

    def __add__(self, other: "Digest") -> "Digest":
        self._same_schema(other)
        return Digest(
            schema_id=self.schema_id,
            count=self.count + other.count,
            sum0=(self.sum0 + other.sum0) % MODULUS,
            sum1=(self.sum1 + other.sum1) % MODULUS,
        )

    def __sub__(self, other: "Digest") -> "Digest":
        self._same_schema(other)
        return Digest(
            schema_id=self.schema_id,
            count=self.count - other.count,
            sum0=(self.sum0 - other.sum0) % MODULUS,
            sum1=(self.sum1 - other.sum1) % MODULUS,
        )

    def _same_schema(self, other: "Digest") -> None:
        if self.schema_id != other.schema_id:
            raise ValueError(f"digests of different schemas do not add: {self.schema_id} and {other.schema_id}")

    def __str__(self) -> str:
        return f"{self.schema_id}:{self.count}:{self.sum0:016x}:{self.sum1:016x}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Inverse of `str`. Raises ValueError."""
        schema_id, count, sum0, sum1 = text.split(":")
        if len(schema_id) != 16 or len(sum0) != 16 or len(sum1) != 16:
            raise ValueError(f"{text[:120]!r} is not a digest")
        return cls(schema_id=schema_id, count=int(count), sum0=int(sum0, 16), sum1=int(sum1, 16))

    @classmethod
    def total(cls, schema_id: str, digests: Iterable["Digest"]) -> "Digest":
        """Sum of any number of digests of one schema."""
        total = Digest(schema_id=schema_id)
        for digest in digests:
            total += digest
        return total


def row_hashes(rows: pa.RecordBatch | pa.Table, schema: RowSchema) -> RowHashes:
    """The two hashes of every row, uint64[n] each. Columns are taken by name; others are ignored."""
    h0 = np.zeros(rows.num_rows, np.uint64)
    h1 = np.ones(rows.num_rows, np.uint64)
    for name, field in zip(schema.names, schema.arrow(), strict=True):
        column = rows.column(name)
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if isinstance(array, pa.ChunkedArray):  # combine_chunks keeps two chunks when offsets would pass 2 GiB
            raise ValueError(f"column {name} is too large for one array; hash it in batches")
        if array.type != field.type:
            raise TypeError(f"column {name} is {array.type}, the schema says {field.type}")
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
    """Digest of rows whose hashes are known."""
    return Digest(
        schema_id=schema_id,
        count=len(h0),
        sum0=int(np.sum(h0, dtype=np.uint64)),
        sum1=int(np.sum(h1, dtype=np.uint64)),
    )


class PartitionDigests:
    """Running count and digest of every partition of a stream of rows."""

    def __init__(self, schema: RowSchema, partitions: int) -> None:
        self._schema = schema
        self._counts = np.zeros(partitions, np.int64)
        self._sums = np.zeros((partitions, 2), np.uint64)

    def add(self, partition_of: npt.NDArray[np.int32], hashes: RowHashes) -> None:
        """Add rows, given the partition (int32[n]) and the two hashes of each."""
        self._counts += np.bincount(partition_of, minlength=len(self._counts))
        sum_by_group(partition_of, hashes[0], hashes[1], self._sums)

    def digests(self) -> tuple[Digest, ...]:
        """Digest of each partition, in order."""
        return tuple(
            Digest(schema_id=self._schema.schema_id, count=int(count), sum0=int(sums[0]), sum1=int(sums[1]))
            for count, sums in zip(self._counts, self._sums, strict=True)
        )
