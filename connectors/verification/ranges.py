"""Verifies one large text file in ranges, side by side, each in a child of its own: the evidence of one pass.

What the ranges say is added up once they are chained (`connectors.sources.chaining`); until then, a range's rejects and
faults are only likely ones, and stay in a temporary file.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import pyarrow as pa

from connectors.sources.chaining import Again, Link, RangeOutcome, chain, first_ranges, rebased, rebased_fault
from connectors.sources.compression import MAGIC_BYTES
from connectors.sources.detection import detect
from connectors.sources.digested import DigestedFile
from connectors.sources.fields_seen import FieldsSeen
from connectors.sources.file_set import FileRead
from connectors.sources.job import ParseProgress
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import ProgressListener, source_file
from connectors.sources.ranges import FieldsRecord, FileRange
from connectors.sources.rejects import REJECT_SCHEMA, Reject, RejectBatch
from connectors.sources.typed_columns import check_timezone
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import Source, SourceObject
from connectors.verification.evidence import Evidence
from connectors.verification.policy import refuse
from connectors.verification.rejects_file import REJECTS_KEPT, RejectsSink
from connectors.verification.verifier import published_rejects, verify_file
from schemas.digest import Digest
from schemas.errors import MusterError, RetriableError, UserError
from schemas.import_formats import IMPORT_FORMATS
from schemas.import_spec import ImportSpec

TICK_S: Final = 0.25
SPOOLED_MOST: Final = 2 * REJECTS_KEPT
"""Rejects of all ranges that are kept until it is known which of them count: a GB or two."""
UNIT_BYTES: Final = 256 * 1024 * 1024
"""Bytes of a range."""


class TooManyLikelyRejectsError(Exception):
    """Ranges have more rejects than are kept until it is known which of them count."""


class SpooledRejects:
    """The rejects of each reading of a range, in a file of its own, until it is known whether they count."""

    def __init__(self, folder: Path, most: int = SPOOLED_MOST) -> None:
        self._folder = folder
        self._room = most
        self._lock = threading.Lock()

    @contextmanager
    def writing(self, name: str) -> Iterator[Callable[[RejectBatch], None]]:
        """Stores rejects, in order, under a name. Raises `TooManyLikelyRejectsError`. Thread-safe."""
        with ExitStack() as stack:
            writer: pa.ipc.RecordBatchStreamWriter | None = None

            def write(rejects: RejectBatch) -> None:
                nonlocal writer
                with self._lock:
                    self._room -= rejects.num_rows
                    if self._room < 0:
                        raise TooManyLikelyRejectsError
                if writer is None:
                    writer = stack.enter_context(pa.ipc.new_stream(self._folder / name, REJECT_SCHEMA))
                writer.write_batch(rejects.batch)

            yield write

    def read(self, name: str) -> Iterator[RejectBatch]:
        """The rejects under a name, in order."""
        path = self._folder / name
        if path.exists():
            with path.open("rb") as file, pa.ipc.open_stream(file) as batches:
                yield from map(RejectBatch, batches)


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeEvidence:
    """What one reading of a range saw. `first`: the first reject of each code, with ordinals and lines of the range."""

    outcome: RangeOutcome
    accepted: int = 0
    rejected_by_code: Mapping[str, int] = field(default_factory=dict)
    first: tuple[Reject, ...] = ()
    partitions: tuple[Digest, ...] = ()
    fields: FieldsRecord | None = None


def read_range(
    source: SourceObject | Path,
    part: FileRange,
    spec: ImportSpec,
    *,
    partitions: int,
    limits: ParseLimits,
    store: ObjectStore | None,
    keep: Callable[[RejectBatch], None],
    on_progress: ProgressListener,
) -> RangeEvidence:
    """Read a range to its end. A fault of the file is part of the outcome. Raises `RetriableError` and `FatalError`."""
    by_code: Counter[str] = Counter()
    first: dict[str, Reject] = {}
    with DigestedFile(
        source_file(source, store, part), spec, limits, on_progress, one_of_several=True, partitions=partitions
    ) as digested:
        try:
            for rejects in digested:
                keep(rejects)
                codes = rejects.batch.column("code").to_pylist()
                by_code.update(codes)
                for code in set(codes) - first.keys():
                    first[code] = RejectBatch(rejects.batch.slice(codes.index(code), 1)).rejects()[0]
        except UserError as exc:
            fault = None if digested.begin is None else exc.as_record()
            return RangeEvidence(outcome=RangeOutcome(begin=digested.begin, fault=fault), first=tuple(first.values()))
        if digested.unknown:
            return RangeEvidence(outcome=RangeOutcome())
        found, summary = digested.summary.part, digested.summary
        assert found is not None  # noqa: S101  # a range has been read
        return RangeEvidence(
            outcome=RangeOutcome(begin=found.begin, end=found.end, rows=summary.rows, lines=found.lines),
            accepted=summary.accepted,
            rejected_by_code=dict(by_code),
            first=tuple(first.values()),
            partitions=digested.digests,
            fields=found.fields,
        )


def evidence_of(
    links: Sequence[Link], read: Sequence[RangeEvidence], spec: ImportSpec, size: int
) -> tuple[Evidence, dict[str, Reject]]:
    """The evidence of a chained file of `size` bytes, and the first reject of each code. Raises the fault of the file.

    `read`: for each link, what its reading saw.
    """
    first: dict[str, Reject] = {}
    by_code: Counter[str] = Counter()
    for link, one in zip(links, read, strict=True):
        if one.outcome.fault is not None:
            fault = MusterError.from_record(dict(one.outcome.fault))
            raise rebased_fault(fault, link) if isinstance(fault, UserError) else fault
        by_code.update(one.rejected_by_code)
        for reject in one.first:
            first.setdefault(reject.code, rebased(RejectBatch.of([reject]), link).rejects()[0])
    if any(one.fields is not None for one in read):
        seen = FieldsSeen(spec)
        for one in read:
            seen.add_record(one.fields or FieldsRecord())
        seen.check()
    schema_id = spec.row_schema.schema_id
    evidence = Evidence(
        rows=sum(one.outcome.rows for one in read),
        accepted=sum(one.accepted for one in read),
        rejected=by_code.total(),
        rejected_by_code=dict(sorted(by_code.items())),
        partitions=tuple(Digest.total(schema_id, of) for of in zip(*(one.partitions for one in read), strict=True)),
        source_bytes=size,
        decoded_bytes=size,
        schema_id=schema_id,
    )
    return evidence, first


def verify_side_by_side(
    source: Source,
    spec: ImportSpec,
    *,
    store: ObjectStore,
    unit_bytes: int = UNIT_BYTES,
    at_once: int | None = None,
    on_files: Callable[[Sequence[FileRead]], None],
    **shared: Any,
) -> Evidence:
    """As `verifier.verify_file`; a text file of several times `unit_bytes` in ranges, `at_once` of them at a time.

    By default one for two processors: a child parses on one, and digests on another.
    """
    at_once = len(os.sched_getaffinity(0)) // 2 if at_once is None else at_once
    if isinstance(source, SourceObject) and 2 * unit_bytes <= source.size and at_once > 1:
        ranges = ranges_of(source, spec, store=store, limits=shared["limits"], unit_bytes=unit_bytes)
        if ranges:
            with suppress(TooManyLikelyRejectsError):  # one pass needs to keep none that do not count
                return verify_ranges(source, ranges, spec, store=store, at_once=at_once, **shared)
    return verify_file(source, spec, store=store, on_files=on_files, **shared)


def ranges_of(
    source: SourceObject, spec: ImportSpec, *, store: ObjectStore, limits: ParseLimits, unit_bytes: int
) -> tuple[FileRange, ...]:
    """The ranges of at most `unit_bytes` into which a larger text file is cut, to be read first; none if it cannot be.

    Raises `UserError` SOURCE_GONE, SOURCE_CHANGED.
    """
    if not unit_bytes < source.size <= limits.max_decoded_bytes:  # one pass says that a larger file is refused
        return ()
    if not can_be_cut(source.key, store.read_range(source, 0, MAGIC_BYTES), spec):
        return ()
    ranges = -(-source.size // unit_bytes)
    return first_ranges([source.size * number // ranges for number in range(1, ranges)], source.size)


def can_be_cut(name: str, start: bytes, spec: ImportSpec) -> bool:
    """Whether a file that begins like this can be read in ranges: text in UTF-8 without compression."""
    try:
        format_, compression = detect(name, start, spec.format)
    except UserError:
        return False  # whoever reads it as one says why
    untyped = IMPORT_FORMATS[format_].untyped
    is_text = not IMPORT_FORMATS[format_].is_binary
    return is_text and compression == "none" and (spec.encoding == "utf-8" or not untyped)


def verify_ranges(
    source: SourceObject | Path,
    ranges: Sequence[FileRange],
    spec: ImportSpec,
    *,
    partitions: int,
    limits: ParseLimits,
    rejects: RejectsSink,
    on_progress: ProgressListener,
    store: ObjectStore | None = None,
    at_once: int,
    most_likely_rejects: int = SPOOLED_MOST,
) -> Evidence:
    """As `verifier.verify_file`, of one file in these ranges (`chaining.first_ranges`), `at_once` of them at a time.

    Raises `TooManyLikelyRejectsError`, too, and has then written no rejects.
    """
    check_timezone(spec.timezone)
    readings: list[list[RangeEvidence]] = [[] for _ in ranges]
    wanted: Mapping[int, FileRange] = dict(enumerate(ranges))
    again = 0
    with (
        TemporaryDirectory(prefix="muster-ranges-") as folder,
        _SideBySide(on_progress, ranges[-1].size, at_once) as side_by_side,
    ):
        spooled = SpooledRejects(Path(folder), most=most_likely_rejects)

        def read(place: int, report: ProgressListener) -> RangeEvidence:
            with spooled.writing(f"{place}-{len(readings[place])}") as keep:
                return read_range(
                    source,
                    wanted[place],
                    spec,
                    partitions=partitions,
                    limits=limits,
                    store=store,
                    keep=keep,
                    on_progress=report,
                )

        while True:
            for place, found in side_by_side.all(wanted, read).items():
                readings[place].append(found)
            verdict = chain(ranges, [[one.outcome for one in of] for of in readings], again=again)
            if not isinstance(verdict, Again):
                break
            wanted, again = verdict.ranges, again + 1
        with published_rejects(rejects):
            for link in verdict.links:
                for batch in spooled.read(f"{link.place}-{link.reading}"):
                    rejects.write(rebased(batch, link))
            chosen = [readings[link.place][link.reading] for link in verdict.links]
            evidence, first = evidence_of(verdict.links, chosen, spec, ranges[-1].size)
    refuse(evidence, spec, first, rejects.finish())
    return evidence


class _SideBySide:
    """Reads ranges in threads, and reports their progress together, in the thread that waits."""

    def __init__(self, on_progress: ProgressListener, size: int, at_once: int) -> None:
        self._on_progress = on_progress
        self._size = size
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="range")
        self._over = threading.Event()
        self._progress: dict[int, ParseProgress] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._pool.shutdown(cancel_futures=True)

    def all(
        self, places: Mapping[int, Any], read: Callable[[int, ProgressListener], RangeEvidence]
    ) -> dict[int, RangeEvidence]:
        """What `read` says of each place. Raises its error, and those of the listener."""
        futures = {place: self._pool.submit(read, place, self._listener(place)) for place in places}
        waiting = set(futures.values())
        while waiting:
            done, waiting = wait(waiting, TICK_S, FIRST_EXCEPTION)
            for one in done:
                one.result()
            self._report()
        return {place: future.result() for place, future in futures.items()}

    def _listener(self, place: int) -> ProgressListener:
        def note(progress: ParseProgress) -> None:
            if self._over.is_set():
                raise RetriableError("PARSER_KILLED", "another range of the file was given up")
            self._progress[place] = progress

        return note

    def _report(self) -> None:
        found = [*self._progress.values()]
        self._on_progress(
            ParseProgress(
                source_bytes=min(sum(one.source_bytes for one in found), self._size),
                source_size=self._size,
                rows=sum(one.rows for one in found),
                rejected=sum(one.rejected for one in found),
            )
        )
