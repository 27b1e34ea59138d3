"""Column types and row schemas in Arrow."""

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from schemas.columns import ORDINAL, USER_ID, Column, ColumnType, RowSchema

ARROW_TYPES: Final[Mapping[ColumnType, pa.DataType]] = {
    "string": pa.string(),
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def arrow_schema(schema: RowSchema, *, ordinal: bool = False) -> pa.Schema:
    """Schema of the rows: [_ordinal int64], user_id string (not null), then the columns (nullable)."""
    fields = [pa.field(ORDINAL, pa.int64(), nullable=False)] if ordinal else []
    fields.append(pa.field(USER_ID, pa.string(), nullable=False))
    fields += [pa.field(c.name, ARROW_TYPES[c.type]) for c in schema.columns]
    return pa.schema(fields)


def schema_of(rows: pa.Schema) -> RowSchema:
    """Schema of the rows of a chunk ([_ordinal, user_id, columns...]). Raises ValueError for unsupported types.

    The ImportStarted message cannot provide it: an earlier owner may have acknowledged that. A chunk's digest is bound
    to the schema's id, and so is the end marker's: a wrong guess would not reconcile.
    """
    types = {arrow: name for name, arrow in ARROW_TYPES.items()}
    columns = []
    for field in rows:
        if field.name not in {ORDINAL, USER_ID}:
            if field.type not in types:
                raise ValueError(f"column {field.name} is a {field.type}")
            columns.append(Column(name=field.name, type=types[field.type]))
    return RowSchema(columns=tuple(columns))
