"""Insert, or update a row that was inserted first: one statement, so that two concurrent writers are no error."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def inserting(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that may say what to do about a row that is already there."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    key: Mapping[str, Any],
    values: Mapping[str, Any],
    *,
    where: sa.ColumnElement[bool] | None = None,
) -> None:
    """Write `values` to the row of `key`, the table's primary key. `where`: update only rows that match."""
    connection.execute(
        inserting(connection, table)
        .values(**key, **values)
        .on_conflict_do_update(index_elements=list(key), set_=dict(values), where=where)
    )
