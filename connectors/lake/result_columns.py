"""The columns of a query whose result becomes an audience: which types they have there, and how DuckDB writes them."""

from collections.abc import Iterable, Mapping
from typing import Final

from connectors.lake.audience_sql import SQL_TYPES
from schemas.columns import USER_ID, Column, ColumnType
from schemas.errors import UserError
from schemas.sql_text import identifier

TYPES: Final[Mapping[str, ColumnType]] = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"), "long"),
    **dict.fromkeys(("UBIGINT", "HUGEINT", "UHUGEINT"), "long"),  # a number that does not fit is an error
    "FLOAT": "double",
    "DOUBLE": "double",
    "VARCHAR": "string",
    "UUID": "string",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
}
HINTS: Final[Mapping[str, str]] = {"DECIMAL": "{}::double", "TIMESTAMP": "timezone('UTC', {})"}
"""By the beginning of a type, how a column gets one that an audience can have."""


def columns_of(described: Iterable[tuple[str, str]]) -> list[Column]:
    """The columns after user_id, from names and types of DuckDB. Raises `UserError` BAD_SQL, BAD_COLUMN."""
    found = list(described)
    names = [name.lower() for name, _ in found]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise UserError("BAD_SQL", f"the query has two columns {doubled[0][:80]}: name one of them differently")
    types = dict(found)
    if USER_ID not in types:
        raise UserError("BAD_SQL", f"the query has no column {USER_ID}: name the ids, as in select id as {USER_ID}")
    if types[USER_ID] not in {"VARCHAR", "UUID"}:
        raise UserError(
            "BAD_SQL", f"{USER_ID} is {types[USER_ID][:80]}, not text: write {USER_ID}::varchar as {USER_ID}"
        )
    return [Column(name=name, type=_type(name, type_)) for name, type_ in found if name != USER_ID]


def _type(name: str, type_: str) -> ColumnType:
    if type_ in TYPES:
        return TYPES[type_]
    hint = next((hint for begin, hint in HINTS.items() if type_.startswith(begin)), "{}::varchar")
    raise UserError(
        "BAD_SQL",
        f"column {name[:80]} is {type_[:80]}, which no audience has: write {hint.format(name[:80])} as {name[:80]}",
        column=name[:80],
    )


def copy_sql(query: str, columns: Iterable[Column], file: str) -> str:
    """The statement that writes the query's result. `file`: quoted."""
    selected = [f"{USER_ID}::VARCHAR AS {USER_ID}"]
    selected += [f"{identifier(c.name)}::{SQL_TYPES[c.type]} AS {identifier(c.name)}" for c in columns]
    return f"COPY (SELECT {', '.join(selected)} FROM ({query})) TO {file} (FORMAT parquet, COMPRESSION zstd)"  # noqa: S608  # checked
