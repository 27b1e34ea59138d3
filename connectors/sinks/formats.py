"""Formats of exported files: a row each. The same rows produce the same bytes."""

import gzip
import io
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol, assert_never, cast

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from connectors.sinks.text_rows import csv_header, csv_rows, escaped, jsonl_rows
from schemas.arrow import arrow_schema
from schemas.columns import RowSchema
from schemas.manifest import Compression, ExportFormat, FileFormat

PARQUET_ZSTD_LEVEL: Final = 1
"""Takes half the time of level 3, and pages of ids are no larger."""
ZSTD_LEVEL: Final = 3
GZIP_LEVEL: Final = 6
SAMPLE_ROWS: Final = 131_072


class RowWriter(Protocol):
    """Writes the content of pieces to a stream."""

    def write(self, content: Any) -> None:
        """Write the content of a piece."""

    def close(self) -> None:
        """Write the end of the file; the stream stays open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFormat:
    """How rows become a file: `content` prepares a piece for `RowWriter.write`, in parallel with other work.

    `writer` begins a file with so many columns; its third argument is the content that will be written first.
    """

    content: Callable[[pa.RecordBatch, RowSchema, ExportFormat], Any]
    writer: Callable[[io.RawIOBase, RowSchema, ExportFormat, Any], RowWriter]


class _ParquetWriter:
    def __init__(self, raw: io.RawIOBase, schema: RowSchema, _: ExportFormat, first: pa.RecordBatch) -> None:
        self._writer = pq.ParquetWriter(
            pa.PythonFile(raw, mode="w"),
            arrow_schema(schema),
            compression="zstd",
            compression_level=PARQUET_ZSTD_LEVEL,
            use_dictionary=_repeating(first),
        )

    def write(self, content: pa.RecordBatch) -> None:
        self._writer.write_batch(content)

    def close(self) -> None:
        self._writer.close()


def _repeating(rows: pa.RecordBatch) -> list[str]:
    """Columns that a dictionary makes smaller.

    With many distinct values the writer drops the dictionary, but only after most of the work.
    """
    sample = rows.slice(0, SAMPLE_ROWS)
    return [
        name
        for name, column in zip(sample.schema.names, sample.columns, strict=True)
        if len(column.unique()) * 2 <= len(column)
    ]


class _TextWriter:
    def __init__(self, raw: io.RawIOBase, compression: Compression, header: bytes = b"") -> None:
        self._layers = ExitStack()
        self._out = self._compressed(raw, compression)
        self._out.write(header)

    def _compressed(self, raw: io.RawIOBase, compression: Compression) -> IO[bytes]:
        plain = cast("IO[bytes]", raw)
        match compression:
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
                assert_never(compression)

    def write(self, content: pa.Buffer) -> None:
        self._out.write(content)

    def close(self) -> None:
        self._layers.close()


def _csv_content(rows: pa.RecordBatch, schema: RowSchema, form: ExportFormat) -> pa.Buffer:
    assert form.null_token is not None  # noqa: S101  # `ExportFormat` has checked it
    if form.formulas == "escape":
        rows = escaped(rows, schema)
    return csv_rows(rows, schema, null_token=form.null_token)


FORMATS: Final[Mapping[FileFormat, WrittenFormat]] = {
    "parquet": WrittenFormat(content=lambda rows, _, __: rows, writer=_ParquetWriter),
    "csv": WrittenFormat(
        content=_csv_content,
        writer=lambda raw, schema, form, _: _TextWriter(raw, form.compression, csv_header(schema)),
    ),
    "jsonl": WrittenFormat(
        content=lambda rows, schema, _: jsonl_rows(rows, schema),
        writer=lambda raw, _, form, __: _TextWriter(raw, form.compression),
    ),
}
