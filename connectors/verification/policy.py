"""Which files are refused, once every row of them has been looked at. Pure."""

from collections.abc import Sequence
from typing import Final

from connectors.sources.rejects import Reject
from connectors.verification.evidence import Evidence
from schemas.columns import ImportSpec
from schemas.errors import UserError

EXAMPLES: Final = 5
"""Rejects that are shown with the error; all others are in the rejects file."""


def refuse(evidence: Evidence, spec: ImportSpec, examples: Sequence[Reject], rejects_uri: str | None) -> None:
    """Raises `UserError` EMPTY_FILE or TOO_MANY_REJECTS when the import spec does not allow such a file."""
    if evidence.rows == 0 and not spec.allow_empty:
        raise UserError(
            "EMPTY_FILE", "the file holds no rows; allow an empty audience in its import spec if that is meant"
        )
    # Divided, not multiplied: 29 / 100 is 0.29, but 0.29 * 100 is less than 29.
    if evidence.rows and evidence.rejected / evidence.rows > spec.max_reject_share:
        raise _too_many_rejects(evidence, spec, examples, rejects_uri)
    if evidence.accepted == 0 and not spec.allow_empty:
        raise UserError(
            "EMPTY_FILE",
            f"all {evidence.rows} rows of the file are rejects: {_by_code(evidence)}",
            rejected_by_code=dict(evidence.rejected_by_code),
            rejects=rejects_uri,
        )


def _too_many_rejects(
    evidence: Evidence, spec: ImportSpec, examples: Sequence[Reject], rejects_uri: str | None
) -> UserError:
    first = "; ".join(describe(reject) for reject in examples[:EXAMPLES])
    return UserError(
        "TOO_MANY_REJECTS",
        f"{evidence.rejected} of {evidence.rows} rows were rejected ({_by_code(evidence)}), at most "
        f"{spec.max_reject_share:.2%} are allowed. First: {first}. All of them: {rejects_uri}",
        rows=evidence.rows,
        rejected=evidence.rejected,
        rejected_by_code=dict(evidence.rejected_by_code),
        max_reject_share=spec.max_reject_share,
        examples=[describe(reject) for reject in examples[:EXAMPLES]],
        rejects=rejects_uri,
    )


def describe(reject: Reject) -> str:
    """One reject in words: where, which column, code and reason."""
    if reject.line is not None:
        place = f"line {reject.line}"
    elif reject.ordinal is not None:
        place = f"row {reject.ordinal + 1}"
    else:
        place = "somewhere"
    column = f", column {reject.column}" if reject.column is not None else ""
    return f"{place}{column}: {reject.code}: {reject.reason}"


def _by_code(evidence: Evidence) -> str:
    largest_first = sorted(evidence.rejected_by_code.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{code} {count}" for code, count in largest_first)
