"""Inspect a file without a spec: its format, the contents of its columns, and its faults.

The whole file is scanned as strictly as in an import, in the same child process. If the types or null texts that are
then suggested do not fit every row, the file is scanned once more with them, so the rejects are always those of the
suggested import. JSON Lines has no header: its columns and their JSON types are those of the first lines
(`jsonl_reader`), and later values of another type are rejects.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from connectors.sources.column_evidence import (
    MISFITS,
    ColumnEvidence,
    Guess,
    mostly_typed,
    null_like_ids,
    null_like_values,
)
from connectors.sources.compression import Compression
from connectors.sources.findings import Finding, names_shown, reject_share
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import ParsedFile, ProgressListener, open_parsed, source_file
from connectors.sources.process import FileBytes
from connectors.sources.rejects import Reject, RejectBatch
from connectors.sources.suggestion import is_decimal
from connectors.sources.text_findings import read_findings, readable, text_findings
from connectors.sources.unkept_columns import reasons, unkept_findings
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceObject
from schemas.columns import USER_ID, Column, ColumnType, ImportKind
from schemas.errors import UserError
from schemas.import_formats import FALLBACK, IMPORT_FORMATS, ImportFormat
from schemas.import_spec import ImportSpec
from schemas.records import as_record

FAULTS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedColumn:
    """A column under its name in the file. `type` is None if it is not kept, and `reason` says why, and what to do."""

    name: str
    type: ColumnType | None
    reason: str | None
    is_id: bool
    nulls: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The output of `muster inspect`. `fault` refuses the whole file; `rejects` are the first `FAULTS_SHOWN`.

    `local_times`: columns of the file with times without an offset; the spec then has a time zone to read them in.
    `decimals`: its columns of decimals.
    """

    name: str
    size: int
    format: ImportFormat | None
    compression: Compression | None
    encoding: str
    rows: int
    rejected: int
    rejected_by_code: dict[str, int]
    rejects: tuple[Reject, ...]
    columns: tuple[InspectedColumn, ...]
    fault: UserError | None
    findings: tuple[Finding, ...]
    local_times: tuple[str, ...]
    decimals: tuple[str, ...]
    spec: ImportSpec | None

    def as_record(self) -> dict[str, object]:
        """Plain JSON data."""
        return {
            "name": self.name,
            "size": self.size,
            "format": self.format,
            "compression": self.compression,
            "encoding": self.encoding,
            "rows": self.rows,
            "rejected": self.rejected,
            "rejected_by_code": self.rejected_by_code,
            "rejects": [
                {k: getattr(r, k) for k in ("ordinal", "line", "byte_offset", "column", "code", "reason", "raw")}
                for r in self.rejects
            ],
            "columns": [
                {
                    "name": c.name,
                    "type": c.type,
                    "reason": c.reason,
                    "is_id": c.is_id,
                    "nulls": c.nulls,
                    "examples": list(c.examples),
                }
                for c in self.columns
            ],
            "fault": None if self.fault is None else self.fault.as_record(),
            "findings": [one.as_record() for one in self.findings],
            "hints": [one.hint for one in self.findings],
            "spec": None if self.spec is None else self.spec.as_record(),
        }


@dataclass(slots=True)
class Scan:
    """Counts of a file's rows, its first rejects, and evidence about its columns."""

    accepted: int = 0
    by_code: Counter[str] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)
    seen: dict[str, ColumnEvidence] = field(default_factory=dict)

    @property
    def rejected(self) -> int:
        """Number of rejects."""
        return self.by_code.total()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.accepted + self.rejected

    def add_rejects(self, found: RejectBatch) -> None:
        """Count rejects."""
        self.by_code.update(found.of_rows.column("code").to_pylist())
        if len(self.rejects) < FAULTS_SHOWN:
            self.rejects += found.rejects()[: FAULTS_SHOWN - len(self.rejects)]

    def add_rows(self, found: pa.RecordBatch, format_: ImportFormat) -> None:
        """Count rows, and look at their values."""
        self.accepted += found.num_rows
        for index, column in enumerate(found.schema.names[1:], start=1):
            if column not in self.seen:
                self.seen[column] = _evidence(column, format_)
            self.seen[column].look_at(found.column(index), found.column(0))


def inspect(
    source: SourceObject | Path,
    *,
    store: ObjectStore | None = None,
    limits: ParseLimits | None = None,
    format: ImportFormat | None = None,  # noqa: A002  # the word of the import spec
    kind: ImportKind = "audience",
    called: str | None = None,
    on_progress: ProgressListener | None = None,
) -> Inspection:
    """Scan a whole file. A fault of the file is part of the result; outages and missing files are raised.

    `called`: what the user calls the file, for suggested commands.
    """
    limits = limits or ParseLimits()
    given = ImportSpec(format=format, timezone="UTC")
    file, scan, parsed, fault = _scanned(source, store, given, limits, on_progress)
    form = None if parsed is None else parsed.form
    read_as = None if form is None else readable(form)
    if read_as is not None:
        given = replace(given, delimiter=read_as[0], encoding=read_as[1])
        file, scan, parsed, fault = _scanned(source, store, given, limits, on_progress)
    layout = None if parsed is None else parsed.layout
    known = layout or (as_record(form) if form is not None else {})
    findings: list[Finding] = []
    if form is not None:
        findings = text_findings(form, called or file.name) if read_as is None else read_findings(form, *read_as)
    spec: ImportSpec | None = None
    local: tuple[str, ...] = ()
    decimals: tuple[str, ...] = ()
    columns: tuple[InspectedColumn, ...] = ()
    if layout is not None:
        decimals = tuple(name for name, type_ in layout["file_types"].items() if is_decimal(type_))
        spec, of_columns = _refined(layout["spec"], scan, kind, decimals)
        local = _local_times(spec, layout["local_times"], scan.seen)
        spec = replace(spec, timezone="UTC" if local else None)
        columns = _columns(layout["names"], spec, scan.seen, reasons(layout["names"], spec, layout["file_types"]))
        if fault is None and not any(one.blocking for one in findings):
            if any(one.code in MISFITS for one in of_columns):
                scan = scanned_as(source, spec, limits, store)
            findings += [*of_columns, *_doubled(layout["names"])]
            findings += [*unkept_findings(layout["names"], spec, layout["file_types"]), *row_findings(scan)]
    return Inspection(
        name=file.name,
        size=file.size,
        format=known.get("format"),
        compression=known.get("compression"),
        encoding="" if layout is None else layout["encoding"],
        rows=scan.rows,
        rejected=scan.rejected,
        rejected_by_code=dict(sorted(scan.by_code.items())),
        rejects=tuple(scan.rejects),
        columns=columns,
        fault=fault,
        findings=tuple(findings),
        local_times=local,
        decimals=decimals,
        spec=spec,
    )


def _scanned(
    source: SourceObject | Path,
    store: ObjectStore | None,
    spec: ImportSpec,
    limits: ParseLimits,
    on_progress: ProgressListener | None,
) -> tuple[FileBytes, Scan, ParsedFile | None, UserError | None]:
    """Read a whole file; the error is a fault of the file. Outages and missing files are raised."""
    file, scan = source_file(source, store), Scan()
    parsed: ParsedFile | None = None
    try:
        parsed = ParsedFile(file, spec, limits, on_progress, choose=True)
        with parsed:
            for found in parsed:
                if isinstance(found, RejectBatch):
                    scan.add_rejects(found)
                else:
                    scan.add_rows(found, FALLBACK if parsed.layout is None else parsed.layout["format"])
    except UserError as exc:
        if exc.code in ("SOURCE_GONE", "SOURCE_CHANGED", "SOURCE_UNREADABLE", "ACCESS_DENIED", "NO_SUCH_BUCKET"):
            raise
        return file, scan, parsed, exc
    return file, scan, parsed, None


def scanned_as(
    source: SourceObject | Path, spec: ImportSpec, limits: ParseLimits, store: ObjectStore | None = None
) -> Scan:
    """The counts and first rejects of a file as an import with this spec has them. Raises as `open_parsed`."""
    scan = Scan()
    with open_parsed(source, spec, limits, store) as parsed:
        for found in parsed:
            if isinstance(found, RejectBatch):
                scan.add_rejects(found)
            else:
                scan.accepted += found.num_rows
    return scan


def row_findings(scan: Scan) -> list[Finding]:
    """A finding if an import would publish nothing, or reject most rows, so that none is suggested."""
    if scan.rows == 0:
        message = "the file has no rows, so an import would empty the audience; if that is meant, add --allow-empty"
        return [Finding(code="no_rows", message=message, blocking=True)]
    if 2 * scan.rejected <= scan.rows:
        return []
    [(code, _)] = scan.by_code.most_common(1)
    first = next((f", such as {r.reason}" for r in scan.rejects if r.code == code), "")
    return [
        Finding(
            code="most_rows_rejected",
            message=f"{scan.rejected:,} of {scan.rows:,} rows would be rejected, most of them as {code}{first}. "
            "Correct the file and inspect it again",
            blocking=True,
            detail={"rejected": scan.rejected, "rows": scan.rows, "code": code},
        )
    ]


def _evidence(column: str, format_: ImportFormat) -> ColumnEvidence:
    traits = IMPORT_FORMATS[format_]
    guesses = [] if column == USER_ID else [Guess(type_) for type_ in traits.text_types]
    return ColumnEvidence(guesses=guesses, may_be_null=traits.untyped or column == USER_ID)


def _refined(
    spec: ImportSpec, scan: Scan, kind: ImportKind, decimals: tuple[str, ...]
) -> tuple[ImportSpec, list[Finding]]:
    """The spec with types and null texts that the evidence speaks for, and findings about what does not fit them.

    `decimals` stay text, which is exact.
    """
    findings: list[Finding] = []
    columns: list[Column] = []
    null_texts: Counter[str] = Counter()
    for column in spec.columns:
        seen = scan.seen.get(column.name)
        guess = seen.best() if seen is not None and column.type == "string" else None
        if seen is None or guess is None or column.file_name in decimals:
            columns.append(column)
            continue
        if guess.misfits:
            tolerated = reject_share(min(scan.rejected + guess.misfits, scan.rows), scan.rows)
            findings += mostly_typed(column, seen, guess, kind, tolerated)
        suggested = seen.suggests(guess)
        columns.append(replace(column, type=guess.type) if suggested else column)
        if suggested and seen.null_like:
            null_texts += seen.null_like
            findings.append(null_like_values(column, guess, seen.null_like))
    if (ids := scan.seen.get(USER_ID)) is not None and ids.null_like:
        can_be_null = spec.format is not None and IMPORT_FORMATS[spec.format].untyped
        findings.append(null_like_ids(spec.id_column, ids.null_like, can_be_null=can_be_null))
        null_texts += ids.null_like if can_be_null else Counter()
    null_values = (*spec.null_values, *sorted(null_texts))
    return replace(spec, columns=tuple(columns), null_values=null_values), findings


def _columns(
    names: list[str], spec: ImportSpec, seen: dict[str, ColumnEvidence], why: dict[str, str]
) -> tuple[InspectedColumn, ...]:
    kept = {c.file_name: c for c in spec.columns}
    times = Counter(names)
    shown = []
    for name in names:
        is_id = name == spec.id_column
        column = kept.get(name) if times[name] == 1 else None
        values = seen.get(USER_ID if is_id else column.name if column is not None else "")
        shown.append(
            InspectedColumn(
                name=name,
                type="string" if is_id else column.type if column is not None else None,
                reason=None if is_id or column is not None else why[name],
                is_id=is_id,
                nulls=0 if values is None else values.nulls,
                examples=() if values is None else tuple(values.examples),
            )
        )
    return tuple(shown)


def _local_times(spec: ImportSpec, typed: list[str], seen: dict[str, ColumnEvidence]) -> tuple[str, ...]:
    """Columns with times without an offset: by the type of the file, or by the texts in it."""
    times = (c for c in spec.columns if c.type == "timestamp" and c.name in seen)
    return tuple(c.file_name for c in times if c.file_name in typed or seen[c.name].has_local_times)


def _doubled(names: list[str]) -> list[Finding]:
    if not (doubled := sorted(n for n, times in Counter(names).items() if times > 1)):
        return []
    return [
        Finding(
            code="doubled_column",
            message=f"columns that occur more than once cannot be kept: {names_shown(doubled)}. Rename them",
            detail={"columns": doubled[:10]},
        )
    ]
