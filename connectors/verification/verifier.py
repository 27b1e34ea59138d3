"""Verifies a file: one strict reading that counts and digests every partition and names every bad row.

Memory is bounded by one batch of the parser and one row group of rejects, whatever the size of the file.
"""

from collections import Counter
from pathlib import Path

from connectors.objects import ObjectStore
from connectors.pinned import SourceObject
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import ProgressListener, open_parsed
from connectors.sources.rejects import Reject, RejectBatch
from connectors.verification.evidence import Evidence
from connectors.verification.policy import EXAMPLES, refuse
from connectors.verification.rejects_file import RejectsSink
from connectors.verification.stream import ParsedRows
from schemas.columns import USER_ID, ImportSpec
from schemas.errors import UserError
from schemas.partitioning import partition_users
from schemas.row_digest import PartitionDigests, row_hashes
from schemas.warm import warm


def verify_file(
    source: SourceObject | Path,
    spec: ImportSpec,
    *,
    partitions: int,
    limits: ParseLimits,
    rejects: RejectsSink,
    on_progress: ProgressListener,
    store: ObjectStore | None = None,
) -> Evidence:
    """Verify a local file, or a pinned object of `store`. Raises as `verify_rows` and `open_parsed` do."""
    with open_parsed(source, spec, limits, on_progress=on_progress, store=store) as parsed:
        return verify_rows(parsed, spec, partitions=partitions, rejects=rejects)


def verify_rows(parsed: ParsedRows, spec: ImportSpec, *, partitions: int, rejects: RejectsSink) -> Evidence:
    """Read a parsed file to its end and judge it by its import spec.

    Raises `UserError` TOO_MANY_REJECTS (with counts by code, the first rejects and where the rest is), EMPTY_FILE, and
    whatever the parser raises; what had been rejected until then is kept and named in the detail as `rejects`.
    """
    warm()  # while the child starts: loading the kernels takes a fifth of a second
    schema = spec.row_schema
    totals = PartitionDigests(schema, partitions)
    by_code: Counter[str] = Counter()
    examples: list[Reject] = []
    try:
        for item in parsed:
            if isinstance(item, RejectBatch):
                rejects.write(item)
                by_code.update(item.batch.column("code").to_pylist())
                if len(examples) < EXAMPLES:
                    examples += RejectBatch(item.batch.slice(0, EXAMPLES)).rejects()
            else:
                partition_of = partition_users(item.column(USER_ID), partitions).partition_of
                totals.add(partition_of, row_hashes(item, schema))
    except UserError as exc:
        if (uri := rejects.finish()) is None:
            raise
        raise UserError(exc.code, exc.message, **{**exc.detail, "rejects": uri}) from exc
    rejects_uri = rejects.finish()
    summary = parsed.summary
    evidence = Evidence(
        rows=summary.rows,
        accepted=summary.accepted,
        rejected=summary.rejected,
        rejected_by_code=dict(sorted(by_code.items())),
        partitions=totals.digests(),
        source_bytes=summary.source_bytes,
        decoded_bytes=summary.decoded_bytes,
        schema_id=schema.schema_id,
    )
    refuse(evidence, spec, examples, rejects_uri)
    return evidence
