"""What a text means as a value of each type, by Python's own numbers and dates; nothing of the product is used.

Values are in a form to be compared bit by bit: a double in hexadecimal, a date as days and a timestamp as microseconds
since 1970.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LONG: Final = re.compile(r"[+-]?[0-9]+")
DOUBLE: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
MOMENT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"(|[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)"
)
Value = str | int | bool | None


class Wrong(ValueError):  # noqa: N818  # an outcome
    """The text is not a value of the type."""


class Unclear(Wrong):
    """A timestamp without an offset."""


@lru_cache(1 << 16)
def value_of(text: str, type_: str) -> Value:
    """The value of a text; empty text is null. Raises `Wrong`, `Unclear`."""
    if text == "":
        return None
    return _VALUES[type_](text)


def _long(text: str) -> int:
    if not LONG.fullmatch(text):
        raise Wrong(text)
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise Wrong(text)
    return value


def _double(text: str) -> str:
    if not DOUBLE.fullmatch(text) or not math.isfinite(value := float(text)):
        raise Wrong(text)
    return value.hex()


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0") or not text.isascii():
        raise Wrong(text)
    return text.lower() in ("true", "1")


def _days(text: str) -> int:
    if not (parts := DATE.fullmatch(text)):
        raise Wrong(text)
    try:
        return date(*map(int, parts.groups())).toordinal() - EPOCH_DAY
    except ValueError as exc:
        raise Wrong(text) from exc


def _micros(text: str) -> int:
    if not (parts := MOMENT.fullmatch(text)):
        raise Wrong(text)
    day, hour, minute, second, fraction, zone = parts.groups()
    nanos = (fraction or "").ljust(9, "0")
    if nanos[6:] != "000":
        raise Wrong(text)
    _days(day)
    try:
        midnight = datetime.fromisoformat(f"{day}T00:00:00+00:00")
        wall = midnight.replace(hour=int(hour), minute=int(minute), second=int(second or 0), microsecond=int(nanos[:6]))
        offset = _offset(zone)
        moment = (wall - EPOCH) // timedelta(microseconds=1) - offset * 60_000_000
        _ = EPOCH + timedelta(microseconds=moment)
    except (ValueError, OverflowError) as exc:
        raise Wrong(text) from exc
    if not zone:
        raise Unclear(text)
    return moment


def _offset(zone: str) -> int:
    """Minutes east of UTC. Raises ValueError."""
    if zone in ("", "Z", "z"):
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    if int(digits[:2]) > 23 or int(digits[2:]) > 59:
        raise ValueError(zone)
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    _ = timezone(timedelta(minutes=minutes))
    return -minutes if zone[0] == "-" else minutes


_VALUES: Final[Mapping[str, Callable[[str], Value]]] = {
    "string": str,
    "long": _long,
    "double": _double,
    "boolean": _boolean,
    "date": _days,
    "timestamp": _micros,
}
