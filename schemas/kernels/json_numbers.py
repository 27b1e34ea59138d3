"""Numbers of JSON: whole ones of 64 bits, and doubles as exact as their digits."""

from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.kernels.compiling import kernel
from schemas.kernels.members import DECIMAL, DOUBLE, INTEGER, Bytes

_EXACT: Final = np.uint64(2**53)
_MAX_POWER: Final = 22
POWERS: Final = np.array([10.0**k for k in range(_MAX_POWER + 1)])
"""The powers of ten that a double holds exactly."""
_LONG_MAX: Final = np.uint64(2**63 - 1)
_LONG_DIGITS: Final = 19
"""Digits of that number; as many always fit into 64 bits without sign."""
_MAX_MAGNITUDE: Final = 250
"""A number of so many decimal places, before or after the point, is far from the limits of a double."""


@kernel
def parse_number(  # noqa: PLR0911, PLR0912  # the grammar, part by part
    d: Bytes, i: int, end: int, powers: npt.NDArray[np.float64]
) -> tuple[int, int, float, int]:
    """The number at i: kind (INTEGER, DOUBLE, DECIMAL), integer, double, and the position after it (-1: doubtful)."""
    negative = d[i] == 45
    if negative:
        i += 1
    mantissa, digits, power = np.uint64(0), 0, 0
    first = i
    while i < end and 48 <= d[i] <= 57:
        mantissa = mantissa * np.uint64(10) + np.uint64(d[i] - 48)
        i += 1
    whole = i - first
    if whole == 0 or (d[first] == 48 and whole > 1):
        return DECIMAL, 0, 0.0, -1
    digits = whole
    if i < end and d[i] == 46:
        i += 1
        first = i
        while i < end and 48 <= d[i] <= 57:
            mantissa = mantissa * np.uint64(10) + np.uint64(d[i] - 48)
            i += 1
        power = first - i
        digits -= power
        if power == 0:
            return DECIMAL, 0, 0.0, -1
    integer = power == 0
    if i < end and (d[i] == 101 or d[i] == 69):
        integer = False
        i += 1
        minus = i < end and d[i] == 45
        if i < end and (d[i] == 45 or d[i] == 43):
            i += 1
        first, exponent = i, 0
        while i < end and 48 <= d[i] <= 57:
            exponent = exponent * 10 + int(d[i] - 48)
            i += 1
        if i == first or i - first > 3:
            return DECIMAL, 0, 0.0, -1
        power += -exponent if minus else exponent
    if integer:
        if digits > _LONG_DIGITS or mantissa > _LONG_MAX or (negative and mantissa == 0):
            return DECIMAL, 0, 0.0, -1
        value = int(np.int64(mantissa))
        return INTEGER, -value if negative else value, 0.0, i
    if digits + power > _MAX_MAGNITUDE or power < -_MAX_MAGNITUDE:
        return DECIMAL, 0, 0.0, -1
    # Both operands are exact, so one operation rounds once.
    if digits > _LONG_DIGITS or mantissa > _EXACT or power < -_MAX_POWER or power > _MAX_POWER:
        return DECIMAL, 0, 0.0, i
    double = float(mantissa)
    double = double / powers[-power] if power < 0 else double * powers[power]
    return DOUBLE, 0, -double if negative else double, i
