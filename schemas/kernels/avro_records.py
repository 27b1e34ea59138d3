"""Members of records in Avro's binary encoding, without a Python object per value (as `json_objects` for JSON).

https://avro.apache.org/docs/1.12.0/specification/#binary-encoding. A record that is not exactly as its schema says, or
has doubtful texts or keys, is left to a reader that can say what is wrong.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.kernels.compiling import kernel
from schemas.kernels.members import (
    DOUBLE,
    FALSE,
    INTEGER,
    MAX_MEMBERS,
    NULL,
    OBJECT,
    STRING,
    TRUE,
    Bytes,
    Found,
    Ints,
    Members,
    hash_of,
    no_members,
)
from schemas.kernels.utf8 import first_invalid_utf8
from schemas.kernels.varints import zigzag

TEXT, LONG, BOOLEAN, OPTIONAL_TEXT, VALUES = range(5)
"""Types of fields: string, long, boolean, ["null", "string"], and a map of ["null", "double", "string", "boolean"]."""
_FEWEST_BYTES: Final = 2
"""Of an entry of a map: the size of its key, and the type of its value."""


def scan_avro(data: Bytes, starts: Ints, ends: Ints, header: bytes, fields: Sequence[int]) -> tuple[Members, Found]:
    """The members of the records data[starts[r]:ends[r]], which begin with `header`, by field.

    `fields`: the types of all fields, in order. Fields have no keys, entries of maps have.
    """
    most = int(np.maximum(ends - starts, 0).sum()) // _FEWEST_BYTES + len(starts) * len(fields)
    members = no_members(data, len(starts), most)
    by_name = np.empty((len(fields), len(starts)), np.int32)
    expected, types = np.frombuffer(header, np.uint8).copy(), np.array(fields, np.uint8)
    _scan(members, starts, ends, expected, types, by_name, np.empty(MAX_MEMBERS, np.uint64))
    return members, Found(by_name=by_name, others=np.zeros(len(starts), np.bool_))


@kernel
def _text(d: Bytes, i: int, end: int) -> tuple[int, int]:
    """The start and the end of a string at i; an end beyond `end` if it is broken or doubtful."""
    size, i = zigzag(d, i, end)
    if size < 0 or size > end - i or first_invalid_utf8(d, i, i + size) >= 0:
        return i, end + 1
    for j in range(i, i + size):
        if d[j] == 0:
            return i, end + 1
    return i, i + size


@kernel
def _value(members: Members, k: int, i: int, stop: int) -> int:
    """Read the value of an entry of a map as member k; returns the position after it, beyond `stop` if broken."""
    d, bits = members.data, members.number.view(np.float64)
    type_, i = zigzag(d, i, stop)
    if type_ == 0:
        members.kind[k] = NULL
    elif type_ == 1:
        if i + 8 > stop:
            return stop + 1
        word = np.uint64(0)
        for j in range(8):
            word |= np.uint64(d[i + j]) << np.uint64(8 * j)
        members.kind[k] = DOUBLE
        members.number[k] = np.int64(word)
        i += 8
        if not np.isfinite(bits[k]):
            return stop + 1
    elif type_ == 2:
        members.kind[k] = STRING
        members.start[k], i = _text(d, i, stop)
        members.end[k] = i
    elif type_ == 3 and i < stop and d[i] <= 1:
        members.kind[k] = TRUE if d[i] else FALSE
        i += 1
    else:
        return stop + 1
    return i


@kernel
def _map(members: Members, k: int, i: int, stop: int, hashes: npt.NDArray[np.uint64]) -> tuple[int, int]:
    """Read a map, its first entry as member k: the index after the last one, and the position after the map."""
    d, first = members.data, k
    while i <= stop:
        count, i = zigzag(d, i, stop)
        if count < 0:  # then its size in bytes follows
            count = -count
            _, i = zigzag(d, i, stop)
        if count == 0 or i > stop:
            return k, i
        for _ in range(count):
            if k - first >= MAX_MEMBERS:
                return k, stop + 1
            key, i = _text(d, i, stop)
            if i > stop:
                return k, i
            _clear(members, k)
            members.key_start[k] = key
            members.key_end[k] = i
            hashed = hash_of(d, key, i)
            for j in range(k - first):
                if hashes[j] == hashed:
                    return k, stop + 1
            hashes[k - first] = hashed
            i = _value(members, k, i, stop)
            if i > stop:
                return k, i
            k += 1
    return k, i


@kernel
def _clear(members: Members, k: int) -> None:
    members.key_start[k] = 0
    members.key_end[k] = 0
    members.start[k] = 0
    members.end[k] = 0
    members.number[k] = 0


@kernel
def _field(members: Members, k: int, of_field: int, i: int, stop: int) -> int:
    """Read a field that is no map as member k; returns the position after it, beyond `stop` if broken."""
    d = members.data
    if of_field == LONG:
        members.kind[k] = INTEGER
        members.number[k], i = zigzag(d, i, stop)
        return i
    if of_field == BOOLEAN:
        members.kind[k] = TRUE if i < stop and d[i] else FALSE
        return i + 1 if i < stop and d[i] <= 1 else stop + 1
    if of_field == OPTIONAL_TEXT:
        branch, i = zigzag(d, i, stop)
        if branch == 0:
            members.kind[k] = NULL
            return i
        if branch != 1:
            return stop + 1
    members.kind[k] = STRING
    members.start[k], i = _text(d, i, stop)
    members.end[k] = i
    return i


@kernel
def _scan(
    members: Members,
    starts: Ints,
    ends: Ints,
    header: Bytes,
    fields: Bytes,
    by_name: Ints,
    hashes: npt.NDArray[np.uint64],
) -> None:
    """Fill the arrays of `members`, and `by_name` of `Found`."""
    d, k = members.data, 0
    for r in range(len(starts)):
        members.first[r] = k
        i, stop = starts[r], ends[r]
        begins = stop - i >= len(header)
        for j in range(len(header)):
            begins = begins and d[i + j] == header[j]
        i = i + len(header) if begins else stop + 1
        for f in range(len(fields)):
            by_name[f, r] = k
            if i > stop:
                break
            _clear(members, k)
            if fields[f] == VALUES:
                members.kind[k] = OBJECT
                after, i = _map(members, k + 1, i, stop, hashes)
                members.number[k] = after
                k = after
            else:
                i = _field(members, k, fields[f], i, stop)
                k += 1
        members.taken[r] = i == stop
        if i != stop:
            k = members.first[r]
    members.first[len(starts)] = k
