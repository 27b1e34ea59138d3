"""Columns and rows of records: fields name what is selected, so a field is in its table and its type alone."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from orchestration.platform.clock import iso

RecordT = TypeVar("RecordT")


class Iso(sa.TypeDecorator[str]):
    """Milliseconds in the table, RFC 3339 in the record."""

    impl = sa.BigInteger
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> str | None:  # noqa: ARG002  # SQLAlchemy's
        """The text."""
        return None if value is None else iso(value)


_ISO: Final = Iso()


def time_of(milliseconds: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A column of milliseconds as a time."""
    return sa.type_coerce(milliseconds, _ISO)


def columns_of(
    record: type[Any], *tables: sa.Table, computed: Sequence[str] = (), **renamed: sa.ColumnElement[Any]
) -> list[sa.ColumnElement[Any]]:
    """A column for each field: the one given for it, or that of its name or of `NAME_ms`, as a time.

    `computed`: fields that the store fills in. Raises TypeError for any other field that no table has, or two have.
    """
    found: list[sa.ColumnElement[Any]] = []
    for name in (field.name for field in fields(record)):
        if name in renamed:
            found.append(renamed[name].label(name))
        elif name not in computed:
            found.append(_column(record, name, tables).label(name))
    return found


def _column(record: type[Any], name: str, tables: Sequence[sa.Table]) -> sa.ColumnElement[Any]:
    plain = [table.c[name] for table in tables if name in table.c]
    times = [time_of(table.c[f"{name}_ms"]) for table in tables if f"{name}_ms" in table.c]
    if len(columns := plain or times) != 1:
        raise TypeError(f"{len(columns)} columns for {record.__name__}.{name}")
    return columns[0]


def from_row(kind: type[RecordT], row: Mapping[Any, Any], /, **converted: Any) -> RecordT:
    """A row with the columns that `kind` has; `converted`: fields that are not stored as they are."""
    names = _names(kind)  # type: ignore[arg-type]  # mypy compares a class with its own `__hash__`
    stored = {name: row[name] for name in names if name not in converted}
    return kind(**stored, **converted)


def answer_of(kind: type[RecordT], stored: object, /, **computed: Any) -> RecordT:
    """A stored value as the service answers it: fields are `computed`, or have its values, times those of `NAME_ms`."""
    names = _names(kind, required=True)  # type: ignore[arg-type]
    own = {name: _answered(stored, name) for name in names if name not in computed}
    return kind(**own, **computed)


@cache
def _names(kind: Any, *, required: bool = False) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if not required or field.default is MISSING)


def _answered(stored: object, name: str) -> object:
    if hasattr(stored, name):
        return getattr(stored, name)
    at_ms = getattr(stored, f"{name}_ms")
    return None if at_ms is None else iso(at_ms)
