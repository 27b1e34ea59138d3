"""The rejects of a file as Parquet: written as they come, bounded, then uploaded for the customer to read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.sources.rejects import RejectBatch
from connectors.storage.objects import ObjectStore
from schemas.layout import s3_uri

REJECTS_KEPT: Final = 1_000_000
"""Rejects beyond this number are counted but not kept: a file full of faults must not fill the disk."""

GROUP_ROWS: Final = 20_000
"""Rejects per Parquet row group: at most 20,000 x about 1 KiB in memory."""

Upload = Callable[[Path], str]
"""Uploads the finished file to the object store and returns its URI; raises `RetriableError` S3_UNAVAILABLE."""


def upload_to(store: ObjectStore, bucket: str, key: str) -> Upload:
    """An upload to `key` (`rejects_key` or `files_key` of `schemas.layout`); a retry of the same job overwrites it."""

    def upload(path: Path) -> str:
        store.put_file(path, bucket, key)
        return s3_uri(bucket, key)

    return upload


def read_rejects(path: Path) -> Iterator[RejectBatch]:
    """The rejects of a file that `ParquetRejects` has written, in order."""
    with pq.ParquetFile(path) as kept:
        for batch in kept.iter_batches(GROUP_ROWS):
            yield RejectBatch(batch)


class RejectsSink(Protocol):
    """Takes rejects in the order in which they are found."""

    def write(self, rejects: RejectBatch) -> None:
        """Store rejects; those beyond the bound are dropped."""
        ...

    def finish(self) -> str | None:
        """Publish the stored rejects and return their URI. None if there were no rejects. Called once, at the end."""
        ...


class ParquetRejects:
    """`RejectsSink` with a local Parquet file that `upload` then sends to the object store.

    A context manager: on exit the local file is removed in any case. Without rejects no file is created.
    """

    def __init__(self, path: Path, upload: Upload, *, keep: int = REJECTS_KEPT) -> None:
        self._path = path
        self._upload = upload
        self._room = keep
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        self._path.unlink(missing_ok=True)

    def write(self, rejects: RejectBatch) -> None:
        """Store rejects; those beyond the bound are dropped."""
        if self._room == 0:
            return  # an empty slice would keep the memory of the whole batch
        batch = rejects.batch.slice(0, self._room)
        self._room -= batch.num_rows
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        if self._pending_rows >= GROUP_ROWS:
            self._write_group()

    def finish(self) -> str | None:
        """Close the file, upload it and return its URI. None if there was no reject."""
        self._write_group()
        if self._writer is None:
            return None
        self._writer.close()
        self._writer = None
        return self._upload(self._path)

    def _write_group(self) -> None:
        if self._pending_rows == 0:
            return
        if self._writer is None:
            schema = self._pending[0].schema
            self._writer = pq.ParquetWriter(self._path, schema, compression="zstd", compression_level=1)
        self._writer.write_table(pa.Table.from_batches(self._pending))
        self._pending, self._pending_rows = [], 0
