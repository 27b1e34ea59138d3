"""The parse stream as its consumers see it: verification needs digests of the rows, publishing the rows themselves."""

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
        """Rows returned in batches."""
        ...

    @property
    def rejected(self) -> int:
        """Rows returned as rejects."""
        ...

    @property
    def rejected_by_code(self) -> Mapping[str, int]:
        """Rejects per `RejectCode`."""
        ...

    @property
    def source_bytes(self) -> int:
        """Size of the object in bytes."""
        ...

    @property
    def decoded_bytes(self) -> int:
        """Size after decompression, in bytes."""
        ...


class ParsedRows(Protocol):
    """A parsed file: batches of accepted rows (_ordinal, user_id, columns) and of rejects, in file order."""

    def __iter__(self) -> "Iterator[pa.RecordBatch | RejectBatch]":
        """Iterates once. Raises what the parser finds wrong with the file as a whole, or `UserError` SOURCE_CHANGED."""
        ...

    @property
    def summary(self) -> ParsedSummary:
        """Counts of the whole file; available after the iteration."""
        ...

    @property
    def file(self) -> int:
        """Place, among the files of an import, of the file whose rows the last batch has."""
        ...


class Digested(Protocol):
    """A parsed file whose accepted rows are digested per partition; yields only batches of rejects, in file order."""

    def __iter__(self) -> Iterator[RejectBatch]:
        """See `ParsedRows`."""
        ...

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Digest of each partition, in order; available after the iteration."""
        ...

    @property
    def summary(self) -> ParsedSummary:
        """See `ParsedRows`."""
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
        """See `Digested`."""
        return self._totals.digests()

    @property
    def summary(self) -> ParsedSummary:
        """See `Digested`."""
        return self._parsed.summary
