"""SQL over audiences: their rows in Parquet files, and whether columns of two of them differ."""

from collections.abc import Mapping, Sequence
from typing import Final

from schemas.columns import USER_ID, Column, ColumnType, RowSchema
from schemas.sql_text import identifier, literal

SQL_TYPES: Final[Mapping[ColumnType, str]] = {
    "string": "VARCHAR",
    "long": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
}


def rows_sql(files: Sequence[str], schema: RowSchema) -> str:
    """SELECT of exactly the columns of `schema` from Parquet files (URIs or paths); without files, no rows."""
    if not files:
        columns = [f"NULL::VARCHAR AS {USER_ID}"]
        columns += [f"NULL::{SQL_TYPES[c.type]} AS {identifier(c.name)}" for c in schema.columns]
        return f"SELECT {', '.join(columns)} WHERE false"
    names = ", ".join(identifier(name) for name in schema.names)
    return f"SELECT {names} FROM read_parquet([{', '.join(literal(file) for file in files)}])"  # noqa: S608  # quoted


def differs(column: Column, left: str, right: str) -> str:
    """SQL: whether a column differs between the two named tables. Null is a value.

    As in digests, -0.0 and 0.0 are two values, although SQL treats them as equal.
    """
    name = identifier(column.name)
    sides = f"{left}.{name}", f"{right}.{name}"
    condition = " IS DISTINCT FROM ".join(sides)
    if column.type != "double":
        return condition
    signs = " IS DISTINCT FROM ".join(f"signbit({side})" for side in sides)
    return f"({condition} OR {signs})"
