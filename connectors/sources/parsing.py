"""Turn an untrusted file into accepted rows and rejects, parsed in a child process.

    with open_parsed(path, spec, limits) as parsed:
        for found in parsed:
            match found:
                case RejectBatch(): ...      # REJECT_SCHEMA
                case _: ...                  # pa.RecordBatch of arrow_schema(spec.row_schema, ordinal=True)
    parsed.summary                           # only now is the file known to be whole

Results count only once the iteration has ended without an error: a fault of the whole file (an unclosed quote, damaged
compression) may show up after its last row.
"""

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import pyarrow as pa

from connectors.sources.frames import FrameKind, FrameReader, read_batch, read_checked
from connectors.sources.job import ParseProgress, ParseSummary
from connectors.sources.limits import ParseLimits
from connectors.sources.process import FileBytes, ParserProcess
from connectors.sources.ranges import FileRange, RowGroup
from connectors.sources.rejects import REJECT_SCHEMA, RejectBatch
from connectors.sources.text_form import TextForm
from connectors.sources.typed_columns import check_timezone
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceObject
from schemas.arrow import arrow_schema
from schemas.chunk_rule import ChunkCounts
from schemas.digest import Digest
from schemas.errors import FatalError, MusterError, UserError
from schemas.import_formats import ImportFormat
from schemas.import_spec import ImportSpec
from schemas.records import from_record

__all__ = ["ParseLimits", "ParseProgress", "ParseSummary", "ParsedFile", "open_parsed"]

TICK_S: Final = 0.5
BLOCK_BYTES: Final = 8 * 1024 * 1024

FRAME_ERRORS: Final = (
    pa.ArrowException,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)
"""Exceptions raised by reading a malformed frame."""

ProgressListener = Callable[[ParseProgress], None]


class ParsedFile:
    """The rows of one file. A context manager and an iterator, for one thread; leaving the block stops the child.

    Yields accepted batches (exactly `arrow_schema(spec.row_schema, ordinal=True)`, in file order; `_ordinal` is the
    number of the data row, refused rows included) and `RejectBatch`es (in file order, close to the batches of the same
    rows). Backpressure: the child waits while the reader does not read. Raises `UserError` for a fault of the file and
    `RetriableError` for an outage of the store.
    """

    def __init__(
        self,
        source: FileBytes,
        spec: ImportSpec,
        limits: ParseLimits,
        on_progress: ProgressListener | None,
        *,
        choose: bool = False,
        one_of_several: bool = False,
        partitions: int | None = None,
        chunks: ChunkCounts | None = None,
        footer: bool = False,
    ) -> None:
        self.groups: tuple[RowGroup, ...] = ()
        """With `footer`, after the iteration: the row groups of a Parquet file, of which nothing else is read."""
        self.layout: dict[str, Any] | None = None
        """With `choose`, once the iteration has begun: names, encoding, format, compression, and the chosen spec."""
        self.form: TextForm | None = None
        """Of a text file without a spec, once the iteration has ended, even in a `UserError`."""
        self._schema = arrow_schema(spec.row_schema, ordinal=True)
        self._limits = limits
        self._source_size = source.size
        self._on_progress = on_progress
        self._iterated = False
        self._accepted = 0
        self._rejected = 0
        self._digests: tuple[Digest, ...] = ()
        self._chunks: ChunkCounts | None = None
        self.begin = None if source.part is None else source.part.known_begin
        """Of a range, where its records begin; None as long as that is not known."""
        self.unknown = False
        """Of a range, after the iteration: whether it did not end where it should have, and nothing of it counts."""
        self._part = source.part
        self._summary: ParseSummary | None = None
        self._process = ParserProcess(
            source,
            spec,
            limits,
            choose=choose,
            one_of_several=one_of_several,
            partitions=partitions,
            chunks=chunks,
            footer=footer,
        )
        try:
            self._process.start()
        except BaseException:
            self._process.close()
            raise

    @property
    def summary(self) -> ParseSummary:
        """Totals of the file. Raises RuntimeError before the iteration has ended."""
        if self._summary is None:
            raise RuntimeError("the file has not been read to its end")
        return self._summary

    @property
    def format(self) -> ImportFormat:
        """The format, by content and name."""
        assert self._process.format is not None  # noqa: S101  # the child has the file
        return self._process.format

    @property
    def file(self) -> int:
        """Place of the file among those of its import."""
        return 0

    @property
    def ended(self) -> bool:
        """True once the file has been read to its end and the totals are known."""
        return self._summary is not None

    @property
    def peak_bytes(self) -> int:
        """Peak memory of the child, including memory shared with the fork server; 0 while the child runs."""
        return self._process.peak_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the child. May be called twice."""
        self._process.close()

    def __iter__(self) -> Iterator[pa.RecordBatch | RejectBatch]:  # noqa: PLR0912, PLR0915  # a case for each kind
        if self._iterated:
            raise RuntimeError("a parsed file is read once")
        self._iterated = True
        reader = FrameReader(self._process.frames_fd)
        while True:
            frame = self._next_frame(reader)
            if frame is None:
                self._process.finish()
                raise self._process.death()
            kind, payload = frame
            match kind:
                case FrameKind.ACCEPTED:
                    with _frame_faults():
                        batch = read_batch(payload, self._schema)
                    self._accepted += batch.num_rows
                    yield batch
                case FrameKind.REJECTS:
                    with _frame_faults():
                        rejects = read_checked(payload, REJECT_SCHEMA)
                    self._rejected += rejects.num_rows
                    yield RejectBatch(rejects)
                case FrameKind.PROGRESS:
                    with _frame_faults():
                        progress = from_record(ParseProgress, {**json.loads(payload), "source_size": self._source_size})
                    self._report(progress)
                case FrameKind.LAYOUT:
                    with _frame_faults():
                        self._set_layout(json.loads(payload))
                case FrameKind.FORM:
                    with _frame_faults():
                        self.form = from_record(TextForm, json.loads(payload))
                case FrameKind.DIGESTS:
                    with _frame_faults():
                        record = json.loads(payload)
                        self._digests = tuple(Digest.parse(text) for text in record["partitions"])
                        if "chunks" in record:
                            self._chunks = from_record(ChunkCounts, record["chunks"])
                    self._accepted += sum(digest.count for digest in self._digests)
                case FrameKind.BEGIN:
                    with _frame_faults():
                        self.begin = self._begin(json.loads(payload)["begin"])
                    if self.begin is None:
                        self._process.finish()
                        self.unknown = True
                        return
                case FrameKind.GROUPS:
                    self._process.finish()
                    with _frame_faults():
                        self.groups = tuple(from_record(RowGroup, one) for one in json.loads(payload)["groups"])
                    return
                case FrameKind.ERROR:
                    self._process.finish()
                    with _frame_faults():
                        error = MusterError.from_record(json.loads(payload))
                    raise error
                case FrameKind.SUMMARY:
                    self._process.finish()
                    with _frame_faults():
                        summary = from_record(ParseSummary, json.loads(payload))
                    self._end(summary)
                    return

    def _next_frame(self, reader: FrameReader) -> tuple[FrameKind, bytearray] | None:
        """The next frame; None if the child is gone. Raises `UserError` PARSER_TIMEOUT."""
        started = time.monotonic()
        while True:
            try:
                frame = reader.next_frame(TICK_S)
            except EOFError:
                return None
            if frame is not None:
                return frame
            if time.monotonic() - max(started, self._process.fed_at()) > self._limits.wall_s:
                self._process.kill()
                raise UserError(
                    "PARSER_TIMEOUT",
                    f"reading the file stalled: no progress for {self._limits.wall_s:g} s",
                    wall_s=self._limits.wall_s,
                )

    def _set_layout(self, record: dict[str, Any]) -> None:
        self.layout = {**record, "spec": ImportSpec.from_record(record["spec"])}
        self._schema = arrow_schema(self.layout["spec"].row_schema, ordinal=True)

    def _report(self, progress: ParseProgress) -> None:
        if self._on_progress is not None:
            self._on_progress(progress)

    def _end(self, summary: ParseSummary) -> None:
        if (summary.accepted, summary.rejected) != (self._accepted, self._rejected):
            raise FatalError(
                "ROWS_LOST",
                f"the parser sent {self._accepted} rows and {self._rejected} rejects, "
                f"but reports {summary.accepted} and {summary.rejected}",
            )
        if self._part is not None:
            self._check_range(self._part, summary)
        elif summary.source_bytes != self._source_size:
            raise FatalError(
                "BYTES_LOST", f"the parser read {summary.source_bytes} of the file's {self._source_size} bytes"
            )
        self._summary = summary
        self._report(
            ParseProgress(
                source_bytes=summary.source_bytes,
                source_size=self._source_size,
                rows=summary.rows,
                rejected=summary.rejected,
            )
        )

    def _begin(self, begin: object) -> int | None:
        """The begin of the range that the child reports; ValueError for one that cannot be."""
        part = self._part
        if part is not None and begin is None and part.bounded:
            return None
        last = -1 if part is None else part.begin if part.exact else part.size
        if part is not None and isinstance(begin, int) and part.begin <= begin <= last:
            return begin
        raise ValueError(f"{begin!r} is no begin of {part}")

    def _check_range(self, part: FileRange, summary: ParseSummary) -> None:
        found = summary.part
        if found is None or found.begin != self.begin or not found.begin <= found.end <= part.size:
            raise FatalError("BYTES_LOST", f"the parser read {found} as {part}")
        if found.end < part.end or summary.source_bytes != found.end - found.begin:
            raise FatalError("BYTES_LOST", f"the parser read {summary.source_bytes} bytes of {found} as {part}")


@contextmanager
def _frame_faults() -> Iterator[None]:
    """Translate malformed payloads, since the child has read untrusted bytes. Raises `FatalError` BAD_FRAME."""
    try:
        yield
    except (*FRAME_ERRORS, FatalError) as exc:
        raise FatalError("BAD_FRAME", f"the parser sent an invalid frame: {str(exc)[:300]}") from exc


def open_parsed(
    source: SourceObject | Path,
    spec: ImportSpec,
    limits: ParseLimits | None = None,
    store: ObjectStore | None = None,
    on_progress: ProgressListener | None = None,
) -> ParsedFile:
    """Start parsing a local file, or a pinned object of `store`.

    `on_progress` is called about four times a second in the thread that iterates. Raises `UserError`
    EMPTY_FILE, UNKNOWN_FORMAT, CORRUPT_FILE, SOURCE_GONE, SOURCE_CHANGED, BAD_TIMEZONE; further errors are raised while
    iterating.
    """
    check_timezone(spec.timezone)
    return ParsedFile(source_file(source, store), spec, limits or ParseLimits(), on_progress)


def source_file(source: SourceObject | Path, store: ObjectStore | None, part: FileRange | None = None) -> FileBytes:
    """The bytes of a local file or a pinned object, or of a range of it.

    A local file raises `UserError` SOURCE_GONE, SOURCE_UNREADABLE.
    """
    if not isinstance(source, SourceObject):
        return _LocalFile(source) if part is None else _LocalRange(source, part)
    if store is None:
        raise ValueError("a SourceObject needs the store it is in")
    return _PinnedObject(store, source) if part is None else _PinnedRange(store, source, part)


class _LocalFile:
    part = groups = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = path.name
        try:
            self._file = path.open("rb")
        except FileNotFoundError as exc:
            raise UserError("SOURCE_GONE", f"file {path} does not exist", path=str(path)) from exc
        except OSError as exc:
            raise UserError("SOURCE_UNREADABLE", f"{path} cannot be read: {exc.strerror}", path=str(path)) from exc
        status = os.fstat(self._file.fileno())
        self.size = status.st_size
        self.modified_us = status.st_mtime_ns // 1000

    def blocks(self) -> Iterator[bytes]:
        while block := self._file.read(BLOCK_BYTES):
            yield block

    def local_file(self) -> IO[bytes] | None:
        return self._file


class _PinnedObject:
    part = groups = None

    def __init__(self, store: ObjectStore, source: SourceObject) -> None:
        self._store = store
        self._source = source
        self.name = source.key.rpartition("/")[2]
        self.size = source.size
        self.modified_us = int(source.last_modified.timestamp() * 1_000_000)

    def blocks(self) -> Iterator[bytes]:
        return self._store.stream(self._source)

    def local_file(self) -> IO[bytes] | None:
        return None


class _Range(ABC):
    """A range of a text file: the file's beginning, the range, and what is behind it as far as that is asked for."""

    groups = None

    def __init__(self, name: str, modified_us: int, part: FileRange) -> None:
        self.name = name
        self.modified_us = modified_us
        self.part = part
        self.size = part.head + (part.near_end if part.bounded else part.size) - part.first

    def blocks(self) -> Iterator[bytes]:
        part = self.part
        yield from self._read(0, part.head)
        yield from self._read(part.first, part.near_end)
        if not part.bounded:
            yield from self._read(part.near_end, part.size)

    def local_file(self) -> IO[bytes] | None:
        return None

    @abstractmethod
    def _read(self, start: int, end: int) -> Iterator[bytes]: ...


class _LocalRange(_Range):
    def __init__(self, path: Path, part: FileRange) -> None:
        self._path = path
        super().__init__(path.name, path.stat().st_mtime_ns // 1000, part)

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            with self._path.open("rb") as file:
                file.seek(start)
                block = file.read(min(BLOCK_BYTES, end - start))
            if not block:
                return
            start += len(block)
            yield block


class _PinnedRange(_Range):
    def __init__(self, store: ObjectStore, source: SourceObject, part: FileRange) -> None:
        self._store = store
        self._source = source
        whole = _PinnedObject(store, source)
        super().__init__(whole.name, whole.modified_us, part)

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        return self._store.stream(self._source, start=start, end=end)
