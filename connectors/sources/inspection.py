"""Inspect a file without a spec: its format, the contents of its columns, and its faults.

The whole file is scanned as strictly as in an import, in the same child process, so a type that is suggested for text
fits every row. JSON Lines has no header: its columns and their JSON types are those of the first lines
(`jsonl_reader`), and later values of another type are rejects.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from connectors.sources.compression import Compression
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import ParsedFile, ProgressListener, source_file
from connectors.sources.rejects import Reject, RejectBatch
from connectors.sources.typed_columns import convert_text
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceObject
from schemas.columns import USER_ID, Column, ColumnType, FileFormat
from schemas.errors import UserError
from schemas.import_spec import ImportSpec

FAULTS_SHOWN: Final = 20
EXAMPLES: Final = 3
EXAMPLE_CHARACTERS: Final = 60
GUESSES: Final[tuple[ColumnType, ...]] = ("long", "double", "boolean", "date", "timestamp")
"""Candidate types of a text column; the first that fits every value wins."""
SIGNIFICANT_ZERO: Final = r"^[+-]?0[0-9]"
"""A number with a leading zero is a code (post, phone) and must keep the zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedColumn:
    """A column under its name in the file. `type` is None if it is not kept (duplicate, nested, or one too many)."""

    name: str
    type: ColumnType | None
    is_id: bool
    nulls: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The output of `muster inspect`. `fault` refuses the whole file; `rejects` are the first `FAULTS_SHOWN`.

    `local_times`: columns of the file with times without an offset; the spec then has a time zone to read them in.
    """

    name: str
    size: int
    format: FileFormat | None
    compression: Compression | None
    encoding: str
    rows: int
    rejected: int
    rejected_by_code: dict[str, int]
    rejects: tuple[Reject, ...]
    columns: tuple[InspectedColumn, ...]
    fault: UserError | None
    hints: tuple[str, ...]
    local_times: tuple[str, ...]
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
                {"name": c.name, "type": c.type, "is_id": c.is_id, "nulls": c.nulls, "examples": list(c.examples)}
                for c in self.columns
            ],
            "fault": None if self.fault is None else self.fault.as_record(),
            "hints": list(self.hints),
            "spec": None if self.spec is None else self.spec.as_record(),
        }


@dataclass(slots=True)
class _Seen:
    """Facts about the values of one column so far."""

    guesses: list[ColumnType]
    nulls: int = 0
    values: int = 0
    local_time: bool = False
    examples: list[str] = field(default_factory=list)

    def look_at(self, values: pa.Array) -> None:
        self.nulls += values.null_count
        known = values.drop_null()
        self.values += len(known)
        for value in known[: EXAMPLES * 4].to_pylist():
            text = str(value)[:EXAMPLE_CHARACTERS]
            if len(self.examples) < EXAMPLES and text not in self.examples:
                self.examples.append(text)
        if pa.types.is_string(values.type) and self.guesses:
            self.guesses = [guess for guess in self.guesses if self._fits(known, guess)]

    def _fits(self, texts: pa.Array, guess: ColumnType) -> bool:
        column = Column(name="guess", type=guess)
        if guess in ("long", "double") and pc.any(pc.match_substring_regex(texts, SIGNIFICANT_ZERO)).as_py():
            return False
        if convert_text(texts, column, (), None).bad is None:
            return True
        if guess == "timestamp" and convert_text(texts, column, (), "UTC").bad is None:
            self.local_time = True
            return True
        return False

    def type_or(self, first: ColumnType) -> ColumnType:
        return self.guesses[0] if self.guesses and self.values else first


def inspect(
    source: SourceObject | Path,
    *,
    store: ObjectStore | None = None,
    limits: ParseLimits | None = None,
    format: FileFormat | None = None,  # noqa: A002  # the word of the import spec
    on_progress: ProgressListener | None = None,
) -> Inspection:
    """Scan a whole file. A fault of the file is part of the result; outages and missing files are raised."""
    file = source_file(source, store)
    name, size = file.name, file.size
    rejects: list[Reject] = []
    seen: dict[str, _Seen] = {}
    fault: UserError | None = None
    parsed: ParsedFile | None = None
    by_code: dict[str, int] = {}
    accepted = 0
    try:
        parsed = ParsedFile(file, ImportSpec(format=format), limits or ParseLimits(), on_progress, choose=True)
        with parsed:
            for found in parsed:
                if isinstance(found, RejectBatch):
                    rejects += found.rejects()[: FAULTS_SHOWN - len(rejects)] if len(rejects) < FAULTS_SHOWN else []
                    for entry in pc.value_counts(found.batch.column("code")).to_pylist():
                        by_code[entry["values"]] = by_code.get(entry["values"], 0) + entry["counts"]
                    continue
                accepted += found.num_rows
                for index, column in enumerate(found.schema.names[1:], start=1):
                    if column not in seen:
                        seen[column] = _Seen(_guesses(column, parsed))
                    seen[column].look_at(found.column(index))
    except UserError as exc:
        if exc.code in ("SOURCE_GONE", "SOURCE_CHANGED", "SOURCE_UNREADABLE", "ACCESS_DENIED", "NO_SUCH_BUCKET"):
            raise
        fault = exc
    layout = parsed.layout if parsed is not None else None
    spec = None if layout is None else _refined(layout["spec"], seen)
    local = () if spec is None else _local_times(spec, seen)
    if spec is not None and local:
        spec = replace(spec, timezone="UTC")
    return Inspection(
        name=name,
        size=size,
        format=None if layout is None else layout["format"],
        compression=None if layout is None else layout["compression"],
        encoding="" if layout is None else layout["encoding"],
        rows=accepted + sum(by_code.values()),
        rejected=sum(by_code.values()),
        rejected_by_code=dict(sorted(by_code.items())),
        rejects=tuple(rejects),
        columns=() if layout is None or spec is None else _columns(layout["names"], spec, seen),
        fault=fault,
        hints=tuple(_hints(layout)),
        local_times=local,
        spec=spec,
    )


def _guesses(column: str, parsed: ParsedFile) -> list[ColumnType]:
    """Candidate types of a text column. JSON numbers are not text, so a JSON text is at most a date or timestamp."""
    if column == USER_ID:
        return []
    is_json = parsed.layout is not None and parsed.layout["format"] == "jsonl"
    return ["date", "timestamp"] if is_json else list(GUESSES)


def _refined(spec: ImportSpec, seen: dict[str, _Seen]) -> ImportSpec:
    columns = [
        replace(c, type=seen[c.name].type_or(c.type)) if c.name in seen and c.type == "string" else c
        for c in spec.columns
    ]
    return replace(spec, columns=tuple(columns), timezone=None)


def _columns(names: list[str], spec: ImportSpec, seen: dict[str, _Seen]) -> tuple[InspectedColumn, ...]:
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
                is_id=is_id,
                nulls=0 if values is None else values.nulls,
                examples=() if values is None else tuple(values.examples),
            )
        )
    return tuple(shown)


def _local_times(spec: ImportSpec, seen: dict[str, _Seen]) -> tuple[str, ...]:
    times = (c for c in spec.columns if c.type == "timestamp" and c.name in seen)
    return tuple(c.file_name for c in times if seen[c.name].local_time)


def _hints(layout: dict[str, Any] | None) -> list[str]:
    hints: list[str] = []
    if layout is None:
        return hints
    names: list[str] = layout["names"]
    for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(names) == 1 and separator in names[0]:
            hints.append(f"the columns seem to be separated by {word}; only commas are read")
    if doubled := sorted(n for n, times in Counter(names).items() if times > 1):
        hints.append(f"columns that occur more than once cannot be kept: {', '.join(map(repr, doubled[:10]))}")
    return hints
