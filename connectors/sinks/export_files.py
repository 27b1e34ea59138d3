"""Sorted rows -> files of about a target size, each with its manifest entry.

The same rows produce the same bytes, so a repeated export finds its own files.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa

from connectors.sinks.folders import PartitionFolder, require_few_folders
from connectors.sinks.formats import FORMATS
from connectors.sinks.pieces import Piece, pieces
from connectors.sinks.stages import Stages
from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.manifest import Change, ExportFormat, ManifestFile

PIECES_AHEAD: Final = 2


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
        self._rows = FORMATS[format_.format].writer(self._raw, schema, format_, first.content)

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
