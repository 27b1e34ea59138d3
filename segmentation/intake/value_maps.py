"""Maps of values (`schemas.activity`): built from the columns of a chunk or from single records, and read by name.

All functions work on whole arrays: a map array consists of flat arrays of keys and values, and offsets.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.buffers import read_only, string_buffers, validity
from schemas.columns import ColumnType
from schemas.kernels.compiling import kernel
from schemas.kernels.members import DECIMAL, DOUBLE, FALSE, INTEGER, STRING, TRUE, Members, with_validity
from schemas.messages import AttributeValue

Indices = npt.NDArray[np.int32]
_PYTHON_TYPES: Final[Mapping[str, type]] = {
    "double": float,
    "string": str,
    "boolean": bool,
    "date": date,
    "timestamp": datetime,
}
"""Types of the values of single records."""


def maps_of_columns(
    names: Sequence[str],
    columns: Sequence[pa.Array],
    rows: int,
    type_: pa.MapType,
    *,
    empty_rows: npt.NDArray[np.bool_] | None = None,
) -> pa.MapArray:
    """A map for each row, from columns of `rows` values with the types of `type_`. Null is an entry without a value.

    The rows of `empty_rows` get empty maps.
    """
    has_entry = np.ones((len(columns), rows), np.bool_)
    if empty_rows is not None:
        has_entry[:, empty_rows] = False
    return _maps(names, columns, has_entry, type_)


def maps_without_nulls(names: Sequence[str], columns: Sequence[pa.Array], rows: int, type_: pa.MapType) -> pa.MapArray:
    """As `maps_of_columns`, but null gives no entry."""
    has_entry = np.ones((len(columns), rows), np.bool_)
    for k, column in enumerate(columns):
        if column.null_count:
            has_entry[k] = column.is_valid().to_numpy(zero_copy_only=False)
    return _maps(names, columns, has_entry, type_)


def _maps(
    names: Sequence[str], columns: Sequence[pa.Array], has_entry: npt.NDArray[np.bool_], type_: pa.MapType
) -> pa.MapArray:
    """Maps of the entries in `has_entry`, bool[columns, rows]."""
    indices = np.empty(has_entry.shape, np.int32)
    offsets = np.empty(has_entry.shape[1] + 1, np.int32)
    column_of = np.empty(np.count_nonzero(has_entry), np.int32)
    _assign(has_entry, indices, offsets, column_of)
    fields = list(type_.item_type)
    children = []
    for field in fields:
        of_type = [(indices[k], column) for k, column in enumerate(columns) if column.type == field.type]
        children.append(_scattered(of_type, field.type, len(column_of)))
    keys = pa.array(list(names), pa.string()).take(pa.array(column_of))
    items = pa.StructArray.from_arrays(children, fields=fields)
    return pa.MapArray.from_arrays(pa.array(offsets), keys, items, type=type_)


def _scattered(columns: list[tuple[Indices, pa.Array]], type_: pa.DataType, entries: int) -> pa.Array:
    """The values of `columns` at the indices of their entries (-1: no entry); null everywhere else."""
    if not columns:
        return pa.nulls(entries, type_)
    valid = np.zeros(entries, np.uint8)
    if pa.types.is_string(type_):
        sizes = np.zeros(entries + 1, np.int32)
        for indices, column in columns:
            _sizes(indices, string_buffers(column)[0], validity(column), sizes, valid)
        offsets = np.cumsum(sizes, out=sizes)
        text = np.empty(offsets[-1], np.uint8)
        for indices, column in columns:
            _copy(indices, *string_buffers(column), validity(column), offsets, text)
        buffers = [pa.py_buffer(offsets), pa.py_buffer(text)]
    else:
        values = np.zeros(entries, f"u{max(type_.bit_width // 8, 1)}")
        for indices, column in columns:
            _scatter(indices, _words(column, values.dtype), validity(column), values, valid)
        bits = np.packbits(values, bitorder="little") if pa.types.is_boolean(type_) else values
        buffers = [pa.py_buffer(bits)]
    return pa.Array.from_buffers(type_, entries, [pa.py_buffer(np.packbits(valid, bitorder="little")), *buffers])


def _words(column: pa.Array, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The values as stored in memory; a boolean is a byte."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    data = column.buffers()[1]
    if data is None or not len(column):
        return read_only(np.zeros(0, dtype))
    return read_only(np.frombuffer(data, dtype)[column.offset : column.offset + len(column)])


@kernel
def _assign(has_entry, indices, offsets, column_of):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Number the entries by row: the index of each (-1: no entry), the offsets of rows, the column of each entry."""
    entry = 0
    for row in range(has_entry.shape[1]):
        offsets[row] = entry
        for column in range(has_entry.shape[0]):
            indices[column, row] = -1
            if has_entry[column, row]:
                indices[column, row] = entry
                column_of[entry] = column
                entry += 1
    offsets[has_entry.shape[1]] = entry


@kernel
def _scatter(indices, words, valid, out, out_valid):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in range(indices.shape[0]):
        if indices[row] >= 0 and (valid.shape[0] == 0 or valid[row]):
            out[indices[row]] = words[row]
            out_valid[indices[row]] = 1


@kernel
def _sizes(indices, offsets, valid, sizes, out_valid):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Write the size of each entry's text, shifted by one."""
    for row in range(indices.shape[0]):
        if indices[row] >= 0 and (valid.shape[0] == 0 or valid[row]):
            sizes[indices[row] + 1] = offsets[row + 1] - offsets[row]
            out_valid[indices[row]] = 1


@kernel
def _copy(indices, offsets, data, valid, out_offsets, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in range(indices.shape[0]):
        if indices[row] >= 0 and (valid.shape[0] == 0 or valid[row]):
            at = out_offsets[indices[row]]
            for k in range(offsets[row], offsets[row + 1]):
                out[at] = data[k]
                at += 1


def maps_of_members(members: Members, offsets: Indices, entries: Indices, type_: pa.MapType) -> pa.MapArray:
    """Maps of members of records: row r has entries[offsets[r]:offsets[r + 1]]. NULL is an entry without a value."""
    kinds = members.kinds(entries)
    numeric = (kinds == INTEGER) | (kinds == DOUBLE) | (kinds == DECIMAL)
    texts = members.texts(np.where(kinds == STRING, entries, np.int32(-1)))
    values = {
        "double": with_validity(pa.array(members.doubles(entries)), numeric),
        "string": with_validity(texts, kinds == STRING),
        "boolean": with_validity(pa.array(kinds == TRUE), (kinds == TRUE) | (kinds == FALSE)),
    }
    fields = list(type_.item_type)
    children = [values.get(field.name, pa.nulls(len(entries), field.type)) for field in fields]
    items = pa.StructArray.from_arrays(children, fields=fields)
    return pa.MapArray.from_arrays(pa.array(offsets), members.keys(entries), items, type=type_)


def maps_of_records(records: Sequence[Mapping[str, AttributeValue | None]], type_: pa.MapType) -> pa.MapArray:
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
    """Values of a name in a type: n of them, null if a map lacks the name, or has it with another type."""
    entries = _entries(maps, name)
    return maps.items.field(type_).take(pa.array(entries, mask=entries < 0))


def mentions_of(maps: pa.MapArray, name: str) -> npt.NDArray[np.bool_]:
    """bool[n]: True if a map has the name, with or without a value: the change sets or unsets it."""
    return _entries(maps, name) >= 0


def _entries(maps: pa.MapArray, name: str) -> npt.NDArray[np.int64]:
    """int64[n]: index of a name among keys and items, -1 if a map lacks it."""
    out = np.full(len(maps), -1, np.int64)
    offsets, text = read_only(maps.offsets.to_numpy()), read_only(np.frombuffer(name.encode(), np.uint8))
    _find(offsets, *string_buffers(maps.keys), text, out)
    return out


@kernel
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
