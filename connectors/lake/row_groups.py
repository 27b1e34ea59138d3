"""Reads large Parquet files in the memory of a few row groups."""

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.storage.access import S3Access

HELD_BYTES: Final = 16 * 1024 * 1024
"""Compressed bytes fetched together: requests are large, and memory does not depend on the size of the file."""


def opened(s3: S3Access, uri: str) -> pq.ParquetFile:
    """A file of the lake for `batches_of`; the caller closes it. Raises what Arrow raises (`lake_faults`)."""
    return pq.ParquetFile(uri.removeprefix("s3://"), filesystem=s3.filesystem(), pre_buffer=True)


def batches_of(file: pq.ParquetFile, batch_rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a file from `opened`, in batches of at most `batch_rows`.

    With `pre_buffer`, everything that one call asks for is fetched in a few large requests and kept until the next
    call: a single call for the whole file would keep all of it.
    """
    for groups in _together(file.metadata):
        yield from file.iter_batches(batch_rows, row_groups=groups, columns=columns)


def _together(metadata: pq.FileMetaData) -> Iterator[list[int]]:
    """Row groups in order, as many at a time as fit; a larger one comes alone."""
    groups: list[int] = []
    held = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        packed = sum(group.column(column).total_compressed_size for column in range(group.num_columns))
        if groups and held + packed > HELD_BYTES:
            yield groups
            groups, held = [], 0
        groups.append(number)
        held += packed
    if groups:
        yield groups
