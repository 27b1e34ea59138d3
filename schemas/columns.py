"""Typed columns of rows."""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal, Self, cast, get_args

from schemas.errors import UserError

ColumnType = Literal["string", "long", "double", "boolean", "date", "timestamp"]
"""Avro's names of the types. date = days since 1970; timestamp = microseconds since 1970, UTC."""

ImportMode = Literal["replace", "append", "remove"]
ImportKind = Literal["audience", "profiles", "events"]
"""Content of a file's rows: members, changes of users' attributes, or events of users."""

USER_ID: Final = "user_id"
ORDINAL: Final = "_ordinal"
"""Position of a row in its file, 0.. (int64); the highest ordinal of a user wins."""
COLUMN_NAME_PATTERN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}", re.ASCII)
MAX_EXTRA_COLUMNS: Final = 64
ROUNDED: Final = ":rounded"
"""Ends the type of a column that may be rounded, in the CLI's notation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column besides the user id. `source` is its name in the customer's file, if different.

    `rounded`: numbers of Parquet that no double holds, such as most decimals, become the nearest one.
    """

    name: str
    type: ColumnType = "string"
    source: str | None = None
    rounded: bool = False

    def __post_init__(self) -> None:
        if not COLUMN_NAME_PATTERN.fullmatch(self.name) or self.name.lower() == USER_ID:
            raise UserError(
                "BAD_COLUMN",
                f"column name {self.name[:80]!r} is not allowed: use a letter, then letters, digits and '_' (63 "
                f"characters at most), but not {USER_ID}",
                column=self.name[:80],
            )
        if self.type not in get_args(ColumnType):
            raise UserError(
                "BAD_COLUMN",
                f"column {self.name}: type {str(self.type)[:80]!r} is not one of {', '.join(get_args(ColumnType))}",
                column=self.name,
            )
        if self.rounded and self.type != "double":
            raise UserError(
                "BAD_COLUMN",
                f"column {self.name}: a {self.type} cannot be rounded, only a double: {self.name}:double:rounded",
                column=self.name,
            )

    @property
    def file_name(self) -> str:
        """Name of the column in the customer's file."""
        return self.source if self.source is not None else self.name

    @property
    def notation(self) -> str:
        """The column in the notation of the CLI, which `parse` reads."""
        type_ = "" if self.type == "string" else f":{self.type}{ROUNDED if self.rounded else ''}"
        return f"{self.name}{type_}" + ("" if self.source is None else f"={self.source}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `name[:type][=name in the file]`, the CLI's notation: `age:long`, `seen:date=Last seen`.

        A type may be `double:rounded`.
        """
        left, has_source, source = text.partition("=")
        name, _, type_ = left.partition(":")
        rounded = type_.endswith(ROUNDED)
        return cls(
            name=name,
            type=cast(ColumnType, type_.removesuffix(ROUNDED) or "string"),
            source=source if has_source else None,
            rounded=rounded,
        )

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data. `rounded` is omitted unless it is true, since this record identifies jobs."""
        record = {"name": self.name, "type": self.type, "source": self.source}
        return {**record, "rounded": True} if self.rounded else record


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSchema:
    """The columns of a row: the user id and the extra columns in order. Digests are bound to it."""

    columns: tuple[Column, ...] = ()

    @property
    def schema_id(self) -> str:
        """First 16 hex digits of the SHA-256 of `name:type` lines; independent of the names in the file."""
        text = "\n".join([f"{USER_ID}:string", *(f"{c.name}:{c.type}" for c in self.columns)])
        return sha256(text.encode()).hexdigest()[:16]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in digest order: user_id first."""
        return (USER_ID, *(c.name for c in self.columns))

    def as_record(self) -> list[dict[str, str]]:
        """Plain JSON data: [{name, type}]."""
        return [{"name": c.name, "type": c.type} for c in self.columns]

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Inverse of `as_record`."""
        rows = cast("list[dict[str, str]]", record)
        return cls(columns=tuple(Column(name=r["name"], type=cast(ColumnType, r["type"])) for r in rows))
