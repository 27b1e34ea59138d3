"""Decides which files to refuse, once all their rows have been checked. Pure."""

from collections.abc import Mapping
from typing import Final

from connectors.sources.header import SETTINGS
from connectors.sources.rejects import MEANINGS, Reject, RejectCode
from connectors.sources.typed_columns import EXPECTED
from connectors.verification.evidence import Evidence
from schemas.errors import UserError
from schemas.import_spec import ImportSpec

EXAMPLES: Final = 5
"""Rejects shown with the error, each with a different code; the others are in the rejects file."""
REMEDIES: Final[Mapping[str, str]] = {
    RejectCode.NO_TIMEZONE: f"Set their zone with --timezone, {SETTINGS}; those with an offset keep theirs",
    RejectCode.BAD_VALUE: f"Correct them, or give the column another type with --column, {SETTINGS}",
    RejectCode.FIELD_COUNT: "Enclose a field that contains a comma or a line end in double quotes",
    RejectCode.BARE_QUOTE: 'Enclose a field that contains a quote in double quotes, and write the quote twice ("")',
    RejectCode.TEXT_AFTER_QUOTE: 'Write a quote within a field twice ("")',
    RejectCode.REPEATED_HEADER: "Remove it, or import the files separately",
    RejectCode.BYTE_ORDER_MARK: "Remove it, or import the files separately",
    RejectCode.INVALID_UTF8: "Save the file as UTF-8; `muster inspect` has the command that converts it",
    RejectCode.UNKNOWN_MEMBER: "List it with --column",
}
DEFAULT_REMEDY: Final = f"Correct them, or allow a share of rejects with --max-reject-share, {SETTINGS}"


def refuse(evidence: Evidence, spec: ImportSpec, first: Mapping[str, Reject], rejects_uri: str | None) -> None:
    """Raises `UserError` if the import spec does not allow such a file. `first`: the first reject of each code.

    NO_TIMEZONE if that is the most frequent code, otherwise TOO_MANY_REJECTS; EMPTY_FILE.
    """
    if evidence.rows == 0 and not spec.allow_empty:
        raise UserError(
            "EMPTY_FILE", f"the file has no rows; if that is intended, allow it with --allow-empty, {SETTINGS}"
        )
    # Division, not multiplication: 29 / 100 is 0.29, but 0.29 * 100 is less than 29.
    if evidence.rows and evidence.rejected / evidence.rows > spec.max_reject_share:
        raise _too_many_rejects(evidence, spec, first, rejects_uri)
    if evidence.accepted == 0 and not spec.allow_empty:
        raise UserError(
            "EMPTY_FILE",
            f"all {evidence.rows} rows of the file are rejects: {_by_code(evidence)}",
            rejected_by_code=dict(evidence.rejected_by_code),
            rejects=rejects_uri,
        )


def _too_many_rejects(
    evidence: Evidence, spec: ImportSpec, first: Mapping[str, Reject], rejects_uri: str | None
) -> UserError:
    codes = [code for code, _ in _by_count(evidence)]
    examples = [describe(first[code], spec) for code in codes[:EXAMPLES]]
    others = f" Others: {'; '.join(examples[1:])}." if examples[1:] else ""
    return UserError(
        "NO_TIMEZONE" if codes[0] == RejectCode.NO_TIMEZONE else "TOO_MANY_REJECTS",
        f"{evidence.rejected} of {evidence.rows} rows were rejected ({_by_code(evidence)}). Mostly {examples[0]}. "
        f"{REMEDIES.get(codes[0], DEFAULT_REMEDY)}.{others} At most {spec.max_reject_share:.2%} are allowed "
        f"(--max-reject-share). All rejects: {rejects_uri}",
        rows=evidence.rows,
        rejected=evidence.rejected,
        rejected_by_code=dict(evidence.rejected_by_code),
        max_reject_share=spec.max_reject_share,
        examples=examples,
        rejects=rejects_uri,
    )


def describe(reject: Reject, spec: ImportSpec) -> str:
    """One reject in words, without any value of the file: position, column of the spec, code and its meaning.

    Of several files, the position begins with the URI of the file.
    """
    if reject.line is not None:
        location = f"line {reject.line}"
    elif reject.ordinal is not None:
        location = f"row {reject.ordinal + 1}"
    else:
        location = "unknown position"
    if reject.file is not None:
        location = f"{reject.file}, {location}"
    types = {spec.id_column: "string", **{column.file_name: column.type for column in spec.columns}}
    if reject.column not in types:
        return f"{location}: {reject.code}: {MEANINGS[reject.code]}"
    expected = f"not {EXPECTED[types[reject.column]]}" if reject.code is RejectCode.BAD_VALUE else MEANINGS[reject.code]
    return f"{location}, column {reject.column}: {reject.code}: {expected}"


def _by_code(evidence: Evidence) -> str:
    return ", ".join(f"{code} {count}" for code, count in _by_count(evidence))


def _by_count(evidence: Evidence) -> list[tuple[str, int]]:
    return sorted(evidence.rejected_by_code.items(), key=lambda item: (-item[1], item[0]))
