"""The parse stream as its readers see it: verification reads it once, publishing a second time."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import pyarrow as pa

from connectors.sources.rejects import RejectBatch


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
