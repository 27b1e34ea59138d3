"""Several pinned objects as one source: their rows in the order of the list, as if they were one file.

Read one after another, each in a child of its own, with its own format limits. What is judged by a whole file is judged
by the set: an empty file is no fault if another one has rows, and so is a column of JSON Lines that only some have.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from connectors.sources import completion
from connectors.sources.digested import DigestedFile, open_digested
from connectors.sources.header import SETTINGS, shown
from connectors.sources.job import ParseProgress, ParseSummary
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import ParsedFile, ProgressListener, open_parsed, source_file
from connectors.sources.process import FileBytes
from connectors.sources.rejects import RejectBatch
from connectors.sources.row_groups import SparseCopy, row_groups_of
from connectors.sources.typed_columns import check_timezone
from connectors.sources.units import Unit
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import Source, SourceFiles, SourceObject
from schemas.activity_columns import columns_of
from schemas.chunk_rule import ChunkCounts
from schemas.columns import ORDINAL, Column
from schemas.digest import Digest
from schemas.errors import FatalError, MusterError, UserError
from schemas.import_formats import ImportFormat, mixed_formats
from schemas.import_spec import ImportSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """One file of a set that was read to its end. `digest`: of its accepted rows, if they were digested."""

    source: SourceObject
    summary: ParseSummary
    digest: Digest | None = None

    def joined(self, more: Self) -> Self:
        """With the next range of the file."""
        digest = None if self.digest is None or more.digest is None else self.digest + more.digest
        return replace(self, summary=total_of([self.summary, more.summary]), digest=digest)


class FileSet:
    """`ParsedRows` of several files: a context manager and an iterator, for one thread.

    Yields batches as `ParsedFile` does. Ordinals of members count over the set, so that of a user's rows the last one
    of the last file wins; those of events and profiles count in their file, by which they are identified. Those of
    rejects count in their file, too, which the batch names. The error of a file names it.

    With a `unit`, only its files, or its range of a file, are read; `rows_before`: rows of the set before them,
    `rows_in_file`: before a range of text, of its file. What is judged by the set is then left to the caller. A range
    of text is one whose begin and end are known; otherwise raises `FatalError` BAD_RANGE.
    """

    def __init__(
        self,
        files: SourceFiles,
        spec: ImportSpec,
        limits: ParseLimits,
        store: ObjectStore | None,
        on_progress: ProgressListener | None,
        *,
        unit: Unit | None = None,
        rows_before: int = 0,
        rows_in_file: int = 0,
    ) -> None:
        self._part = Unit(first=0, files=len(files)) if unit is None else unit
        self._files = self._part.of(files)
        self._of = len(files)
        self._first = files[0]
        self._spec = spec
        self._limits = limits
        self._store = store
        self._on_progress = on_progress
        self._size = self._part.bytes(files)
        self._rows_before = rows_before
        self._rows_in_file = rows_in_file
        self._before_range = 0
        """Rows of the file before its row groups, which ordinals in the file count."""
        self.format: ImportFormat | None = None
        """Of its first file, once that was opened. A unit's may be another than the set's, which its caller finds."""
        self._rows = 0
        self._bytes = 0
        self._current: ParsedFile | None = None
        self.file = self._part.first
        """Place in the list of the file whose rows the last batch has."""
        self.read: list[FileRead] = []
        """The files that were read to their end, in order."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._current is not None:
            self._current.close()

    @property
    def ended(self) -> bool:
        """True once all files have been read to their ends."""
        return len(self.read) == len(self._files)

    @property
    def summary(self) -> ParseSummary:
        """Totals of the set, with the format of all and the compression of the first. RuntimeError before the end."""
        if not self.ended:
            raise RuntimeError("not all files have been read to their end")
        return total_of([one.summary for one in self.read])

    def __iter__(self) -> Iterator[pa.RecordBatch | RejectBatch]:
        for number, source in enumerate(self._files, self._part.first):
            self.file = number
            with self._named(source), self._open(source) as parsed:
                self._current = parsed
                self._check_format(parsed.format)
                for found in parsed:
                    if isinstance(found, RejectBatch):
                        yield found if self._alone else found.of_file(source.uri)
                    else:
                        yield self._placed(found)
                if parsed.unknown:
                    self._end_unknown(source)
                    return
                self._end(source, parsed)
        if len(self._files) == self._of and not self._part.is_range:
            check_columns([one.summary for one in self.read])

    @property
    def _alone(self) -> bool:
        """Whether it is a range of the only file of an import, which nothing names."""
        return self._of == 1 and self._part.is_range

    def _named(self, source: SourceObject) -> AbstractContextManager[None]:
        return nullcontext() if self._alone else named(source, self.file, self._of)

    def _bytes_of(self, source: SourceObject) -> FileBytes:
        """The file, or the range of it that the unit has."""
        unit = self._part
        if unit.part is not None or not unit.is_range:
            return source_file(source, self._store, unit.part)
        assert self._store is not None  # noqa: S101  # only objects of a store are cut
        groups = row_groups_of(source, self._store, self._spec, self._limits)
        if unit.end is None or len(groups) < unit.end:
            raise FatalError("BAD_RANGE", f"{source.uri} has no row groups {unit.begin} to {unit.end}")
        self._before_range = sum(group.rows for group in groups[: unit.begin])
        return SparseCopy(source, self._store, groups, unit.begin, unit.end)

    def _open(self, source: SourceObject) -> ParsedFile:
        file = self._bytes_of(source)
        return ParsedFile(file, self._spec, self._limits, self._progress, one_of_several=True)

    def _digest(self, parsed: ParsedFile) -> Digest | None:
        del parsed
        return None

    def _placed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        of_set = self._rows_before + self._rows - self._before_range
        before = of_set if self._spec.kind == "audience" else self._rows_in_file
        if not before:
            return batch
        at = batch.schema.get_field_index(ORDINAL)
        ordinals = pc.add(batch.column(at), pa.scalar(before, pa.int64()))
        columns = [*batch.columns]
        columns[at] = ordinals
        return pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    def _end(self, source: SourceObject, parsed: ParsedFile) -> None:
        self.read.append(FileRead(source=source, summary=parsed.summary, digest=self._digest(parsed)))
        self._rows += parsed.summary.rows
        self._bytes += parsed.summary.source_bytes

    def _end_unknown(self, source: SourceObject) -> None:
        raise FatalError("BAD_RANGE", f"{source.uri} does not have the rows of {self._part.part}")

    def _progress(self, progress: ParseProgress) -> None:
        if self._on_progress is not None:
            self._on_progress(
                ParseProgress(
                    source_bytes=self._bytes + progress.source_bytes,
                    source_size=self._size,
                    rows=self._rows + progress.rows,
                    rejected=sum(one.summary.rejected for one in self.read) + progress.rejected,
                )
            )

    def _check_format(self, found: ImportFormat) -> None:
        self.format = self.format or found
        if found != self.format:
            here = self._files[self.file - self._part.first].uri
            raise mixed_formats(self._first.uri, self.format, here, found)


def total_of(summaries: Sequence[ParseSummary]) -> ParseSummary:
    """Totals, with the format and compression of the first."""
    by_code: Counter[str] = Counter()
    for summary in summaries:
        by_code.update(summary.rejected_by_code)
    return replace(
        summaries[0],
        rows=sum(one.rows for one in summaries),
        accepted=sum(one.accepted for one in summaries),
        rejected=sum(one.rejected for one in summaries),
        rejected_by_code=dict(sorted(by_code.items())),
        source_bytes=sum(one.source_bytes for one in summaries),
        decoded_bytes=sum(one.decoded_bytes for one in summaries),
        lacking=_lacking(summaries),
        part=None,
    )


def _lacking(summaries: Sequence[ParseSummary]) -> tuple[str, ...] | None:
    """Needed columns that no row of any has."""
    lacking = [set(one.lacking) for one in summaries if one.lacking is not None]
    return tuple(sorted(set.intersection(*lacking))) if lacking else None


class DigestedSet(FileSet):
    """As `FileSet`, but yields only rejects; accepted rows become a count and digest per partition, as of one file.

    A range of text may begin with a guess.
    """

    def __init__(
        self,
        files: SourceFiles,
        spec: ImportSpec,
        limits: ParseLimits,
        store: ObjectStore | None,
        on_progress: ProgressListener | None,
        *,
        partitions: int,
        unit: Unit | None = None,
        chunks: ChunkCounts | None = None,
    ) -> None:
        super().__init__(files, spec, limits, store, on_progress, unit=unit)
        self.unknown = False
        """Of a range of text, after the iteration: whether it did not end where it should have."""
        self.chunks = chunks
        """Chunks of the rows so far, if those before the first row are given."""
        self._partitions = partitions
        self._digests = [Digest(schema_id=spec.row_schema.schema_id) for _ in range(partitions)]

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Digest of each partition, in order. RuntimeError before the end."""
        _ = self.summary
        return tuple(self._digests)

    @property
    def begin(self) -> int | None:
        """Of a range of text, where its records begin; None as long as that is not known."""
        return self._part.known_begin if self._current is None else self._current.begin

    def __iter__(self) -> Iterator[RejectBatch]:
        for found in super().__iter__():
            if not isinstance(found, RejectBatch):
                raise FatalError("BAD_FRAME", "the parser sent rows that it should have digested")
            yield found

    def _open(self, source: SourceObject) -> ParsedFile:
        return DigestedFile(
            self._bytes_of(source),
            self._spec,
            self._limits,
            self._progress,
            one_of_several=True,
            partitions=self._partitions,
            chunks=self.chunks,
        )

    def _end_unknown(self, source: SourceObject) -> None:
        del source
        self.unknown = True

    def _digest(self, parsed: ParsedFile) -> Digest | None:
        assert isinstance(parsed, DigestedFile)  # noqa: S101  # opened above
        if self.chunks is not None:  # chunks of events and profiles have rows of one file
            self.chunks = parsed.chunks if self._spec.kind == "audience" else parsed.chunks.closed()
        digests = parsed.digests
        self._digests = [total + own for total, own in zip(self._digests, digests, strict=True)]
        return Digest.total(self._spec.row_schema.schema_id, digests)


def open_rows(
    source: Source | Path,
    spec: ImportSpec,
    limits: ParseLimits,
    store: ObjectStore | None,
    on_progress: ProgressListener | None = None,
) -> ParsedFile | FileSet:
    """As `open_parsed`, for one file or several."""
    if not isinstance(source, tuple):
        return open_parsed(source, spec, limits, store, on_progress)
    check_timezone(spec.timezone)
    return FileSet(source, spec, limits, store, on_progress)


def open_digests(
    source: Source | Path,
    spec: ImportSpec,
    limits: ParseLimits,
    store: ObjectStore | None,
    on_progress: ProgressListener | None = None,
    *,
    partitions: int,
) -> DigestedFile | DigestedSet:
    """As `open_digested`, for one file or several."""
    if not isinstance(source, tuple):
        return open_digested(source, spec, limits, store, on_progress, partitions=partitions)
    check_timezone(spec.timezone)
    return DigestedSet(source, spec, limits, store, on_progress, partitions=partitions)


def check_columns(read: Sequence[ParseSummary]) -> None:
    """Of all files of a set: raises `UserError` MISSING_COLUMN for a column that no row of JSON Lines has in any."""
    if missing := _lacking(read):
        raise UserError(
            "MISSING_COLUMN",
            f"no row of the {len(read)} files has {shown(missing)}. Map the columns with --id-column and --column, or "
            f"let one be null that the files may lack with --allow-missing-column, {SETTINGS}.",
            missing=list(missing),
        )


def complete_spec(
    source: Source | Path,
    spec: ImportSpec,
    limits: ParseLimits,
    store: ObjectStore,
    *,
    keep: Callable[[RejectBatch], None] = lambda _: None,
) -> ImportSpec:
    """As `completion.complete_spec`; of several files, the columns of all, in the order in which they appear.

    Raises `UserError` BAD_COLUMN_TYPE for a column that has another type in another file.
    """
    if not isinstance(source, tuple):
        return completion.complete_spec(source, spec, limits, store, keep=keep)
    found: dict[str, tuple[Column, SourceObject]] = {}
    for number, file in enumerate(source):
        with named(file, number, len(source)):

            def keep_named(rejects: RejectBatch, uri: str = file.uri) -> None:
                keep(rejects.of_file(uri))

            try:
                columns = completion.complete_spec(file, spec, limits, store, keep=keep_named).columns
            except UserError as exc:
                if exc.code != "EMPTY_FILE":
                    raise
                continue
            for column in columns:
                known, where = found.setdefault(column.name, (column, file))
                if column != known:
                    raise UserError(
                        "BAD_COLUMN_TYPE",
                        f"the column {shown([column.file_name])} is {column.type}, but {known.type} in {where.uri}: "
                        "give it one type with --column",
                        column=column.name,
                    )
    return replace(spec, columns=columns_of(spec.kind, [column for column, _ in found.values()])) if found else spec


@contextmanager
def named(source: SourceObject, place: int, files: int) -> Iterator[None]:
    """Name the file in the errors that are raised while it is read: URI, and place among `files` from 1."""
    try:
        yield
    except MusterError as exc:
        message = exc.message if source.uri in exc.message else f"{source.uri}: {exc.message}"
        detail = {**exc.detail, "file": source.uri, "file_number": place + 1, "files": files}
        raise type(exc)(exc.code, message, **detail) from exc
