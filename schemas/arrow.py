"""Columns as Arrow has them."""

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from schemas.columns import ORDINAL, USER_ID, ColumnType, RowSchema

ARROW_TYPES: Final[Mapping[ColumnType, pa.DataType]] = {
    "string": pa.string(),
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def arrow_schema(schema: RowSchema, *, ordinal: bool) -> pa.Schema:
    """What `RowSchema.arrow` gives."""
    fields = [pa.field(ORDINAL, pa.int64(), nullable=False)] if ordinal else []
    fields.append(pa.field(USER_ID, pa.string(), nullable=False))
    fields += [pa.field(c.name, ARROW_TYPES[c.type]) for c in schema.columns]
    return pa.schema(fields)
