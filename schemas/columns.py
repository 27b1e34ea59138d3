"""Typed columns of an audience, and the import spec that maps a customer's file onto them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast, get_args

from schemas.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

ColumnType = Literal["string", "long", "double", "boolean", "date", "timestamp"]
"""Avro's words for the types. date = days since 1970; timestamp = microseconds since 1970, UTC."""

FileFormat = Literal["csv", "jsonl", "parquet"]
ImportMode = Literal["replace", "append", "remove"]
ImportKind = Literal["audience", "profiles", "events"]
"""What the rows of a file are: members, changes of users' attributes, or what users did."""

USER_ID: Final = "user_id"
ORDINAL: Final = "_ordinal"
"""Position of a row in its file, 0.. (int64); the highest ordinal of a user wins."""
COLUMN_NAME_PATTERN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}", re.ASCII)
MAX_EXTRA_COLUMNS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One attribute of the members. `source` is the name in the customer's file, where it differs."""

    name: str
    type: ColumnType = "string"
    source: str | None = None

    def __post_init__(self) -> None:
        if not COLUMN_NAME_PATTERN.fullmatch(self.name) or self.name.lower() == USER_ID:
            raise UserError(
                "BAD_COLUMN",
                f"column name {self.name[:80]!r} is not allowed: use a letter, then letters, digits and '_' (63 at "
                f"most), and not {USER_ID}",
                column=self.name[:80],
            )
        if self.type not in get_args(ColumnType):
            raise UserError(
                "BAD_COLUMN",
                f"column {self.name}: type {str(self.type)[:80]!r} is none of {', '.join(get_args(ColumnType))}",
                column=self.name,
            )

    @property
    def file_name(self) -> str:
        """Name of the column in the customer's file."""
        return self.source if self.source is not None else self.name

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `name[:type][=name in the file]`, as the CLI takes it: `age:long`, `seen:date=Last seen`."""
        left, has_source, source = text.partition("=")
        name, _, type_ = left.partition(":")
        return cls(name=name, type=cast(ColumnType, type_ or "string"), source=source if has_source else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSchema:
    """What a row of an audience holds: the user id and the extra columns in order. Digests are bound to it."""

    columns: tuple[Column, ...] = ()

    @property
    def schema_id(self) -> str:
        """First 16 hex digits of the SHA-256 of `name:type` lines; the names in the file have no part in it."""
        text = "\n".join([f"{USER_ID}:string", *(f"{c.name}:{c.type}" for c in self.columns)])
        return sha256(text.encode()).hexdigest()[:16]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in digest order: user_id first."""
        return (USER_ID, *(c.name for c in self.columns))

    def arrow(self, *, ordinal: bool = False) -> "pa.Schema":
        """Arrow schema of the rows: [_ordinal int64], user_id string (not null), then the columns (nullable)."""
        from schemas.arrow import arrow_schema  # noqa: PLC0415  # a spec is read where no row ever is

        return arrow_schema(self, ordinal=ordinal)

    def as_record(self) -> list[dict[str, str]]:
        """Plain JSON data: [{name, type}]."""
        return [{"name": c.name, "type": c.type} for c in self.columns]

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Inverse of `as_record`."""
        rows = cast("list[dict[str, str]]", record)
        return cls(columns=tuple(Column(name=r["name"], type=cast(ColumnType, r["type"])) for r in rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSpec:
    """How a file becomes rows, and which files are refused. Frozen on the job when it is registered.

    `max_reject_share` is a share of the rows in the file, 0 to 1. `max_shrink_percent` refuses a replace or remove
    after which the audience would have lost more than that share of its members (None = no guard).
    Events and profiles are added to what there is (mode append); `schemas.activity_columns` has their columns.
    `other_columns`: values of events and profiles are also all columns of the file that `columns` does not name; they
    are added to it when the file is verified.
    `known_columns`: columns of events and profiles whose type is known; a file that has them among its other columns is
    read so, one that has not is none the worse.
    `timezone` (IANA) is that of timestamps written without an offset; without it they are rejects.
    `drop_columns` and `retype_columns` name the columns of the audience that may go, or change their type.
    """

    id_column: str = USER_ID
    columns: tuple[Column, ...] = ()
    format: FileFormat | None = None
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

    def __post_init__(self) -> None:
        if len(self.columns) > MAX_EXTRA_COLUMNS:
            raise UserError("BAD_SPEC", f"at most {MAX_EXTRA_COLUMNS} extra columns are kept, not {len(self.columns)}")
        names = [c.name.lower() for c in self.columns]
        if doubled := sorted({n for n in names if names.count(n) > 1}):
            raise UserError("BAD_SPEC", f"column {', '.join(doubled)} is given twice", columns=doubled)
        if both := sorted({c.name for c in self.columns} & set(self.drop_columns)):
            raise UserError("BAD_SPEC", f"column {', '.join(both)} is both kept and dropped", columns=both)
        if self.format is not None and self.format not in get_args(FileFormat):
            raise UserError("BAD_SPEC", f"format {self.format!r} is none of {', '.join(get_args(FileFormat))}")
        if self.mode not in get_args(ImportMode):
            raise UserError("BAD_SPEC", f"mode {self.mode!r} is none of {', '.join(get_args(ImportMode))}")
        if self.kind != "audience":
            self._check_kind()
        elif self.other_columns or self.known_columns:
            raise UserError("BAD_SPEC", "an audience keeps the columns that are named, no others")
        if not 0 <= self.max_reject_share <= 1:
            raise UserError("BAD_SPEC", f"max_reject_share is a share from 0 to 1, not {self.max_reject_share}")
        if self.max_shrink_percent is not None and not 0 <= self.max_shrink_percent <= 100:
            raise UserError("BAD_SPEC", f"max_shrink_percent is from 0 to 100, not {self.max_shrink_percent}")

    def _check_kind(self) -> None:
        from schemas.activity_columns import check_columns  # noqa: PLC0415  # it is made of columns itself

        if self.kind not in get_args(ImportKind):
            raise UserError("BAD_SPEC", f"kind {self.kind!r} is none of {', '.join(get_args(ImportKind))}")
        if self.mode != "append":
            raise UserError("BAD_SPEC", f"{self.kind} are imported with mode append, not {self.mode}")
        check_columns(self.kind, self.columns)

    @property
    def row_schema(self) -> RowSchema:
        """Schema of the rows that this spec makes."""
        return RowSchema(columns=self.columns)

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The spec with some keys changed. Without new `columns`, those stay that `changes` does not drop.

        What may be dropped or retyped adds up; a column that is named again is not dropped. Raises `UserError`
        BAD_SPEC, BAD_COLUMN.
        """
        record = {**self.as_record(), **changes}
        dropped = set(changes.get("drop_columns", ()))
        if "columns" not in changes:
            record["columns"] = [_column_record(c) for c in self.columns if c.name not in dropped]
        named = {column["name"] for column in cast("list[dict[str, Any]]", record["columns"])}
        record["drop_columns"] = sorted(dropped | (set(self.drop_columns) - named))
        record["retype_columns"] = sorted({*self.retype_columns, *changes.get("retype_columns", ())})
        return type(self).from_record(record)

    def as_record(self) -> dict[str, object]:
        """Plain JSON data. Keys that came later are left out where they say nothing: jobs are known by this record."""
        later: dict[str, object] = {
            "known_columns": [_column_record(c) for c in self.known_columns],
            "drop_columns": list(self.drop_columns),
            "retype_columns": list(self.retype_columns),
        }
        return {
            **({} if self.kind == "audience" else {"kind": self.kind, "other_columns": self.other_columns}),
            "id_column": self.id_column,
            "columns": [_column_record(c) for c in self.columns],
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
        for name in ("null_values", "drop_columns", "retype_columns"):
            if name in values:
                values[name] = tuple(cast("list[str]", values[name]))
        return cls(**values)  # type: ignore[arg-type]  # checked field by field in __post_init__


def _column_record(column: Column) -> dict[str, Any]:
    return {"name": column.name, "type": column.type, "source": column.source}
