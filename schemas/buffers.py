"""Arrow arrays as numpy views, for the hash kernels: only validity bits are copied.

All views are read-only, even those of writable buffers: numba compiles a kernel for each combination of writable and
read-only arrays.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A read-only view of the array."""
    view = array.view()
    view.flags.writeable = False
    return view


_NO_BYTES: Final = read_only(np.zeros(1, np.uint8))
_NO_OFFSETS: Final = read_only(np.zeros(1, np.int32))
_ALL_VALID: Final = read_only(np.zeros(0, np.uint8))


def string_buffers(array: pa.StringArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """(offsets int32[n + 1], bytes uint8[...]) of a string array or a slice of one."""
    if not (pa.types.is_string(array.type) or pa.types.is_binary(array.type)):
        raise TypeError(f"a string array is needed, not {array.type}")
    _, offsets, data = array.buffers()
    if len(array) == 0 or offsets is None:
        return _NO_OFFSETS, _NO_BYTES
    view = read_only(np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1])
    return view, read_only(np.frombuffer(data, np.uint8)) if data is not None and data.size else _NO_BYTES


def validity(array: pa.Array) -> npt.NDArray[np.uint8]:
    """uint8[n], 0 for nulls; uint8[0] if there are none."""
    if array.null_count == 0:
        return _ALL_VALID
    return read_only(np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.uint8))


def word_values(array: pa.Array) -> npt.NDArray[np.uint64]:
    """uint64[n]: the canonical 64-bit word of each value (the word of a null is arbitrary).

    long: two's complement; boolean: 0 or 1; date: days since 1970; timestamp: microseconds since 1970 UTC;
    double: IEEE 754 bits, every NaN as 0x7ff8000000000000.
    """
    if pa.types.is_floating(array.type):
        values = np.asarray(_filled(array, 0.0).to_numpy(zero_copy_only=False), np.float64)
        words = values.view(np.uint64)
        nan = np.isnan(values)
        return read_only(np.where(nan, np.uint64(0x7FF8000000000000), words) if nan.any() else words)
    if pa.types.is_boolean(array.type):
        return read_only(np.asarray(_filled(array, False).to_numpy(zero_copy_only=False), np.uint64))  # noqa: FBT003
    if pa.types.is_date32(array.type):
        array = array.cast(pa.int32())
    longs = np.asarray(_filled(array.cast(pa.int64()), 0).to_numpy(zero_copy_only=False), np.int64)
    return read_only(longs.view(np.uint64))


def _filled(array: pa.Array, value: float) -> pa.Array:
    """The array with its nulls replaced. Arrow's own function copies it even if there are none."""
    return array.fill_null(value) if array.null_count else array
