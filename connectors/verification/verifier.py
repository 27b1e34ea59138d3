"""Verifies a file: one strict reading that counts and digests every partition and names every bad row.

Memory is bounded by one batch of the parser and one row group of rejects, whatever the size of the file.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from connectors.sources.rejects import Reject, RejectBatch
from connectors.verification.evidence import Evidence
from connectors.verification.policy import EXAMPLES, refuse
from connectors.verification.rejects_file import RejectsSink
from connectors.verification.stream import ParsedRows
from schemas.columns import USER_ID, ImportSpec
from schemas.digest import PartitionDigests, row_hashes
from schemas.errors import FatalError, UserError
from schemas.partitioning import partition_users


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyProgress:
    """How far verification has got: rows looked at, and how many of them are rejects."""

    rows: int
    rejected: int


OnVerifyProgress = Callable[[VerifyProgress], None]


def verify_rows(
    parsed: ParsedRows,
    spec: ImportSpec,
    *,
    partitions: int,
    rejects: RejectsSink,
    on_progress: OnVerifyProgress,
) -> Evidence:
    """Read a parsed file to its end and judge it by its import spec.

    Raises `UserError` TOO_MANY_REJECTS (with counts by code, the first rejects and where the rest is), EMPTY_FILE, and
    whatever the parser raises; what had been rejected until then is kept and named in the detail as `rejects`.
    """
    schema = spec.row_schema
    totals = PartitionDigests(schema, partitions)
    accepted = 0
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
                totals.add(partition_users(item.column(USER_ID), partitions).partition_of, row_hashes(item, schema))
                accepted += item.num_rows
            on_progress(VerifyProgress(rows=accepted + by_code.total(), rejected=by_code.total()))
    except UserError as exc:
        if (uri := rejects.finish()) is None:
            raise
        raise UserError(exc.code, exc.message, **{**exc.detail, "rejects": uri}) from exc
    rejects_uri = rejects.finish()
    summary = parsed.summary
    if (summary.accepted, summary.rejected) != (accepted, by_code.total()):
        raise FatalError(
            "PARSER_MISCOUNTED",
            f"the parser says {summary.accepted} accepted and {summary.rejected} rejected rows, {accepted} and "
            f"{by_code.total()} came out",
        )
    evidence = Evidence(
        rows=summary.rows,
        accepted=accepted,
        rejected=by_code.total(),
        rejected_by_code=dict(sorted(by_code.items())),
        partitions=totals.digests(),
        source_bytes=summary.source_bytes,
        decoded_bytes=summary.decoded_bytes,
        schema_id=schema.schema_id,
    )
    refuse(evidence, spec, examples, rejects_uri)
    return evidence
