"""Numbers the users of a partition, in the order in which they were first seen: columns of state are indexed by number.

An open-addressing hash table of numbers over one buffer of ids: some 90 bytes per UUID, where a dictionary takes 200.
Ids are compared byte by byte; the hash only finds the slot.
"""

from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit, uint64

from schemas.buffers import string_buffers, validity
from schemas.kernels.compiling import kernel
from schemas.kernels.hashing import chain_strings, read64
from segmentation.evaluation.columns import Columns, Users, grown

EMPTY: Final = -1
NUMBER: Final = 2**31 - 1
"""The bits of a table entry that hold the user's number."""
MAX_TEXT: Final = 2**31 - 1
"""Maximum bytes of one array of strings."""
FIRST_SLOTS: Final = 1 << 10
FIRST_BYTES: Final = 1 << 14


class UserIndex:
    """Numbers users 0, 1, 2, ...; at most 2^31 - 1 of them."""

    def __init__(self) -> None:
        self._count = 0
        self._table: npt.NDArray[np.int64] = np.full(FIRST_SLOTS, EMPTY, np.int64)
        self._hashes: npt.NDArray[np.uint64] = np.zeros(FIRST_SLOTS // 2, np.uint64)
        self._offsets: npt.NDArray[np.int64] = np.zeros(FIRST_SLOTS // 2 + 1, np.int64)
        self._bytes: npt.NDArray[np.uint8] = np.zeros(FIRST_BYTES, np.uint8)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return self._table.nbytes + self._hashes.nbytes + self._offsets.nbytes + self._bytes.nbytes

    def add(self, ids: pa.StringArray) -> Users:
        """int32[n]: numbers of these ids (no nulls); new ids get new numbers."""
        offsets, data = string_buffers(ids)
        hashes = _hashes(ids)
        self._reserve(len(ids), int(offsets[-1]) - int(offsets[0]))
        out = np.empty(len(ids), np.int32)
        self._count = _add(
            offsets, data, hashes, self._table, self._hashes, self._offsets, self._bytes, self._count, out
        )
        return out

    def find(self, ids: pa.StringArray) -> Users:
        """int32[n], -1 for unknown users."""
        offsets, data = string_buffers(ids)
        out = np.empty(len(ids), np.int32)
        _find(offsets, data, _hashes(ids), self._table, self._offsets, self._bytes, out)
        return out

    def ids(self, users: Users | None = None) -> pa.StringArray:
        """The ids of these users, or of all in the order of their numbers. Raises ValueError beyond 2 GiB."""
        numbers = np.arange(self._count, dtype=np.int32) if users is None else users
        offsets = np.empty(len(numbers) + 1, np.int64)
        _ends(self._offsets, numbers, offsets)
        if offsets[-1] > MAX_TEXT:
            raise ValueError(f"the ids of {len(numbers):,} users have {offsets[-1]:,} bytes")
        out = np.empty(offsets[-1], np.uint8)
        _copy(self._offsets, self._bytes, numbers, offsets, out)
        return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(out))

    def columns(self) -> Columns:
        """Columns from which `from_columns` builds an equal index."""
        used = int(self._offsets[self._count])
        return {
            "hashes": self._hashes[: self._count],
            "offsets": self._offsets[: self._count + 1],
            "bytes": self._bytes[:used],
        }

    @classmethod
    def from_columns(cls, columns: Columns) -> Self:
        """Inverse of `columns`."""
        out = cls()
        count = len(columns["hashes"])
        out._reserve(count, len(columns["bytes"]))
        out._count = count
        out._hashes[:count] = columns["hashes"]
        out._offsets[: count + 1] = columns["offsets"]
        out._bytes[: len(columns["bytes"])] = columns["bytes"]
        _rehash(out._hashes, count, out._table)
        return out

    def _reserve(self, more: int, more_bytes: int) -> None:
        self._bytes = grown(self._bytes, int(self._offsets[self._count]) + more_bytes)
        self._hashes = grown(self._hashes, self._count + more)
        self._offsets = grown(self._offsets, self._count + more + 1)
        slots = len(self._table)
        while slots < 2 * (self._count + more):
            slots *= 2
        if slots != len(self._table):
            self._table = np.full(slots, EMPTY, np.int64)
            _rehash(self._hashes, self._count, self._table)


def _hashes(ids: pa.StringArray) -> npt.NDArray[np.uint64]:
    h0, h1 = np.zeros(len(ids), np.uint64), np.ones(len(ids), np.uint64)
    chain_strings(*string_buffers(ids), validity(ids), h0, h1)
    return h0


@njit(cache=True, nogil=True, inline="always")
def _entry(user, h):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """A table entry: the number, and above it enough bits of the hash to tell most ids apart."""
    return np.int64(user) | np.int64(h >> uint64(33)) << np.int64(32)


@kernel
def _same(data, start, end, stored, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Compare eight bytes at a time. Positions are unsigned; `schemas.kernels.hashing` explains why."""
    p, last, q = uint64(start), uint64(end), uint64(at)
    while p + uint64(8) <= last:
        if read64(data, p) != read64(stored, q):
            return False
        p += uint64(8)
        q += uint64(8)
    while p < last:
        if data[p] != stored[q]:
            return False
        p += uint64(1)
        q += uint64(1)
    return True


@kernel
def _slot(data, start, end, h, table, offsets, stored):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Slot of an id in the table: that of its number, or the empty one where it belongs."""
    mask = uint64(table.shape[0] - 1)
    slot = h & mask
    while table[slot] != EMPTY:
        user = table[slot] & NUMBER
        if table[slot] == _entry(user, h):
            at = offsets[user]
            if offsets[user + 1] - at == end - start and _same(data, start, end, stored, at):
                return slot
        slot = (slot + uint64(1)) & mask
    return slot


@kernel
def _guess(h, table, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The user of the first entry with these bits of the hash, or -1.

    Nearly always the right one. In a loop that does nothing else, the processor fetches many of the scattered entries
    at once; likewise in `_check`, where the bytes are compared.
    """
    mask = uint64(table.shape[0] - 1)
    for k in range(out.shape[0]):
        slot = h[k] & mask
        while table[slot] != EMPTY and table[slot] != _entry(table[slot] & NUMBER, h[k]):
            slot = (slot + uint64(1)) & mask
        out[k] = -1 if table[slot] == EMPTY else table[slot] & NUMBER


@kernel
def _check(ids, data, offsets, stored, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Set wrong guesses to -1."""
    for k in range(out.shape[0]):
        user = out[k]
        if user != EMPTY:
            start, end, at = np.int64(ids[k]), np.int64(ids[k + 1]), offsets[user]
            if offsets[user + 1] - at != end - start or not _same(data, start, end, stored, at):
                out[k] = EMPTY


@kernel
def _add(ids, data, h, table, hashes, offsets, stored, count, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    _guess(h, table, out)
    _check(ids, data, offsets, stored, out)
    for k in range(out.shape[0]):
        if out[k] != EMPTY:
            continue
        start, end = np.int64(ids[k]), np.int64(ids[k + 1])
        slot = _slot(data, start, end, h[k], table, offsets, stored)
        if table[slot] == EMPTY:
            table[slot] = _entry(count, h[k])
            hashes[count] = h[k]
            at = offsets[count]
            for j in range(end - start):
                stored[at + j] = data[start + j]
            offsets[count + 1] = at + end - start
            count += 1
        out[k] = table[slot] & NUMBER
    return count


@kernel
def _find(ids, data, h, table, offsets, stored, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for k in range(out.shape[0]):
        start, end = np.int64(ids[k]), np.int64(ids[k + 1])
        entry = table[_slot(data, start, end, h[k], table, offsets, stored)]
        out[k] = EMPTY if entry == EMPTY else entry & NUMBER


@kernel
def _rehash(hashes, count, table):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    mask = uint64(table.shape[0] - 1)
    for user in range(count):
        slot = hashes[user] & mask
        while table[slot] != EMPTY:
            slot = (slot + uint64(1)) & mask
        table[slot] = _entry(user, hashes[user])


@kernel
def _ends(offsets, users, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    out[0] = 0
    for k in range(users.shape[0]):
        out[k + 1] = out[k] + offsets[users[k] + 1] - offsets[users[k]]


@kernel
def _copy(offsets, stored, users, out_offsets, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for k in range(users.shape[0]):
        p, q, last = uint64(offsets[users[k]]), uint64(out_offsets[k]), uint64(out_offsets[k + 1])
        while q < last:
            out[q] = stored[p]
            p += uint64(1)
            q += uint64(1)
