"""The parse stream as its readers see it: verification needs digests of the rows, publishing the rows themselves."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import pyarrow as pa

from connectors.sources.rejects import RejectBatch
from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.row_digest import PartitionDigests


class ParsedSummary(Protocol):
    """Counts of a whole file; rows = accepted + rejected."""

    @property
    def rows(self) -> int:
        """Data rows in the file."""
        ...

    @property
    def accepted(self) -> int:
        """Rows that came out in batches."""
        ...

    @property
    def rejected(self) -> int:
        """Rows that came out as rejects."""
        ...

    @property
    def rejected_by_code(self) -> Mapping[str, int]:
        """Rejects per `RejectCode`."""
        ...

    @property
    def source_bytes(self) -> int:
        """Bytes of the object."""
        ...

    @property
    def decoded_bytes(self) -> int:
        """Bytes after decompression."""
        ...


class ParsedRows(Protocol):
    """A parsed file: batches of accepted rows (_ordinal, user_id, columns) and of rejects, in file order."""

    def __iter__(self) -> "Iterator[pa.RecordBatch | RejectBatch]":
        """Once only. Raises what the parser finds wrong with the file as a whole, and `UserError` SOURCE_CHANGED."""
        ...

    @property
    def summary(self) -> ParsedSummary:
        """Counts of the whole file; known when the iteration has ended."""
        ...


class Digested(Protocol):
    """A parsed file whose accepted rows are digested by partition; only batches of rejects come out, in file order."""

    def __iter__(self) -> Iterator[RejectBatch]:
        """As of `ParsedRows`."""
        ...

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Of each partition, in order; known when the iteration has ended."""
        ...

    @property
    def summary(self) -> ParsedSummary:
        """As of `ParsedRows`."""
        ...


class DigestedHere:
    """`Digested` over rows that this process needs itself."""

    def __init__(self, parsed: ParsedRows, schema: RowSchema, partitions: int) -> None:
        self._parsed = parsed
        self._totals = PartitionDigests(schema, partitions)

    def __iter__(self) -> Iterator[RejectBatch]:
        for found in self._parsed:
            if isinstance(found, RejectBatch):
                yield found
            else:
                self._totals.add(found)

    @property
    def digests(self) -> tuple[Digest, ...]:
        """As of `Digested`."""
        return self._totals.digests()

    @property
    def summary(self) -> ParsedSummary:
        """As of `Digested`."""
        return self._parsed.summary
