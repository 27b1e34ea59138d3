"""Sorted rows -> files of about a target size, each with its manifest entry.

The same rows produce the same bytes, so a repeated export finds its own files.
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

from connectors.sinks.folders import PartitionFolder, require_few_folders
from connectors.sinks.pieces import Piece, pieces
from connectors.sinks.stages import Stages
from connectors.sinks.text_rows import csv_header
from schemas.arrow import arrow_schema
from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.manifest import Change, ExportFormat, ManifestFile

PARQUET_ZSTD_LEVEL: Final = 1
"""Takes half the time of level 3, and pages of ids are no larger."""
ZSTD_LEVEL: Final = 3
GZIP_LEVEL: Final = 6
PIECES_AHEAD: Final = 2
SAMPLE_ROWS: Final = 131_072


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """A file on local disk, and its manifest entry. `formulas`: texts that a spreadsheet may take for a formula."""

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
    stages: Stages,
    change: Change | None = None,
    partition_by: Sequence[str] = (),
    batch_rows: int | None = None,
    on_rows: Callable[[int], None] = lambda _: None,
) -> Iterator[WrittenFile]:
    """Write rows, sorted by `partition_by` and user id, as files `<stem>-<number>`; no file if there are no rows.

    A file is closed after the batch in which it reaches `target_bytes`, and where the values of `partition_by` change;
    its key begins with their folder. `batch_rows` (None: as they arrive) rows are written at a time; in Parquet, that
    is a row group. Rows are prepared for writing in one of `stages`. `on_rows` gets the number of rows written, batch
    by batch. Raises `UserError` FORMULA_FOUND, NULL_TOKEN_TAKEN, TOO_MANY_PARTITIONS, PARTITION_VALUE_TOO_LONG, and
    OSError for a full disk.
    """
    cut = pieces(iter(batches), schema, format_, partition_by=partition_by, batch_rows=batch_rows)
    number, file = 0, None
    current, folders = PartitionFolder(), set[str]()
    try:
        for piece in stages.prefetch(cut, most=PIECES_AHEAD):
            if file is not None and piece.folder != current:
                done, file = file.close(change), None
                yield done
            if file is None:
                current = piece.folder
                require_few_folders(folders := {*folders, current.folder})
                name = f"{stem}-{number:05d}{format_.suffix}"  # unique, even across folders
                file = _OpenFile(folder / name, schema, format_, piece, key=current.folder + name)
                number += 1
            file.write(piece)
            on_rows(piece.digest.count)
            if file.size >= target_bytes:
                done, file = file.close(change), None
                yield done
        if file is not None:
            done, file = file.close(change), None
            yield done
    finally:
        if file is not None:
            file.abandon()


class _OpenFile:
    """A file being written: takes pieces, and counts and hashes the bytes on their way to disk.

    `first` is the piece that will be written first.
    """

    def __init__(self, path: Path, schema: RowSchema, format_: ExportFormat, first: Piece, *, key: str) -> None:
        self._path = path
        self._key = key
        self._digest = Digest(schema_id=schema.schema_id)
        self._formulas = 0
        self._first = first.first
        self._last = ""
        self._disk = path.open("wb")
        self._raw = _Hashed(self._disk)
        self._rows: _Rows = (
            _ParquetRows(self._raw, schema, first.content)
            if format_.format == "parquet"
            else _TextRows(self._raw, schema, format_)
        )

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._raw.size

    def write(self, piece: Piece) -> None:
        """Write the rows of a piece."""
        self._last = piece.last
        self._digest += piece.digest
        self._formulas += piece.formulas
        self._rows.write(piece.content)

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
            min=self._first,
            max=self._last,
            change=change,
        )
        return WrittenFile(path=self._path, entry=entry, formulas=self._formulas)

    def abandon(self) -> None:
        """Close and remove an unfinished file, even on a full disk, which an open file would keep full."""
        self._raw.discard()  # an unclosed writer closes itself at some later time
        with suppress(OSError, ValueError, pa.ArrowException):
            self._rows.close()
        with suppress(OSError):
            self._disk.close()
        self._path.unlink(missing_ok=True)


class _Hashed(io.RawIOBase):
    """Counts and hashes the bytes that pass through, once and in order."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self._discarded = False
        self.size = 0

    @property
    def sha256(self) -> str:
        """SHA-256 of all bytes so far, in hex."""
        return self._hash.hexdigest()

    def writable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def discard(self) -> None:
        """Drop all bytes from now on."""
        self._discarded = True

    def write(self, data: Any) -> int:
        """See `io.RawIOBase`."""
        length = memoryview(data).nbytes
        if self._discarded:
            return length
        self._hash.update(data)
        self._target.write(data)
        self.size += length
        return length


class _Rows(Protocol):
    """Writes pieces to a stream."""

    def write(self, content: Any) -> None:
        """Write the content of a piece."""

    def close(self) -> None:
        """Write the end of the file."""


class _ParquetRows:
    def __init__(self, raw: _Hashed, schema: RowSchema, first: pa.RecordBatch) -> None:
        self._writer = pq.ParquetWriter(
            pa.PythonFile(raw, mode="w"),
            arrow_schema(schema),
            compression="zstd",
            compression_level=PARQUET_ZSTD_LEVEL,
            use_dictionary=repeating(first),
        )

    def write(self, content: pa.RecordBatch) -> None:
        self._writer.write_batch(content)

    def close(self) -> None:
        self._writer.close()


def repeating(rows: pa.RecordBatch) -> list[str]:
    """Columns that a dictionary makes smaller.

    With many distinct values the writer drops the dictionary, but only after most of the work.
    """
    sample = rows.slice(0, SAMPLE_ROWS)
    return [
        name
        for name, column in zip(sample.schema.names, sample.columns, strict=True)
        if len(column.unique()) * 2 <= len(column)
    ]


class _TextRows:
    def __init__(self, raw: _Hashed, schema: RowSchema, format_: ExportFormat) -> None:
        self._format = format_
        self._layers = ExitStack()
        self._out = self._compressed(raw)
        if format_.format == "csv":
            self._out.write(csv_header(schema))

    def _compressed(self, raw: _Hashed) -> IO[bytes]:
        plain = cast("IO[bytes]", raw)
        match self._format.compression:
            case "gzip":  # no name and no time in its header, which would differ between exports
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

    def write(self, content: pa.Buffer) -> None:
        self._out.write(content)

    def close(self) -> None:
        self._layers.close()
