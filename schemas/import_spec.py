"""The import spec: the mapping from a customer's file to rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast, get_args

from schemas.activity_columns import EVENT_COLUMNS, check_columns
from schemas.columns import MAX_EXTRA_COLUMNS, USER_ID, Column, ImportKind, ImportMode, RowSchema
from schemas.errors import UserError
from schemas.import_formats import ImportFormat
from schemas.text_form import Delimiter, TextEncoding, delimiter_of, encoding_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSpec:
    """How a file becomes rows, and which files are refused. Frozen on the job at registration.

    `max_reject_share` is a share of the rows in the file, 0 to 1. `max_shrink_percent` refuses a replace or remove that
    would cost the audience more than this share of its members (None = no guard).
    Events and profiles are added to existing ones (mode append); `schemas.activity_columns` has their columns.
    `other_columns`: all columns of the file that `columns` does not name are values of events and profiles, too; they
    are added to `columns` when the file is verified.
    `known_columns`: columns of events and profiles with a known type, which applies if they are among a file's other
    columns; a file may lack them.
    `delimiter` and `encoding` are those of CSV; other formats ignore them.
    `timezone` (IANA) applies to timestamps written without an offset; if None, such timestamps are rejects.
    `drop_columns` and `retype_columns` name the columns of the audience that may be dropped, or change their type.
    `allow_missing_columns` name those of `columns` that a file may lack; they are then null in all its rows.
    """

    id_column: str = USER_ID
    columns: tuple[Column, ...] = ()
    format: ImportFormat | None = None
    mode: ImportMode = "replace"
    timezone: str | None = None
    max_reject_share: float = 0.0
    allow_empty: bool = False
    max_shrink_percent: float | None = 50.0
    null_values: tuple[str, ...] = field(default=("",))
    kind: ImportKind = "audience"
    other_columns: bool = False
    known_columns: tuple[Column, ...] = ()
    drop_columns: tuple[str, ...] = ()
    retype_columns: tuple[str, ...] = ()
    allow_missing_columns: tuple[str, ...] = ()
    delimiter: Delimiter = ","
    encoding: TextEncoding = "utf-8"

    def __post_init__(self) -> None:
        if len(self.columns) > MAX_EXTRA_COLUMNS:
            raise UserError("BAD_SPEC", f"at most {MAX_EXTRA_COLUMNS} extra columns are kept, not {len(self.columns)}")
        names = [c.name.lower() for c in self.columns]
        if duplicates := sorted({n for n in names if names.count(n) > 1}):
            raise UserError("BAD_SPEC", f"column {', '.join(duplicates)} is given twice", columns=duplicates)
        if both := sorted({c.name for c in self.columns} & set(self.drop_columns)):
            raise UserError("BAD_SPEC", f"column {', '.join(both)} is both kept and dropped", columns=both)
        if self.format is not None and self.format not in get_args(ImportFormat):
            raise UserError("BAD_SPEC", f"format {self.format!r} is not one of {', '.join(get_args(ImportFormat))}")
        if self.mode not in get_args(ImportMode):
            raise UserError("BAD_SPEC", f"mode {self.mode!r} is not one of {', '.join(get_args(ImportMode))}")
        delimiter_of(self.delimiter)
        encoding_of(self.encoding)
        if self.kind != "audience":
            self._check_kind()
        elif self.other_columns or self.known_columns:
            raise UserError("BAD_SPEC", "an audience keeps only the columns that are listed")
        if not 0 <= self.max_reject_share <= 1:
            raise UserError("BAD_SPEC", f"max_reject_share is a share from 0 to 1, not {self.max_reject_share}")
        if self.max_shrink_percent is not None and not 0 <= self.max_shrink_percent <= 100:
            raise UserError("BAD_SPEC", f"max_shrink_percent is from 0 to 100, not {self.max_shrink_percent}")

    def _check_kind(self) -> None:
        if self.kind not in get_args(ImportKind):
            raise UserError("BAD_SPEC", f"kind {self.kind!r} is not one of {', '.join(get_args(ImportKind))}")
        if self.mode != "append":
            raise UserError("BAD_SPEC", f"{self.kind} are imported with mode append, not {self.mode}")
        check_columns(self.kind, self.columns)
        if needed := sorted({c.name for c in EVENT_COLUMNS} & set(self.allow_missing_columns)):
            raise UserError("BAD_SPEC", f"every event needs its {needed[0]}", columns=needed)

    @property
    def needed_columns(self) -> tuple[Column, ...]:
        """The columns that some row of a file must have, even if null. Members are removed by their id alone."""
        if self.mode == "remove":
            return ()
        return tuple(column for column in self.columns if column.name not in self.allow_missing_columns)

    @property
    def row_schema(self) -> RowSchema:
        """Schema of the rows that this spec makes."""
        return RowSchema(columns=self.columns)

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """The spec with some keys changed. Without new `columns`, the old ones stay except those that `changes` drops.

        Permissions to drop and retype add up; a column that is named again is no longer dropped. So do permissions to
        be missing, of columns that are still kept. Raises `UserError` BAD_SPEC, BAD_COLUMN.
        """
        record = {**self.as_record(), **changes}
        dropped = set(changes.get("drop_columns", ()))
        if "columns" not in changes:
            record["columns"] = [c.as_record() for c in self.columns if c.name not in dropped]
        named = {column["name"] for column in cast("list[dict[str, Any]]", record["columns"])}
        record["drop_columns"] = sorted(dropped | (set(self.drop_columns) - named))
        record["retype_columns"] = sorted({*self.retype_columns, *changes.get("retype_columns", ())})
        record["allow_missing_columns"] = allowed_to_be_missing(named & {*self.allow_missing_columns}, changes)
        return type(self).from_record(record)

    def as_record(self) -> dict[str, object]:
        """Plain JSON data. Newer keys are omitted at their defaults, since this record identifies jobs."""
        later: dict[str, object] = {
            "known_columns": [c.as_record() for c in self.known_columns],
            "drop_columns": list(self.drop_columns),
            "retype_columns": list(self.retype_columns),
            "allow_missing_columns": list(self.allow_missing_columns),
            "delimiter": "" if self.delimiter == "," else self.delimiter,
            "encoding": "" if self.encoding == "utf-8" else self.encoding,
        }
        return {
            **({} if self.kind == "audience" else {"kind": self.kind, "other_columns": self.other_columns}),
            "id_column": self.id_column,
            "columns": [c.as_record() for c in self.columns],
            "format": self.format,
            "mode": self.mode,
            "timezone": self.timezone,
            "max_reject_share": self.max_reject_share,
            "allow_empty": self.allow_empty,
            "max_shrink_percent": self.max_shrink_percent,
            "null_values": list(self.null_values),
            **{name: value for name, value in later.items() if value},
        }

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Self:
        """Inverse of `as_record`; missing keys take their defaults. Raises `UserError` BAD_SPEC on unknown keys."""
        values = dict(record)
        if unknown := sorted(values.keys() - cls.__dataclass_fields__.keys()):
            raise UserError("BAD_SPEC", f"unknown import spec key(s): {', '.join(unknown)}", keys=unknown)
        for name in ("columns", "known_columns"):
            if name in values:
                values[name] = tuple(Column(**c) for c in cast("list[dict[str, Any]]", values[name]))
        for name in ("null_values", "drop_columns", "retype_columns", "allow_missing_columns"):
            if name in values:
                values[name] = tuple(cast("list[str]", values[name]))
        for name, meant in (("delimiter", delimiter_of), ("encoding", encoding_of)):
            if (given := values.pop(name, None)) is not None:  # None: the default again
                values[name] = meant(str(given))
        return cls(**values)  # type: ignore[arg-type]  # checked field by field in __post_init__


def allowed_to_be_missing(kept: Iterable[str], changes: Mapping[str, Any]) -> list[str]:
    """The `allow_missing_columns` of a spec with changes: the kept ones and the given ones; none if [] is given."""
    given = changes.get("allow_missing_columns")
    return [] if given is not None and not given else sorted({*kept, *(given or ())})
