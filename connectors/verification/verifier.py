"""Verifies a file: one strict pass that counts and digests every partition and reports every bad row.

The parser's child digests the rows itself and sends only the totals. Memory is bounded by a few batches in the child
and one row group of rejects here, whatever the size of the file.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from connectors.sources.file_set import DigestedSet, FileRead, open_digests
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import ProgressListener
from connectors.sources.rejects import Reject, RejectBatch
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import Source
from connectors.verification.evidence import Evidence
from connectors.verification.policy import refuse
from connectors.verification.rejects_file import RejectsSink
from connectors.verification.stream import Digested, DigestedHere, ParsedRows
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.warm import warm


def verify_file(
    source: Source | Path,
    spec: ImportSpec,
    *,
    partitions: int,
    limits: ParseLimits,
    rejects: RejectsSink,
    on_progress: ProgressListener,
    store: ObjectStore | None = None,
    on_files: Callable[[Sequence[FileRead]], None] = lambda _: None,
) -> Evidence:
    """Verify a local file, or pinned objects of `store`, as one. Raises as `verify_digested` and `open_digests` do.

    `on_files` gets the files of several that were read to their ends, whatever the result.
    """
    with open_digests(source, spec, limits, store, on_progress, partitions=partitions) as digested:
        if not isinstance(digested, DigestedSet):
            return verify_digested(digested, spec, rejects=rejects)
        try:
            return verify_digested(digested, spec, rejects=rejects)
        finally:
            on_files(digested.read)


def verify_rows(parsed: ParsedRows, spec: ImportSpec, *, partitions: int, rejects: RejectsSink) -> Evidence:
    """Verify rows that the caller needs too, digesting them in this process. Raises as `verify_digested` does."""
    warm()  # while the child starts: loading the kernels takes a fifth of a second
    return verify_digested(DigestedHere(parsed, spec.row_schema, partitions), spec, rejects=rejects)


@contextmanager
def published_rejects(rejects: RejectsSink) -> Iterator[None]:
    """Publish the rejects found before a fault of the whole file; the detail of its error names their file."""
    try:
        yield
    except UserError as exc:
        if (uri := rejects.finish()) is None:
            raise
        raise UserError(exc.code, exc.message, **{**exc.detail, "rejects": uri}) from exc


def verify_digested(digested: Digested, spec: ImportSpec, *, rejects: RejectsSink) -> Evidence:
    """Read a parsed file to its end and judge it by its import spec.

    Raises `UserError` TOO_MANY_REJECTS or NO_TIMEZONE (with counts by code, the first reject of each code and the
    location of the rest), EMPTY_FILE, and everything that the parser raises; rejects found until then are kept, and the
    detail names their file as `rejects`.
    """
    first: dict[str, Reject] = {}
    with published_rejects(rejects):
        by_code = count_rejects(digested, rejects, first=first)
    rejects_uri = rejects.finish()
    summary = digested.summary
    evidence = Evidence(
        rows=summary.rows,
        accepted=summary.accepted,
        rejected=summary.rejected,
        rejected_by_code=dict(sorted(by_code.items())),
        partitions=digested.digests,
        source_bytes=summary.source_bytes,
        decoded_bytes=summary.decoded_bytes,
        schema_id=spec.row_schema.schema_id,
    )
    refuse(evidence, spec, first, rejects_uri)
    return evidence


def count_rejects(digested: Digested, rejects: RejectsSink, *, first: dict[str, Reject]) -> Counter[str]:
    """Read a parsed file to its end; rejects go to the sink, and the first of each code into `first`.

    Raises what the parser raises.
    """
    by_code: Counter[str] = Counter()
    for item in digested:
        rejects.write(item)
        codes = item.batch.column("code").to_pylist()
        by_code.update(codes)
        for code in by_code.keys() - first.keys():
            first[code] = RejectBatch(item.batch.slice(codes.index(code), 1)).rejects()[0]
    return by_code
