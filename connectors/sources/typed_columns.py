"""Convert text columns to typed columns, strictly: a value converts exactly or is marked as bad."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import ARROW_TYPES
from schemas.columns import Column, ColumnType
from schemas.errors import UserError
from schemas.kernels import values as value_kernel

Mask = npt.NDArray[np.uint8]

BOOLEANS: Final = pa.array(["false", "0", "true", "1"])
EXPECTED: Final[dict[ColumnType, str]] = {
    "string": "text",
    "long": "a whole number of 64 bits (digits with an optional sign)",
    "double": "a finite number",
    "boolean": "true, false, 1 or 0",
    "date": "a date YYYY-MM-DD",
    "timestamp": "a timestamp YYYY-MM-DDTHH:MM:SS with an offset such as Z or +09:00",
}


@dataclass(frozen=True, slots=True)
class Converted:
    """A typed column. `bad` (bool, n) marks values that did not convert, null in `values`; None if all did.

    `unclear` (bool, n) marks the bad values that are times without an offset which do not name exactly one moment in
    the time zone; None if there are no such values.
    """

    values: pa.Array
    bad: npt.NDArray[np.bool_] | None
    unclear: npt.NDArray[np.bool_] | None = None


def check_timezone(name: str | None) -> None:
    """Raise `UserError` BAD_TIMEZONE if this is not an IANA time zone."""
    if name is None:
        return
    try:
        pc.assume_timezone(pa.array([0], pa.timestamp("us")), name)
    except pa.ArrowException as exc:
        raise UserError("BAD_TIMEZONE", f"{name[:80]!r} is not an IANA time zone", timezone=name[:80]) from exc


def convert_text(array: pa.Array, column: Column, null_values: Sequence[str], timezone: str | None) -> Converted:
    """Convert a string array. Nulls and texts in `null_values` become null."""
    nulls = null_mask(array, null_values)
    match column.type:
        case "string":
            return Converted(_with_nulls(array, nulls), None)
        case "boolean":
            return _booleans(array, nulls)
        case "long" | "double" | "date" | "timestamp":
            return _numbers(array, nulls, column.type, timezone)
        case _:
            assert_never(column.type)


def known_ids(ids: pa.Array, null_values: Sequence[str]) -> pa.Array:
    """Ids, null and of no bytes where the text is in `null_values`; an empty id has a reject code of its own."""
    texts = [text for text in null_values if text]
    nulls = null_mask(ids, texts) if texts else None
    if nulls is None or not nulls.any():
        return ids
    return ids.take(pa.array(np.arange(len(ids)), mask=nulls != 0))


def null_mask(array: pa.Array, null_values: Sequence[str]) -> Mask:
    """uint8, n: 1 if the value is null or one of `null_values`."""
    if tuple(null_values) == ("",):  # the default, without hashing every value
        mask = (np.diff(_offsets(array)) == 0).astype(np.uint8)
    elif null_values:
        mask = _as_mask(pc.is_in(array, value_set=pa.array(list(null_values), pa.string())))
    else:
        mask = np.zeros(len(array), np.uint8)
    if array.null_count:
        mask = mask | _as_mask(array.is_null())
    return cast("Mask", mask)


def resolve_local(wall: npt.NDArray[np.int64], timezone: str | None) -> tuple[npt.NDArray[np.int64], Mask]:
    """UTC microseconds of wall-clock microseconds in a zone, and a mask of those that name no moment or two."""
    if timezone is None:
        return wall, np.ones(len(wall), np.uint8)
    local = pa.array(wall, pa.timestamp("us"))
    first, second = (
        pc.assume_timezone(local, timezone, ambiguous=side, nonexistent=side).cast(pa.int64()).to_numpy()
        for side in ("earliest", "latest")
    )
    return cast("npt.NDArray[np.int64]", first), (first != second).astype(np.uint8)


def string_buffers(array: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """(offsets int32 n + 1, bytes) of a string array; there is always at least one byte."""
    data = array.buffers()[2]
    values = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    return _offsets(array), values


def array_of(values: npt.NDArray[Any], nulls: npt.NDArray[Any], type_: pa.DataType) -> pa.Array:
    """Arrow array over the values without copying them, null where the mask is set."""
    if not nulls.any():
        return pa.Array.from_buffers(type_, len(values), [None, pa.py_buffer(values)], 0)
    valid = pa.py_buffer(np.packbits(nulls == 0, bitorder="little"))
    return pa.Array.from_buffers(type_, len(values), [valid, pa.py_buffer(values)])


def _offsets(array: pa.Array) -> npt.NDArray[np.int32]:
    return np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]


def _as_mask(array: pa.Array) -> Mask:
    filled = pc.fill_null(array, fill_value=False).cast(pa.uint8())
    return cast("Mask", filled.to_numpy(zero_copy_only=False).copy())


def _with_nulls(array: pa.Array, nulls: Mask) -> pa.Array:
    if not nulls.any():
        return array
    return pc.if_else(pa.array(nulls.astype(np.bool_)), pa.scalar(None, array.type), array)


def _booleans(array: pa.Array, nulls: Mask) -> Converted:
    index = pc.index_in(pc.ascii_lower(array), value_set=BOOLEANS)
    bad = (_as_mask(index.is_null()) != 0) & (nulls == 0)
    return Converted(_with_nulls(pc.greater_equal(index, 2), nulls), bad if bad.any() else None)


def _numbers(array: pa.Array, nulls: Mask, type_: ColumnType, timezone: str | None) -> Converted:
    offsets, data = string_buffers(array)
    n = len(array)
    bad = np.empty(n, np.uint8)
    out: npt.NDArray[Any]
    unclear: npt.NDArray[np.bool_] | None = None
    if type_ == "long":
        out = np.empty(n, np.int64)
        n_bad = value_kernel.parse_longs(offsets, data, nulls, out, bad)
    elif type_ == "date":
        out = np.empty(n, np.int32)
        n_bad = value_kernel.parse_dates(offsets, data, nulls, out, bad)
    elif type_ == "timestamp":
        out = np.empty(n, np.int64)
        local = np.empty(n, np.uint8)
        n_bad = value_kernel.parse_timestamps(offsets, data, nulls, out, bad, local)
        if local.any():
            where = np.flatnonzero(local)
            out[where], local[where] = resolve_local(out[where], timezone)
            bad |= local
            n_bad, unclear = int(bad.sum()), local != 0
    else:
        n_bad = value_kernel.check_doubles(offsets, data, nulls, bad)
        out = _doubles(array, nulls | bad)
        infinite = np.isinf(out)
        if infinite.any():
            bad |= infinite.astype(np.uint8)
            n_bad = int(bad.sum())
    values = array_of(out, nulls | bad if n_bad else nulls, ARROW_TYPES[type_])
    return Converted(values, bad != 0, unclear) if n_bad else Converted(values, None)


def _doubles(array: pa.Array, skip: Mask) -> npt.NDArray[np.float64]:
    """The numbers, whose syntax has been checked; NaN where skipped. Numbers that are too large become infinite."""
    texts = _with_nulls(array, skip)
    # Arrow's parser rounds correctly but accepts no plus sign.
    texts = pc.if_else(pc.starts_with(texts, "+"), pc.utf8_slice_codeunits(texts, 1), texts)
    return cast("npt.NDArray[np.float64]", pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False).copy())
