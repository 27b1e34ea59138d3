"""UTF-8 validation: a fast check of a block, and an exact one of each record if the block is invalid."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.kernels.compiling import kernel

Bytes = npt.NDArray[np.uint8]
Longs = npt.NDArray[np.int64]

WORD_BYTES: Final = 8
HIGH_BITS: Final = np.uint64(0x8080808080808080)


def is_utf8(data: Bytes, first: int, after: int) -> bool:
    """True if data[first:after] is UTF-8: usually ASCII; otherwise Arrow checks several bytes at a time."""
    if is_ascii(data, first, after):
        return True
    offsets = pa.py_buffer(np.array([0, after - first], np.int32))
    text = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(data[first:after])], 0)
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


@kernel
def is_ascii(d: Bytes, pos: int, end: int) -> bool:
    """True if d[pos:end] has no byte over 127. `d` must begin at a multiple of 8, as numpy's arrays do."""
    first = (pos + WORD_BYTES - 1) // WORD_BYTES
    last = end // WORD_BYTES
    seen = np.uint8(0)
    if first < last:
        words = d[: last * WORD_BYTES].view(np.uint64)
        seen_words = np.uint64(0)
        for w in range(first, last):
            seen_words |= words[w]
        if seen_words & HIGH_BITS:
            return False
        for i in range(pos, first * WORD_BYTES):
            seen |= d[i]
        for i in range(last * WORD_BYTES, end):
            seen |= d[i]
    else:
        for i in range(pos, end):
            seen |= d[i]
    return bool(seen < 128)


@kernel
def first_invalid_utf8(d: Bytes, pos: int, end: int) -> int:  # noqa: PLR0912  # the table of RFC 3629, row by row
    """Position of the first invalid byte in d[pos:end] (RFC 3629: no surrogates, no overlong forms), or -1."""
    i = pos
    while i < end:
        b = d[i]
        if b < 0x80:
            i += 1
            continue
        low = 0x80
        high = 0xBF
        if 0xC2 <= b <= 0xDF:
            more = 1
        elif 0xE0 <= b <= 0xEF:
            more = 2
            if b == 0xE0:
                low = 0xA0
            elif b == 0xED:
                high = 0x9F
        elif 0xF0 <= b <= 0xF4:
            more = 3
            if b == 0xF0:
                low = 0x90
            elif b == 0xF4:
                high = 0x8F
        else:
            return i
        if i + more >= end:
            return i
        if d[i + 1] < low or d[i + 1] > high:
            return i
        for j in range(2, more + 1):
            if d[i + j] < 0x80 or d[i + j] > 0xBF:
                return i
        i += more + 1
    return -1


@kernel
def invalid_utf8_positions(d: Bytes, records: Longs, n: int, out: Longs) -> int:
    """Write `first_invalid_utf8` of n records d[records[k, 0] : records[k, 1]] to `out`; returns the number invalid."""
    found = 0
    for k in range(n):
        out[k] = first_invalid_utf8(d, records[k, 0], records[k, 1])
        if out[k] >= 0:
            found += 1
    return found
