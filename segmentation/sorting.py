"""Sorts strings by their bytes, several times faster than a comparison sort of Arrow strings.

Eight bytes at a time: strings are sorted by the number that their next eight bytes are, big-endian, and those that
agree in it by the following bytes. Numbers are sorted byte by byte, the last byte first: a pass for each byte that
differs. Short runs of ties are finished by insertion. Equal strings are ordered by their ranks.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.buffers import read_only, string_buffers
from schemas.kernels.compiling import kernel

_WORD: Final = 8
_INSERTION_MAX: Final = 24
"""Runs of ties up to this length are sorted by insertion; longer ones by their next eight bytes."""


@kernel
def _keys(offsets, data, order, depth, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Write the eight bytes of each string from `depth` on, with zeros after its end; returns the longest length."""
    longest = 0
    for k in range(order.shape[0]):
        start = offsets[order[k]] + depth
        end = offsets[order[k] + 1]
        longest = max(longest, end - start + depth)
        key = np.uint64(0)
        for j in range(8):
            key <<= np.uint64(8)
            if start + j < end:
                key |= np.uint64(data[start + j])
        out[k] = key
    return longest


@kernel
def _sort_by_key(keys, order):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Sort both arrays by `keys`, in place and stable."""
    n = keys.shape[0]
    places = np.zeros((8, 256), np.int64)  # of the next key with each value of each byte; first, how many have it
    for k in range(n):
        key = keys[k]
        for d in range(8):
            places[d, key & np.uint64(255)] += 1
            key >>= np.uint64(8)
    from_keys, from_order = keys, order
    to_keys, to_order = np.empty_like(keys), np.empty_like(order)
    for d in range(8):
        shift = np.uint64(8 * d)
        if places[d, (keys[0] >> shift) & np.uint64(255)] == n:
            continue
        place = 0
        for value in range(256):
            count = places[d, value]
            places[d, value] = place
            place += count
        for k in range(n):
            key = from_keys[k]
            value = (key >> shift) & np.uint64(255)
            place = places[d, value]
            places[d, value] = place + 1
            to_keys[place] = key
            to_order[place] = from_order[k]
        from_keys, to_keys = to_keys, from_keys
        from_order, to_order = to_order, from_order
    keys[:] = from_keys
    order[:] = from_order


@kernel
def _after(offsets, data, ranks, depth, a, b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """True if string a sorts after string b; both agree up to `depth`."""
    length_a = offsets[a + 1] - offsets[a]
    length_b = offsets[b + 1] - offsets[b]
    for j in range(depth, min(length_a, length_b)):
        x = data[offsets[a] + j]
        y = data[offsets[b] + j]
        if x != y:
            return x > y
    return length_a > length_b or (length_a == length_b and ranks[a] > ranks[b])


@kernel
def _finish_short_ties(offsets, data, ranks, keys, order, depth, long_ties):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Sort short runs of equal keys in place; returns how many longer ones were written to long_ties (int64[n, 2])."""
    found = 0
    start = 0
    n = order.shape[0]
    while start < n:
        end = start + 1
        while end < n and keys[end] == keys[start]:
            end += 1
        if end - start > _INSERTION_MAX:
            long_ties[found, 0] = start
            long_ties[found, 1] = end
            found += 1
        else:
            for i in range(start + 1, end):
                x = order[i]
                j = i
                while j > start and _after(offsets, data, ranks, depth, order[j - 1], x):
                    order[j] = order[j - 1]
                    j -= 1
                order[j] = x
        start = end
    return found


def sort_strings(strings: pa.StringArray, ranks: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.int64]:
    """Order of strings (no nulls) by their bytes, of equal ones by their ranks: int64[n], indices into `strings`.

    `ranks`, int64[n]: by default their positions.
    """
    offsets, data = string_buffers(strings)
    ranks = read_only(np.arange(len(strings), dtype=np.int64) if ranks is None else ranks)
    order = np.arange(len(strings), dtype=np.int64)
    todo = [(0, len(strings), 0)] if len(strings) else []
    while todo:
        start, end, depth = todo.pop()
        part = order[start:end]
        keys = np.empty(len(part), np.uint64)
        if depth > _keys(offsets, data, part, depth, keys):
            # They differ at most by trailing NUL bytes, which look like padding: shorter ones first.
            part[:] = part[np.lexsort((ranks[part], offsets[part + 1] - offsets[part]))]
            continue
        _sort_by_key(keys, part)
        long_ties = np.empty((len(part) // (_INSERTION_MAX + 1) + 1, 2), np.int64)
        found = _finish_short_ties(offsets, data, ranks, keys, part, depth, long_ties)
        todo += [(start + int(a), start + int(b), depth + _WORD) for a, b in long_ties[:found]]
    return order
