"""Parquet through Arrow, with checks afterwards: a file's claims count only against it."""

import io
import os
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.sources import int96
from connectors.sources.arrow_rows import BATCH_ROWS, ArrowRows, unusable_schema
from connectors.sources.compression import RATIO_FREE_BYTES, ratio_exceeded
from connectors.sources.ranges import RowGroup
from connectors.sources.rejects import Reject, RejectBatch, RejectCode
from connectors.sources.suggestion import Chooser
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.kernels.values import MAX_US


class ParquetReader:
    """Iterate to get accepted batches and rejects, which have an ordinal but neither line nor offset.

    Raises `UserError` CORRUPT_FILE, FILE_TOO_LARGE, COMPRESSION_BOMB, and those of `ArrowRows`. `fd`: a descriptor of
    the file, which stays open; a confined child cannot open a path. `groups`: only row groups from the first of these
    numbers to the second (exclusive) are read; ordinals are those of the file, and so are limits.
    """

    def __init__(
        self,
        fd: int,
        spec: ImportSpec,
        *,
        max_decoded_bytes: int,
        max_ratio: float,
        choose: Chooser | None = None,
        received_at_us: int = MAX_US,
        report_progress: Callable[[], None] = lambda: None,
        groups: tuple[int, int] | None = None,
    ) -> None:
        self._groups = groups
        self._choose = choose
        self._received_at_us = received_at_us
        self._fd = fd
        self._spec = spec
        self._max_decoded_bytes = max_decoded_bytes
        self._max_ratio = max_ratio
        self._report_progress = report_progress
        self.bytes_decoded = 0

    def __iter__(self) -> Iterator[pa.RecordBatch | RejectBatch]:
        try:
            yield from self._read()
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, UnicodeDecodeError) as exc:
            # Arrow may quote a value that it could not convert.
            yield RejectBatch.of([Reject(ordinal=None, code=RejectCode.CORRUPT_FILE, reason=str(exc)[:300])])
            why = type(exc).__name__
            raise UserError("CORRUPT_FILE", f"the Parquet file is damaged and cannot be read ({why})") from exc

    def _read(self) -> Iterator[pa.RecordBatch | RejectBatch]:
        with (
            pa.PythonFile(_Opened(self._fd), "r") as raw,
            _opened(raw, coerce_int96_timestamp_unit=int96.UNIT) as file,
            pa.PythonFile(_Opened(self._fd), "r") as second,
        ):
            stored = raw.size()
            unpacked = sum(file.metadata.row_group(n).total_byte_size for n in range(file.metadata.num_row_groups))
            self._check_ratio(unpacked, stored)  # Arrow unpacks whole pages: a few kilobytes may unpack to gigabytes
            try:
                rows = ArrowRows(file.schema_arrow, self._spec, self._choose, self._received_at_us)
            except UserError:
                yield unusable_schema(file.schema_arrow)
                raise
            wanted = rows.wanted
            _check_counts(file, set(wanted))
            groups = range(*(self._groups or (0, file.metadata.num_row_groups)))
            rows_of = [file.metadata.row_group(number).num_rows for number in range(groups.stop)]
            ordinal, declared = sum(rows_of[: groups.start]), sum(rows_of)
            if self._groups is None:
                declared = file.metadata.num_rows
            int96_names = int96.int96_columns(file, wanted)
            nanoseconds = int96.Nanoseconds(_opened(second), int96_names, BATCH_ROWS, groups) if int96_names else None
            for batch in file.iter_batches(
                BATCH_ROWS, row_groups=list(groups), columns=sorted(set(wanted)), use_threads=False
            ):
                self._report_progress()
                self.bytes_decoded += batch.nbytes
                if self.bytes_decoded > self._max_decoded_bytes:
                    raise UserError(
                        "FILE_TOO_LARGE",
                        f"the file holds more than {self._max_decoded_bytes} bytes when it is decompressed",
                        limit_bytes=self._max_decoded_bytes,
                    )
                # A dictionary repeats a long value in a million rows for a few bits each; the footer counts only the
                # bits.
                self._check_ratio(self.bytes_decoded, stored)
                exact = nanoseconds.exact(batch) if nanoseconds is not None else {}
                columns = [exact[name] if name in exact else batch.column(name) for name in wanted]
                yield from rows.results(ordinal, columns)
                ordinal += batch.num_rows
            if ordinal != declared:
                raise UserError("CORRUPT_FILE", f"the Parquet file holds {ordinal} rows, but declares {declared}")

    def _check_ratio(self, unpacked: int, stored: int) -> None:
        _check_ratio(unpacked, stored, self._max_ratio)


def _check_ratio(unpacked: int, stored: int, max_ratio: float) -> None:
    if unpacked > RATIO_FREE_BYTES and unpacked > max_ratio * stored:
        raise ratio_exceeded(max_ratio, stored, unpacked)


def row_groups(fd: int, *, max_ratio: float) -> list[RowGroup]:
    """The row groups that the footer of a file lists, of which nothing else is read. Raises as `ParquetReader` does."""
    try:
        with pa.PythonFile(_Opened(fd), "r") as raw, _opened(raw) as file:
            metadata = file.metadata
            found = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            _check_ratio(sum(group.total_byte_size for group in found), raw.size(), max_ratio)
            if metadata.num_rows != sum(group.num_rows for group in found):
                raise UserError("CORRUPT_FILE", "the row groups of the Parquet file have another number of rows")
            return [_row_group(group) for group in found]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as exc:
        why = type(exc).__name__
        raise UserError("CORRUPT_FILE", f"the Parquet file is damaged and cannot be read ({why})") from exc


def _row_group(group: pq.RowGroupMetaData) -> RowGroup:
    columns = [group.column(k) for k in range(group.num_columns)]
    begins = [min(c.data_page_offset, c.dictionary_page_offset or c.data_page_offset) for c in columns]
    ends = [begin + c.total_compressed_size for begin, c in zip(begins, columns, strict=True)]
    return RowGroup(rows=group.num_rows, begin=min(begins, default=0), end=max(ends, default=0))


class _Opened(io.RawIOBase):
    """A file read through a descriptor, at its own position."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._position = 0
        self._size = os.fstat(fd).st_size

    def read(self, size: int = -1) -> bytes:
        """Exactly `size` bytes; fewer only at the end."""
        rest = max(0, self._size - self._position)
        return self._read(rest if size < 0 else min(size, rest))

    def _read(self, size: int) -> bytes:
        pieces = []
        while size and (piece := os.pread(self._fd, size, self._position)):  # at most 2 GiB per call
            pieces.append(piece)
            size -= len(piece)
            self._position += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self._position

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.RawIOBase`."""
        return True


def _opened(file: pa.NativeFile, **settings: str) -> pq.ParquetFile:
    return pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True, **settings)


def _check_counts(file: pq.ParquetFile, wanted: set[str]) -> None:
    """Check that kept columns have one value per row; a footer that hides rows is corrupt. Raises `UserError`."""
    flat = [k for k in range(len(file.schema)) if file.schema.column(k).path in wanted]
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        for k in flat:
            if group.column(k).num_values != group.num_rows:
                raise UserError(
                    "CORRUPT_FILE",
                    f"row group {number} of the Parquet file declares {group.num_rows} rows, but its column {k} "
                    f"declares {group.column(k).num_values} values",
                )
