"""Converts tokens to values of a column's type, and back. A value either fits exactly or is refused."""

import math
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, assert_never

from schemas.columns import ColumnType
from segmentation.expressions.lexer import Token, string
from segmentation.expressions.nodes import Value
from segmentation.expressions.source import Source
from segmentation.timetable import time_zone

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LONG_MIN: Final = -(2**63)
LONG_MAX: Final = 2**63 - 1
SECOND_US: Final = 1_000_000
SECOND: Final = timedelta(seconds=1)
"""Clocks are changed at whole seconds."""
EXACT: Final = 2**53
"""Up to here, every integer is a double."""
WRITTEN: Final[dict[ColumnType, str]] = {
    "string": 'a text in double quotes: "JP"',
    "long": "a whole number of 64 bits: 25",
    "double": "a number: 2.5",
    "boolean": "true or false",
    "date": "a date: 2026-11-01, without quotes",
    "timestamp": "a timestamp: 2026-11-01T09:00:00Z, without quotes",
}


def micros(at: datetime) -> int:
    """An instant (aware) as microseconds since 1970 UTC."""
    return (at - EPOCH) // timedelta(microseconds=1)


def value(source: Source, token: Token, type_: ColumnType, timezone: str | None) -> Value:
    """The value of a token. Raises `UserError` with the code of the source, BAD_TIMEZONE for an unknown zone."""
    try:
        found = _value(source, token, type_, timezone)
    except (ValueError, OverflowError) as exc:
        raise source.fault(token.at, f"this value does not exist: {token}") from exc
    if found is None:
        raise source.fault(token.at, f"expected {WRITTEN[type_]}; not {token}")
    return found


def literal(given: Value) -> str:
    """A value as written in the language; `value` reads the same value back."""
    match given:
        case bool():
            return "true" if given else "false"
        case str():
            return string(given)
        case datetime():
            return given.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return given.isoformat()
        case int():
            return repr(given)
        case float():
            return repr(plain(given))
        case _:
            assert_never(given)


def plain(number: float) -> int | float:
    """A number in its shortest form: an int if it is an integer that every reader takes for this double."""
    is_integral = number.is_integer() and abs(number) <= EXACT and (number != 0 or math.copysign(1, number) > 0)
    return int(number) if is_integral else number


def first_moment(day: date, timezone: str) -> datetime:
    """The start of a day in a zone (IANA), in UTC: its first midnight, or if the clock skips that, the time after it.

    Days follow each other without a gap: each ends where the next one begins. Raises `UserError` BAD_TIMEZONE, and
    `OverflowError` for times outside the years 1 to 9999.
    """
    return _moments(datetime.combine(day, time()), timezone)[0]


def moment(source: Source, token: Token, timezone: str | None) -> datetime:
    """The moment, in UTC, of a timestamp, or of a date at its midnight.

    Without an offset it needs a zone, in which it must be exactly one moment. Raises as `value` does, and `ValueError`
    and `OverflowError` for times outside the years 1 to 9999.
    """
    written = datetime.fromisoformat(token.text)
    if written.tzinfo is not None:
        return written.astimezone(UTC)
    if timezone is None:
        raise source.fault(
            token.at, f"{token.text} has no time zone: write an offset (2026-11-01T09:00:00+09:00), or give a zone"
        )
    found = _moments(written, timezone)
    if len(found) > 1 or _local(found[0], timezone) != written:
        raise source.fault(
            token.at, f"{token.text} does not exist, or exists twice, in {timezone}: write it with an offset"
        )
    return found[0]


def _value(source: Source, token: Token, type_: ColumnType, timezone: str | None) -> Value | None:
    """None if the token is of another type. Raises `ValueError` if it only looks like one of this type."""
    text = token.text
    found: Value | None = None
    match type_, token.kind:
        case "string", "string":
            found = text
        case "long", "number" if text.removeprefix("-").isdecimal() and LONG_MIN <= int(text) <= LONG_MAX:
            found = int(text)
        case "double", "number":
            found = _double(source, token)
        case "boolean", "word" if text.lower() in ("true", "false"):
            found = text.lower() == "true"
        case "date", "date":
            found = date.fromisoformat(text)
        case "timestamp", "date" | "timestamp":
            found = moment(source, token, timezone)
    return found


def _double(source: Source, token: Token) -> float:
    number = float(token.text)
    if not math.isfinite(number):
        raise source.fault(token.at, "this number is larger than any double")
    if token.text.removeprefix("-").isdecimal() and int(number) != int(token.text):
        raise source.fault(
            token.at, f"no double represents this whole number exactly; the nearest one is {int(number)}"
        )
    return number


def _moments(written: datetime, timezone: str) -> tuple[datetime, ...]:
    """When the clock of a zone shows a time, in UTC, the earliest first; if it skips the time, when it does so."""
    zone = time_zone(timezone)
    first, last = (written.replace(tzinfo=zone, fold=fold) for fold in (0, 1))  # PEP 495
    before, after = first.utcoffset(), last.utcoffset()
    assert before is not None  # noqa: S101  # of an aware time
    assert after is not None  # noqa: S101
    at = written.replace(tzinfo=UTC)
    if before == after:
        return (at - before,)
    if before > after:
        return at - before, at - after
    low, high = at - after, at - before  # the clock is put forward between these
    while high - low > SECOND:
        middle = low + (high - low) // (2 * SECOND) * SECOND
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return (high,)


def _local(at: datetime, timezone: str) -> datetime:
    return at.astimezone(time_zone(timezone)).replace(tzinfo=None)
