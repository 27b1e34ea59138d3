"""Columns of records: fields name what is selected, so a field is in its table and its type alone."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

import sqlalchemy as sa

from orchestration.platform.clock import iso


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
