"""Members of many records as positions in one array of bytes, and their values as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.kernels.compiling import kernel
from schemas.kernels.strings import WORD_BYTES, strings

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NULL, FALSE, TRUE, INTEGER, DOUBLE, DECIMAL, STRING, OBJECT, ABSENT = range(9)
"""Kinds of members. DECIMAL: a number whose double is not computed yet. ABSENT: of an index of -1."""
MAX_MEMBERS: Final = 1024
"""A record with more members, nested ones included, is not taken."""
_HASH_SEED: Final = np.uint64(0xCBF29CE484222325)
_HASH_PRIME: Final = np.uint64(0x100000001B3)


class Members(NamedTuple):
    """The members of n records, in order; the members of an object follow it.

    `taken`: bool[n]. The members of record r have the indices `first[r]` to `first[r + 1]` - 1; a record that is not
    taken has none. Of each member: `kind`; its key, data[key_start:key_end]; `start` and `end` of a string without its
    quotes, or of a number; `number`, int64: the value of an INTEGER, the bits of a DOUBLE, of an OBJECT the index after
    its last member.

    A tuple, which kernels take as it is.
    """

    data: Bytes
    taken: Mask
    first: Ints
    kind: Bytes
    key_start: Ints
    key_end: Ints
    start: Ints
    end: Ints
    number: Longs

    def kinds(self, members: Ints) -> Bytes:
        """uint8[m]: the kinds of members given by index."""
        out = np.empty(len(members), np.uint8)
        _kinds(self, members, out)
        return out

    def are_kinds(self, members: Ints, *kinds: int) -> Mask:
        """bool[m]: True for members of one of these kinds."""
        wanted = np.zeros(ABSENT + 1, np.bool_)
        wanted[list(kinds)] = True
        found: Mask = wanted[self.kinds(members)]
        return found

    def texts(self, members: Ints) -> pa.StringArray:
        """The strings of members given by index, and the digits of numbers; "" for other members, and for -1."""
        return self._strings(self.start, self.end, members)

    def keys(self, members: Ints) -> pa.StringArray:
        """The keys of members given by index."""
        return self._strings(self.key_start, self.key_end, members)

    def longs(self, members: Ints) -> Longs:
        """The integers given by index; 0 for other members, and for -1."""
        out = np.empty(len(members), np.int64)
        _longs(self, members, out)
        return out

    def doubles(self, members: Ints) -> npt.NDArray[np.float64]:
        """The numbers given by index, each as the double that is closest to its digits; 0 for others, and for -1."""
        out = np.empty(len(members), np.float64)
        if _doubles(self, members, out):
            decimals = np.flatnonzero(self.kinds(members) == DECIMAL)
            out[decimals] = self.texts(members[decimals]).cast(pa.float64()).to_numpy()
        return out

    def _strings(self, starts: Ints, ends: Ints, members: Ints) -> pa.StringArray:
        of_starts, of_ends = np.empty(len(members), np.int32), np.empty(len(members), np.int32)
        _spans(starts, ends, members, of_starts, of_ends)
        return strings(self.data, of_starts, of_ends, len(members))


def with_validity(values: pa.Array, valid: npt.NDArray[np.bool_]) -> pa.Array:
    """An array without nulls with some of its values null."""
    if valid.all():
        return values
    bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(values.type, len(values), [bits, *values.buffers()[1:]], offset=values.offset)


def joined(pieces: Sequence[bytes]) -> tuple[Bytes, int]:
    """All pieces in one array, and their size: the array has more room, which `scan_objects` and `strings` need."""
    size = sum(map(len, pieces))
    spare = size if any(b"\\" in piece for piece in pieces) else 0  # for texts without their escapes
    data = np.empty(size + spare + WORD_BYTES, np.uint8)
    at = 0
    for piece in pieces:
        data[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
    return data, size


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Members of n records by name.

    `by_name`, int32[names, n]: the index of the member of each record with each name, or -1. `others`, bool[n]: True
    for records that have members with other names.
    """

    by_name: Ints
    others: Mask


def no_members(data: Bytes, records: int, most: int) -> Members:
    """Arrays for at most `most` members of some records, to be filled."""
    return Members(
        data=data,
        taken=np.empty(records, np.bool_),
        first=np.empty(records + 1, np.int32),
        kind=np.empty(most, np.uint8),
        key_start=np.empty(most, np.int32),
        key_end=np.empty(most, np.int32),
        start=np.empty(most, np.int32),
        end=np.empty(most, np.int32),
        number=np.empty(most, np.int64),
    )


def find_members(members: Members, names: Sequence[str]) -> Found:
    """Find the members of all records that are not nested, by name."""
    text = np.frombuffer("".join(names).encode(), np.uint8).copy()
    ends = np.cumsum([len(name.encode()) for name in names], dtype=np.int32)
    records = len(members.taken)
    by_name, others = np.empty((len(names), records), np.int32), np.empty(records, np.bool_)
    _find(members, text, ends, by_name, others)
    return Found(by_name=by_name, others=others)


@kernel
def hash_of(d: Bytes, start: int, end: int) -> np.uint64:
    """A hash of a key (FNV-1a): keys with different hashes are different."""
    hashed = _HASH_SEED
    for i in range(start, end):
        hashed = (hashed ^ np.uint64(d[i])) * _HASH_PRIME
    return hashed


@kernel
def _find(members: Members, text: Bytes, text_ends: Ints, by_name: Ints, others: Mask) -> None:
    names = len(text_ends)
    for r in range(len(others)):
        others[r] = False
        for name in range(names):
            by_name[name, r] = -1
        k, guess = members.first[r], 0  # members usually have the order of the names
        while k < members.first[r + 1]:
            key = members.key_start[k]
            size = members.key_end[k] - key
            found = -1
            for tried in range(names):
                name = guess + tried
                if name >= names:
                    name -= names
                start = text_ends[name - 1] if name else 0
                if text_ends[name] - start != size:
                    continue
                same = True
                for j in range(size):
                    if members.data[key + j] != text[start + j]:
                        same = False
                        break
                if same:
                    found = name
                    break
            if found < 0:
                others[r] = True
            else:
                by_name[found, r] = k
                guess = found + 1
            k = members.number[k] if members.kind[k] == OBJECT else k + 1


@kernel
def _kinds(members: Members, indices: Ints, out: Bytes) -> None:
    for m in range(len(indices)):
        out[m] = members.kind[indices[m]] if indices[m] >= 0 else ABSENT


@kernel
def _spans(starts: Ints, ends: Ints, indices: Ints, of_starts: Ints, of_ends: Ints) -> None:
    for m in range(len(indices)):
        of_starts[m] = starts[indices[m]] if indices[m] >= 0 else 0
        of_ends[m] = ends[indices[m]] if indices[m] >= 0 else 0


@kernel
def _longs(members: Members, indices: Ints, out: Longs) -> None:
    for m in range(len(indices)):
        k = indices[m]
        out[m] = members.number[k] if k >= 0 and members.kind[k] == INTEGER else 0


@kernel
def _doubles(members: Members, indices: Ints, out: npt.NDArray[np.float64]) -> bool:
    """True if there are DECIMAL ones, which are 0 here."""
    bits = members.number.view(np.float64)
    decimals = False
    for m in range(len(indices)):
        out[m] = 0.0
        k = indices[m]
        if k < 0:
            continue
        if members.kind[k] == INTEGER:
            out[m] = float(members.number[k])
        elif members.kind[k] == DOUBLE:
            out[m] = bits[k]
        elif members.kind[k] == DECIMAL:
            decimals = True
    return decimals
