"""Strict text-to-value conversions over Arrow string buffers, compiled by numba.

Every kernel takes `offsets` (int32, n + 1), `d` (the bytes) and `skip` (uint8, n; 1 = the value is null, skip it), and
writes `out` (n values; 0 where skipped or bad) and `bad` (uint8, n; 1 = does not convert). It returns the number of bad
values.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.kernels.compiling import kernel

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LONG_MAX: Final = 2**63 - 1
DAY_US: Final = 86_400_000_000
MIN_US: Final = -62_135_596_800_000_000
MAX_US: Final = 253_402_300_799_999_999
"""First and last microsecond of the years 1 to 9999, UTC."""
BAD: Final = -(2**62)
"""No day, clock time, offset or moment of the years 1 to 9999 has this value."""


@kernel
def parse_longs(offsets: Ints, d: Bytes, skip: Bytes, out: Longs, bad: Bytes) -> int:
    """[+-]?digits within 64 bits."""
    n_bad = 0
    for k in range(len(skip)):
        out[k] = 0
        bad[k] = 0
        if skip[k]:
            continue
        i = offsets[k]
        end = offsets[k + 1]
        negative = False
        if i < end and (d[i] == 43 or d[i] == 45):
            negative = d[i] == 45
            i += 1
        ok = i < end
        safe = i + 18  # 18 digits always fit
        value = 0
        while i < end:
            digit = int(d[i]) - 48
            if digit < 0 or digit > 9:
                ok = False
                break
            # Kept negative, because -2^63 has no positive counterpart; the bound is (-2^63 + digit) / 10, rounded up.
            if i >= safe and value < -((LONG_MAX - digit + 1) // 10 if digit else LONG_MAX // 10):
                ok = False
                break
            value = value * 10 - digit
            i += 1
        if ok and not negative:
            if value == -LONG_MAX - 1:
                ok = False
            else:
                value = -value
        if ok:
            out[k] = value
        else:
            bad[k] = 1
            n_bad += 1
    return n_bad


@kernel
def check_doubles(offsets: Ints, d: Bytes, skip: Bytes, bad: Bytes) -> int:
    """[+-]?(digits[.digits] | .digits | digits.)([eE][+-]?digits)? - no NaN, no infinity, no hexadecimal, no spaces."""
    n_bad = 0
    for k in range(len(skip)):
        bad[k] = 0
        if skip[k]:
            continue
        i = offsets[k]
        end = offsets[k + 1]
        if i < end and (d[i] == 43 or d[i] == 45):
            i += 1
        digits = 0
        while i < end and 48 <= d[i] <= 57:
            i += 1
            digits += 1
        if i < end and d[i] == 46:
            i += 1
            while i < end and 48 <= d[i] <= 57:
                i += 1
                digits += 1
        ok = digits > 0
        if ok and i < end and (d[i] == 69 or d[i] == 101):
            i += 1
            if i < end and (d[i] == 43 or d[i] == 45):
                i += 1
            digits = 0
            while i < end and 48 <= d[i] <= 57:
                i += 1
                digits += 1
            ok = digits > 0
        if not ok or i != end:
            bad[k] = 1
            n_bad += 1
    return n_bad


@kernel
def _number(d: Bytes, i: int, count: int) -> int:
    """`count` digits at i as a number, or -1."""
    value = 0
    for j in range(i, i + count):
        digit = int(d[j]) - 48
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value


@kernel
def _day(d: Bytes, i: int) -> int:
    """Days since 1970 of the ten characters YYYY-MM-DD at i (years 0001 to 9999), or BAD."""
    if d[i + 4] != 45 or d[i + 7] != 45:
        return BAD
    year = _number(d, i, 4)
    month = _number(d, i + 5, 2)
    day = _number(d, i + 8, 2)
    if year < 1 or month < 1 or month > 12 or day < 1:
        return BAD
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    last = 31
    if month == 2:
        last = 29 if leap else 28
    elif month in (4, 6, 9, 11):
        last = 30
    if day > last:
        return BAD
    # Days from a civil date, http://howardhinnant.github.io/date_algorithms.html: years start in March.
    y = year - (1 if month <= 2 else 0)
    era = y // 400
    of_era = y - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return int(era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468)


@kernel
def parse_dates(offsets: Ints, d: Bytes, skip: Bytes, out: Ints, bad: Bytes) -> int:
    """YYYY-MM-DD as days since 1970."""
    n_bad = 0
    for k in range(len(skip)):
        out[k] = 0
        bad[k] = 0
        if skip[k]:
            continue
        day = _day(d, offsets[k]) if offsets[k + 1] - offsets[k] == 10 else BAD
        if day == BAD:
            bad[k] = 1
            n_bad += 1
        else:
            out[k] = day
    return n_bad


@kernel
def _clock(d: Bytes, i: int, end: int) -> tuple[int, int]:
    """HH:MM[:SS[.fraction]] at i as (microseconds, position after it); (BAD, i) if malformed.

    A fraction has up to 9 digits; those beyond the microsecond must be 0, because nothing is rounded.
    """
    if end - i < 5 or d[i + 2] != 58:
        return BAD, i
    hour = _number(d, i, 2)
    minute = _number(d, i + 3, 2)
    second = 0
    micros = 0
    i += 5
    if i < end and d[i] == 58:
        if end - i < 3:
            return BAD, i
        second = _number(d, i + 1, 2)
        i += 3
        if i < end and d[i] == 46:
            i += 1
            digits = 0
            while i < end and 48 <= d[i] <= 57:
                digit = int(d[i]) - 48
                if digits < 6:
                    micros = micros * 10 + digit
                elif digit != 0:
                    return BAD, i
                digits += 1
                i += 1
            if digits == 0 or digits > 9:
                return BAD, i
            for _ in range(digits, 6):
                micros *= 10
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return BAD, i
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros, i


@kernel
def _zone(d: Bytes, i: int, end: int) -> int:
    """Minutes of the offset d[i:end]: Z, +HH, +HHMM or +HH:MM; BAD if malformed."""
    size = end - i
    if size == 1 and (d[i] == 90 or d[i] == 122):
        return 0
    if size not in (3, 5, 6) or not (d[i] == 43 or d[i] == 45):
        return BAD
    hours = _number(d, i + 1, 2)
    minutes = 0
    if size == 5:
        minutes = _number(d, i + 3, 2)
    elif size == 6:
        minutes = _number(d, i + 4, 2) if d[i + 3] == 58 else -1
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
        return BAD
    total = hours * 60 + minutes
    return int(-total if d[i] == 45 else total)


@kernel
def parse_timestamps(offsets: Ints, d: Bytes, skip: Bytes, out: Longs, bad: Bytes, local: Bytes) -> int:
    """YYYY-MM-DD(T| )HH:MM[:SS[.fraction]][offset] as microseconds since 1970.

    `local` (uint8, n) is set to 1 if there is no offset: `out` is then the wall clock of an unknown zone.
    """
    n_bad = 0
    for k in range(len(skip)):
        out[k] = 0
        bad[k] = 0
        local[k] = 0
        if skip[k]:
            continue
        i = offsets[k]
        end = offsets[k + 1]
        ok = False
        if end - i >= 16 and (d[i + 10] == 84 or d[i + 10] == 116 or d[i + 10] == 32):
            day = _day(d, i)
            clock, after = _clock(d, i + 11, end)
            if BAD not in (day, clock):
                zone = 0
                if after == end:
                    local[k] = 1
                else:
                    zone = _zone(d, after, end)
                moment = day * DAY_US + clock - zone * 60_000_000
                if zone != BAD and MIN_US <= moment <= MAX_US:
                    out[k] = moment
                    ok = True
        if not ok:
            bad[k] = 1
            local[k] = 0
            n_bad += 1
    return n_bad


@kernel
def parse_instants(offsets: Ints, d: Bytes, out: Longs, bad: Mask) -> None:
    """YYYY-MM-DD(T| )HH:MM:SS[.fraction](Z|+HH:MM) (RFC 3339) as microseconds since 1970. `bad`: bool[n]."""
    for k in range(len(out)):
        out[k] = 0
        bad[k] = True
        i = offsets[k]
        end = offsets[k + 1]
        if (
            end - i < 20
            or d[i + 13] != 58
            or d[i + 16] != 58
            or not (d[i + 10] == 84 or d[i + 10] == 116 or d[i + 10] == 32)
        ):
            continue
        day = _day(d, i)
        clock, after = _clock(d, i + 11, end)
        if BAD in (day, clock) or not (end - after == 1 or (end - after == 6 and d[after + 3] == 58)):
            continue
        zone = _zone(d, after, end)
        if zone != BAD:
            out[k] = day * DAY_US + clock - zone * 60_000_000
            bad[k] = False


@kernel
def suspect_ids(offsets: Ints, d: Bytes, max_bytes: int, out: Bytes) -> int:
    """Mark (uint8, n) ids worth a closer look: empty, over `max_bytes`, or with a first byte outside 33 to 126.

    Unmarked ids are not empty, not blank, and have at most `max_bytes` characters. Returns the number marked.
    """
    found = 0
    for k in range(len(out)):
        size = offsets[k + 1] - offsets[k]
        if size == 0 or size > max_bytes or d[offsets[k]] <= 32 or d[offsets[k]] >= 127:
            out[k] = 1
            found += 1
        else:
            out[k] = 0
    return found
