"""Members of JSON objects, found without a Python object per value: a scan that takes only what it fully understands.

A record is one object (RFC 8259) whose members are strings, numbers, booleans, nulls, and objects of such values. It is
taken if nothing about it is doubtful: no key occurs twice, no text has NUL, half of a surrogate pair or invalid UTF-8,
no integer is beyond 64 bits, no number is near the limits of a double, nothing is nested deeper. All other records,
valid ones among them, are left to a reader that knows all of JSON and can say what is wrong.
"""

import numpy as np
import numpy.typing as npt

from schemas.kernels.compiling import kernel
from schemas.kernels.json_numbers import POWERS, parse_number
from schemas.kernels.json_strings import parse_string
from schemas.kernels.members import (
    FALSE,
    INTEGER,
    MAX_MEMBERS,
    NULL,
    OBJECT,
    STRING,
    TRUE,
    Bytes,
    Ints,
    Members,
    hash_of,
    no_members,
)


def scan_objects(data: Bytes, size: int, starts: Ints, ends: Ints) -> Members:
    """The members of the records data[starts[r]:ends[r]]. `data` and `size` as `joined` returns them."""
    colons = _count_colons(data, starts, ends)  # one for each member, except an unfinished one
    members = no_members(data, len(starts), colons + 1)
    _scan(members, size, starts, ends, np.empty(MAX_MEMBERS, np.uint64), POWERS)
    return members


@kernel
def _after_space(d: Bytes, i: int, end: int) -> int:
    while i < end and (d[i] == 32 or d[i] == 10 or d[i] == 13 or d[i] == 9):
        i += 1
    return i


@kernel
def _count_colons(d: Bytes, starts: Ints, ends: Ints) -> int:
    found = 0
    for r in range(len(starts)):
        if not _may_be_object(d, _after_space(d, starts[r], ends[r]), ends[r]):
            continue  # most likely a chunk, whose size is that of a thousand records
        for i in range(starts[r], ends[r]):
            found += d[i] == 58
    return found


@kernel
def _may_be_object(d: Bytes, i: int, end: int) -> bool:
    return i < end and d[i] == 123


@kernel
def _scan(  # noqa: PLR0912, PLR0915  # one loop over the members
    members: Members,
    spare: int,
    starts: Ints,
    ends: Ints,
    hashes: npt.NDArray[np.uint64],
    powers: npt.NDArray[np.float64],
) -> None:
    """Fill the arrays of `members`. `spare`: the first position after all records."""
    d, first, kind, key_start, key_end = members.data, members.first, members.kind, members.key_start, members.key_end
    start, end, number = members.start, members.end, members.number
    bits = number.view(np.float64)
    k = 0
    for r in range(len(starts)):
        first[r] = k
        members.taken[r] = False
        stop = ends[r]
        spare_before = spare
        i = _after_space(d, starts[r], stop)
        if not _may_be_object(d, i, stop):
            continue
        i = _after_space(d, i + 1, stop)
        inside = -1  # the object that the member is in
        level = first[r]  # the first member of this level
        more = not (i < stop and d[i] == 125)
        i += not more
        ok = True
        while more:  # one member per iteration
            ok = False
            if i >= stop or d[i] != 34 or k - first[r] >= MAX_MEMBERS:
                break
            text, text_end, i, spare = parse_string(d, i + 1, stop, spare)
            if i < 0:
                break
            key_start[k] = text
            key_end[k] = text_end
            hashed = hash_of(d, text, text_end)
            hashes[k - first[r]] = hashed
            twice = False
            j = level
            while j < k:
                twice |= hashes[j - first[r]] == hashed
                j = number[j] if kind[j] == OBJECT and inside < 0 else j + 1
            i = _after_space(d, i, stop)
            if twice or i >= stop or d[i] != 58:
                break
            i = _after_space(d, i + 1, stop)
            if i >= stop:
                break
            b = d[i]
            start[k] = i
            end[k] = i
            number[k] = 0
            opened = False
            if b == 34:
                text, text_end, i, spare = parse_string(d, i + 1, stop, spare)
                if i < 0:
                    break
                kind[k] = STRING
                start[k] = text
                end[k] = text_end
            elif b == 123:
                if inside >= 0:
                    break
                i = _after_space(d, i + 1, stop)
                kind[k] = OBJECT
                number[k] = k + 1
                opened = i < stop and d[i] != 125
                i += not opened
            elif b == 116 and i + 4 <= stop and d[i + 1] == 114 and d[i + 2] == 117 and d[i + 3] == 101:
                kind[k] = TRUE
                i += 4
            elif (
                b == 102
                and i + 5 <= stop
                and d[i + 1] == 97
                and d[i + 2] == 108
                and d[i + 3] == 115
                and d[i + 4] == 101
            ):
                kind[k] = FALSE
                i += 5
            elif b == 110 and i + 4 <= stop and d[i + 1] == 117 and d[i + 2] == 108 and d[i + 3] == 108:
                kind[k] = NULL
                i += 4
            else:
                of_number, integer, double, i = parse_number(d, i, stop, powers)
                if i < 0:
                    break
                kind[k] = of_number
                end[k] = i
                if of_number == INTEGER:
                    number[k] = integer
                else:
                    bits[k] = double
            k += 1
            if opened:
                inside = k - 1
                level = k
                ok = True
                continue
            i = _after_space(d, i, stop)
            if inside >= 0 and i < stop and d[i] == 125:
                number[inside] = k
                inside = -1
                level = first[r]
                i = _after_space(d, i + 1, stop)
            if i >= stop:
                break
            if d[i] == 44:
                i = _after_space(d, i + 1, stop)
            elif d[i] == 125 and inside < 0:
                i += 1
                more = False
            else:
                break
            ok = True
        if ok and _after_space(d, i, stop) == stop:
            members.taken[r] = True
        else:
            k = first[r]
            spare = spare_before
    first[len(starts)] = k
