"""Inspects a file before it is imported, and suggests the command line to import it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from connectors.sources.completion import complete_spec
from connectors.sources.findings import Finding, names_shown, quoted, reject_share
from connectors.sources.inspection import Inspection, inspect, row_findings, scanned_as
from connectors.sources.limits import ParseLimits
from connectors.storage.pinned import SourceObject
from orchestration.operations.submit import source_of
from orchestration.platform.local_files import check_readable
from schemas.activity_columns import (
    ATTRIBUTE_TYPES,
    EVENT,
    EVENT_COLUMNS,
    OCCURRED_AT,
    PROPERTY_TYPES,
    columns_of,
    is_fixed,
)
from schemas.columns import MAX_EXTRA_COLUMNS, USER_ID, Column, ColumnType, ImportKind
from schemas.errors import UserError
from schemas.import_formats import IMPORT_FORMATS, ImportFormat
from schemas.import_spec import ImportSpec
from schemas.import_targets import activity_spec
from schemas.text_form import delimiter_name

if TYPE_CHECKING:
    from connectors.storage.objects import ObjectStore
    from orchestration.platform.settings import Settings

LIKELY: Final = {
    EVENT: ("event_name", "eventname", "event_type", "name", "type", "action"),
    OCCURRED_AT: ("timestamp", "time", "ts", "event_time", "created_at", "date"),
}
"""Likely names for the columns that every event has, likeliest first; compared without case and spaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """The `muster import` that keeps as much as possible, quoted for a shell, and all findings about the file.

    There is no command if it could not work, would reject most rows or leave the audience empty; the findings that are
    blocking, or the fault of the file, then say what to do.
    """

    command: str | None
    findings: tuple[Finding, ...]

    def added_to(self, found: Inspection) -> dict[str, Any]:
        """What was found, as plain JSON data."""
        return replace(found, findings=self.findings).as_record()


def inspect_file(source: str, *, kind: ImportKind, format_: str | None) -> tuple[Inspection, Suggestion]:
    """Inspect a local file. Raises `UserError` SOURCE_GONE, SOURCE_UNREADABLE, EMPTY_FILE."""
    path = Path(source)
    check_readable(path)
    return _inspect(source, path, kind=kind, format_=format_, limits=ParseLimits(), store=None)


def inspect_object(
    uri: str,
    *,
    kind: ImportKind,
    format_: str | None,
    limits: ParseLimits,
    store: "ObjectStore",
    settings: "Settings",
    tenant: str | None = None,
) -> tuple[Inspection, Suggestion]:
    """Inspect an object [of a tenant]. Raises `UserError` BAD_URI, BAD_SOURCE, SOURCE_GONE."""
    pinned = store.pin(*source_of(settings, tenant, uri))
    return _inspect(uri, pinned, kind=kind, format_=format_, limits=limits, store=store)


def _inspect(
    source: str,
    file: SourceObject | Path,
    *,
    kind: ImportKind,
    format_: str | None,
    limits: ParseLimits,
    store: "ObjectStore | None",
) -> tuple[Inspection, Suggestion]:
    """`source`: what the user calls the file."""
    wanted = cast("ImportFormat | None", format_)
    called = source.rpartition("/")[2] if isinstance(file, SourceObject) else source
    found = inspect(file, store=store, limits=limits, format=wanted, kind=kind, called=called)
    findings = [*found.findings]
    words = ["muster", "import", source, *(("--audience", "NAME") if kind == "audience" else ("--kind", kind))]
    if format_ is not None:  # repeat the requested options
        words += ["--format", format_]
    if found.fault is not None or found.spec is None or any(one.blocking for one in findings):
        return found, Suggestion(command=None, findings=tuple(findings))
    rejected = found.rejected
    if kind == "audience":
        spec = found.spec
    else:
        try:
            spec, only, more = activity_columns(kind, found)
            read = complete_spec(file, spec, limits, store) if not only else spec
            scan = scanned_as(file, replace(read, other_columns=False), limits, store)
        except UserError as exc:
            message = f"as {kind}: {exc.message}"
            findings.append(Finding(code="not_of_this_kind", message=message, blocking=True, detail={"kind": kind}))
            return found, Suggestion(command=None, findings=tuple(findings))
        rejected = scan.rejected
        findings += [*more, *row_findings(scan)]
        words += ["--only-columns"] if only else []
    if spec.timezone is not None:
        findings.append(_local_times(spec.timezone, found.local_times))
    words += _options(spec, rows=found.rows, rejected=rejected)
    command = None if any(one.blocking for one in findings) else " ".join(map(quoted, words))
    return found, Suggestion(command=command, findings=tuple(findings))


def _local_times(zone: str, columns: Sequence[str]) -> Finding:
    return Finding(
        code="local_times",
        message=f"times without an offset in {names_shown(columns)}: without a time zone, an import rejects them. If "
        f"they are not {zone}, give their zone, such as Asia/Tokyo",
        suggestion=f"--timezone {zone}",
        detail={"columns": list(columns[:10]), "zone": zone},
    )


def _options(spec: ImportSpec, *, rows: int, rejected: int) -> list[str]:
    """Options that express a spec, for a file with so many rows."""
    words = []
    if spec.id_column != USER_ID:
        words += ["--id-column", spec.id_column]
    for column in spec.columns:
        if spec.kind == "audience" or column not in EVENT_COLUMNS:
            words += ["--column", column.notation]
    if spec.delimiter != ",":
        words += ["--delimiter", delimiter_name(spec.delimiter)]
    if spec.encoding != "utf-8":
        words += ["--encoding", spec.encoding]
    if spec.timezone is not None:
        words += ["--timezone", spec.timezone]
    for text in spec.null_values if spec.null_values != ("",) else ():
        words += ["--null", text]
    if rejected:
        words += ["--max-reject-share", reject_share(rejected, rows)]
    return words


def activity_columns(kind: ImportKind, found: Inspection) -> tuple[ImportSpec, bool, tuple[Finding, ...]]:
    """Spec for a file as events or profiles, whether it must name every column to keep, and what to mind.

    Raises `UserError` BAD_SPEC.
    """
    assert found.spec is not None and found.format is not None  # noqa: S101, PT018  # a file without a fault
    traits = IMPORT_FORMATS[found.format]
    kept = {column.file_name: column for column in found.spec.columns}
    named = _fixed(kind, kept)
    types = PROPERTY_TYPES if kind == "events" else ATTRIBUTE_TYPES
    lost = [column.name for column in found.columns if column.type is None]
    own: list[Column] = []
    for name, column in kept.items():
        if name in {fixed.file_name for fixed in named} or is_fixed(kind, name):
            continue
        type_: ColumnType = "double" if column.type == "long" else column.type
        if type_ not in types:
            if traits.is_binary:  # typed columns are not read as another type
                lost.append(name)
                continue
            type_ = "string"
        own.append(replace(column, type=type_))
    room = MAX_EXTRA_COLUMNS - len(columns_of(kind, named))
    lost += [column.file_name for column in own[room:]]
    only = bool(lost)
    if not only:
        own = [
            c
            for c in own
            if c.source is not None or (traits.untyped and c.type != "string") or c.name in found.decimals
        ]
    columns = (*named, *own[:room])
    times = {column.file_name for column in columns_of(kind, columns) if column.type == "timestamp"}
    record = {
        "id_column": found.spec.id_column,
        "format": found.spec.format,
        "columns": [c.as_record() for c in columns],
        "timezone": "UTC" if times & set(found.local_times) else None,
        "null_values": list(found.spec.null_values),
        "delimiter": found.spec.delimiter,
        "encoding": found.spec.encoding,
        "other_columns": not only,
    }
    findings = (
        Finding(
            code="columns_not_kept",
            message=f"{kind} cannot keep these columns: {names_shown(lost)}. Besides the fixed ones they keep {room}, "
            f"of the types {', '.join(types)}; to choose, name each with --column",
            detail={"kind": kind, "columns": lost[:10]},
        ),
    )
    return activity_spec(kind, record), only, findings if lost else ()


def _fixed(kind: ImportKind, kept: dict[str, Column]) -> list[Column]:
    """Columns of the file with a meaning of their own, if they are named differently or are not required."""
    fixed = [replace(column, source=None) for name, column in kept.items() if is_fixed(kind, name)]
    if kind == "profiles":
        return [replace(column, type="boolean") for column in fixed]
    folded = {name.casefold().replace(" ", "_"): name for name in reversed(kept)}
    named = [Column(name=column.name) for column in fixed if column not in EVENT_COLUMNS]
    for column in EVENT_COLUMNS:
        if column.name in kept:
            continue
        likely = [folded[name] for name in LIKELY[column.name] if name in folded]
        times = [name for name, one in kept.items() if one.type == "timestamp"] if column.name == OCCURRED_AT else []
        if not (source := next(iter([*likely, *times]), None)):
            raise UserError(
                "BAD_SPEC", f"no column looks like {column.name}: name it with --column {column.name}=NAME_IN_THE_FILE"
            )
        named.append(replace(column, source=source))
    return [column for column in named if column not in EVENT_COLUMNS]
