"""Maps of values (`schemas.activity`): made of the columns of a chunk or of single records, and taken apart by name.

Everything works on whole arrays: a map array is flat arrays of keys and values, and offsets.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from schemas.buffers import read_only, string_buffers
from schemas.columns import ColumnType
from schemas.messages import PropertyValue

_PYTHON_TYPES: Final[Mapping[str, type]] = {"double": float, "string": str, "boolean": bool}
"""Of the values of single records: these have no dates."""


def maps_of_columns(
    names: Sequence[str],
    columns: Sequence[pa.Array],
    rows: int,
    type_: pa.MapType,
    *,
    but: npt.NDArray[np.bool_] | None = None,
) -> pa.MapArray:
    """A map for each row, of columns of `rows` values of the types of `type_`. Null is an entry without a value.

    The rows of `but` have none.
    """
    sizes = np.full(rows, len(columns)) if but is None else np.where(but, 0, len(columns))
    row_of = np.repeat(np.arange(rows), sizes)
    column_of = np.arange(len(row_of)) % max(len(columns), 1)
    return _maps(names, columns, row_of, column_of, sizes, type_)


def maps_without_nulls(names: Sequence[str], columns: Sequence[pa.Array], rows: int, type_: pa.MapType) -> pa.MapArray:
    """As `maps_of_columns`, but null is no entry."""
    valid = np.ones((rows, len(columns)), np.bool_)
    for k, column in enumerate(columns):
        if column.null_count:
            valid[:, k] = column.is_valid().to_numpy(zero_copy_only=False)
    row_of, column_of = np.nonzero(valid)
    return _maps(names, columns, row_of, column_of, valid.sum(axis=1), type_)


def _maps(
    names: Sequence[str],
    columns: Sequence[pa.Array],
    row_of: npt.NDArray[np.int64],
    column_of: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    type_: pa.MapType,
) -> pa.MapArray:
    """Maps of the entries (row, column), ascending; `sizes`: how many each row has."""
    fields = list(type_.item_type)
    children = [
        _gathered([(k, c) for k, c in enumerate(columns) if c.type == field.type], field.type, row_of, column_of)
        for field in fields
    ]
    keys = pa.array(list(names), pa.string()).take(pa.array(column_of))
    items = pa.StructArray.from_arrays(children, fields=fields)
    return pa.MapArray.from_arrays(_offsets(sizes), keys, items, type=type_)


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


def maps_of_records(records: Sequence[Mapping[str, PropertyValue | None]], type_: pa.MapType) -> pa.MapArray:
    """A map for each record. None is an entry without a value."""
    flat = [value for record in records for value in record.values()]
    fields = list(type_.item_type)
    children = [
        pa.array([v if type(v) is _PYTHON_TYPES.get(field.name) else None for v in flat], field.type)
        for field in fields
    ]
    keys = pa.array([name for record in records for name in record], pa.string())
    items = pa.StructArray.from_arrays(children, fields=fields)
    return pa.MapArray.from_arrays(_offsets(list(map(len, records))), keys, items, type=type_)


def _offsets(sizes: Sequence[int] | npt.NDArray[np.int64]) -> pa.Int32Array:
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    return pa.array(offsets)


def values_of(maps: pa.MapArray, name: str, type_: ColumnType) -> pa.Array:
    """The values of a name that are of a type: n of them, null where a map has no such name, or another type for it."""
    entries = _entries(maps, name)
    return maps.items.field(type_).take(pa.array(entries, mask=entries < 0))


def mentions_of(maps: pa.MapArray, name: str) -> npt.NDArray[np.bool_]:
    """bool[n]: whether a map has the name, with a value or without: a change of a profile sets or unsets it."""
    return _entries(maps, name) >= 0


def _entries(maps: pa.MapArray, name: str) -> npt.NDArray[np.int64]:
    """int64[n]: the place of a name among keys and items, -1 where a map does not have it."""
    out = np.full(len(maps), -1, np.int64)
    offsets, text = read_only(maps.offsets.to_numpy()), read_only(np.frombuffer(name.encode(), np.uint8))
    _find(offsets, *string_buffers(maps.keys), text, out)
    return out


@njit(cache=True, nogil=True)
def _find(offsets, key_offsets, keys, name, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    size = name.shape[0]
    for row in range(out.shape[0]):
        for entry in range(offsets[row], offsets[row + 1]):
            start = key_offsets[entry]
            if key_offsets[entry + 1] - start == size:
                k = 0
                while k < size and keys[start + k] == name[k]:
                    k += 1
                if k == size:
                    out[row] = entry
