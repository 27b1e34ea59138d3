"""Verification of the units of a source, side by side: what each has seen, and what all of them say about the whole.

Digests add up, so the sums are the evidence of one pass. What is judged by the whole - the first fault in order, shares
of rejects, columns that no file has - is judged once all units have been read.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from connectors.sources.file_set import DigestedSet, FileRead, check_columns, named
from connectors.sources.job import ParseSummary
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import ProgressListener
from connectors.sources.rejects import Reject, RejectBatch
from connectors.sources.typed_columns import check_timezone
from connectors.sources.units import Unit
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceFiles
from connectors.verification.evidence import Evidence
from connectors.verification.policy import refuse
from connectors.verification.rejects_file import RejectsSink
from connectors.verification.verifier import count_rejects, published_rejects
from schemas.chunk_rule import CHUNK_RULE, ChunkCounts
from schemas.digest import Digest
from schemas.errors import FatalError, MusterError, UserError
from schemas.import_formats import mixed_formats
from schemas.import_spec import ImportSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRead:
    """What verification saw in a unit: its files that were read to their ends, in order.

    `partitions`: digests of accepted rows; `chunks`: into how many chunks the unit's rows will be cut, by the version
    `chunk_rule` of the rule; both per partition, and empty if there was a fault. `first`: the first reject of each
    code.
    """

    files: tuple[ParseSummary, ...] = ()
    digests: tuple[Digest, ...] = ()
    partitions: tuple[Digest, ...] = ()
    chunks: tuple[int, ...] = ()
    chunk_rule: int = 0
    first: tuple[Reject, ...] = ()
    rejects: bool = False
    error: dict[str, Any] | None = None

    @property
    def rows(self) -> int:
        """Rows of the files, with rejected ones."""
        return sum(file.rows for file in self.files)

    def evidence(self, schema_id: str) -> Evidence:
        """What the unit's rows must be when they are sent."""
        return _evidence(self.files, self.partitions, schema_id)


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

    `chunk_overhead_bytes`: of the messages that its rows will be sent in.
    """
    first: dict[str, Reject] = {}
    read: Sequence[FileRead] = ()
    try:
        check_timezone(spec.timezone)
        before = ChunkCounts.none(partitions, overhead_bytes=chunk_overhead_bytes)
        with DigestedSet(
            files, spec, limits, store, on_progress, partitions=partitions, unit=unit, chunks=before
        ) as digested:
            read = digested.read
            count_rejects(digested, rejects, first=first)
        kept = rejects.finish() is not None
    except (UserError, FatalError) as exc:
        kept = rejects.finish() is not None
        return UnitRead(**_files(read), first=tuple(first.values()), rejects=kept, error=exc.as_record())
    assert digested.chunks is not None  # noqa: S101  # given above
    return UnitRead(
        **_files(read),
        partitions=digested.digests,
        chunks=digested.chunks.closed().full,
        chunk_rule=CHUNK_RULE,
        first=tuple(first.values()),
        rejects=kept,
    )


def _files(read: Sequence[FileRead]) -> dict[str, Any]:
    return {
        "files": tuple(one.summary for one in read),
        "digests": tuple(one.digest for one in read if one.digest is not None),
    }


def files_read(files: SourceFiles, units: Sequence[Unit], read: Sequence[UnitRead]) -> tuple[FileRead, ...]:
    """The files that were read to their ends, up to the first fault, in order."""
    found: list[FileRead] = []
    for unit, one in zip(units, read, strict=True):
        for source, summary, digest in zip(unit.of(files), one.files, one.digests, strict=False):
            read_to_end = FileRead(source=source, summary=summary, digest=digest)
            if unit.begin and found:
                read_to_end = found.pop().joined(read_to_end)
            found.append(read_to_end)
        if one.error is not None:
            if unit.begin:
                found.pop()  # ranges of this file before it
            break
    return tuple(found)


def evidence_of(
    files: SourceFiles,
    units: Sequence[Unit],
    read: Sequence[UnitRead],
    spec: ImportSpec,
    *,
    rejects: RejectsSink,
    rejects_of: Iterable[Iterator[RejectBatch]],
) -> Evidence:
    """The evidence of all units together. Raises the first fault in order, as `verifier.verify_digested` does.

    `rejects_of`: those of each unit.
    """
    first: dict[str, Reject] = {}
    with published_rejects(rejects):
        for unit, one, batches in zip(units, read, rejects_of, strict=True):
            _check_format(files, units, read, unit, one)
            for batch in batches:
                rejects.write(batch)
            for reject in one.first:
                first.setdefault(reject.code, reject)
            if one.error is not None:
                raise MusterError.from_record(one.error)
        check_columns([summary for one in read for summary in one.files])
    rejects_uri = rejects.finish()
    of_units = zip(*(one.partitions for one in read), strict=True)
    partitions = tuple(Digest.total(spec.row_schema.schema_id, digests) for digests in of_units)
    evidence = _evidence([file for one in read for file in one.files], partitions, spec.row_schema.schema_id)
    refuse(evidence, spec, first, rejects_uri)
    return evidence


def _check_format(
    files: SourceFiles, units: Sequence[Unit], read: Sequence[UnitRead], unit: Unit, one: UnitRead
) -> None:
    """Within a unit, its reading has compared them."""
    if not one.files or not read[0].files or one.files[0].format == read[0].files[0].format:
        return
    source = files[unit.first]
    with named(source, unit.first, len(files)):
        raise mixed_formats(files[units[0].first].uri, read[0].files[0].format, source.uri, one.files[0].format)


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
