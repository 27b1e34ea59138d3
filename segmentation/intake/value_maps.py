"""Maps of values (`schemas.activity.VALUES_TYPE`): made of the columns of a chunk, and taken apart by name.

Everything works on whole arrays: a map array is three flat arrays and offsets.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.activity import VALUE_TYPE, VALUES_TYPE
from schemas.messages import PropertyValue

Kind = Literal["number", "string", "boolean"]
"""Name of the child of a value."""
_PYTHON_TYPES: Final[Mapping[str, type]] = {"number": float, "string": str, "boolean": bool}


def maps_of_columns(names: Sequence[str], columns: Sequence[pa.Array], rows: int, *, keep_nulls: bool) -> pa.MapArray:
    """A map for each row, of double, string and boolean columns of `rows` values.

    A null is no entry, or with `keep_nulls` an entry without a value.
    """
    valid = np.ones((rows, len(columns)), np.bool_)
    if not keep_nulls:
        for k, column in enumerate(columns):
            if column.null_count:
                valid[:, k] = column.is_valid().to_numpy(zero_copy_only=False)
    row_of, column_of = np.nonzero(valid)
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(valid.sum(axis=1), out=offsets[1:])
    children = [
        _gathered([(k, c) for k, c in enumerate(columns) if c.type == field.type], field.type, row_of, column_of)
        for field in VALUE_TYPE
    ]
    items = pa.StructArray.from_arrays(children, fields=list(VALUE_TYPE))
    keys = pa.array(list(names), pa.string()).take(pa.array(column_of))
    return pa.MapArray.from_arrays(pa.array(offsets), keys, items, type=VALUES_TYPE)


def _gathered(
    columns: list[tuple[int, pa.Array]],
    type_: pa.DataType,
    row_of: npt.NDArray[np.int64],
    column_of: npt.NDArray[np.int64],
) -> pa.Array:
    """The value of each entry that is of one of `columns` (number, values), null for the others."""
    if not columns:
        return pa.nulls(len(row_of), type_)
    index = np.zeros(len(row_of), np.int64)
    elsewhere = np.ones(len(row_of), np.bool_)
    start = 0
    for number, column in columns:
        here = column_of == number
        index[here] = row_of[here] + start
        elsewhere[here] = False
        start += len(column)
    return pa.concat_arrays([column for _, column in columns]).take(pa.array(index, mask=elsewhere))


def maps_of_records(records: Sequence[Mapping[str, PropertyValue | None]], *, keep_nulls: bool) -> pa.MapArray:
    """A map for each record; a None as in `maps_of_columns`."""
    entries = [[(n, v) for n, v in record.items() if keep_nulls or v is not None] for record in records]
    offsets = np.zeros(len(records) + 1, np.int32)
    np.cumsum([len(e) for e in entries], out=offsets[1:])
    flat = [value for of_record in entries for _, value in of_record]
    children = [
        pa.array([v if type(v) is _PYTHON_TYPES[field.name] else None for v in flat], field.type)
        for field in VALUE_TYPE
    ]
    keys = pa.array([name for of_record in entries for name, _ in of_record], pa.string())
    items = pa.StructArray.from_arrays(children, fields=list(VALUE_TYPE))
    return pa.MapArray.from_arrays(pa.array(offsets), keys, items, type=VALUES_TYPE)


def values_of(maps: pa.MapArray, name: str, kind: Kind) -> pa.Array:
    """Array of n values (double, string or boolean): null where a map has no such name, or a value of another kind."""
    offsets = maps.offsets.to_numpy()
    first, last = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
    keys = maps.keys.slice(first, last - first)
    hits = np.flatnonzero(pc.equal(keys, name).to_numpy(zero_copy_only=False)) + first
    rows = np.searchsorted(offsets, hits, side="right") - 1
    index = np.zeros(len(maps), np.int64)
    missing = np.ones(len(maps), np.bool_)
    index[rows] = hits
    missing[rows] = False
    return maps.items.field(kind).take(pa.array(index, mask=missing))
