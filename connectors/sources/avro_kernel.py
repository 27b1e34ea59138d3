"""Rows in Avro's binary encoding, without a Python object per value: strictly, or not at all.

Types are rows of a table `nodes`: (kind, first link, number of links, or the size of a FIXED, or the number of symbols
of an ENUM). Links are indexes of other nodes. Nothing that a file claims is believed: sizes end within the block,
branches and symbols exist, a boolean is 0 or 1, an int has 32 bits and a long 64.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.kernels.compiling import kernel

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]

NULL, BOOLEAN, INT, LONG, FLOAT, DOUBLE, BYTES, FIXED, ENUM, RECORD, UNION, ARRAY, MAP = range(13)
"""Kinds of types; a string is BYTES."""
OK, CUT, BAD, DEEP, ENDLESS = range(5)
"""Faults: the block ends within a value; a value is none of its type; data nested too deeply; values without bytes."""
FAULTS: Final = {
    CUT: "a value ends beyond its block",
    BAD: "a value is none of its type",
    DEEP: "its data is nested too deeply",
    ENDLESS: "it holds values without end",
}
STACK: Final = 256
STEPS_PER_BYTE: Final = 64
"""Fields and items that are read over for each byte, before they count as endless: empty records have no bytes."""
_LAST_BYTE: Final = 9
"""Of a number of 64 bits, the tenth byte of seven bits has one bit."""


@kernel
def varint(d: Bytes, i: int, end: int) -> tuple[int, int]:
    """The zigzag number at i and the position after it: beyond `end` if it is cut, -1 if it has more than 64 bits."""
    value, shift = np.uint64(0), 0
    while i < end:
        b = d[i]
        i += 1
        if shift == 7 * _LAST_BYTE and b > 1:
            return 0, -1
        value |= np.uint64(b & 127) << np.uint64(shift)
        if b < 128:
            return int(np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1))), i
        shift += 7
    return 0, end + 1


@kernel
def decode(  # noqa: PLR0917  # a compiled kernel takes no keywords
    d: Bytes,
    pos: int,
    end: int,
    first: int,
    rows: int,
    fields: Longs,
    slots: Ints,
    nodes: Longs,
    links: Longs,
    values: Longs,
    starts: Ints,
    ends: Ints,
    nulls: Bytes,
    stack: Longs,
) -> tuple[int, int, int]:
    """Read `rows` rows from d[pos:end] as rows `first` and following; returns (position after them, rows, fault).

    Field f goes to slot `slots[f]`, or is read over if that is -1: `values` (slots, rows) takes numbers (booleans,
    symbols, the bits of floats), `starts` and `ends` the places of bytes, `nulls` 1 where a value is null.
    """
    i = pos
    steps = STEPS_PER_BYTE * (end - pos) + STEPS_PER_BYTE
    for done in range(rows):
        row = first + done
        for f in range(len(fields)):
            node, slot = fields[f], slots[f]
            if slot < 0:
                i, steps, fault = _skip(d, i, end, node, nodes, links, stack, steps)
                if fault != OK:
                    return i, done, fault
                continue
            if nodes[node, 0] == UNION:
                branch, i = varint(d, i, end)
                if i < 0 or i > end:
                    return end, done, BAD if i < 0 else CUT
                if branch < 0 or branch >= nodes[node, 2]:
                    return i, done, BAD
                node = links[nodes[node, 1] + branch]
            kind = nodes[node, 0]
            nulls[slot, row] = 1 if kind == NULL else 0
            starts[slot, row] = 0
            ends[slot, row] = 0
            values[slot, row] = 0
            if kind == NULL:
                continue
            number, start, i, fault = _flat(d, i, end, kind, nodes[node, 2])
            if fault != OK:
                return i, done, fault
            values[slot, row] = number
            if kind in (BYTES, FIXED):
                starts[slot, row] = start
                ends[slot, row] = i
    return i, rows, OK


@kernel
def _flat(  # noqa: PLR0911  # a kernel reads one kind after the other
    d: Bytes, i: int, end: int, kind: int, size: int
) -> tuple[int, int, int, int]:
    """A value of a flat type that is not null: (number, start of its bytes, position after it, fault)."""
    if kind == BOOLEAN:
        if i >= end:
            return 0, i, i, CUT
        return d[i], i, i + 1, OK if d[i] <= 1 else BAD
    if kind in (FLOAT, DOUBLE):
        width = 4 if kind == FLOAT else 8
        if width > end - i:
            return 0, i, i, CUT
        word = np.uint64(0)
        for j in range(width):
            word |= np.uint64(d[i + j]) << np.uint64(8 * j)
        return int(np.int64(word)), i, i + width, OK
    if kind == FIXED:
        return 0, i, i + size if size <= end - i else i, OK if size <= end - i else CUT
    number, i = varint(d, i, end)
    if i < 0 or i > end:
        return 0, end, end, BAD if i < 0 else CUT
    if kind == BYTES:
        if number < 0 or number > end - i:
            return 0, i, i, BAD if number < 0 else CUT
        return 0, i, i + number, OK
    if kind == INT and not -(2**31) <= number < 2**31:
        return 0, i, i, BAD
    if kind == ENUM and not 0 <= number < size:
        return 0, i, i, BAD
    return number, i, i, OK


@kernel
def _skip(  # noqa: PLR0911, PLR0912, PLR0915  # a machine in one loop
    d: Bytes, i: int, end: int, node: int, nodes: Longs, links: Longs, stack: Longs, steps: int
) -> tuple[int, int, int]:
    """Read over a value of any type; returns (position after it, steps that are left, fault).

    `stack` (STACK, 2) holds the open values: their type, and how many of their fields are done, or of the items of a
    block are left.
    """
    top = 0
    stack[0, 0] = node
    stack[0, 1] = 0
    while top >= 0:
        steps -= 1
        if steps < 0:
            return i, steps, ENDLESS
        at, count = stack[top, 0], stack[top, 1]
        kind = nodes[at, 0]
        inner = -1
        if kind == NULL:
            top -= 1
        elif kind == RECORD:
            if count == nodes[at, 2]:
                top -= 1
            else:
                stack[top, 1] = count + 1
                inner = links[nodes[at, 1] + count]
        elif kind == UNION:
            branch, i = varint(d, i, end)
            if i < 0 or i > end:
                return end, steps, BAD if i < 0 else CUT
            if branch < 0 or branch >= nodes[at, 2]:
                return i, steps, BAD
            stack[top, 0] = links[nodes[at, 1] + branch]
        elif kind in (ARRAY, MAP):
            if count == 0:
                items, i = varint(d, i, end)
                size = 0
                if items < 0 and 0 <= i <= end:  # then the bytes of this block follow
                    size, i = varint(d, i, end)
                if i < 0 or i > end:
                    return end, steps, BAD if i < 0 else CUT
                if size < 0 or size > end - i:
                    return i, steps, BAD if size < 0 else CUT
                if items == 0:
                    top -= 1
                elif items < 0:
                    i += size
                else:
                    stack[top, 1] = items
            else:
                stack[top, 1] = count - 1
                if kind == MAP:
                    _, _, i, fault = _flat(d, i, end, BYTES, 0)
                    if fault != OK:
                        return i, steps, fault
                inner = links[nodes[at, 1]]
        else:
            _, _, i, fault = _flat(d, i, end, kind, nodes[at, 2])
            if fault != OK:
                return i, steps, fault
            top -= 1
        if inner >= 0:
            top += 1
            if top >= STACK:
                return i, steps, DEEP
            stack[top, 0] = inner
            stack[top, 1] = 0
    return i, steps, OK


@kernel
def integers(d: Bytes, starts: Ints, ends: Ints, nulls: Bytes, out: Bytes) -> int:
    """Two's complement of any size, big end first, as little-endian integers `out` (uint8, n x width).

    Returns the first row whose integer is empty or does not fit; n if all do.
    """
    n, width = len(out), out.shape[1]
    for k in range(n):
        sign = 0
        if not nulls[k]:
            if ends[k] == starts[k]:
                return k
            sign = 255 if d[starts[k]] >= 128 else 0
        for j in range(width):
            out[k, j] = sign
        for j in range(ends[k] - starts[k]):
            b = d[ends[k] - 1 - j]
            if j < width:
                out[k, j] = b
            elif b != sign:
                return k
        if not nulls[k] and (out[k, width - 1] >= 128) != (sign == 255):
            return k
    return n


@kernel
def uuids(d: Bytes, starts: Ints, nulls: Bytes, offsets: Ints, out: Bytes) -> None:
    """UUIDs of 16 bytes as text of 36 characters: `offsets` (int32, n + 1) and `out`, the bytes of an Arrow array."""
    o = 0
    offsets[0] = 0
    for k in range(len(starts)):
        if not nulls[k]:
            for j in range(16):
                if j in (4, 6, 8, 10):
                    out[o] = 45
                    o += 1
                b = int(d[starts[k] + j])
                for half in range(2):
                    digit = b & 15 if half else b >> 4
                    out[o] = 48 + digit if digit < 10 else 87 + digit
                    o += 1
        offsets[k + 1] = o
