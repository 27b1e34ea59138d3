"""Both sides of a merge, an import and its base, and the queries over them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import duckdb

from connectors.lake.audience_sql import differs, rows_sql
from schemas.columns import USER_ID, ImportMode, RowSchema
from schemas.sql_text import identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Users on both sides, and how many of these have other attributes."""

    matched: int
    updated: int

    @classmethod
    def total(cls, overlaps: Iterable[Self]) -> Self:
        """Of disjoint users, together."""
        counted = tuple(overlaps)
        return cls(matched=sum(one.matched for one in counted), updated=sum(one.updated for one in counted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The files of one partition (or all) on both sides, and the queries over them. Without files: no rows."""

    incoming: Sequence[str]
    incoming_schema: RowSchema
    base: Sequence[str]
    base_schema: RowSchema

    def overlap(self, connection: duckdb.DuckDBPyConnection, *, attributes: bool = True) -> Overlap:
        """Compare both sides. `attributes=False`: by ids alone."""
        if not self.incoming or not self.base:
            return Overlap(matched=0, updated=0)
        types = {column.name: column.type for column in self.base_schema.columns}
        changes = []
        for column in self.incoming_schema.columns if attributes else ():
            name = identifier(column.name)
            if types.get(column.name) == column.type:
                changes.append(differs(column, "i", "b"))
            else:  # values of different types are different
                changes.append(f"i.{name} IS NOT NULL")
                changes += [f"b.{name} IS NOT NULL"] if column.name in types else []
        [row] = connection.execute(
            f"SELECT count(*), count(*) FILTER ({' OR '.join(changes) or 'false'}) "  # noqa: S608  # names are quoted
            f"FROM {self._incoming} AS i JOIN {self._base} AS b USING ({USER_ID})"
        ).fetchall()
        return Overlap(matched=row[0], updated=row[1])

    def nulls(self, connection: duckdb.DuckDBPyConnection, mode: ImportMode, schema: RowSchema) -> dict[str, int]:
        """Members without a value in each column of the version that an import makes."""
        if not schema.columns:
            return {}
        queries = {"replace": self._incoming, "append": self.appended_sql(schema), "remove": self.removed_sql(schema)}
        counts = ", ".join(f"count(*) - count({identifier(column.name)})" for column in schema.columns)
        [row] = connection.execute(f"SELECT {counts} FROM ({queries[mode]})").fetchall()  # noqa: S608  # names are quoted
        return {column.name: nulls for column, nulls in zip(schema.columns, row, strict=True)}

    def appended_sql(self, schema: RowSchema) -> str:
        """SELECT of the members of an append, with the columns of `schema`."""
        incoming_names, base_names = set(self.incoming_schema.names), set(self.base_schema.names)
        columns = [USER_ID]
        for column in schema.columns:
            name = identifier(column.name)
            if column.name in incoming_names and column.name in base_names:
                columns.append(f"CASE WHEN i._new THEN i.{name} ELSE b.{name} END AS {name}")
            else:
                columns.append(f"{'i' if column.name in incoming_names else 'b'}.{name} AS {name}")
        return (
            f"SELECT {', '.join(columns)} FROM (SELECT *, true AS _new FROM {self._incoming}) AS i "  # noqa: S608  # quoted
            f"FULL JOIN {self._base} AS b USING ({USER_ID}) ORDER BY {USER_ID}"
        )

    def removed_sql(self, schema: RowSchema) -> str:
        """SELECT of the members that a remove leaves."""
        columns = ", ".join(f"b.{identifier(name)}" for name in schema.names)
        return (
            f"SELECT {columns} FROM {self._base} AS b ANTI JOIN {self._incoming} AS i USING ({USER_ID}) "  # noqa: S608  # quoted
            f"ORDER BY b.{USER_ID}"
        )

    @property
    def _incoming(self) -> str:
        return f"({rows_sql(self.incoming, self.incoming_schema)})"

    @property
    def _base(self) -> str:
        return f"({rows_sql(self.base, self.base_schema)})"
