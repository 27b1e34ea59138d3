"""Verification of the units of a source, side by side: what each has seen, and what all of them say about the whole.

Digests add up, so the sums are the evidence of one pass. What is judged by the whole - the first fault in order, shares
of rejects, columns that no file has - is judged once all units have been read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

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
    error: dict[str, Any] | None = field(default=None)

    @property
    def rows(self) -> int:
        """Rows of the files, with rejected ones."""
        return sum(file.rows for file in self.files)


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


def failed_unit(error: MusterError) -> UnitRead:
    """A unit that was given up."""
    return UnitRead(error=error.as_record())


def files_read(files: SourceFiles, units: Sequence[Unit], read: Sequence[UnitRead]) -> tuple[FileRead, ...]:
    """The files that were read to their ends, up to the first fault, in order."""
    found: list[FileRead] = []
    for unit, one in zip(units, read, strict=True):
        for source, summary, digest in zip(unit.of(files), one.files, one.digests, strict=False):
            found.append(FileRead(source=source, summary=summary, digest=digest))
        if one.error is not None:
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
    by_code: Counter[str] = Counter()
    with published_rejects(rejects):
        for unit, one, batches in zip(units, read, rejects_of, strict=True):
            _check_format(files, units, read, unit, one)
            for batch in batches:
                rejects.write(batch)
            for reject in one.first:
                first.setdefault(reject.code, reject)
            for summary in one.files:
                by_code.update(summary.rejected_by_code)
            if one.error is not None:
                raise MusterError.from_record(one.error)
        check_columns([summary for one in read for summary in one.files])
    rejects_uri = rejects.finish()
    summaries = [summary for one in read for summary in one.files]
    of_units = zip(*(one.partitions for one in read), strict=True)
    partitions = [Digest.total(spec.row_schema.schema_id, digests) for digests in of_units]
    evidence = Evidence(
        rows=sum(one.rows for one in summaries),
        accepted=sum(one.accepted for one in summaries),
        rejected=sum(one.rejected for one in summaries),
        rejected_by_code=dict(sorted(by_code.items())),
        partitions=tuple(partitions),
        source_bytes=sum(one.source_bytes for one in summaries),
        decoded_bytes=sum(one.decoded_bytes for one in summaries),
        schema_id=spec.row_schema.schema_id,
    )
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
