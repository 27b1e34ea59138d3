"""Sorted rows -> files of about a target size, each with what a manifest says of it.

The same rows make the same bytes, so that an export that is repeated finds its own files.
"""

import gzip
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol, assert_never, cast

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from connectors.sinks.folders import Place, by_folder, regrouped, require_few_folders
from connectors.sinks.text_rows import csv_header, csv_rows, escaped, formulas, jsonl_rows
from schemas.columns import USER_ID, RowSchema
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.manifest import Change, ExportFormat, ManifestFile
from schemas.row_digest import digest_rows

ZSTD_LEVEL: Final = 3
GZIP_LEVEL: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """A file on local disk, and its line of the manifest. `formulas`: texts that a spreadsheet may take for one."""

    path: Path
    entry: ManifestFile
    formulas: int


def write_files(
    batches: Iterable[pa.RecordBatch],
    schema: RowSchema,
    format_: ExportFormat,
    folder: Path,
    *,
    stem: str,
    target_bytes: int,
    change: Change | None = None,
    partition_by: Sequence[str] = (),
    batch_rows: int | None = None,
    on_rows: Callable[[int], None] = lambda _: None,
) -> Iterator[WrittenFile]:
    """Write rows, sorted by `partition_by` and user id, as files `<stem>-<number>`; none without rows.

    A file is closed with the batch in which it reaches `target_bytes`, and where the values of `partition_by` change;
    its key begins with the folder of these. `batch_rows` (none: as they come) are written at a time: in Parquet, the
    rows of a row group. `on_rows` is told the rows of each batch. Raises `UserError` FORMULA_FOUND, NULL_TOKEN_TAKEN,
    TOO_MANY_PARTITIONS, PARTITION_VALUE_TOO_LONG, and OSError for a full disk.
    """
    number, file = 0, None
    current, folders = Place(), set[str]()
    pieces = by_folder(batches, partition_by)
    try:
        for place, batch in pieces if batch_rows is None else regrouped(pieces, batch_rows):
            if file is not None and place != current:
                done, file = file.close(change), None
                yield done
            if file is None:
                require_few_folders(folders := {*folders, place.folder})
                name = f"{stem}-{number:05d}{format_.suffix}"  # no two have the same, not even in two folders
                file, current = _OpenFile(folder / name, schema, format_, key=place.folder + name), place
                number += 1
            file.write(batch)
            on_rows(batch.num_rows)
            if file.size >= target_bytes:
                done, file = file.close(change), None
                yield done
        if file is not None:
            done, file = file.close(change), None
            yield done
    finally:
        if file is not None:
            file.abandon()


class _Rows(Protocol):
    """Turns rows into bytes of a stream."""

    def write(self, rows: pa.RecordBatch) -> None:
        """Some rows."""

    def close(self) -> None:
        """What stands at the end of the file."""


class _OpenFile:
    """A file that is being written: rows in, bytes counted and hashed on their way to the disk."""

    def __init__(self, path: Path, schema: RowSchema, format_: ExportFormat, *, key: str) -> None:
        self._path = path
        self._key = key
        self._schema = schema
        self._format = format_
        self._digest = Digest(schema_id=schema.schema_id)
        self._formulas = 0
        self._first: str | None = None
        self._last = ""
        self._disk = path.open("wb")
        self._raw = _Hashed(self._disk)
        self._rows = _rows_of(self._raw, schema, format_)

    @property
    def size(self) -> int:
        """Bytes that have been written so far."""
        return self._raw.size

    def write(self, batch: pa.RecordBatch) -> None:
        """Some rows. Raises `UserError` FORMULA_FOUND, NULL_TOKEN_TAKEN."""
        rows = batch.select(list(self._schema.names)).cast(self._schema.arrow())
        ids = rows.column(USER_ID)
        self._first = ids[0].as_py() if self._first is None else self._first
        self._last = ids[-1].as_py()
        self._digest += digest_rows(rows, self._schema)
        if self._format.format == "csv" and (found := formulas(rows, self._schema)):
            self._formulas += found
            if self._format.formulas == "refuse":
                raise UserError(
                    "FORMULA_FOUND",
                    f"{found} texts between the ids {ids[0].as_py()!r} and {self._last!r} begin like a formula of a "
                    "spreadsheet; export them as they are, or escaped (--formulas escape)",
                    formulas=found,
                )
        self._rows.write(escaped(rows, self._schema) if self._format.formulas == "escape" else rows)

    def close(self, change: Change | None) -> WrittenFile:
        """Finish the file."""
        self._rows.close()
        self._disk.close()
        entry = ManifestFile(
            key=self._key,
            rows=self._digest.count,
            bytes=self._raw.size,
            sha256=self._raw.sha256,
            digest=self._digest,
            min=self._first or "",
            max=self._last,
            change=change,
        )
        return WrittenFile(path=self._path, entry=entry, formulas=self._formulas)

    def abandon(self) -> None:
        """Close and remove what is not finished, also on a full disk, which an open file would keep full."""
        with suppress(OSError):
            self._disk.close()
        self._path.unlink(missing_ok=True)


class _Hashed(io.RawIOBase):
    """Counts and hashes what goes through it, once and in order."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """Of all bytes so far, in hex."""
        return self._hash.hexdigest()

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """Some bytes."""
        self._hash.update(data)
        self._target.write(data)
        length = memoryview(data).nbytes
        self.size += length
        return length


def _rows_of(raw: _Hashed, schema: RowSchema, format_: ExportFormat) -> _Rows:
    return _ParquetRows(raw, schema) if format_.format == "parquet" else _TextRows(raw, schema, format_)


class _ParquetRows:
    def __init__(self, raw: _Hashed, schema: RowSchema) -> None:
        self._writer = pq.ParquetWriter(
            pa.PythonFile(raw, mode="w"), schema.arrow(), compression="zstd", compression_level=ZSTD_LEVEL
        )

    def write(self, rows: pa.RecordBatch) -> None:
        self._writer.write_batch(rows)

    def close(self) -> None:
        self._writer.close()


class _TextRows:
    def __init__(self, raw: _Hashed, schema: RowSchema, format_: ExportFormat) -> None:
        self._schema = schema
        self._format = format_
        self._layers = ExitStack()
        self._out = self._compressed(raw)
        if format_.format == "csv":
            self._out.write(csv_header(schema))

    def _compressed(self, raw: _Hashed) -> IO[bytes]:
        plain = cast("IO[bytes]", raw)
        match self._format.compression:
            case "gzip":  # no name and no time in its header: they would differ from export to export
                file = gzip.GzipFile(filename="", mode="wb", fileobj=plain, compresslevel=GZIP_LEVEL, mtime=0)
                return cast("IO[bytes]", self._layers.enter_context(file))
            case "zstd":
                compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
                stream = compressor.stream_writer(plain, closefd=False)
                return cast("IO[bytes]", self._layers.enter_context(stream))
            case "none":
                return plain
            case _:
                assert_never(self._format.compression)

    def write(self, rows: pa.RecordBatch) -> None:
        token = self._format.null_token
        if token is not None:
            self._out.write(csv_rows(rows, self._schema, null_token=token))
        else:
            self._out.write(jsonl_rows(rows, self._schema))

    def close(self) -> None:
        self._layers.close()
