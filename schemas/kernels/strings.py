"""Spans of bytes as Arrow strings, copied word by word."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from schemas.kernels.compiling import kernel

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]

WORD_BYTES: Final = 8


def strings(data: Bytes, starts: Ints, ends: Ints, n: int) -> pa.Array:
    """The n fields as a string array. Arguments as in `copy_content`."""
    offsets = np.empty(n + 1, np.int32)
    out = np.empty(content_bytes(starts, ends, n), np.uint8)
    copy_content(data, starts, ends, n, offsets, out)
    return pa.Array.from_buffers(pa.string(), n, [None, pa.py_buffer(offsets), pa.py_buffer(out[: offsets[n]])], 0)


@kernel
def content_bytes(starts: Ints, ends: Ints, n: int) -> int:
    """Upper bound of the bytes that `copy_content` needs for the n fields (escapes reduce them)."""
    total = 0
    for k in range(n):
        stop = ends[k]
        if stop < 0:
            stop = ~stop
        total += stop - starts[k]
    return total + WORD_BYTES


@intrinsic
def _copy_word(_context: Any, out: Any, _to: Any, d: Any, _at: Any) -> Any:
    """`out[_to : _to + 8] = d[_at : _at + 8]` in one load and one store, at any address inside the arrays."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(8 * WORD_BYTES).as_pointer()
        pointers = []
        for array, index in ((0, 1), (2, 3)):
            start = make_array(signature.args[array])(context, builder, arguments[array]).data  # type: ignore[no-untyped-call]  # numba's own
            pointers.append(builder.bitcast(builder.gep(start, [arguments[index]]), word))
        builder.store(builder.load(pointers[1], align=1), pointers[0], align=1)
        return context.get_dummy_value()

    return types.void(out, types.intp, d, types.intp), generate


@kernel
def copy_content(d: Bytes, starts: Ints, ends: Ints, n: int, offsets: Ints, out: Bytes) -> None:
    """Write the n fields as an Arrow string array: `offsets` (int32, n + 1) and `out`; "" becomes ".

    Most fields are short, so they are copied by words, and the last word goes past the field's end: `d` must have
    `WORD_BYTES` after the last field, and `out` must have as many bytes as `content_bytes` returns.
    """
    o = 0
    offsets[0] = 0
    for k in range(n):
        i = starts[k]
        stop = ends[k]
        if stop >= 0:
            size = stop - i
            for j in range(0, size, WORD_BYTES):
                _copy_word(out, o + j, d, i + j)  # type: ignore[call-arg]  # the compiler passes the context
            o += size
        else:
            stop = ~stop
            while i < stop:
                b = d[i]
                out[o] = b
                o += 1
                i += 2 if b == 34 else 1
        offsets[k + 1] = o
