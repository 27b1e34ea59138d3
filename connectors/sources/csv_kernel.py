"""The strict CSV state machine (RFC 4180, comma, LF or CRLF).

Compiled by numba, without Python objects, and with the GIL released. One function decides where records and fields
begin and end; nothing else in Muster parses CSV. Arrays are C-contiguous; positions are indexes into `d`.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.kernels.compiling import kernel
from schemas.kernels.runs import RUN_BYTES, is_run

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]

OK: Final = 0
FIELD_COUNT: Final = 1
BARE_QUOTE: Final = 2
TEXT_AFTER_QUOTE: Final = 3
LONE_CR: Final = 4
NUL_BYTE: Final = 5
BLANK_LINE: Final = 6
ROW_TOO_LARGE: Final = 7

NEXT, LINE, ROW, GOOD, BAD, QUOTE_POS, QUOTE_LINE, LONGEST = range(8)
"""Slots of `state`, the int64 array that `scan` reads (LINE, ROW) and writes (all)."""
STATE_SIZE: Final = 8
NO_FIELD: Final = -(2**31)
"""Value of `ends` that no field has."""

UNQUOTED, QUOTED, QUOTE_IN_QUOTED = range(3)
"""States of `skip_record`."""

# Columns of the int64 arrays with one row per record.
POS, END, AT_LINE, AT_ROW, CODE, FIELD = range(6)


@kernel
def scan(  # noqa: PLR0912, PLR0915, PLR0917  # one loop over the bytes: numba inlines no calls into it for free
    d: Bytes,
    pos: int,
    end: int,
    eof: bool,  # noqa: FBT001  # a compiled kernel takes no keywords
    fields: int,
    limit: int,
    slots: Ints,
    starts: Ints,
    ends: Ints,
    good: Longs,
    bad: Longs,
    state: Longs,
) -> None:
    """Find the records of `d[pos:end]`, up to the capacity of the output arrays.

    `fields`: number of fields that a record must have (0 = any). `slots[f]`: output slot of field f, or -1. `limit`:
    largest record in bytes, without its line end. `starts`, `ends` (int32, slots x capacity): content of the wanted
    fields of good records, without enclosing quotes; `ends` is ~end if the field has "" escapes. `good` (capacity x 4:
    POS, END, AT_LINE, AT_ROW) and `bad` (capacity x 6, also CODE and FIELD) describe the records; END is before the
    line end. `state[NEXT]` is the first byte after the last finished record: the caller passes the bytes from there
    again with more after them; with `eof` the rest is a record itself. QUOTE_POS is the position of a quote that was
    not closed before `end`, else -1. LONGEST: bytes of the longest good record.
    """
    line = state[LINE]
    row = state[ROW]
    n_good = 0
    n_bad = 0
    longest = 0
    n_slots = len(slots)
    cap_good = good.shape[0]
    cap_bad = bad.shape[0]
    quote_pos = -1
    quote_line = -1
    i = pos
    while i < end and n_good < cap_good and n_bad < cap_bad:
        record = i
        record_line = line
        field = 0
        code = OK
        fault_field = -1
        finished = False
        record_end = i
        while True:  # one field per iteration; i is at its first byte
            escaped = False
            start = i
            stop = -1
            if i < end and d[i] == 34:
                quote_pos = i
                quote_line = line
                i += 1
                start = i
                closed = False
                while i + RUN_BYTES <= end and is_run(d, i, 34):
                    i += RUN_BYTES
                while i < end:
                    b = d[i]
                    if b > 34:
                        i += 1
                    elif b == 34:
                        if i + 1 < end:
                            if d[i + 1] == 34:
                                escaped = True
                                i += 2
                                continue
                        elif not eof:
                            break
                        closed = True
                        stop = i
                        i += 1
                        break
                    else:
                        if b == 10:
                            line += 1
                        elif b == 0 and code == OK:
                            code = NUL_BYTE
                            fault_field = field
                        i += 1
                if not closed:
                    break  # needs more bytes, or the quote is never closed
                quote_pos = -1
                if i < end:
                    b = d[i]
                    if b != 44 and b != 10 and b != 13 and code == OK:  # noqa: PLR1714  # faster than a tuple
                        code = TEXT_AFTER_QUOTE
                        fault_field = field
            # The rest of the field up to its comma or line end: the whole field, or the text after a closing quote.
            ended = 0  # 1 = comma, 2 = line end
            while i + RUN_BYTES <= end and is_run(d, i, 44):
                i += RUN_BYTES
            while i < end:
                b = d[i]
                if b > 44:
                    i += 1
                elif b == 44:
                    ended = 1
                    record_end = i
                    i += 1
                    break
                elif b == 10:
                    ended = 2
                    record_end = i
                    i += 1
                    line += 1
                    break
                elif b == 13:
                    if i + 1 < end:
                        if d[i + 1] == 10:
                            ended = 2
                            record_end = i
                            i += 2
                            line += 1
                            break
                    elif not eof:
                        break
                    if code == OK:
                        code = LONE_CR
                        fault_field = field
                    i += 1
                else:
                    if code == OK:
                        if b == 34:
                            code = BARE_QUOTE
                            fault_field = field
                        elif b == 0:
                            code = NUL_BYTE
                            fault_field = field
                    i += 1
            if ended == 0:
                if not eof:
                    break
                ended = 2
                record_end = end
                i = end
            if field < n_slots:
                slot = slots[field]
                if slot >= 0:
                    if stop < 0:
                        stop = record_end
                    starts[slot, n_good] = start
                    ends[slot, n_good] = ~stop if escaped else stop
            if ended == 2:
                finished = True
                break
            field += 1
        if not finished:
            i = record
            line = record_line
            break
        size = record_end - record
        if size > limit:
            code = ROW_TOO_LARGE
            fault_field = -1
        elif size == 0:
            code = BLANK_LINE
            fault_field = -1
        elif code == OK and fields > 0 and field + 1 != fields:
            code = FIELD_COUNT
            fault_field = field + 1
        if code == OK:
            good[n_good, POS] = record
            good[n_good, END] = record_end
            good[n_good, AT_LINE] = record_line
            good[n_good, AT_ROW] = row
            n_good += 1
            longest = max(longest, size)
        else:
            bad[n_bad, POS] = record
            bad[n_bad, END] = record_end
            bad[n_bad, AT_LINE] = record_line
            bad[n_bad, AT_ROW] = row
            bad[n_bad, CODE] = code
            bad[n_bad, FIELD] = fault_field
            n_bad += 1
        row += 1
    state[NEXT] = i
    state[LINE] = line
    state[ROW] = row
    state[GOOD] = n_good
    state[BAD] = n_bad
    state[QUOTE_POS] = quote_pos
    state[QUOTE_LINE] = quote_line
    state[LONGEST] = longest


SKIP_MACHINE, SKIP_AT_START, SKIP_LINE, SKIP_QUOTE_POS, SKIP_QUOTE_LINE, SKIP_DONE = range(6)
"""Slots of the int64 array of `skip_record`."""


@kernel
def skip_record(d: Bytes, pos: int, end: int, base: int, skip: Longs) -> int:
    """Continue through a record without keeping bytes, by the rules of `scan`; returns the position after it or `end`.

    `skip` carries the machine across blocks: SKIP_MACHINE (state), SKIP_AT_START (1 at the first byte of a field),
    SKIP_LINE, SKIP_QUOTE_POS (offset of the open quote in the stream, `base` + position) and SKIP_QUOTE_LINE. SKIP_DONE
    becomes 1 after the record's LF.
    """
    machine = skip[SKIP_MACHINE]
    at_start = skip[SKIP_AT_START]
    line = skip[SKIP_LINE]
    i = pos
    while i < end:
        b = d[i]
        if machine == QUOTED:
            if b == 34:
                machine = QUOTE_IN_QUOTED
            elif b == 10:
                line += 1
        elif machine == QUOTE_IN_QUOTED and b == 34:
            machine = QUOTED
        elif b == 10:
            # A CR before it belongs to the line end, and a lone CR does not end a record: only LF does.
            line += 1
            skip[SKIP_DONE] = 1
            machine = UNQUOTED
            i += 1
            break
        elif b == 44:
            machine = UNQUOTED
            at_start = 1
            i += 1
            continue
        elif b == 34 and machine == UNQUOTED and at_start == 1:
            machine = QUOTED
            skip[SKIP_QUOTE_POS] = base + i
            skip[SKIP_QUOTE_LINE] = line
        else:
            machine = UNQUOTED
        at_start = 0
        i += 1
    skip[SKIP_MACHINE] = machine
    skip[SKIP_AT_START] = at_start
    skip[SKIP_LINE] = line
    return i
