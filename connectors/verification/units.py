"""Verification of the units of a source, side by side: what each has seen, and what all of them say about the whole.

Digests add up, so the sums are the evidence of one pass. What is judged by the whole - the first fault in order, shares
of rejects, columns that no file has - is judged once all units have been read.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from connectors.sources.chaining import Link, RangeOutcome, rebased, rebased_fault
from connectors.sources.fields_seen import FieldsSeen
from connectors.sources.file_set import DigestedSet, FileRead, check_columns, named
from connectors.sources.job import ParseSummary
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import ProgressListener
from connectors.sources.rejects import Reject, RejectBatch
from connectors.sources.typed_columns import check_timezone
from connectors.sources.units import Unit
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceFiles, SourceObject
from connectors.verification.evidence import Evidence
from connectors.verification.policy import refuse
from connectors.verification.rejects_file import RejectsSink
from connectors.verification.verifier import count_rejects, published_rejects
from schemas.chunk_rule import CHUNK_RULE, ChunkCounts
from schemas.digest import Digest
from schemas.errors import FatalError, MusterError, UserError
from schemas.import_formats import ImportFormat, mixed_formats
from schemas.import_spec import ImportSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRead:
    """What verification saw in a unit: its files that were read to their ends, in order.

    `partitions`: digests of accepted rows; `chunks`: into how many chunks the unit's rows will be cut, by the version
    `chunk_rule` of the rule; both per partition, and empty if there was a fault. `first`: the first reject of each
    code. Of a range of text, rejects and faults have the lines and ordinals of the range; it may be a wrong guess, and
    `begin` says where its records begin, if there was a fault and that is known.
    """

    files: tuple[ParseSummary, ...] = ()
    digests: tuple[Digest, ...] = ()
    partitions: tuple[Digest, ...] = ()
    chunks: tuple[int, ...] = ()
    chunk_rule: int = 0
    first: tuple[Reject, ...] = ()
    rejects: bool = False
    error: dict[str, Any] | None = None
    begin: int | None = None
    format: ImportFormat | None = None
    """Of its first file, if it could be opened: that of a broken one, too."""

    @property
    def rows(self) -> int:
        """Rows of the files, with rejected ones."""
        return sum(file.rows for file in self.files)

    @property
    def outcome(self) -> RangeOutcome:
        """Of a range of text, as it is chained."""
        if self.error is not None:
            return RangeOutcome(begin=self.begin, fault=None if self.begin is None else self.error)
        part = self.files[0].part if self.files else None
        if part is None:
            return RangeOutcome()
        return RangeOutcome(begin=part.begin, end=part.end, rows=self.rows, lines=part.lines)

    def evidence(self, schema_id: str) -> Evidence:
        """What the unit's rows must be when they are sent."""
        return _evidence(self.files, self.partitions, schema_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedUnit:
    """A unit that counts: what it reads, now that begin and end are known, and the number of the result that says so.

    `rows`, `lines`: of a range of text, the rows and line ends of its file before it.
    """

    unit: Unit
    number: int
    rows: int = 0
    lines: int = 0

    def rebased(self, rejects: RejectBatch) -> RejectBatch:
        """Rejects of its result with ordinals and lines of the file."""
        return rejects if self.unit.part is None else rebased(rejects, self._link)

    def rebased_fault(self, fault: MusterError, source: SourceObject) -> MusterError:
        """The fault of its result with the line of the file."""
        if self.unit.part is None or not isinstance(fault, UserError):
            return fault
        name = f"{source.uri}: " if fault.message.startswith(f"{source.uri}: ") else ""
        found = rebased_fault(UserError(fault.code, fault.message.removeprefix(name), **fault.detail), self._link)
        return UserError(found.code, f"{name}{found.message}", **found.detail)

    @property
    def _link(self) -> Link:
        return Link(place=self.unit.first, reading=self.number, rows=self.rows, lines=self.lines)


def verify_unit(
    files: SourceFiles,
    unit: Unit,
    spec: ImportSpec,
    *,
    partitions: int,
    chunk_overhead_bytes: int,
    limits: ParseLimits,
    rejects: RejectsSink,
    on_progress: ProgressListener,
    store: ObjectStore,
) -> UnitRead:
    """Verify a unit of a source. Its faults are in the result; raises only `RetriableError`.

    A range of text that did not end where it should have has seen nothing. `chunk_overhead_bytes`: of the messages that
    its rows will be sent in.
    """
    first: dict[str, Reject] = {}
    read: Sequence[FileRead] = ()
    digested: DigestedSet | None = None
    try:
        check_timezone(spec.timezone)
        before = ChunkCounts.none(partitions, overhead_bytes=chunk_overhead_bytes)
        with DigestedSet(
            files, spec, limits, store, on_progress, partitions=partitions, unit=unit, chunks=before
        ) as digested:
            read = digested.read
            count_rejects(digested, rejects, first=first)
        if digested.unknown:
            return UnitRead()
        kept = rejects.finish() is not None
    except (UserError, FatalError) as exc:
        kept = rejects.finish() is not None
        begin = unit.known_begin if digested is None else digested.begin
        return UnitRead(
            **_files(read),
            first=tuple(first.values()),
            rejects=kept,
            error=exc.as_record(),
            begin=begin,
            format=None if digested is None else digested.format,
        )
    assert digested.chunks is not None  # noqa: S101  # given above
    return UnitRead(
        **_files(read),
        partitions=digested.digests,
        chunks=digested.chunks.closed().full,
        chunk_rule=CHUNK_RULE,
        first=tuple(first.values()),
        rejects=kept,
        format=digested.format,
    )


def _files(read: Sequence[FileRead]) -> dict[str, Any]:
    return {
        "files": tuple(one.summary for one in read),
        "digests": tuple(one.digest for one in read if one.digest is not None),
    }


def files_read(files: SourceFiles, counted: Sequence[CountedUnit], read: Sequence[UnitRead]) -> tuple[FileRead, ...]:
    """The files that were read to their ends, up to the first fault, in order. `read`: as of `evidence_of`."""
    found: list[FileRead] = []
    for unit, one in zip((counted_unit.unit for counted_unit in counted), read, strict=True):
        for source, summary, digest in zip(unit.of(files), one.files, one.digests, strict=False):
            read_to_end = FileRead(source=source, summary=summary, digest=digest)
            if unit.continues and found:
                read_to_end = found.pop().joined(read_to_end)
            found.append(read_to_end)
        if one.error is not None:
            if unit.continues:
                found.pop()  # ranges of this file before it
            break
    return tuple(found)


def evidence_of(
    files: SourceFiles,
    counted: Sequence[CountedUnit],
    read: Sequence[UnitRead],
    spec: ImportSpec,
    *,
    rejects: RejectsSink,
    rejects_of: Iterable[Iterator[RejectBatch]],
) -> Evidence:
    """The evidence of all units together. Raises the first fault in order, as `verifier.verify_digested` does.

    `read`: what each unit that counts has seen; `rejects_of`: its rejects.
    """
    first: dict[str, Reject] = {}
    with published_rejects(rejects):
        for one, seen, batches in zip(counted, read, rejects_of, strict=True):
            _check_format(files, counted, read, one.unit, seen)
            for batch in batches:
                rejects.write(one.rebased(batch))
            for reject in seen.first:
                first.setdefault(
                    reject.code, replace(one.rebased(RejectBatch.of([reject])).rejects()[0], file=reject.file)
                )
            if seen.error is not None:
                raise one.rebased_fault(MusterError.from_record(seen.error), files[one.unit.first])
        _check_columns(files, counted, read, spec)
    rejects_uri = rejects.finish()
    of_units = zip(*(one.partitions for one in read), strict=True)
    partitions = tuple(Digest.total(spec.row_schema.schema_id, digests) for digests in of_units)
    evidence = _evidence([file for one in read for file in one.files], partitions, spec.row_schema.schema_id)
    refuse(evidence, spec, first, rejects_uri)
    return evidence


def _check_format(
    files: SourceFiles, counted: Sequence[CountedUnit], read: Sequence[UnitRead], unit: Unit, one: UnitRead
) -> None:
    """Within a unit, its reading has compared them."""
    if one.format is None or (first := read[0].format) is None or one.format == first:
        return
    source = files[unit.first]
    with named(source, unit.first, len(files)):
        raise mixed_formats(files[counted[0].unit.first].uri, first, source.uri, one.format)


def _check_columns(
    files: SourceFiles, counted: Sequence[CountedUnit], read: Sequence[UnitRead], spec: ImportSpec
) -> None:
    """As for the whole: raises `UserError` MISSING_COLUMN."""
    if len(files) > 1:
        check_columns([one.summary for one in files_read(files, counted, read)])
        return
    fields = [part.fields for one in read for file in one.files if (part := file.part) is not None and part.fields]
    if fields:
        seen = FieldsSeen(spec)
        for of_range in fields:
            seen.add_record(of_range)
        seen.check()


def _evidence(files: Sequence[ParseSummary], partitions: tuple[Digest, ...], schema_id: str) -> Evidence:
    by_code: Counter[str] = Counter()
    for file in files:
        by_code.update(file.rejected_by_code)
    return Evidence(
        rows=sum(one.rows for one in files),
        accepted=sum(one.accepted for one in files),
        rejected=sum(one.rejected for one in files),
        rejected_by_code=dict(sorted(by_code.items())),
        partitions=partitions,
        source_bytes=sum(one.source_bytes for one in files),
        decoded_bytes=sum(one.decoded_bytes for one in files),
        schema_id=schema_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitBase:
    """What is sent before a unit: `rows` with rejected ones, which ordinals count, and `chunks` per partition."""

    rows: int
    chunks: tuple[int, ...]

    @staticmethod
    def size(partitions: int) -> int:
        """Bytes of one in `bases_of`."""
        return struct.calcsize(_base_format(partitions))

    @classmethod
    def read(cls, content: bytes, partitions: int) -> Self:
        """One of `bases_of`, from its bytes."""
        rows, *chunks = struct.unpack(_base_format(partitions), content)
        return cls(rows=rows, chunks=tuple(chunks))


def bases_of(read: Iterable[UnitRead], partitions: int) -> bytes:
    """The base of each unit, in order, each in the same number of bytes: a unit reads its own alone."""
    sums = [0] * (1 + partitions)
    content = bytearray()
    for one in read:
        content += struct.pack(_base_format(partitions), *sums)
        sums = [a + b for a, b in zip(sums, (one.rows, *one.chunks), strict=True)]
    return bytes(content)


def _base_format(partitions: int) -> str:
    return f"<{1 + partitions}q"
