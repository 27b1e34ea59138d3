"""Strings of JSON: their end, and their text without escapes."""

import numpy as np

from schemas.kernels.compiling import kernel
from schemas.kernels.members import Bytes
from schemas.kernels.utf8 import first_invalid_utf8


@kernel
def _hex(d: Bytes, i: int) -> int:
    """The four hexadecimal digits at i as a number, or -1."""
    value = 0
    for j in range(i, i + 4):
        b = int(d[j])
        if 48 <= b <= 57:
            b -= 48
        elif 97 <= b <= 102:
            b -= 87
        elif 65 <= b <= 70:
            b -= 55
        else:
            return -1
        value = value * 16 + b
    return value


@kernel
def _put_utf8(d: Bytes, at: int, point: int) -> int:
    """Write a code point at `at`; returns the position after it."""
    if point < 0x80:
        d[at] = point
        return at + 1
    if point < 0x800:
        d[at] = 0xC0 | point >> 6
        at += 1
    else:
        if point < 0x10000:
            d[at] = 0xE0 | point >> 12
            at += 1
        else:
            d[at] = 0xF0 | point >> 18
            d[at + 1] = 0x80 | point >> 12 & 0x3F
            at += 2
        d[at] = 0x80 | point >> 6 & 0x3F
        at += 1
    d[at] = 0x80 | point & 0x3F
    return at + 1


@kernel
def _unescape(d: Bytes, i: int, end: int, at: int) -> tuple[int, int]:  # noqa: PLR0912  # the escapes, one by one
    """Write the string d[i:...] without its escapes at `at`; (position of its closing quote or -1, end of the text)."""
    while i < end:
        b = d[i]
        if b == 34:
            return i, at
        if b < 32:
            break
        if b != 92:
            d[at] = b
            at += 1
            i += 1
            continue
        if i + 1 >= end:
            break
        b = d[i + 1]
        i += 2
        if b == 117:  # u
            if i + 4 > end:
                break
            point = _hex(d, i)
            i += 4
            if point <= 0 or 0xDC00 <= point <= 0xDFFF:
                break
            if 0xD800 <= point <= 0xDBFF:
                if i + 6 > end or d[i] != 92 or d[i + 1] != 117:
                    break
                low = _hex(d, i + 2)
                i += 6
                if low < 0xDC00 or low > 0xDFFF:
                    break
                point = 0x10000 + ((point - 0xD800) << 10) + low - 0xDC00
            at = _put_utf8(d, at, point)
            continue
        if b == 110:
            b = np.uint8(10)
        elif b == 116:
            b = np.uint8(9)
        elif b == 114:
            b = np.uint8(13)
        elif b == 98:
            b = np.uint8(8)
        elif b == 102:
            b = np.uint8(12)
        elif b != 34 and b != 92 and b != 47:  # noqa: PLR1714  # faster than a tuple
            break
        d[at] = b
        at += 1
    return -1, at


@kernel
def parse_string(d: Bytes, i: int, end: int, spare: int) -> tuple[int, int, int, int]:
    """Read the string whose first byte after the quote is d[i]; a text with escapes is written at `spare` without them.

    Returns the start and end of its text, the position after its closing quote (-1: doubtful), and the next `spare`.
    """
    start, high = i, np.uint8(0)
    while i < end:
        b = d[i]
        if b == 34 or b == 92 or b < 32:  # noqa: PLR1714  # faster than a tuple
            break
        high |= b
        i += 1
    if i >= end or d[i] < 32:
        return start, i, -1, spare
    if d[i] == 34:
        if high >= 128 and first_invalid_utf8(d, start, i) >= 0:
            return start, i, -1, spare
        return start, i, i + 1, spare
    for j in range(start, i):
        d[spare + j - start] = d[j]
    quote, text_end = _unescape(d, i, end, spare + i - start)
    if quote < 0 or first_invalid_utf8(d, spare, text_end) >= 0:
        return start, i, -1, spare
    return spare, text_end, quote + 1, text_end
