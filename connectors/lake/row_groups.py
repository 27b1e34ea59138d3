"""Reads large Parquet files in the memory of a few row groups."""

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.storage.access import S3Access

FETCH_BYTES: Final = 16 * 1024 * 1024
"""Compressed bytes fetched together: requests are large, and memory does not depend on the size of the file."""


def open_parquet(s3: S3Access, uri: str) -> pq.ParquetFile:
    """A file of the lake for `batches_of`; the caller closes it. Raises what Arrow raises (`lake_faults`)."""
    return pq.ParquetFile(uri.removeprefix("s3://"), filesystem=s3.filesystem(), pre_buffer=True)


def batches_of(file: pq.ParquetFile, batch_rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a file from `open_parquet`, in batches of at most `batch_rows`.

    With `pre_buffer`, everything that one call asks for is fetched in a few large requests and kept until the next
    call: a single call for the whole file would keep all of it.
    """
    for groups in _grouped(file.metadata):
        yield from file.iter_batches(batch_rows, row_groups=groups, columns=columns)


def _grouped(metadata: pq.FileMetaData) -> Iterator[list[int]]:
    """Row groups in order, as many at a time as fit; a larger one comes alone."""
    groups: list[int] = []
    size = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        compressed = sum(group.column(column).total_compressed_size for column in range(group.num_columns))
        if groups and size + compressed > FETCH_BYTES:
            yield groups
            groups, size = [], 0
        groups.append(number)
        size += compressed
    if groups:
        yield groups
