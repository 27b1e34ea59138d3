"""Streams rows from files of the archive, one batch at a time, in the order in which they were written."""

from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from connectors.lake.archive_tables import ArchivedFile
from connectors.lake.faults import lake_faults
from connectors.lake.row_groups import batches_of, open_parquet
from connectors.storage.access import S3Access

BATCH_ROWS: Final = 65_536
"""With 500 B of properties per row, a batch is 32 MiB."""


def archived_rows(s3: S3Access, file: ArchivedFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The columns of `schema` from a file.

    Raises `FatalError` LAKE_FILE_MISSING, LAKE_UNREADABLE; `RetriableError` LAKE_UNAVAILABLE.
    """
    with lake_faults(f"reading {file.uri}"), open_parquet(s3, file.uri) as parquet:
        for batch in batches_of(parquet, BATCH_ROWS, schema.names):
            yield batch.select(schema.names).cast(schema)
